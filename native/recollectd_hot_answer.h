/* Answers of the hot path: from a request to reply bytes, by the value cache alone.
 *
 * An answer is whole or not there at all: what is not in the cache, or not all of it, is left to the slower route. The
 * desk is what all connections share, for one event loop.
 */
#ifndef RECOLLECTD_HOT_ANSWER_H
#define RECOLLECTD_HOT_ANSWER_H

#include "recollectd_hot_outbox.h"

/* HOT_LEFT: for the slower route. HOT_ASK_TIME: the answer depends on the time, which nobody has looked up yet in this
 * wake-up; set now_us and ask again. HOT_NO_MEMORY: nothing was written. */
enum { HOT_LEFT, HOT_DONE, HOT_ASK_TIME, HOT_NO_MEMORY };

/* A page counts so many bytes for each record beside its value (recollectd/memory/state/reads.py). */
#define HOT_RECORD_BYTES 64

#define HOT_AHEAD 16

typedef struct {
    cache *cache;
    hot_limits limits;
    hot_outbox outbox;
    int64_t now_us;    /* journal time; 0: not looked up yet */
    uint64_t position; /* everything up to this commit is in the cache, as far as it is there at all */
    uint32_t *touched; /* sliding records that the last answer has read, for Python to note */
    uint64_t touched_count, touched_room;
    uint32_t *absent; /* of the StateValues in the making */
    uint64_t absent_room;
    uint64_t answered[HOT_TAGS]; /* requests by tag, on the hot path alone */
    uint64_t hits, misses;       /* records looked up, on either route */
    /* Of requests on the slower route, over all connections; each counts for its bytes and request_bytes more. */
    int64_t bytes_in_flight, bytes_in_flight_max, request_bytes;
    int serving; /* an intake is using the outbox */
} hot_desk;

/* Add to a list that grows. */
static inline int hot_note(uint32_t **list, uint64_t *count, uint64_t *room, uint32_t number) {
    if (*count == *room) {
        uint64_t wanted = *room ? 2 * *room : 16;
        uint32_t *moved = (uint32_t *)realloc(*list, wanted * sizeof *moved);
        if (!moved) {
            return HOT_NO_MEMORY;
        }
        *list = moved;
        *room = wanted;
    }
    (*list)[(*count)++] = number;
    return HOT_DONE;
}

/* -- state -------------------------------------------------------------------------------------------------------- */

static inline int hot_append_bytes(hot_desk *desk, const uint8_t *bytes, uint64_t count) {
    return hot_outbox_put(&desk->outbox, bytes, count) ? HOT_DONE : HOT_NO_MEMORY;
}

/* Tell whether an entry stands for a record that is there now. */
static inline int hot_look(hot_desk *desk, const cache_entry *entry, int *there) {
    *there = entry->kind == CACHE_VALUE;
    if (*there && entry->expires) {
        if (!desk->now_us) {
            return HOT_ASK_TIME;
        }
        *there = desk->now_us < cache_expires_at(entry);
    }
    return HOT_DONE;
}

/* Append the record of an entry, or its value alone; text: the key as the request has it, NULL for the value alone. */
static inline int hot_append_record(hot_desk *desk, const cache_entry *entry, const uint8_t *text,
                                    uint32_t text_bytes) {
    uint8_t *to = hot_outbox_reserve(&desk->outbox, cache_record_bytes_max(entry, text_bytes));
    if (!to || (entry->sliding && hot_note(&desk->touched, &desk->touched_count, &desk->touched_room,
                                           cache_reference(desk->cache, entry)) != HOT_DONE)) {
        return HOT_NO_MEMORY;
    }
    to = text ? cache_write_record(to, entry, text, text_bytes) : cache_copy_value(to, entry);
    desk->outbox.used = (uint64_t)(to - desk->outbox.bytes);
    return HOT_DONE;
}

static inline int hot_get(hot_desk *desk, hot_request *request) {
    static const uint8_t absent[] = {0x91, HOT_ABSENT_TAG};
    uint32_t chain;
    int there;
    cache_entry *entry = cache_find(desk->cache, request->key, &chain);
    if (!entry) {
        return HOT_LEFT;
    }
    int outcome = hot_look(desk, entry, &there);
    if (outcome == HOT_DONE) {
        outcome = there ? hot_append_record(desk, entry, request->bytes + request->text_at,
                                            request->key.length - request->text_at)
                        : hot_append_bytes(desk, absent, sizeof absent);
        cache_touch_frequency(entry);
    }
    desk->hits += outcome == HOT_DONE;
    return outcome;
}

static inline int hot_is_marked(uint32_t *marks, uint64_t hash) { return marks && *hot_mark(marks, hash); }

/* A StateRecords or StateValues in the making. tag: which; count: records asked for; records, size: what is there so far;
 * absent: how many of them are not, of StateValues. */
