/* State records in the value cache: present ones with their reply's end, and absent ones.
 *
 * Every function here leaves at most one entry of a key behind it, and none rather than an old one: what cannot be kept
 * is removed.
 */
#ifndef RECOLLECTD_CACHE_VALUES_H
#define RECOLLECTD_CACHE_VALUES_H

#include "recollectd_cache_policy.h"
#include "recollectd_msgpack.h"

/* Times in microseconds; expires_at 0 for a record that does not expire. */
typedef struct {
    uint64_t version, created_at, updated_at, expires_at, revision;
    int sliding;
} cache_head;

static inline uint32_t cache_write_trailer(uint8_t *to, cache_head head) {
    uint8_t *end = msgpack_write_number(to, head.version);
    end = msgpack_write_number(end, head.created_at);
    end = msgpack_write_number(end, head.updated_at);
    if (head.expires_at) {
        end = msgpack_write_number(end, head.expires_at);
    } else {
        *end++ = MSGPACK_NIL;
    }
    return (uint32_t)(msgpack_write_number(end, head.revision) - to);
}

/* An entry of this size for a key that has none, linked and empty but for the key; the payload is the caller's to write.
 * NULL when it is too large, or its chain too long. `shape` says kind, expires, sliding and frequency. */
static inline cache_entry *cache_add(cache *cache, cache_key key, int in_main, cache_entry shape, uint32_t fixed_bytes,
                                     uint64_t payload_bytes, uint32_t trailer_bytes) {
    uint32_t chain;
    uint64_t span = cache_span_for(fixed_bytes, key.length, payload_bytes);
    if (span > cache_span_max(cache) || key.length > CACHE_KEY_BYTES_MAX) {
        return NULL;
    }
    cache_find(cache, key, &chain);
    if (chain >= CACHE_CHAIN_MAX) {
        return NULL;
    }
    cache_entry *entry = cache_make_room(cache, in_main || cache_recall(cache, (uint32_t)key.hash), span);
    shape.units = entry->units;
    shape.hash = (uint32_t)key.hash;
    shape.key_bytes = key.length;
    shape.payload_bytes = (uint32_t)payload_bytes;
    shape.trailer_bytes = trailer_bytes;
    *entry = shape;
    memset(entry + 1, 0, fixed_bytes);
    memcpy((uint8_t *)(entry + 1) + fixed_bytes, key.bytes, key.length);
    return entry;
}

/* The entry that a new one for this key will take the place of dies; where it lay and how often it was read is kept. */
static inline int cache_replace(cache *cache, cache_entry *before, cache_entry *shape) {
    int in_main = before && cache_in_main(cache, before);
    if (before) {
        shape->frequency = before->frequency;
        cache_kill(cache, before);
    }
    return in_main;
}

static inline void cache_write_value(cache_entry *entry, uint64_t expires_at, const uint8_t *value,
                                     uint32_t value_bytes, const uint8_t *trailer) {
    if (entry->expires) {
        memcpy(entry + 1, &expires_at, sizeof expires_at);
    }
    uint8_t *payload = cache_payload_of(entry);
    memcpy(payload, value, value_bytes);
    memcpy(payload + value_bytes, trailer, entry->trailer_bytes);
}

/* Whether an entry can take on another size where it lies: it must fit, and fill at least half. */
static inline int cache_fits_in_place(const cache_entry *entry, uint64_t span) {
    return span <= cache_span(entry) && 2 * span > cache_span(entry);
}

static inline void cache_put(cache *cache, cache_key key, cache_head head, const uint8_t *value, uint64_t value_bytes) {
    uint32_t chain;
    uint8_t trailer[CACHE_TRAILER_BYTES_MAX];
    uint32_t trailer_bytes = cache_write_trailer(trailer, head);
    uint32_t fixed_bytes = head.expires_at ? sizeof(int64_t) : 0;
    cache_entry *entry = cache_find(cache, key, &chain);
    cache_entry shape = {.kind = CACHE_VALUE, .expires = head.expires_at != 0, .sliding = head.sliding != 0};
    uint64_t span = cache_span_for(fixed_bytes, key.length, value_bytes + trailer_bytes);
    if (entry && entry->kind == CACHE_VALUE && entry->expires == shape.expires && cache_fits_in_place(entry, span)) {
        cache_account(cache, entry, -1);
        entry->sliding = shape.sliding;
        entry->trailer_bytes = trailer_bytes;
        entry->payload_bytes = (uint32_t)(value_bytes + trailer_bytes);
        cache_account(cache, entry, 1);
    } else {
        int in_main = cache_replace(cache, entry, &shape);
        entry = cache_add(cache, key, in_main, shape, fixed_bytes, value_bytes + trailer_bytes, trailer_bytes);
        if (!entry) {
            return;
        }
        cache_link(cache, entry);
    }
    cache_write_value(entry, head.expires_at, value, (uint32_t)value_bytes, trailer);
}

