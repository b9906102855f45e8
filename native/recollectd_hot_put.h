/* StatePut as the hot path reads it, and the commit it becomes.
 *
 * As with reads (recollectd_hot_request.h), what is unusual or may be wrong is none of ours. The layouts are those of
 * recollectd/protocol/messages/state.py, recollectd/memory/commits.py and recollectd/memory/state/events.py, encoded as
 * msgspec encodes them; tests/hot holds both routes together. Do not change: commits are in the journal.
 */
#ifndef RECOLLECTD_HOT_PUT_H
#define RECOLLECTD_HOT_PUT_H

#include "recollectd_hot_outbox.h"
#include "recollectd_msgpack_value.h"
#include "recollectd_xxh64.h"

#define HOT_STATE_PUT 16
#define HOT_STATE_STORED 16
#define HOT_WRITTEN 1

/* Larger values go the slower route, which may compress them elsewhere than on the loop. */
#define HOT_VALUE_BYTES_MAX 65536

/* recollectd/storage/keyspace.py, and how many old versions state/events.py deletes one by one. */
enum { HOT_ROW_PUT = 0, HOT_ROW_DELETE = 1, HOT_ROW_DELETE_RANGE = 2, HOT_FAMILY_HEADS = 1, HOT_FAMILY_VALUES = 2 };
#define HOT_DELETES_MAX 8

#define HOT_ANY_VERSION UINT64_MAX

/* if_version: HOT_ANY_VERSION for any. The key's bytes are those of `request`. */
typedef struct {
    hot_request request;
    const uint8_t *value;
    uint64_t value_bytes, if_version;
    uint64_t number, span;
    uint64_t digest;
} hot_put;

/* Fields of a request's header that writes have. */
static inline uint64_t hot_number(const uint8_t *frame) { return hot_load64(frame + 8); }

static inline uint16_t hot_span(const uint8_t *frame) {
    uint16_t span;
    memcpy(&span, frame + 30, sizeof span);
    return span;
}

static inline int hot_read_false(msgpack_reader *reader) {
    if (reader->at == reader->end || *reader->at != 0xC2) {
        return 0;
    }
    reader->at++;
    return 1;
}

/* ttl_us nil, sliding false, if_version nil or a number, if_absent false; fields at the end may be missing. */
static inline int hot_read_put_rest(hot_put *put, msgpack_reader *reader, uint64_t fields) {
    put->if_version = HOT_ANY_VERSION;
    if (fields > 0 && !msgpack_read_nil(reader)) {
        return 0;
    }
    if (fields > 1 && !hot_read_false(reader)) {
        return 0;
    }
    if (fields > 2 && !msgpack_read_nil(reader) &&
        (!msgpack_read_number(reader, &put->if_version) || put->if_version > INT64_MAX)) {
        return 0;
    }
    return fields <= 3 || (fields == 4 && hot_read_false(reader));
}

/* Read a whole frame. 0 if it is not for the hot path: anything but a plain synchronous put. */
static inline int hot_read_put(hot_put *put, const uint8_t *frame, uint64_t frame_bytes, const cache *cache,
                               const hot_limits *limits) {
    msgpack_reader reader = {frame + HOT_REQUEST_HEADER_BYTES, frame + frame_bytes};
    uint64_t fields, tag;
    put->number = hot_number(frame);
    put->span = hot_span(frame);
    if (!hot_header_is_plain(frame, limits) || frame[28] || !put->number || put->number > INT64_MAX ||
        !msgpack_read_array(&reader, &fields) || fields < 4 || !msgpack_read_number(&reader, &tag) ||
        tag != HOT_STATE_PUT || !hot_read_namespace(&put->request, &reader, HOT_KIND_STATE, limits) ||
        !hot_read_key(&put->request, &reader, cache, limits)) {
        return 0;
    }
    put->value = reader.at;
    if (!msgpack_pass_value(&reader, MSGPACK_DEPTH_MAX)) {
        return 0;
    }
    put->value_bytes = (uint64_t)(reader.at - put->value);
    if (put->value_bytes > HOT_VALUE_BYTES_MAX || !hot_read_put_rest(put, &reader, fields - 4) ||
        reader.at != reader.end) {
        return 0;
    }
    put->digest = xxh64(frame + HOT_REQUEST_HEADER_BYTES, frame_bytes - HOT_REQUEST_HEADER_BYTES, 0);
    return 1;
}

/* -- the commit --------------------------------------------------------------------------------------------------- */

/* What a head says after the put; it neither expires nor slides. */
typedef struct {
    uint64_t version, first_version, revision, created_at, updated_at, largest;
} hot_head;

/* Who asked: principal and session id as bytes. */
typedef struct {
    const uint8_t *principal, *session_id;
    uint32_t principal_bytes, session_id_bytes;
    uint64_t number, floor, digest;
} hot_author;

/* Where the parts of a commit lie in it. */
typedef struct {
    uint64_t bytes, reply_at, reply_bytes, head_at, head_bytes, value_at;
} hot_commit;

#define HOT_COMMIT_NUMBERS 24

