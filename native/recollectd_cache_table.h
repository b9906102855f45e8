/* The value cache's table: from a key to its entry, and what the cache knows beside its entries.
 *
 * Buckets hold the reference of the first entry, entries that of the next. The table grows by linear hashing (Litwin,
 * VLDB 1980): one bucket is split for each entry added, so no call pays for a whole table. A chain that is longer than
 * chance ever makes one is the work of somebody who chooses keys; what would lengthen it is not cached.
 */
#ifndef RECOLLECTD_CACHE_TABLE_H
#define RECOLLECTD_CACHE_TABLE_H

#include "recollectd_cache_memory.h"
#include "recollectd_xxh64.h"

#define CACHE_BUCKETS_MIN 1024
#define CACHE_CHAIN_MAX 24
#define CACHE_GUARDS 16384
#define CACHE_GHOST_WAYS 8

typedef struct {
    uint64_t count[CACHE_KINDS];
    uint64_t key_bytes[CACHE_KINDS];
    uint64_t content_bytes[CACHE_KINDS]; /* values and items, without what is around them */
    uint64_t span_bytes[CACHE_KINDS];
} cache_accounts;

typedef struct {
    uint8_t *arena;
    uint64_t arena_bytes;
    cache_ring small, main;
    uint32_t *buckets;
    uint64_t buckets_now, buckets_max, level; /* level: the greatest power of two that is not above buckets_now */
    uint16_t *ghosts; /* fingerprints of keys lately evicted from `small`, CACHE_GHOST_WAYS to a row, the newest first */
    uint64_t ghost_rows;
    uint64_t *guards; /* by hash: the last commit that changed a record there */
    uint64_t seed;
    uint64_t steps_left;
    cache_accounts accounts;
    uint64_t evictions, promotions, fills, fills_late;
} cache;

typedef struct {
    const uint8_t *bytes;
    uint32_t length;
    uint64_t hash;
} cache_key;

static inline cache_key cache_key_for(const cache *cache, const uint8_t *bytes, uint32_t length) {
    return (cache_key){bytes, length, xxh64(bytes, length, cache->seed)};
}

static inline cache_entry *cache_at(const cache *cache, uint64_t reference) {
    return (cache_entry *)(cache->arena + reference * CACHE_UNIT_BYTES);
}

static inline uint32_t cache_reference(const cache *cache, const cache_entry *entry) {
    return (uint32_t)((uint64_t)((const uint8_t *)entry - cache->arena) / CACHE_UNIT_BYTES);
}

/* -- buckets ---------------------------------------------------------------------------------------------------- */

static inline uint32_t *cache_bucket(const cache *cache, uint32_t hash) {
    uint64_t index = hash & (2 * cache->level - 1);
    return &cache->buckets[index < cache->buckets_now ? index : index & (cache->level - 1)];
}

/* The entry of a key, or NULL. chain: how many entries were passed. */
static inline cache_entry *cache_find(const cache *cache, cache_key key, uint32_t *chain) {
    uint32_t reference = *cache_bucket(cache, (uint32_t)key.hash);
    for (*chain = 0; reference; ++*chain) {
        cache_entry *entry = cache_at(cache, reference);
        if (entry->hash == (uint32_t)key.hash && entry->key_bytes == key.length &&
            memcmp(cache_key_of(entry), key.bytes, key.length) == 0) {
            return entry;
        }
        reference = entry->chain;
    }
    return NULL;
}

/* Where an entry's reference is held: its bucket, or the entry before it. */
static inline uint32_t *cache_link_of(const cache *cache, const cache_entry *entry) {
    uint32_t wanted = cache_reference(cache, entry);
    uint32_t *link = cache_bucket(cache, entry->hash);
    while (*link != wanted) {
        link = &cache_at(cache, *link)->chain;
    }
    return link;
}

static inline void cache_split_bucket(cache *cache) {
    uint64_t split = cache->buckets_now - cache->level;
    uint32_t *stays = &cache->buckets[split], *moves = &cache->buckets[cache->buckets_now];
    uint32_t reference = *stays;
    while (reference) {
        cache_entry *entry = cache_at(cache, reference);
        uint32_t **list = entry->hash & cache->level ? &moves : &stays;
        **list = reference;
        *list = &entry->chain;
        reference = entry->chain;
    }
    *stays = *moves = 0;
    if (++cache->buckets_now == 2 * cache->level) {
        cache->level *= 2;
    }
}

