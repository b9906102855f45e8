/* StatePut and StatePutMany as the hot path reads them, and the commits they become; see recollectd_hot_commit.h.
 *
 * The layouts are those of recollectd/protocol/messages/state.py and recollectd/memory/state/events.py. Do not change.
 */
#ifndef RECOLLECTD_HOT_PUT_H
#define RECOLLECTD_HOT_PUT_H

#include "recollectd_hot_commit.h"

#define HOT_STATE_PUT 16
#define HOT_STATE_PUT_MANY 20
#define HOT_STATE_STORED 16
#define HOT_STATE_STORED_MANY 20
#define HOT_WRITTEN 1

/* So many old versions are deleted one by one (recollectd/memory/state/events.py). */
#define HOT_DELETES_MAX 8

#define HOT_ANY_VERSION UINT64_MAX

/* if_version: HOT_ANY_VERSION for any. */
typedef struct {
    hot_request request;
    const uint8_t *value;
    uint64_t value_bytes, if_version;
} hot_put;

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

/* Read a whole frame. 0 if it is not for the hot path: anything but a plain put. */
static inline int hot_read_put(hot_put *put, const uint8_t *frame, uint64_t frame_bytes, const cache *cache,
                               const hot_limits *limits) {
    msgpack_reader reader = {frame + HOT_REQUEST_HEADER_BYTES, frame + frame_bytes};
    uint64_t fields;
    if (!hot_read_subject(&put->request, &reader, HOT_STATE_PUT, HOT_KIND_STATE, cache, limits, &fields) || !fields) {
        return 0;
    }
    put->value = reader.at;
    if (!msgpack_pass_value(&reader, MSGPACK_DEPTH_MAX)) {
        return 0;
    }
    put->value_bytes = (uint64_t)(reader.at - put->value);
    return put->value_bytes <= HOT_CONTENT_BYTES_MAX && hot_read_put_rest(put, &reader, fields - 1) &&
           reader.at == reader.end;
}

/* One record of many: its key without the namespace. */
typedef struct {
    const uint8_t *key, *value;
    uint64_t key_bytes, value_bytes;
} hot_put_item;

/* Of its request the namespace alone; `items` stands before the first of `count`. */
typedef struct {
    hot_request request;
    msgpack_reader items;
    uint64_t count;
} hot_put_many;

/* What one record of many takes in a commit at most, beside its namespace, key and value. */
#define HOT_ITEM_BYTES_MAX 256

static inline int hot_next_item(msgpack_reader *reader, hot_put_item *item) {
    uint64_t fields;
    *item = (hot_put_item){0};
    if (!msgpack_read_array(reader, &fields) || fields != 2 || !msgpack_read_text(reader, &item->key, &item->key_bytes)) {
        return 0;
    }
    item->value = reader->at;
    if (!msgpack_pass_value(reader, MSGPACK_DEPTH_MAX)) {
        return 0;
    }
    item->value_bytes = (uint64_t)(reader->at - item->value);
    return 1;
}

/* Read a whole frame. 0 if it is not for the hot path: anything but plain puts that fit into one small commit. */
static inline int hot_read_put_many(hot_put_many *many, const uint8_t *frame, uint64_t frame_bytes,
                                    const hot_limits *limits) {
    msgpack_reader reader = {frame + HOT_REQUEST_HEADER_BYTES, frame + frame_bytes};
    uint64_t fields, tag;
    if (frame_bytes > HOT_CONTENT_BYTES_MAX || !msgpack_read_array(&reader, &fields) || fields < 3 || fields > 5 ||
        !msgpack_read_number(&reader, &tag) || tag != HOT_STATE_PUT_MANY ||
        !hot_read_namespace(&many->request, &reader, HOT_KIND_STATE, limits) ||
        !msgpack_read_array(&reader, &many->count) || !many->count ||
        many->count > limits->operations_per_frame_max ||
        frame_bytes + many->count * (many->request.text_at + HOT_ITEM_BYTES_MAX) >
            HOT_CONTENT_BYTES_MAX + HOT_AROUND_BYTES_MAX) {
        return 0;
    }
    many->items = reader;
    for (uint64_t index = 0; index < many->count; index++) {
        hot_put_item item;
        if (!hot_next_item(&reader, &item) || item.key_bytes > limits->key_bytes_max) {
            return 0;
        }
    }
    return (fields < 4 || msgpack_read_nil(&reader)) && (fields < 5 || hot_read_false(&reader)) &&
           reader.at == reader.end;
}