static inline uint64_t hot_commit_bytes_max(const hot_put *put, const hot_author *author) {
    return put->value_bytes + put->request.key.length + author->principal_bytes + author->session_id_bytes +
           HOT_COMMIT_NUMBERS * MSGPACK_NUMBER_BYTES_MAX + 8 * MSGPACK_HEAD_BYTES_MAX;
}

static inline uint8_t *hot_write_binary_head(uint8_t *to, uint32_t bytes) {
    return bytes <= UINT8_MAX    ? msgpack_write_sized(to, 0xC4, bytes, 1)
           : bytes <= UINT16_MAX ? msgpack_write_sized(to, 0xC5, bytes, 2)
                                 : msgpack_write_sized(to, 0xC6, bytes, 4);
}

static inline uint8_t *hot_write_binary(uint8_t *to, const uint8_t *data, uint32_t bytes) {
    to = hot_write_binary_head(to, bytes);
    memcpy(to, data, bytes);
    return to + bytes;
}

/* StateStored, for a record that does not expire. */
static inline uint8_t *hot_write_stored(uint8_t *to, const hot_head *head) {
    to = msgpack_write_number(msgpack_write_array(to, 5), HOT_STATE_STORED);
    to = msgpack_write_number(to, head->version);
    to = msgpack_write_number(to, head->created_at);
    to = msgpack_write_number(to, head->updated_at);
    *to++ = MSGPACK_NIL;
    return to;
}

static inline uint8_t *hot_write_head(uint8_t *to, const hot_head *head) {
    to = msgpack_write_array(to, 10);
    to = msgpack_write_number(to, head->version);
    to = msgpack_write_number(to, head->first_version);
    to = msgpack_write_number(to, head->revision);
    to = msgpack_write_number(to, head->created_at);
    to = msgpack_write_number(to, head->updated_at);
    *to++ = 0;    /* expires_at */
    *to++ = 0;    /* ttl_us */
    *to++ = 0xC2; /* sliding */
    *to++ = 0xC2; /* deleted */
    return msgpack_write_number(to, head->largest);
}

/* Write the commit of a put; `to` has room for hot_commit_bytes_max. */
static inline hot_commit hot_write_commit(uint8_t *to, uint64_t time, const hot_put *put, const hot_author *author,
                                          const hot_head *head, uint64_t previous_first_version) {
    uint8_t reply[4 * MSGPACK_NUMBER_BYTES_MAX + 2], *start = to;
    uint32_t reply_bytes = (uint32_t)(hot_write_stored(reply, head) - reply);
    hot_commit commit = {.reply_bytes = reply_bytes};
    to = msgpack_write_number(msgpack_write_array(to, 9), time);
    to = msgpack_write_text(to, author->principal, author->principal_bytes);
    to = msgpack_write_number(to, HOT_STATE_PUT);
    to = hot_write_binary(to, author->session_id, author->session_id_bytes);
    to = msgpack_write_number(to, author->number);
    to = msgpack_write_number(to, author->floor);
    to = msgpack_write_number(to, author->digest);
    to = hot_write_binary(to, reply, reply_bytes);
    commit.reply_at = (uint64_t)(to - start) - reply_bytes;
    to = msgpack_write_array(msgpack_write_array(to, 1), 6);
    to = msgpack_write_number(to, HOT_WRITTEN);
    to = hot_write_binary(to, put->request.bytes, put->request.key.length);
    commit.head_at = (uint64_t)(to - start);
    to = hot_write_head(to, head);
    commit.head_bytes = (uint64_t)(to - start) - commit.head_at;
    commit.value_at = (uint64_t)(to - start);
    memcpy(to, put->value, put->value_bytes);
    to += put->value_bytes;
    *to++ = 0; /* previous_expires_at */
    to = msgpack_write_number(to, previous_first_version);
    commit.bytes = (uint64_t)(to - start);
    return commit;
}

/* -- rows --------------------------------------------------------------------------------------------------------- */

/* A version row is created_at, updated_at, expires_at (u64, little-endian), absent (u8), value. Do not change. */
#define HOT_VERSION_ROW_BYTES 25

static inline void hot_write_version(uint8_t *to, const hot_head *head, const uint8_t *value, uint64_t value_bytes) {
    memcpy(to, &head->created_at, 8);
    memcpy(to + 8, &head->updated_at, 8);
    memset(to + 16, 0, 9);
    memcpy(to + HOT_VERSION_ROW_BYTES, value, value_bytes);
}

/* Write the path of the rows below a record: NUL bytes of the key behind the namespace are escaped (keyspace.path).
 * Returns its length; `to` has room for twice the key and 1 more. */
static inline uint64_t hot_write_path(uint8_t *to, const uint8_t *key, uint64_t key_bytes, uint64_t text_at) {
    uint8_t *start = to;
    memcpy(to, key, text_at);
    to += text_at;
    for (uint64_t at = text_at; at < key_bytes; at++) {
        *to++ = key[at];
        if (!key[at]) {
            *to++ = 0xFF;
        }
    }
    *to++ = 0;
    return (uint64_t)(to - start);
}

static inline void hot_write_row_number(uint8_t *to, uint64_t number) {
    number = __builtin_bswap64(number);
    memcpy(to, &number, 8);
}

#endif
