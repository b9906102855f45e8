/* Appends to logs and conversations as the hot path reads them, and the commits they become; see
 * recollectd_hot_commit.h.
 *
 * The layouts are those of recollectd/protocol/messages/{logs,conversations}.py and of the events in
 * recollectd/memory/{logs,conversations}/events.py. Do not change.
 */
#ifndef RECOLLECTD_HOT_APPEND_H
#define RECOLLECTD_HOT_APPEND_H

#include "recollectd_hot_commit.h"

#include <stdio.h>

enum { HOT_LOG_APPEND = 32, HOT_LOG_APPENDED = 32, HOT_CONVERSATION_APPEND = 49, HOT_MESSAGES_STORED = 49 };
enum { HOT_APPENDED_EVENT = 16, HOT_MESSAGES_APPENDED_EVENT = 33 };

/* recollectd/storage/keyspace.py. */
#define HOT_INDEX_MESSAGE_ID 0x83

#define HOT_ITEMS_MAX 32
#define HOT_MESSAGE_ID_BYTES_MAX 40
#define HOT_RANDOM_BYTES 6

/* One item or message, within the frame. text: of the role and the content with their heads, one behind the other;
 * rest: valid_at and metadata, nil where they are missing. */
typedef struct {
    const uint8_t *text, *rest;
    uint32_t role_bytes, text_bytes, rest_bytes, content_bytes;
} hot_item;

typedef struct {
    hot_request request;
    hot_item items[HOT_ITEMS_MAX];
    uint64_t count, largest, bytes;
} hot_append;

/* Read a log's items; each is a value. */
static inline int hot_read_items(hot_append *append, msgpack_reader *reader) {
    if (!msgpack_read_array(reader, &append->count) || !append->count || append->count > HOT_ITEMS_MAX) {
        return 0;
    }
    for (uint64_t index = 0; index < append->count; index++) {
        hot_item *item = &append->items[index];
        item->text = reader->at;
        if (!msgpack_pass_value(reader, MSGPACK_DEPTH_MAX)) {
            return 0;
        }
        item->text_bytes = (uint32_t)(reader->at - item->text);
        append->largest = item->text_bytes > append->largest ? item->text_bytes : append->largest;
        append->bytes += item->text_bytes;
    }
    return 1;
}

/* Metadata: nil, or a map with text keys. */
static inline int hot_pass_metadata(msgpack_reader *reader) {
    uint64_t count;
    if (msgpack_read_nil(reader)) {
        return 1;
    }
    if (reader->at == reader->end || (*reader->at & 0xF0) != 0x80) {
        return 0;
    }
    for (count = *reader->at++ & 0x0F; count; count--) {
        if (reader->at == reader->end || ((*reader->at & 0xE0) != 0xA0 && *reader->at != 0xD9) ||
            !msgpack_pass_value(reader, 1) || !msgpack_pass_value(reader, MSGPACK_DEPTH_MAX - 1)) {
            return 0;
        }
    }
    return 1;
}

