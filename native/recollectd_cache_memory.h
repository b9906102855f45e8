/* The value cache's memory: entries, one behind the other, in two rings.
 *
 *     entry    header of 16 bytes, fixed part, key, payload
 *              value: fixed part = expires_at i64 if it expires; payload = the value, then the trailer: what follows the
 *                     value in a reply (version, created_at, updated_at, expires_at, revision), as it goes out
 *              absent: no fixed part, no payload
 *              tail: fixed part = cache_tail; payload = the newest items of a log or conversation, as they go out
 *
 * A ring is written at its head and evicted at its tail, so it needs no lists: the order of the bytes is the order of
 * arrival. What is replaced or removed stays as a dead entry until the tail comes by. Nothing here is allocated entry by
 * entry, so the bound in bytes is exact and memory does not fragment. References count units of 8 bytes from the
 * arena's beginning; 0 is none.
 *
 * One thread uses a cache: the event loop's.
 */
#ifndef RECOLLECTD_CACHE_MEMORY_H
#define RECOLLECTD_CACHE_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define CACHE_UNIT_BYTES 8
#define CACHE_ENTRY_BYTES_MAX (256 * 1024)
#define CACHE_KEY_BYTES_MAX 4095
#define CACHE_TRAILER_BYTES_MAX 45
#define CACHE_BYTES_MAX ((uint64_t)UINT32_MAX * CACHE_UNIT_BYTES)

/* Under AddressSanitizer what belongs to no entry is poisoned, and every entry ends with a strip that stays so. */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define CACHE_REDZONE_BYTES 16
#define cache_poison(start, bytes) ASAN_POISON_MEMORY_REGION(start, bytes)
#define cache_unpoison(start, bytes) ASAN_UNPOISON_MEMORY_REGION(start, bytes)
#else
#define CACHE_REDZONE_BYTES 0
#define cache_poison(start, bytes) ((void)(start), (void)(bytes))
#define cache_unpoison(start, bytes) ((void)(start), (void)(bytes))
#endif

enum { CACHE_VALUE, CACHE_ABSENT, CACHE_TAIL, CACHE_DEAD, CACHE_KINDS };

typedef struct {
    uint32_t chain; /* the next entry of the same bucket */
    uint32_t hash;  /* the lower half of the key's */
    uint32_t units : 18;
    uint32_t key_bytes : 12;
    uint32_t frequency : 2;
    uint32_t payload_bytes : 21;
    uint32_t trailer_bytes : 6;
    uint32_t kind : 2;
    uint32_t expires : 1;
    uint32_t sliding : 1;
} cache_entry;

_Static_assert(sizeof(cache_entry) == 16, "the overhead of every value");
_Static_assert(CACHE_ENTRY_BYTES_MAX / CACHE_UNIT_BYTES < 1 << 18, "units");

/* The newest `count` items of a log whose positions are first ... next - 1; items and lengths begin with the oldest. */
typedef struct {
    uint64_t first;
    uint64_t next;
    uint64_t revision;
    uint32_t used_bytes;
    uint16_t count;
    uint16_t slots;
    uint32_t lengths[];
} cache_tail;

static inline cache_tail *cache_tail_of(cache_entry *entry) { return (cache_tail *)(entry + 1); }

static inline uint32_t cache_fixed_bytes(const cache_entry *entry) {
    if (entry->kind == CACHE_TAIL) {
        return (uint32_t)sizeof(cache_tail) + ((const cache_tail *)(entry + 1))->slots * (uint32_t)sizeof(uint32_t);
    }
    return entry->expires ? sizeof(int64_t) : 0;
}

static inline uint8_t *cache_key_of(const cache_entry *entry) {
    return (uint8_t *)(entry + 1) + cache_fixed_bytes(entry);
}

static inline uint8_t *cache_payload_of(const cache_entry *entry) { return cache_key_of(entry) + entry->key_bytes; }

static inline int64_t cache_expires_at(const cache_entry *entry) {
    int64_t expires_at;
    memcpy(&expires_at, entry + 1, sizeof expires_at);
    return expires_at;
}

/* What an entry takes in its ring; what of it may be touched is less by the redzone. */
static inline uint64_t cache_span(const cache_entry *entry) { return (uint64_t)entry->units * CACHE_UNIT_BYTES; }

static inline uint64_t cache_span_for(uint64_t fixed_bytes, uint64_t key_bytes, uint64_t payload_bytes) {
    uint64_t bytes = sizeof(cache_entry) + fixed_bytes + key_bytes + payload_bytes + CACHE_REDZONE_BYTES;
    return (bytes + CACHE_UNIT_BYTES - 1) / CACHE_UNIT_BYTES * CACHE_UNIT_BYTES;
}

/* -- rings ---------------------------------------------------------------------------------------------------------
 * All in bytes from the arena's beginning. Entries lie from tail to head; where head is not behind tail they have gone
 * around, from tail to `last` and from start to head. An entry never straddles the end. */
typedef struct {
    uint64_t start, end;
    uint64_t tail, head, last;
    uint64_t used;
} cache_ring;

static inline void cache_ring_set(cache_ring *ring, uint64_t start, uint64_t end) {
    *ring = (cache_ring){.start = start, .end = end, .tail = start, .head = start, .last = start};
}

/* Whether so many bytes fit at the head without evicting; moves the head to where they do. */
static inline int cache_ring_fits(cache_ring *ring, uint64_t bytes) {
    if (!ring->used) {
        ring->tail = ring->head = ring->start;
        return bytes <= ring->end - ring->start;
    }
    if (ring->head <= ring->tail) {
        return bytes <= ring->tail - ring->head;
    }
    if (bytes <= ring->end - ring->head) {
        return 1;
    }
    if (bytes > ring->tail - ring->start) {
        return 0;
    }
    ring->last = ring->head;
    ring->head = ring->start;
    return 1;
}

/* Take bytes that fit; return where they are. */
static inline uint64_t cache_ring_take(cache_ring *ring, uint8_t *arena, uint64_t bytes) {
    uint64_t at = ring->head;
    ring->head += bytes;
    ring->used += bytes;
    cache_unpoison(arena + at, bytes - CACHE_REDZONE_BYTES);
    return at;
}

/* Give back the entry at the tail, of so many bytes. */
static inline void cache_ring_pop(cache_ring *ring, uint8_t *arena, uint64_t bytes) {
    int around = ring->head <= ring->tail;
    cache_poison(arena + ring->tail, bytes);
    ring->tail += bytes;
    ring->used -= bytes;
    if (around && ring->tail == ring->last) {
        ring->tail = ring->start;
    }
}

/* -- reservations --------------------------------------------------------------------------------------------------
 * Address space for the worst case; a page becomes memory when it is first written. NULL with errno set when the
 * system gives none. */
static inline void *cache_map(uint64_t bytes) {
    void *mapped =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) {
        return NULL;
    }
    madvise(mapped, bytes, MADV_HUGEPAGE);
    return mapped;
}

#endif