/* -- accounts --------------------------------------------------------------------------------------------------- */

static inline uint64_t cache_content_bytes(cache_entry *entry) {
    return entry->kind == CACHE_TAIL ? cache_tail_of(entry)->used_bytes
                                     : (uint64_t)entry->payload_bytes - entry->trailer_bytes;
}

/* Add an entry to the accounts, or with `sign` -1 take it out. Around every change of what it says of itself. */
static inline void cache_account(cache *cache, cache_entry *entry, int64_t sign) {
    cache_accounts *accounts = &cache->accounts;
    accounts->count[entry->kind] += (uint64_t)sign;
    accounts->key_bytes[entry->kind] += (uint64_t)(sign * (int64_t)entry->key_bytes);
    accounts->content_bytes[entry->kind] += (uint64_t)(sign * (int64_t)cache_content_bytes(entry));
    accounts->span_bytes[entry->kind] += (uint64_t)(sign * (int64_t)cache_span(entry));
}

/* -- adding and removing ---------------------------------------------------------------------------------------- */

static inline void cache_link(cache *cache, cache_entry *entry) {
    uint32_t *bucket = cache_bucket(cache, entry->hash);
    entry->chain = *bucket;
    *bucket = cache_reference(cache, entry);
    cache_account(cache, entry, 1);
    const uint64_t *count = cache->accounts.count;
    uint64_t entries = count[CACHE_VALUE] + count[CACHE_ABSENT] + count[CACHE_TAIL];
    if (entries > cache->buckets_now && cache->buckets_now < cache->buckets_max) {
        cache_split_bucket(cache);
    }
}

/* Make an entry one that is found no more. Its bytes come back when its ring's tail reaches them. */
static inline void cache_kill(cache *cache, cache_entry *entry) {
    *cache_link_of(cache, entry) = entry->chain;
    cache_account(cache, entry, -1);
    entry->kind = CACHE_DEAD;
    entry->key_bytes = entry->payload_bytes = entry->trailer_bytes = entry->expires = 0;
    cache_account(cache, entry, 1);
}

/* -- guards -----------------------------------------------------------------------------------------------------
 * A fill carries what a read found that began when commit `read_at` was the last one applied. It is late, and must not
 * be kept, if anything under its guard has been changed by a later commit. */

static inline uint64_t *cache_guard(cache *cache, cache_key key) {
    return &cache->guards[key.hash >> 40 & (CACHE_GUARDS - 1)];
}

static inline void cache_changed(cache *cache, cache_key key, uint64_t seq) { *cache_guard(cache, key) = seq; }

static inline int cache_may_fill(cache *cache, cache_key key, uint64_t read_at) {
    int late = *cache_guard(cache, key) > read_at;
    cache->fills += !late;
    cache->fills_late += late;
    return !late;
}

/* -- ghosts: which keys were here lately ------------------------------------------------------------------------ */

static inline uint16_t cache_fingerprint(uint32_t hash) {
    uint16_t fingerprint = (uint16_t)(hash >> 16);
    return fingerprint ? fingerprint : 1;
}

static inline uint16_t *cache_ghost_row(const cache *cache, uint32_t hash) {
    return &cache->ghosts[(hash & (cache->ghost_rows - 1)) * CACHE_GHOST_WAYS];
}

static inline void cache_remember(cache *cache, uint32_t hash) {
    uint16_t *row = cache_ghost_row(cache, hash);
    memmove(row + 1, row, (CACHE_GHOST_WAYS - 1) * sizeof *row);
    row[0] = cache_fingerprint(hash);
}

static inline int cache_recall(const cache *cache, uint32_t hash) {
    const uint16_t *row = cache_ghost_row(cache, hash);
    uint16_t fingerprint = cache_fingerprint(hash);
    for (int way = 0; way < CACHE_GHOST_WAYS; way++) {
        if (row[way] == fingerprint) {
            return 1;
        }
    }
    return 0;
}

#endif