typedef struct {
    uint64_t tag, count, records, size, absent, head_at, items_at;
} hot_page;

static inline int hot_page_begin(hot_desk *desk, hot_page *page, uint64_t tag, uint64_t count) {
    *page = (hot_page){.tag = tag, .count = count};
    uint8_t *to = hot_outbox_reserve(&desk->outbox, 2 + MSGPACK_HEAD_BYTES_MAX);
    if (!to) {
        return HOT_NO_MEMORY;
    }
    to = msgpack_write_number(msgpack_write_array(to, tag == HOT_VALUES_TAG ? 3 : 2), tag);
    page->head_at = (uint64_t)(to - desk->outbox.bytes);
    page->items_at = (uint64_t)(msgpack_write_array(to, (uint32_t)count) - desk->outbox.bytes);
    desk->outbox.used = page->items_at;
    return HOT_DONE;
}

/* Append what the page has of a record that is there, or not. */
static inline int hot_page_add_one(hot_desk *desk, hot_page *page, const cache_entry *entry, int there,
                                   const uint8_t *text, uint32_t text_bytes) {
    static const uint8_t nil[] = {MSGPACK_NIL};
    int values_alone = page->tag == HOT_VALUES_TAG;
    page->size += HOT_RECORD_BYTES;
    if (there) {
        page->size += entry->payload_bytes - entry->trailer_bytes;
        return hot_append_record(desk, entry, values_alone ? NULL : text, text_bytes);
    }
    if (values_alone &&
        hot_note(&desk->absent, &page->absent, &desk->absent_room, (uint32_t)page->records) != HOT_DONE) {
        return HOT_NO_MEMORY;
    }
    return hot_append_bytes(desk, nil, sizeof nil);
}

/* Append the records of some keys, until the page is full. */
static inline int hot_page_add(hot_desk *desk, hot_page *page, const cache_key *keys, uint32_t count, uint32_t text_at,
                               uint32_t *marks) {
    for (uint32_t index = 0; index < count && page->size < desk->limits.page_bytes_max; index++) {
        uint32_t chain;
        int there;
        cache_key key = keys[index];
        cache_entry *entry = cache_find(desk->cache, key, &chain);
        if (!entry || hot_is_marked(marks, key.hash)) {
            return HOT_LEFT;
        }
        int outcome = hot_look(desk, entry, &there);
        if (outcome == HOT_DONE) {
            outcome = hot_page_add_one(desk, page, entry, there, key.bytes + text_at, key.length - text_at);
        }
        if (outcome != HOT_DONE) {
            return outcome;
        }
        cache_touch_frequency(entry);
        page->records++;
    }
    return HOT_DONE;
}

/* Append which of the values stand for absent records. */
static inline int hot_page_add_absent(hot_desk *desk, const hot_page *page) {
    uint8_t *to = hot_outbox_reserve(&desk->outbox,
                                     MSGPACK_HEAD_BYTES_MAX + page->absent * MSGPACK_NUMBER_BYTES_MAX);
    if (!to) {
        return HOT_NO_MEMORY;
    }
    to = msgpack_write_array(to, (uint32_t)page->absent);
    for (uint64_t index = 0; index < page->absent; index++) {
        to = msgpack_write_number(to, desk->absent[index]);
    }
    desk->outbox.used = (uint64_t)(to - desk->outbox.bytes);
    return HOT_DONE;
}

/* End the page: a full one says in its head how many records there are, and that may be shorter. */
static inline int hot_page_end(hot_desk *desk, hot_page *page) {
    if (page->records < page->count) {
        uint8_t head[MSGPACK_HEAD_BYTES_MAX];
        uint64_t head_bytes = (uint64_t)(msgpack_write_array(head, (uint32_t)page->records) - head);
        uint8_t *at = desk->outbox.bytes + page->head_at;
        memmove(at + head_bytes, desk->outbox.bytes + page->items_at, desk->outbox.used - page->items_at);
        memcpy(at, head, head_bytes);
        desk->outbox.used -= page->items_at - page->head_at - head_bytes;
    }
    if (page->tag == HOT_VALUES_TAG && hot_page_add_absent(desk, page) != HOT_DONE) {
        return HOT_NO_MEMORY;
    }
    desk->hits += page->records;
    return HOT_DONE;
}

