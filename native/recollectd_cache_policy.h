/* What the value cache keeps: S3-FIFO (Yang, Zhang, Qiu, Yue, Vigfusson: "FIFO Queues are All You Need for Cache
 * Eviction", SOSP 2023).
 *
 * What is new enters `small`, a tenth of the room. At its tail, what was read at least twice goes on to `main`; the rest
 * leaves, and its fingerprint stays for a while among the ghosts. What is new but a ghost enters `main` at once. At the
 * tail of `main`, what was read since goes around once more. So a walk over keys that nobody reads twice passes through
 * `small` alone. Reads change two bits and move nothing.
 *
 * Two departures. As long as `main` has room, nothing that reaches the tail of `small` leaves: the paper's queues share
 * their room, our rings do not. And one call makes room in a bounded number of steps; after that it evicts whatever is
 * at the tail, or a cache in which everything is hot could hold up the event loop.
 */
#ifndef RECOLLECTD_CACHE_POLICY_H
#define RECOLLECTD_CACHE_POLICY_H

#include "recollectd_cache_table.h"

#include <errno.h>
#include <stdlib.h>

#define CACHE_SMALL_PERCENT 10
#define CACHE_FREQUENCY_MAX 3
#define CACHE_PROMOTE_FREQUENCY 2
#define CACHE_STEPS_MAX 2048
#define CACHE_BYTES_MIN (1024 * 1024)

/* Rows of ghosts: one fingerprint for each value of so many bytes that `main` could hold. */
#define CACHE_GHOST_VALUE_BYTES 256

/* -- life ------------------------------------------------------------------------------------------------------- */

static inline void cache_close(cache *cache) {
    if (cache->arena) {
        cache_unpoison(cache->arena, cache->arena_bytes);
        munmap(cache->arena, cache->arena_bytes);
    }
    if (cache->buckets) {
        munmap(cache->buckets, cache->buckets_max * sizeof *cache->buckets);
    }
    if (cache->ghosts) {
        munmap(cache->ghosts, cache->ghost_rows * CACHE_GHOST_WAYS * sizeof *cache->ghosts);
    }
    free(cache->guards);
    free(cache);
}

/* A cache that takes at most bytes_max (CACHE_BYTES_MIN ... CACHE_BYTES_MAX) of memory, all told. NULL with errno set
 * when the system has no room for it. */
static inline cache *cache_open(uint64_t bytes_max, uint64_t seed) {
    cache *made = (cache *)calloc(1, sizeof(cache));
    if (!made) {
        return NULL;
    }
    made->seed = seed;
    made->buckets_now = made->level = CACHE_BUCKETS_MIN;
    made->buckets_max = bytes_max / 128 < CACHE_BUCKETS_MIN ? CACHE_BUCKETS_MIN : bytes_max / 128;
    made->ghost_rows = 1;
    while (made->ghost_rows * CACHE_GHOST_WAYS * CACHE_GHOST_VALUE_BYTES < bytes_max / 2) {
        made->ghost_rows *= 2;
    }
    uint64_t table_bytes = made->buckets_max * sizeof *made->buckets;
    uint64_t ghost_bytes = made->ghost_rows * CACHE_GHOST_WAYS * sizeof *made->ghosts;
    uint64_t beside = table_bytes + ghost_bytes + CACHE_GUARDS * sizeof *made->guards;
    made->arena_bytes = (bytes_max - beside) / 4096 * 4096;
    made->arena = (uint8_t *)cache_map(made->arena_bytes);
    made->buckets = (uint32_t *)cache_map(table_bytes);
    made->ghosts = (uint16_t *)cache_map(ghost_bytes);
    made->guards = (uint64_t *)calloc(CACHE_GUARDS, sizeof *made->guards);
    if (!made->arena || !made->buckets || !made->ghosts || !made->guards) {
        cache_close(made);
        errno = ENOMEM;
        return NULL;
    }
    uint64_t small_bytes = made->arena_bytes / 100 * CACHE_SMALL_PERCENT / CACHE_UNIT_BYTES * CACHE_UNIT_BYTES;
    cache_ring_set(&made->small, CACHE_UNIT_BYTES, CACHE_UNIT_BYTES + small_bytes);
    cache_ring_set(&made->main, CACHE_UNIT_BYTES + small_bytes, made->arena_bytes);
    cache_poison(made->arena, made->arena_bytes);
    return made;
}

/* The largest entry that is kept: a few must fit into `small`, and making room for one must not take long. */
static inline uint64_t cache_span_max(const cache *cache) {
    uint64_t quarter = (cache->small.end - cache->small.start) / 4;
    return quarter < CACHE_ENTRY_BYTES_MAX ? quarter : CACHE_ENTRY_BYTES_MAX;
}

/* -- making room ------------------------------------------------------------------------------------------------ */