/* Read one message: role, content, no id of the caller's, valid_at, metadata, no vectors. */
static inline int hot_read_message_item(hot_item *item, msgpack_reader *reader, uint64_t time_us_max) {
    static const uint8_t nils[] = {MSGPACK_NIL, MSGPACK_NIL};
    const uint8_t *text, *start;
    uint64_t fields, bytes, valid_at;
    if (!msgpack_read_array(reader, &fields) || fields < 2 || fields > 6) {
        return 0;
    }
    item->text = reader->at;
    if (!msgpack_read_text(reader, &text, &bytes) || reader->at - item->text > UINT32_MAX ||
        !((bytes == 4 && !memcmp(text, "user", 4)) || (bytes == 9 && !memcmp(text, "assistant", 9)))) {
        return 0;
    }
    item->role_bytes = (uint32_t)(reader->at - item->text);
    start = reader->at;
    if (item->role_bytes != bytes + 1 || !msgpack_read_text(reader, &text, &bytes) || bytes > HOT_CONTENT_BYTES_MAX ||
        !msgpack_is_utf8(text, reader->at) ||
        text - start != (bytes <= 0x1F ? 1 : bytes <= UINT8_MAX ? 2 : bytes <= UINT16_MAX ? 3 : 5)) {
        return 0; /* a head longer than need be is written anew by the other route */
    }
    item->content_bytes = (uint32_t)bytes;
    item->text_bytes = (uint32_t)(reader->at - item->text);
    item->rest = nils;
    item->rest_bytes = sizeof nils;
    if (fields > 2 && !msgpack_read_nil(reader)) {
        return 0;
    }
    if (fields >= 5) {
        item->rest = reader->at;
        if (!msgpack_read_nil(reader)) {
            uint8_t again[MSGPACK_NUMBER_BYTES_MAX];
            if (!msgpack_read_number(reader, &valid_at) || valid_at > time_us_max ||
                msgpack_write_number(again, valid_at) - again != reader->at - item->rest) {
                return 0;
            }
        }
        start = reader->at;
        if (!hot_pass_metadata(reader)) {
            return 0;
        }
        item->content_bytes += *start == MSGPACK_NIL ? 0 : (uint32_t)(reader->at - start);
        item->rest_bytes = (uint32_t)(reader->at - item->rest);
        if (fields == 6 && !msgpack_read_nil(reader)) {
            return 0;
        }
    } else if (fields == 4 && !msgpack_read_nil(reader)) {
        return 0;
    }
    return 1;
}

static inline int hot_read_messages(hot_append *append, msgpack_reader *reader, uint64_t time_us_max) {
    if (!msgpack_read_array(reader, &append->count) || !append->count || append->count > HOT_ITEMS_MAX) {
        return 0;
    }
    for (uint64_t index = 0; index < append->count; index++) {
        hot_item *item = &append->items[index];
        if (!hot_read_message_item(item, reader, time_us_max)) {
            return 0;
        }
        append->largest = item->content_bytes > append->largest ? item->content_bytes : append->largest;
        append->bytes += item->text_bytes + item->rest_bytes;
    }
    return 1;
}

/* Read a whole frame. 0 if it is not for the hot path: anything but a plain append of a few items. */
static inline int hot_read_append(hot_append *append, uint32_t tag, const uint8_t *frame, uint64_t frame_bytes,
                                  const cache *cache, const hot_limits *limits, uint64_t time_us_max) {
    msgpack_reader reader = {frame + HOT_REQUEST_HEADER_BYTES, frame + frame_bytes};
    uint8_t kind = tag == HOT_LOG_APPEND ? HOT_KIND_LOG : HOT_KIND_CONVERSATION;
    uint64_t fields;
    append->largest = append->bytes = 0;
    if (!hot_read_subject(&append->request, &reader, tag, kind, cache, limits, &fields) || !fields || fields > 2 ||
        !(tag == HOT_LOG_APPEND ? hot_read_items(append, &reader) : hot_read_messages(append, &reader, time_us_max))) {
        return 0;
    }
    if (fields == 2 && !(tag == HOT_LOG_APPEND ? msgpack_read_nil(&reader) : hot_read_false(&reader))) {
        return 0;
    }
    return append->bytes <= HOT_CONTENT_BYTES_MAX && reader.at == reader.end;
}

/* -- commits ------------------------------------------------------------------------------------------------------ */

/* What a log's or conversation's head says after the append. metadata: of a conversation, msgpack. */
typedef struct {
    uint64_t first, next, revision, incarnation, rewritten, created_at, updated_at, largest;
    const uint8_t *metadata;
    uint64_t metadata_bytes;
    int conversation, named;
} hot_log_head;