/* Read the next few keys of a request about several records and ask for their entries. Return how many; 0 for what is no key. */
static inline uint32_t hot_read_keys(hot_desk *desk, hot_request *request, uint64_t left, cache_key *keys) {
    static hot_request ahead[HOT_AHEAD];
    uint32_t count = left < HOT_AHEAD ? (uint32_t)left : HOT_AHEAD;
    for (uint32_t index = 0; index < count; index++) {
        memcpy(ahead[index].bytes, request->bytes, request->text_at);
        ahead[index].text_at = request->text_at;
        ahead[index].tag = HOT_STATE_GET;
        if (!hot_read_key(&ahead[index], &request->keys, desk->cache, &desk->limits)) {
            return 0;
        }
        keys[index] = ahead[index].key;
        __builtin_prefetch(cache_bucket(desk->cache, (uint32_t)keys[index].hash));
    }
    for (uint32_t index = 0; index < count; index++) {
        hot_prefetch_entry(&ahead[index], desk->cache);
    }
    for (uint32_t index = 0; index < count; index++) {
        hot_prefetch_next(&ahead[index], desk->cache);
    }
    return count;
}

/* The keys behind the end of a page are read too: the message must be right to its end. */
static inline int hot_get_several(hot_desk *desk, hot_request *request, uint32_t *marks) {
    cache_key keys[HOT_AHEAD];
    hot_page page;
    uint64_t tag = request->tag == HOT_STATE_GET_MANY ? HOT_RECORDS_TAG : HOT_VALUES_TAG;
    int outcome = hot_page_begin(desk, &page, tag, request->count);
    for (uint64_t left = request->count, some; left && outcome == HOT_DONE; left -= some) {
        some = hot_read_keys(desk, request, left, keys);
        if (!some) {
            return HOT_LEFT;
        }
        outcome = hot_page_add(desk, &page, keys, (uint32_t)some, request->text_at, marks);
    }
    if (outcome == HOT_DONE && request->keys.at != request->keys.end) {
        return HOT_LEFT;
    }
    return outcome == HOT_DONE ? hot_page_end(desk, &page) : outcome;
}

/* -- logs and conversations --------------------------------------------------------------------------------------- */

static inline int hot_last(hot_desk *desk, hot_request *request) {
    uint32_t chain, text_bytes = request->key.length - request->text_at;
    cache_entry *entry = cache_find(desk->cache, request->key, &chain);
    int64_t count = entry && entry->kind == CACHE_TAIL ? cache_tail_count(entry, request->wanted) : -1;
    if (count < 0) {
        return HOT_LEFT;
    }
    uint8_t *to = hot_outbox_reserve(&desk->outbox, cache_page_bytes_max(entry, text_bytes));
    if (!to) {
        return HOT_NO_MEMORY;
    }
    cache_touch_frequency(entry);
    const uint8_t *text = request->tag == HOT_HISTORY ? request->bytes + request->text_at : NULL;
    to = cache_write_page(to, entry, (uint32_t)count, text, text_bytes);
    desk->outbox.used = (uint64_t)(to - desk->outbox.bytes);
    desk->hits++;
    return HOT_DONE;
}

/* -- all of them -------------------------------------------------------------------------------------------------- */

/* What was appended since `start` counts for nothing: the slower route answers, or this one again. */
static inline int hot_take_back(hot_desk *desk, uint64_t start, int outcome) {
    if (outcome != HOT_DONE) {
        desk->outbox.used = start;
        desk->touched_count = 0;
    }
    return outcome;
}

/* Append the message that answers a request. Anything but HOT_DONE leaves the outbox as it was. */
static inline int hot_append_message(hot_desk *desk, hot_request *request, uint32_t *marks) {
    uint64_t start = desk->outbox.used;
    msgpack_reader keys = request->keys;
    int outcome = request->tag == HOT_STATE_GET  ? hot_get(desk, request)
                  : hot_is_several(request->tag) ? hot_get_several(desk, request, marks)
                                                 : hot_last(desk, request);
    request->keys = keys;
    return hot_take_back(desk, start, outcome);
}

/* Append the reply frame that answers a request from a frame, if nothing says that it must wait or be refused.
 * marks: of the connection, or NULL. */
static inline int hot_answer(hot_desk *desk, hot_request *request, const uint8_t *frame, uint32_t *marks) {
    uint64_t start = desk->outbox.used;
    if (!request->tag || hot_after(frame) > desk->position ||
        (!hot_is_several(request->tag) && hot_is_marked(marks, request->key.hash))) {
        return HOT_LEFT;
    }
    if (!hot_outbox_reserve(&desk->outbox, HOT_REPLY_HEADER_BYTES)) {
        return HOT_NO_MEMORY;
    }
    desk->outbox.used += HOT_REPLY_HEADER_BYTES;
    int outcome = hot_take_back(desk, start, hot_append_message(desk, request, marks));
    if (outcome == HOT_DONE) {
        desk->answered[request->tag]++;
        hot_write_header(desk->outbox.bytes + start, desk->outbox.used - start - HOT_REPLY_HEADER_BYTES,
                         hot_request_id(frame), desk->position);
    }
    return outcome;
}

#endif