/* -- the commit --------------------------------------------------------------------------------------------------- */

/* What a head says after the put; it neither expires nor slides. */
typedef struct {
    uint64_t version, first_version, revision, created_at, updated_at, largest;
} hot_head;

/* Where the parts of a commit lie in it. */
typedef struct {
    uint64_t bytes, reply_at, reply_bytes, head_at, head_bytes, value_at;
} hot_put_commit;

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
    to = msgpack_write_number(msgpack_write_array(to, 10), head->version);
    to = msgpack_write_number(to, head->first_version);
    to = msgpack_write_number(to, head->revision);
    to = msgpack_write_number(to, head->created_at);
    to = msgpack_write_number(to, head->updated_at);
    *to++ = 0; /* expires_at */
    *to++ = 0; /* ttl_us */
    to = hot_write_bool(to, 0); /* sliding */
    to = hot_write_bool(to, 0); /* deleted */
    return msgpack_write_number(to, head->largest);
}

/* Where the parts of an event lie in the commit. */
typedef struct {
    uint64_t head_at, head_bytes, value_at, value_bytes;
} hot_written;

/* Write the event of a put at `to`, in a commit that begins at `start`. */
static inline uint8_t *hot_write_written(const uint8_t *start, uint8_t *to, const uint8_t *key, uint64_t key_bytes,
                                         const hot_head *head, const uint8_t *value, uint64_t value_bytes,
                                         uint64_t previous_first_version, hot_written *written) {
    to = msgpack_write_number(msgpack_write_array(to, 6), HOT_WRITTEN);
    to = hot_write_binary(to, key, key_bytes);
    written->head_at = (uint64_t)(to - start);
    to = hot_write_head(to, head);
    written->head_bytes = (uint64_t)(to - start) - written->head_at;
    written->value_at = (uint64_t)(to - start);
    written->value_bytes = value_bytes;
    memcpy(to, value, value_bytes);
    to += value_bytes;
    *to++ = 0; /* previous_expires_at */
    return msgpack_write_number(to, previous_first_version);
}

/* Write the commit of a put; `to` has room for the value and HOT_AROUND_BYTES_MAX. */
static inline hot_put_commit hot_write_put(uint8_t *to, uint64_t time, const hot_put *put, const hot_author *author,
                                           const hot_head *head, uint64_t previous_first_version) {
    uint8_t reply[4 * MSGPACK_NUMBER_BYTES_MAX + 2], *start = to;
    hot_put_commit commit = {.reply_bytes = (uint64_t)(hot_write_stored(reply, head) - reply)};
    to = hot_begin_commit(to, time, HOT_STATE_PUT, author, reply, commit.reply_bytes, 1, &commit.reply_at);
    hot_written written;
    to = hot_write_written(start, to, put->request.bytes, put->request.key.length, head, put->value, put->value_bytes,
                           previous_first_version, &written);
    commit.head_at = written.head_at;
    commit.head_bytes = written.head_bytes;
    commit.value_at = written.value_at;
    commit.bytes = (uint64_t)(to - start);
    return commit;
}

/* Write what is before the events in the commit of many puts, heads in their order. Returns where those go. */
static inline uint8_t *hot_begin_put_many(uint8_t *start, uint64_t time, const hot_author *author,
                                          const hot_head *heads, uint64_t count, uint8_t *reply,
                                          hot_put_commit *commit) {
    uint8_t *to = msgpack_write_number(msgpack_write_array(reply, 2), HOT_STATE_STORED_MANY);
    to = msgpack_write_array(to, (uint32_t)count);
    for (uint64_t index = 0; index < count; index++) {
        to = hot_write_stored(to, &heads[index]);
    }
    commit->reply_bytes = (uint64_t)(to - reply);
    return hot_begin_commit(start, time, HOT_STATE_PUT_MANY, author, reply, commit->reply_bytes, (uint32_t)count,
                            &commit->reply_at);
}

/* A version row is created_at, updated_at, expires_at (u64, little-endian), absent (u8), value. Do not change. */
#define HOT_VERSION_ROW_BYTES 25

static inline void hot_write_version(uint8_t *to, const hot_head *head, const uint8_t *value, uint64_t value_bytes) {
    memcpy(to, &head->created_at, 8);
    memcpy(to + 8, &head->updated_at, 8);
    memset(to + 16, 0, 9);
    memcpy(to + HOT_VERSION_ROW_BYTES, value, value_bytes);
}

#endif
