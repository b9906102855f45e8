/* Requests as the hot path reads them: straight from a frame's bytes, and only what it can answer.
 *
 * A frame that is anything else, or may be wrong in any way, is none of ours: it goes to the full decoder, which knows
 * what to say. So nothing here has to explain, and a doubt costs time and never an answer. Text is not checked for
 * UTF-8: it is only looked up, and what is in the cache under a key came there as valid text.
 *
 * Layouts and tags are those of recollectd/protocol (frames.py, messages/); tests/hot holds both routes together.
 */
#ifndef RECOLLECTD_HOT_REQUEST_H
#define RECOLLECTD_HOT_REQUEST_H

#include "recollectd_cache_tails.h"

#define HOT_REQUEST_HEADER_BYTES 32
#define HOT_REPLY_HEADER_BYTES 16
#define HOT_LENGTH_BYTES 4
#define HOT_DEADLINE_AT 24
#define HOT_RESERVED_AT 29

#define HOT_FLAGS_KNOWN 1

/* So much of an entry is asked for before it is read: what a record of some 200 bytes takes. */
#define HOT_PREFETCHED_BYTES 320

enum {
    HOT_STATE_GET = 17,
    HOT_STATE_GET_MANY = 19,
    HOT_STATE_GET_VALUES = 26,
    HOT_LOG_READ = 33,
    HOT_HISTORY = 50,
    HOT_TAGS = 64
};
enum { HOT_KIND_STATE = 1, HOT_KIND_LOG = 2, HOT_KIND_CONVERSATION = 3 };

#define HOT_ABSENT_TAG 18
#define HOT_RECORDS_TAG 19
#define HOT_VALUES_TAG 24

/* Bounds of the protocol (recollectd/protocol/limits.py). */
typedef struct {
    uint64_t frame_bytes_max, deadline_ms_max, namespace_labels_max, label_bytes_max, key_bytes_max;
    uint64_t operations_per_frame_max, page_items_max, page_items_default, page_bytes_max;
    uint64_t requests_in_flight_max, in_flight_bytes_max;
} hot_limits;

/* One request. tag 0: not for the hot path. key: the record's, text_at its beginning of key or id; of one about several
 * records key ends there, and `keys` stands before the first of `count` keys. wanted: how many of the newest items. */
typedef struct {
    uint32_t tag, text_at;
    uint64_t wanted, count;
    msgpack_reader keys;
    cache_key key;
    uint8_t bytes[CACHE_KEY_BYTES_MAX + 1];
} hot_request;

/* Whether a request is about several records. */
static inline int hot_is_several(uint32_t tag) { return tag == HOT_STATE_GET_MANY || tag == HOT_STATE_GET_VALUES; }