/* Say that there is no such record. */
static inline void cache_put_absent(cache *cache, cache_key key) {
    uint32_t chain;
    cache_entry shape = {.kind = CACHE_ABSENT};
    cache_entry *entry = cache_find(cache, key, &chain);
    if (entry && entry->kind == CACHE_ABSENT) {
        return;
    }
    int in_main = cache_replace(cache, entry, &shape);
    entry = cache_add(cache, key, in_main, shape, 0, 0, 0);
    if (entry) {
        cache_link(cache, entry);
    }
}

static inline void cache_drop(cache *cache, cache_key key) {
    uint32_t chain;
    cache_entry *entry = cache_find(cache, key, &chain);
    if (entry) {
        cache_kill(cache, entry);
    }
}

/* What the trailer of a record says. */
static inline cache_head cache_read_trailer(const cache_entry *entry) {
    cache_head head = {.sliding = entry->sliding};
    const uint8_t *end = cache_payload_of(entry) + entry->payload_bytes;
    msgpack_reader reader = {end - entry->trailer_bytes, end};
    msgpack_read_number(&reader, &head.version);
    msgpack_read_number(&reader, &head.created_at);
    msgpack_read_number(&reader, &head.updated_at);
    if (!msgpack_read_nil(&reader)) {
        msgpack_read_number(&reader, &head.expires_at);
    }
    msgpack_read_number(&reader, &head.revision);
    return head;
}

/* Give a record another expiry and revision; the value stays. One that has no room for them is dropped. */
static inline void cache_touch(cache *cache, cache_key key, uint64_t expires_at, uint64_t revision, int sliding) {
    uint32_t chain;
    uint8_t trailer[CACHE_TRAILER_BYTES_MAX];
    cache_entry *entry = cache_find(cache, key, &chain);
    if (!entry || entry->kind != CACHE_VALUE) {
        return;
    }
    cache_head head = cache_read_trailer(entry);
    head.expires_at = expires_at;
    head.revision = revision;
    uint32_t trailer_bytes = cache_write_trailer(trailer, head);
    uint32_t value_bytes = entry->payload_bytes - entry->trailer_bytes;
    uint32_t fixed_bytes = expires_at ? sizeof(int64_t) : 0;
    uint8_t *start = (uint8_t *)(entry + 1);
    if (cache_span_for(fixed_bytes, entry->key_bytes, (uint64_t)value_bytes + trailer_bytes) > cache_span(entry)) {
        cache_kill(cache, entry);
        return;
    }
    cache_account(cache, entry, -1);
    memmove(start + fixed_bytes, cache_key_of(entry), (size_t)entry->key_bytes + value_bytes);
    entry->expires = expires_at != 0;
    entry->sliding = sliding != 0;
    entry->trailer_bytes = trailer_bytes;
    entry->payload_bytes = value_bytes + trailer_bytes;
    cache_account(cache, entry, 1);
    if (expires_at) {
        memcpy(start, &expires_at, sizeof expires_at);
    }
    memcpy(cache_payload_of(entry) + value_bytes, trailer, trailer_bytes);
}

/* -- replies ---------------------------------------------------------------------------------------------------- */

#define CACHE_TAG_STATE_RECORD 17
#define CACHE_RECORD_FIELDS 8

/* What cache_write_record writes at most. */
static inline uint64_t cache_record_bytes_max(const cache_entry *entry, uint32_t text_bytes) {
    return 2 + MSGPACK_HEAD_BYTES_MAX + (uint64_t)text_bytes + entry->payload_bytes;
}

static inline uint8_t *cache_copy_value(uint8_t *to, const cache_entry *entry) {
    uint32_t value_bytes = entry->payload_bytes - entry->trailer_bytes;
    memcpy(to, cache_payload_of(entry), value_bytes);
    return to + value_bytes;
}

/* The record as a StateRecord; text: the key as the request has it. */
static inline uint8_t *cache_write_record(uint8_t *to, const cache_entry *entry, const uint8_t *text,
                                          uint32_t text_bytes) {
    to = msgpack_write_array(to, CACHE_RECORD_FIELDS);
    to = msgpack_write_number(to, CACHE_TAG_STATE_RECORD);
    to = msgpack_write_text(to, text, text_bytes);
    memcpy(to, cache_payload_of(entry), entry->payload_bytes);
    return to + entry->payload_bytes;
}

#endif