static inline int cache_in_main(const cache *cache, const cache_entry *entry) {
    return (uint64_t)((const uint8_t *)entry - cache->arena) >= cache->main.start;
}

static inline void cache_touch_frequency(cache_entry *entry) {
    entry->frequency += entry->frequency < CACHE_FREQUENCY_MAX;
}

static inline int cache_step(cache *cache) {
    int left = cache->steps_left > 0;
    cache->steps_left -= (uint64_t)left;
    return left;
}

/* Take the entry at a ring's tail out of everything. */
static inline void cache_evict(cache *cache, cache_ring *ring, cache_entry *entry) {
    if (entry->kind != CACHE_DEAD) {
        cache->evictions++;
        *cache_link_of(cache, entry) = entry->chain;
    }
    cache_account(cache, entry, -1);
    cache_ring_pop(ring, cache->arena, cache_span(entry));
}

/* Let the entry at the tail of `main` go around: to the head, where its own bytes at the least are free. */
static inline void cache_go_around(cache *cache, cache_entry *entry) {
    cache_ring *ring = &cache->main;
    uint32_t *link = cache_link_of(cache, entry);
    uint64_t bytes = cache_span(entry);
    cache_ring_pop(ring, cache->arena, bytes);
    cache_ring_fits(ring, bytes);
    uint8_t *to = cache->arena + cache_ring_take(ring, cache->arena, bytes);
    cache_unpoison(entry, bytes);
    memmove(to, entry, bytes - CACHE_REDZONE_BYTES);
    if (to != (uint8_t *)entry) {
        cache_poison(entry, bytes);
        cache_unpoison(to, bytes);
    }
    cache_poison(to + bytes - CACHE_REDZONE_BYTES, CACHE_REDZONE_BYTES);
    *link = cache_reference(cache, (cache_entry *)to);
}

static inline void cache_evict_main(cache *cache) {
    cache_entry *entry = cache_at(cache, cache->main.tail / CACHE_UNIT_BYTES);
    if (entry->kind != CACHE_DEAD && entry->frequency && cache_step(cache)) {
        entry->frequency--;
        cache_go_around(cache, entry);
        return;
    }
    cache_evict(cache, &cache->main, entry);
}

static inline void cache_promote(cache *cache, cache_entry *entry) {
    uint64_t bytes = cache_span(entry);
    uint32_t *link = cache_link_of(cache, entry);
    cache_entry *to = (cache_entry *)(cache->arena + cache_ring_take(&cache->main, cache->arena, bytes));
    memcpy(to, entry, bytes - CACHE_REDZONE_BYTES);
    to->frequency = 0;
    *link = cache_reference(cache, to);
    cache_ring_pop(&cache->small, cache->arena, bytes);
    cache->promotions++;
}

static inline void cache_evict_small(cache *cache) {
    cache_entry *entry = cache_at(cache, cache->small.tail / CACHE_UNIT_BYTES);
    if (entry->kind != CACHE_DEAD && cache_step(cache)) {
        uint64_t bytes = cache_span(entry);
        while (!cache_ring_fits(&cache->main, bytes) && entry->frequency >= CACHE_PROMOTE_FREQUENCY) {
            cache_evict_main(cache);
        }
        if (cache_ring_fits(&cache->main, bytes)) {
            cache_promote(cache, entry);
            return;
        }
        cache_remember(cache, entry->hash);
    }
    cache_evict(cache, &cache->small, entry);
}

/* Room for an entry in one of the rings, evicting what must go. bytes: at most cache_span_max. */
static inline cache_entry *cache_make_room(cache *cache, int in_main, uint64_t bytes) {
    cache_ring *ring = in_main ? &cache->main : &cache->small;
    cache->steps_left = CACHE_STEPS_MAX;
    while (!cache_ring_fits(ring, bytes)) {
        if (in_main) {
            cache_evict_main(cache);
        } else {
            cache_evict_small(cache);
        }
    }
    cache_entry *entry = (cache_entry *)(cache->arena + cache_ring_take(ring, cache->arena, bytes));
    *entry = (cache_entry){.units = (uint32_t)(bytes / CACHE_UNIT_BYTES)};
    return entry;
}

/* Empty the cache: everything that is being read now is late. */
static inline void cache_clear(cache *cache, uint64_t seq) {
    memset(cache->buckets, 0, cache->buckets_now * sizeof *cache->buckets);
    memset(&cache->accounts, 0, sizeof cache->accounts);
    cache_ring_set(&cache->small, cache->small.start, cache->small.end);
    cache_ring_set(&cache->main, cache->main.start, cache->main.end);
    cache_poison(cache->arena, cache->arena_bytes);
    for (size_t index = 0; index < CACHE_GUARDS; index++) {
        cache->guards[index] = seq;
    }
}

#endif