static inline uint32_t hot_load32(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static inline uint64_t hot_load64(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* -- frames ------------------------------------------------------------------------------------------------------- */

static inline uint32_t hot_request_id(const uint8_t *frame) { return hot_load32(frame + 4); }

static inline uint64_t hot_after(const uint8_t *frame) { return hot_load64(frame + 16); }

/* Whether the header is one that nobody has anything to say about. */
static inline int hot_header_is_plain(const uint8_t *frame, const hot_limits *limits) {
    uint32_t deadline_ms = hot_load32(frame + HOT_DEADLINE_AT);
    uint8_t flags = frame[28], zero = frame[HOT_RESERVED_AT];
    return deadline_ms <= limits->deadline_ms_max && !(flags & ~HOT_FLAGS_KNOWN) && !zero;
}

/* How many bytes of whole frames there are; -1 - offset of the length at fault when the bytes cannot be cut. */
static inline int64_t hot_whole_frames(const uint8_t *bytes, uint64_t count, const hot_limits *limits) {
    uint64_t at = 0;
    while (count - at >= HOT_LENGTH_BYTES) {
        uint64_t length = hot_load32(bytes + at);
        if (length < HOT_REQUEST_HEADER_BYTES - HOT_LENGTH_BYTES || length > limits->frame_bytes_max - HOT_LENGTH_BYTES) {
            return -1 - (int64_t)at;
        }
        if (count - at < HOT_LENGTH_BYTES + length) {
            break;
        }
        at += HOT_LENGTH_BYTES + length;
    }
    return (int64_t)at;
}

/* -- messages ----------------------------------------------------------------------------------------------------- */

/* Begin the record key: kind and namespace. */
static inline int hot_read_namespace(hot_request *request, msgpack_reader *reader, uint8_t kind,
                                     const hot_limits *limits) {
    uint64_t labels, bytes;
    const uint8_t *text;
    uint32_t at = 0;
    if (!msgpack_read_array(reader, &labels) || !labels || labels > limits->namespace_labels_max) {
        return 0;
    }
    request->bytes[at++] = kind;
    while (labels--) {
        if (!msgpack_read_text(reader, &text, &bytes) || bytes > limits->label_bytes_max) {
            return 0;
        }
        request->bytes[at++] = (uint8_t)bytes;
        memcpy(request->bytes + at, text, bytes);
        at += (uint32_t)bytes;
    }
    request->bytes[at++] = 0;
    request->text_at = at;
    return 1;
}

/* End the record key with the key or id. */
static inline int hot_read_key(hot_request *request, msgpack_reader *reader, const cache *cache,
                               const hot_limits *limits) {
    uint64_t bytes;
    const uint8_t *text;
    if (!msgpack_read_text(reader, &text, &bytes) || bytes > limits->key_bytes_max) {
        return 0;
    }
    memcpy(request->bytes + request->text_at, text, bytes);
    request->key = cache_key_for(cache, request->bytes, request->text_at + (uint32_t)bytes);
    return 1;
}

static inline int hot_read_nils(msgpack_reader *reader, uint64_t count) {
    while (count--) {
        if (!msgpack_read_nil(reader)) {
            return 0;
        }
    }
    return 1;
}

/* `last`, between `before` and `behind` fields that are nil, then `limit`; fields at the end may be missing. */
static inline int hot_read_last(hot_request *request, msgpack_reader *reader, uint64_t fields, uint64_t before,
                                uint64_t behind, const hot_limits *limits) {
    uint64_t limit = limits->page_items_default;
    if (fields <= before || fields > before + 1 + behind + 1 || !hot_read_nils(reader, before) ||
        !msgpack_read_number(reader, &request->wanted) || !request->wanted) {
        return 0;
    }
    fields -= before + 1;
    if (!hot_read_nils(reader, fields < behind ? fields : behind)) {
        return 0;
    }
    if (fields > behind && (!msgpack_read_number(reader, &limit) || !limit || limit > limits->page_items_max)) {
        return 0;
    }
    request->wanted = request->wanted < limit ? request->wanted : limit;
    return 1;
}

/* What follows tag, namespace and the key: `fields` more fields. */
static inline int hot_read_rest(hot_request *request, msgpack_reader *reader, uint64_t fields,
                                const hot_limits *limits) {
    switch (request->tag) {
    case HOT_STATE_GET:
        return fields <= 2 && hot_read_nils(reader, fields);
    case HOT_LOG_READ:
        return hot_read_last(request, reader, fields, 2, 1, limits);
    default:
        return hot_read_last(request, reader, fields, 0, 4, limits);
    }
}

static inline int hot_read_message(hot_request *request, msgpack_reader *reader, const cache *cache,
                                   const hot_limits *limits) {
    uint64_t fields, tag;
    if (!msgpack_read_array(reader, &fields) || fields < 3 || !msgpack_read_number(reader, &tag)) {
        return 0;
    }
    int several = tag < HOT_TAGS && hot_is_several((uint32_t)tag);
    uint8_t kind = tag == HOT_STATE_GET || several ? HOT_KIND_STATE
                   : tag == HOT_LOG_READ           ? HOT_KIND_LOG
                   : tag == HOT_HISTORY            ? HOT_KIND_CONVERSATION
                                                   : 0;
    if (!kind || !hot_read_namespace(request, reader, kind, limits)) {
        return 0;
    }
    request->tag = (uint32_t)tag;
    if (several) {
        if (fields != 3 || !msgpack_read_array(reader, &request->count) || !request->count ||
            request->count > limits->operations_per_frame_max) {
            return 0;
        }
        request->keys = *reader;
        return 1;
    }
    return hot_read_key(request, reader, cache, limits) && hot_read_rest(request, reader, fields - 3, limits) &&
           reader->at == reader->end;
}

/* Read a whole frame; request->tag is 0 if it is not for the hot path. What comes of it depends on nothing that a
 * request before it could change. */
static inline void hot_read_request(hot_request *request, const uint8_t *frame, uint64_t frame_bytes,
                                    const cache *cache, const hot_limits *limits) {
    msgpack_reader reader = {frame + HOT_REQUEST_HEADER_BYTES, frame + frame_bytes};
    request->tag = 0;
    if (!hot_header_is_plain(frame, limits) || !hot_read_message(request, &reader, cache, limits)) {
        request->tag = 0;
    } else if (!hot_is_several(request->tag)) {
        __builtin_prefetch(cache_bucket(cache, (uint32_t)request->key.hash));
    }
}

static inline void hot_prefetch(const cache *cache, uint32_t reference) {
    const uint8_t *entry = (const uint8_t *)cache_at(cache, reference);
    for (uint32_t line = 0; line < HOT_PREFETCHED_BYTES; line += 64) {
        __builtin_prefetch(entry + line);
    }
}

/* The bucket has come by now, if it was not there: ask for its first entry. */
static inline void hot_prefetch_entry(const hot_request *request, const cache *cache) {
    if (request->tag && !hot_is_several(request->tag)) {
        hot_prefetch(cache, *cache_bucket(cache, (uint32_t)request->key.hash));
    }
}

/* The first entry has come by now: if it is another record's, ask for the one behind it. */
static inline void hot_prefetch_next(const hot_request *request, const cache *cache) {
    if (request->tag && !hot_is_several(request->tag)) {
        uint32_t reference = *cache_bucket(cache, (uint32_t)request->key.hash);
        const cache_entry *entry = cache_at(cache, reference);
        if (reference && entry->hash != (uint32_t)request->key.hash && entry->chain) {
            hot_prefetch(cache, entry->chain);
        }
    }
}

#endif