/* Where the parts of a commit lie in it; items_at: behind the head of their array. */
typedef struct {
    uint64_t bytes, reply_at, reply_bytes, head_at, head_bytes, items_at;
} hot_append_commit;

static inline uint8_t *hot_write_log_head(uint8_t *to, const hot_log_head *head) {
    to = msgpack_write_number(msgpack_write_array(to, head->conversation ? 10 : 8), head->first);
    to = msgpack_write_number(to, head->next);
    to = msgpack_write_number(to, head->revision);
    to = msgpack_write_number(to, head->incarnation);
    to = msgpack_write_number(to, head->rewritten);
    to = msgpack_write_number(to, head->created_at);
    to = msgpack_write_number(to, head->updated_at);
    to = msgpack_write_number(to, head->largest);
    if (head->conversation) {
        memcpy(to, head->metadata, head->metadata_bytes);
        to = hot_write_bool(to + head->metadata_bytes, head->named);
    }
    return to;
}

/* LogAppended. */
static inline uint8_t *hot_write_log_appended(uint8_t *to, const hot_log_head *head, uint64_t first) {
    to = msgpack_write_number(msgpack_write_array(to, 4), HOT_LOG_APPENDED);
    to = msgpack_write_number(to, first);
    to = msgpack_write_number(to, head->next);
    return msgpack_write_number(to, head->updated_at);
}

/* The id of the message at a position, as recollectd/memory/conversations/ids.py makes it. Returns its length. */
static inline uint32_t hot_write_message_id(uint8_t *to, uint64_t position, const uint8_t *random) {
    static const char digits[] = "0123456789abcdef";
    uint32_t bytes = (uint32_t)snprintf((char *)to, HOT_MESSAGE_ID_BYTES_MAX, "%010llu-", (unsigned long long)position);
    for (uint32_t index = 0; index < HOT_RANDOM_BYTES; index++) {
        to[bytes++] = (uint8_t)digits[random[index] >> 4];
        to[bytes++] = (uint8_t)digits[random[index] & 0x0F];
    }
    return bytes;
}

/* MessagesStored; `random` has HOT_RANDOM_BYTES, which all messages of the append share. */
static inline uint8_t *hot_write_messages_stored(uint8_t *to, const hot_append *append, const hot_log_head *head,
                                                 uint64_t first, const uint8_t *random) {
    uint8_t id[HOT_MESSAGE_ID_BYTES_MAX];
    const hot_request *request = &append->request;
    to = msgpack_write_number(msgpack_write_array(to, 3), HOT_MESSAGES_STORED);
    to = msgpack_write_text(to, request->bytes + request->text_at, request->key.length - request->text_at);
    to = msgpack_write_array(to, (uint32_t)append->count);
    for (uint64_t index = 0; index < append->count; index++) {
        uint32_t id_bytes = hot_write_message_id(id, first + index, random);
        to = msgpack_write_text(msgpack_write_array(to, 5), id, id_bytes);
        memcpy(to, append->items[index].text, append->items[index].role_bytes);
        to = msgpack_write_number(to + append->items[index].role_bytes, head->updated_at);
        to = msgpack_write_number(to, first + index);
        to = hot_write_bool(to, 0);
    }
    return to;
}

/* MessageEntry, as on disk. */
static inline uint8_t *hot_write_entry(uint8_t *to, const hot_item *item, const uint8_t *id, uint32_t id_bytes,
                                       uint64_t stored_at) {
    to = msgpack_write_text(msgpack_write_array(to, 6), id, id_bytes);
    memcpy(to, item->text, item->text_bytes);
    to = msgpack_write_number(to + item->text_bytes, stored_at);
    memcpy(to, item->rest, item->rest_bytes);
    return to + item->rest_bytes;
}

/* Write the commit of an append; `to` has room for the items, twice HOT_AROUND_BYTES_MAX, and the head's metadata.
 * random: as above, for messages; previous_used_second: of a conversation. */
