/* Writes as the hot path reads them, and what their commits and rows have in common.
 *
 * As with reads (recollectd_hot_request.h), what is unusual or may be wrong is none of ours. The layouts are those of
 * recollectd/protocol, recollectd/memory/commits.py and recollectd/storage/keyspace.py, encoded as msgspec encodes them;
 * tests/hot holds both routes together. Do not change: commits are in the journal, rows in RocksDB.
 */
#ifndef RECOLLECTD_HOT_COMMIT_H
#define RECOLLECTD_HOT_COMMIT_H

#include "recollectd_hot_outbox.h"
#include "recollectd_msgpack_value.h"
#include "recollectd_xxh64.h"

/* recollectd/storage/keyspace.py. */
enum { HOT_ROW_PUT = 0, HOT_ROW_DELETE = 1, HOT_ROW_DELETE_RANGE = 2 };
enum { HOT_FAMILY_HEADS = 1, HOT_FAMILY_VALUES = 2, HOT_FAMILY_ENTRIES = 3, HOT_FAMILY_INDEX = 4 };

/* What a write carries beside its values is less than this. */
#define HOT_AROUND_BYTES_MAX 32768
/* More goes the slower route, which may compress it elsewhere than on the loop. */
#define HOT_CONTENT_BYTES_MAX 65536

/* -- requests ----------------------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t number, span, digest;
    uint32_t request_id;
} hot_write;

/* What of a frame all writes have. 0 if it is not for the hot path, as an asynchronous one is. */
static inline int hot_read_write(hot_write *write, const uint8_t *frame, uint64_t frame_bytes,
                                 const hot_limits *limits) {
    uint16_t span;
    memcpy(&span, frame + 30, sizeof span);
    write->number = hot_load64(frame + 8);
    write->span = span;
    write->request_id = hot_request_id(frame);
    if (!hot_header_is_plain(frame, limits) || frame[28] || !write->number || write->number > INT64_MAX) {
        return 0;
    }
    write->digest = xxh64(frame + HOT_REQUEST_HEADER_BYTES, frame_bytes - HOT_REQUEST_HEADER_BYTES, 0);
    return 1;
}

/* A write numbered so says that all numbers before this one are answered. */
static inline uint64_t hot_floor(const hot_write *write) {
    return write->number > write->span ? write->number - write->span : 1;
}

/* Read a message's head, its tag, its namespace and the key or id; *fields: how many more there are. */
static inline int hot_read_subject(hot_request *request, msgpack_reader *reader, uint64_t tag, uint8_t kind,
                                   const cache *cache, const hot_limits *limits, uint64_t *fields) {
    uint64_t found;
    if (!msgpack_read_array(reader, fields) || *fields < 3 || !msgpack_read_number(reader, &found) || found != tag ||
        !hot_read_namespace(request, reader, kind, limits) || !hot_read_key(request, reader, cache, limits)) {
        return 0;
    }
    *fields -= 3;
    return 1;
}

static inline int hot_read_false(msgpack_reader *reader) {
    if (reader->at == reader->end || *reader->at != 0xC2) {
        return 0;
    }
    reader->at++;
    return 1;
}

/* -- commits ------------------------------------------------------------------------------------------------------ */

/* Who asked: principal and session id as bytes. */
typedef struct {
    const uint8_t *principal, *session_id;
    uint32_t principal_bytes, session_id_bytes;
    uint64_t number, floor, digest;
} hot_author;

static inline uint8_t *hot_write_binary(uint8_t *to, const uint8_t *data, uint64_t bytes) {
    to = bytes <= UINT8_MAX    ? msgpack_write_sized(to, 0xC4, bytes, 1)
         : bytes <= UINT16_MAX ? msgpack_write_sized(to, 0xC5, bytes, 2)
                               : msgpack_write_sized(to, 0xC6, bytes, 4);
    memcpy(to, data, bytes);
    return to + bytes;
}

static inline uint8_t *hot_write_bool(uint8_t *to, int yes) {
    *to = yes ? 0xC3 : 0xC2;
    return to + 1;
}

/* Everything of a commit before its events; *reply_at: the offset of the reply from `start`. */
static inline uint8_t *hot_begin_commit(uint8_t *start, uint64_t time, uint32_t tag, const hot_author *author,
                                        const uint8_t *reply, uint64_t reply_bytes, uint32_t events,
                                        uint64_t *reply_at) {
    uint8_t *to = msgpack_write_number(msgpack_write_array(start, 9), time);
    to = msgpack_write_text(to, author->principal, author->principal_bytes);
    to = msgpack_write_number(to, tag);
    to = hot_write_binary(to, author->session_id, author->session_id_bytes);
    to = msgpack_write_number(to, author->number);
    to = msgpack_write_number(to, author->floor);
    to = msgpack_write_number(to, author->digest);
    to = hot_write_binary(to, reply, reply_bytes);
    *reply_at = (uint64_t)(to - start) - reply_bytes;
    return msgpack_write_array(to, events);
}

/* -- rows --------------------------------------------------------------------------------------------------------- */

/* Whether the labels and the text of a record key are UTF-8. */
static inline int hot_is_text(const uint8_t *key, uint64_t key_bytes) {
    const uint8_t *label = key + 1;
    for (; *label; label += 1 + *label) {
        if (!msgpack_is_utf8(label + 1, label + 1 + *label)) {
            return 0;
        }
    }
    return msgpack_is_utf8(label + 1, key + key_bytes);
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
