/* Tails in the value cache: the newest items of a log or the newest messages of a conversation, kept by apply.
 *
 * A tail has room for a power of two of items, up to CACHE_TAIL_ITEMS_MAX. An item that has room is appended where the
 * tail lies; without room the tail moves into twice as much, and one that may not grow drops its older half. So an
 * append costs its own bytes, amortized, and "the newest ten" of a log in use are there.
 */
#ifndef RECOLLECTD_CACHE_TAILS_H
#define RECOLLECTD_CACHE_TAILS_H

#include "recollectd_cache_values.h"

#define CACHE_TAIL_ITEMS_MAX 64
#define CACHE_TAIL_ITEMS_MIN 4
#define CACHE_TAIL_BYTES_MAX (64 * 1024)

typedef struct {
    const uint8_t *bytes;
    uint32_t length;
} cache_item;

/* Where a log stands. */
typedef struct {
    uint64_t first, next, revision;
} cache_bounds;

static inline uint8_t *cache_items_of(cache_entry *entry) { return cache_payload_of(entry); }

static inline uint32_t cache_lengths(const uint32_t *lengths, uint32_t count) {
    uint32_t bytes = 0;
    for (uint32_t index = 0; index < count; index++) {
        bytes += lengths[index];
    }
    return bytes;
}

/* Keep the items from number `from` up to number `to`, counted from the oldest. */
static inline void cache_tail_keep(cache_entry *entry, uint32_t from, uint32_t to) {
    cache_tail *tail = cache_tail_of(entry);
    uint32_t before = cache_lengths(tail->lengths, from);
    uint32_t kept = cache_lengths(tail->lengths + from, to - from);
    memmove(cache_items_of(entry), cache_items_of(entry) + before, kept);
    memmove(tail->lengths, tail->lengths + from, (to - from) * sizeof *tail->lengths);
    tail->count = (uint16_t)(to - from);
    tail->used_bytes = kept;
}

static inline void cache_tail_push(cache_entry *entry, const cache_item *items, uint32_t count) {
    cache_tail *tail = cache_tail_of(entry);
    for (uint32_t index = 0; index < count; index++) {
        memcpy(cache_items_of(entry) + tail->used_bytes, items[index].bytes, items[index].length);
        tail->used_bytes += items[index].length;
        tail->lengths[tail->count++] = items[index].length;
    }
}

static inline int cache_tail_has_room(cache_entry *entry, uint32_t count, uint64_t bytes) {
    const cache_tail *tail = cache_tail_of(entry);
    return tail->count + count <= tail->slots && tail->used_bytes + bytes <= entry->payload_bytes;
}

static inline void cache_tail_stand(cache_tail *tail, cache_bounds bounds) {
    tail->first = bounds.first;
    tail->next = bounds.next;
    tail->revision = bounds.revision;
}

/* How many of the newest items fit into the largest tail; bytes: their sum. */
static inline uint32_t cache_newest_that_fit(const cache_item *items, uint32_t count, uint64_t *bytes) {
    uint32_t fit = 0;
    for (*bytes = 0; fit < count && fit < CACHE_TAIL_ITEMS_MAX; fit++) {
        uint64_t more = *bytes + items[count - 1 - fit].length;
        if (more > CACHE_TAIL_BYTES_MAX) {
            break;
        }
        *bytes = more;
    }
    return fit;
}

/* Make the tail of a key these items, the newest last, with room for about as many again. */
static inline void cache_tail_begin(cache *cache, cache_key key, cache_bounds bounds, const cache_item *items,
                                    uint32_t count) {
    uint32_t chain;
    uint64_t bytes;
    cache_entry shape = {.kind = CACHE_TAIL};
    int in_main = cache_replace(cache, cache_find(cache, key, &chain), &shape);
    uint32_t kept = cache_newest_that_fit(items, count, &bytes), slots = CACHE_TAIL_ITEMS_MIN;
    while (slots < CACHE_TAIL_ITEMS_MAX && slots < kept + kept / 2) {
        slots *= 2;
    }
    uint64_t room = kept ? bytes + bytes / kept * (slots - kept) : 0;
    room = room > CACHE_TAIL_BYTES_MAX ? CACHE_TAIL_BYTES_MAX : room;
    uint32_t fixed_bytes = (uint32_t)(sizeof(cache_tail) + slots * sizeof(uint32_t));
    cache_entry *entry = cache_add(cache, key, in_main, shape, fixed_bytes, room, 0);
    if (!entry) {
        return;
    }
    cache_tail_of(entry)->slots = (uint16_t)slots;
    cache_tail_stand(cache_tail_of(entry), bounds);
    cache_tail_push(entry, items + (count - kept), kept);
    cache_link(cache, entry);
}