static inline hot_append_commit hot_write_append(uint8_t *to, uint64_t time, const hot_append *append,
                                                 const hot_author *author, const hot_log_head *head, uint64_t first,
                                                 const uint8_t *random, uint64_t previous_used_second) {
    static uint8_t reply[HOT_AROUND_BYTES_MAX];
    uint8_t id[HOT_MESSAGE_ID_BYTES_MAX], *start = to;
    int conversation = head->conversation;
    uint8_t *end = conversation ? hot_write_messages_stored(reply, append, head, first, random)
                                : hot_write_log_appended(reply, head, first);
    hot_append_commit commit = {.reply_bytes = (uint64_t)(end - reply)};
    to = hot_begin_commit(to, time, conversation ? HOT_CONVERSATION_APPEND : HOT_LOG_APPEND, author, reply,
                          commit.reply_bytes, 1, &commit.reply_at);
    to = msgpack_write_array(to, conversation ? 7 : 6);
    to = msgpack_write_number(to, conversation ? HOT_MESSAGES_APPENDED_EVENT : HOT_APPENDED_EVENT);
    to = hot_write_binary(to, append->request.bytes, append->request.key.length);
    commit.head_at = (uint64_t)(to - start);
    to = hot_write_log_head(to, head);
    commit.head_bytes = (uint64_t)(to - start) - commit.head_at;
    to = msgpack_write_array(msgpack_write_number(to, first), (uint32_t)append->count);
    commit.items_at = (uint64_t)(to - start);
    for (uint64_t index = 0; index < append->count; index++) {
        const hot_item *item = &append->items[index];
        if (conversation) {
            uint32_t id_bytes = hot_write_message_id(id, first + index, random);
            to = hot_write_entry(to, item, id, id_bytes, head->updated_at);
        } else {
            memcpy(to, item->text, item->text_bytes);
            to += item->text_bytes;
        }
    }
    if (conversation) {
        to = msgpack_write_array(to, 0); /* no ids of the caller's */
        to = msgpack_write_number(to, previous_used_second);
    } else {
        *to++ = MSGPACK_NIL; /* stored_at: the head's */
    }
    commit.bytes = (uint64_t)(to - start);
    return commit;
}

/* -- what is in the cache's tails --------------------------------------------------------------------------------- */

/* How many bytes the next value takes; 0 when there is none. */
static inline uint64_t hot_value_bytes(const uint8_t *at, const uint8_t *end) {
    msgpack_reader reader = {at, end};
    return msgpack_pass_value(&reader, MSGPACK_DEPTH_MAX + 2) ? (uint64_t)(reader.at - at) : 0;
}

/* LogItem: position, stored_at, value. */
static inline uint8_t *hot_write_log_item(uint8_t *to, uint64_t position, uint64_t stored_at, const uint8_t *value,
                                          uint64_t value_bytes) {
    to = msgpack_write_number(msgpack_write_array(to, 3), position);
    to = msgpack_write_number(to, stored_at);
    memcpy(to, value, value_bytes);
    return to + value_bytes;
}

/* Message, from its entry: the same with the position behind stored_at. 0 bytes where the entry is none. */
static inline uint64_t hot_write_message(uint8_t *to, uint64_t position, const uint8_t *entry, uint64_t entry_bytes) {
    msgpack_reader reader = {entry + 1, entry + entry_bytes};
    uint8_t *start = to;
    if (!msgpack_pass_array(&reader, 4, 2)) { /* id, role, content, stored_at */
        return 0;
    }
    to = msgpack_write_array(to, 7);
    memcpy(to, entry + 1, (uint64_t)(reader.at - entry) - 1);
    to = msgpack_write_number(to + (reader.at - entry) - 1, position);
    memcpy(to, reader.at, (uint64_t)(reader.end - reader.at));
    return (uint64_t)(to - start) + (uint64_t)(reader.end - reader.at);
}

#endif