/* Begin the tail anew with what it has and some items more, fewer than CACHE_TAIL_ITEMS_MAX. */
static inline void cache_tail_regrow(cache *cache, cache_key key, cache_entry *entry, cache_bounds bounds,
                                     const cache_item *items, uint32_t count) {
    /* What it has is copied: making room may overwrite it. */
    uint8_t copied[CACHE_TAIL_BYTES_MAX];
    cache_item all[2 * CACHE_TAIL_ITEMS_MAX];
    cache_tail *tail = cache_tail_of(entry);
    uint32_t old = tail->count, at = 0;
    memcpy(copied, cache_items_of(entry), tail->used_bytes);
    for (uint32_t index = 0; index < old; index++) {
        all[index] = (cache_item){copied + at, tail->lengths[index]};
        at += tail->lengths[index];
    }
    memcpy(all + old, items, count * sizeof *items);
    cache_tail_begin(cache, key, bounds, all, old + count);
}

/* Items were appended, the first at `position`; the log stands at `bounds` now. `items` are the newest of them, the
 * last CACHE_TAIL_ITEMS_MAX at most. A tail that does not reach up to them, or is not there, begins anew with them. */
static inline void cache_tail_append(cache *cache, cache_key key, cache_bounds bounds, uint64_t position,
                                     const cache_item *items, uint32_t count) {
    uint32_t chain;
    uint64_t bytes = 0;
    cache_entry *entry = cache_find(cache, key, &chain);
    if (!entry || entry->kind != CACHE_TAIL || cache_tail_of(entry)->next != position ||
        count >= CACHE_TAIL_ITEMS_MAX) {
        cache_tail_begin(cache, key, bounds, items, count);
        return;
    }
    for (uint32_t index = 0; index < count; index++) {
        bytes += items[index].length;
    }
    cache_tail *tail = cache_tail_of(entry);
    int grown = tail->slots == CACHE_TAIL_ITEMS_MAX || entry->payload_bytes == CACHE_TAIL_BYTES_MAX;
    cache_account(cache, entry, -1);
    if (grown && !cache_tail_has_room(entry, count, bytes)) {
        cache_tail_keep(entry, (uint32_t)(tail->count + 1) / 2, tail->count);
    }
    int fits = cache_tail_has_room(entry, count, bytes);
    if (fits) {
        cache_tail_push(entry, items, count);
        cache_tail_stand(tail, bounds);
    }
    cache_account(cache, entry, 1);
    if (!fits) {
        cache_tail_regrow(cache, key, entry, bounds, items, count);
    }
}

/* The log was cut down to first ... next - 1. */
static inline void cache_tail_cut(cache *cache, cache_key key, cache_bounds bounds) {
    uint32_t chain;
    cache_entry *entry = cache_find(cache, key, &chain);
    if (!entry || entry->kind != CACHE_TAIL) {
        return;
    }
    cache_tail *tail = cache_tail_of(entry);
    uint64_t oldest = tail->next - tail->count;
    uint64_t from = bounds.first > oldest ? bounds.first : oldest;
    uint64_t to = bounds.next < tail->next ? bounds.next : tail->next;
    if (from > to) {
        from = to = oldest;
    }
    cache_account(cache, entry, -1);
    cache_tail_keep(entry, (uint32_t)(from - oldest), (uint32_t)(to - oldest));
    cache_account(cache, entry, 1);
    cache_tail_stand(tail, bounds);
}

/* -- replies ---------------------------------------------------------------------------------------------------- */

#define CACHE_TAG_LOG_PAGE 33
#define CACHE_TAG_HISTORY 50

/* How many items the newest `wanted` are, or -1 when the tail does not reach so far back. */
static inline int64_t cache_tail_count(cache_entry *entry, uint64_t wanted) {
    const cache_tail *tail = cache_tail_of(entry);
    uint64_t there = tail->next - tail->first, asked = wanted < there ? wanted : there;
    return asked <= tail->count ? (int64_t)asked : -1;
}

/* What cache_write_page writes at most. */
static inline uint64_t cache_page_bytes_max(cache_entry *entry, uint32_t text_bytes) {
    return 2 + 2 * MSGPACK_HEAD_BYTES_MAX + 3 * MSGPACK_NUMBER_BYTES_MAX + (uint64_t)text_bytes +
           cache_tail_of(entry)->used_bytes;
}

/* The newest `count` items as a LogPage, or with text (the conversation's id) as a History. */
static inline uint8_t *cache_write_page(uint8_t *to, cache_entry *entry, uint32_t count, const uint8_t *text,
                                        uint32_t text_bytes) {
    const cache_tail *tail = cache_tail_of(entry);
    uint32_t before = cache_lengths(tail->lengths, tail->count - count), bytes = tail->used_bytes - before;
    to = msgpack_write_array(to, 5);
    to = msgpack_write_number(to, text ? CACHE_TAG_HISTORY : CACHE_TAG_LOG_PAGE);
    if (text) {
        to = msgpack_write_text(to, text, text_bytes);
    }
    to = msgpack_write_array(to, count);
    memcpy(to, cache_items_of(entry) + before, bytes);
    to += bytes;
    if (text) {
        to = msgpack_write_number(to, tail->next - tail->first);
    } else {
        to = msgpack_write_number(to, tail->first);
        to = msgpack_write_number(to, tail->next);
    }
    return msgpack_write_number(to, tail->revision);
}

#endif
