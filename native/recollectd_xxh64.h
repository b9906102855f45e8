/* XXH64: the 64-bit checksum of every journal batch and segment header.
 *
 * Written from the published description, "xxHash fast digest algorithm", version 0.1.1, section "XXH64 Algorithm
 * Description" (doc/xxhash_spec.md of github.com/Cyan4973/xxHash); the steps below carry the numbers of that section.
 * Do not change: the values are on disk. The published test vectors hold it (tests/native/test_checksum.py).
 */
#ifndef RECOLLECTD_XXH64_H
#define RECOLLECTD_XXH64_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "recollectd reads and writes its files on little-endian machines only"
#endif

#define XXH64_PRIME_1 0x9E3779B185EBCA87ULL
#define XXH64_PRIME_2 0xC2B2AE3D27D4EB4FULL
#define XXH64_PRIME_3 0x165667B19E3779F9ULL
#define XXH64_PRIME_4 0x85EBCA77C2B2AE63ULL
#define XXH64_PRIME_5 0x27D4EB2F165667C5ULL

static inline uint64_t xxh64_rotate_left(uint64_t value, unsigned bits) {
    return (value << bits) | (value >> (64u - bits));
}

/* Lanes may lie at any address: memcpy is the only read that is both defined and compiled to one load. */
static inline uint64_t xxh64_lane8(const uint8_t *bytes) {
    uint64_t lane;
    memcpy(&lane, bytes, sizeof lane);
    return lane;
}

static inline uint64_t xxh64_lane4(const uint8_t *bytes) {
    uint32_t lane;
    memcpy(&lane, bytes, sizeof lane);
    return lane;
}

static inline uint64_t xxh64_round(uint64_t accumulator, uint64_t lane) {
    return xxh64_rotate_left(accumulator + lane * XXH64_PRIME_2, 31) * XXH64_PRIME_1;
}

static inline uint64_t xxh64_merge(uint64_t accumulator, uint64_t stripe_accumulator) {
    return (accumulator ^ xxh64_round(0, stripe_accumulator)) * XXH64_PRIME_1 + XXH64_PRIME_4;
}

/* Steps 1 to 3: the stripes of 32 bytes, in four independent accumulators. */
static inline uint64_t xxh64_stripes(const uint8_t *bytes, size_t stripes, uint64_t seed) {
    uint64_t first = seed + XXH64_PRIME_1 + XXH64_PRIME_2;
    uint64_t second = seed + XXH64_PRIME_2;
    uint64_t third = seed;
    uint64_t fourth = seed - XXH64_PRIME_1;
    for (; stripes > 0; stripes--, bytes += 32) {
        first = xxh64_round(first, xxh64_lane8(bytes));
        second = xxh64_round(second, xxh64_lane8(bytes + 8));
        third = xxh64_round(third, xxh64_lane8(bytes + 16));
        fourth = xxh64_round(fourth, xxh64_lane8(bytes + 24));
    }
    uint64_t merged = xxh64_rotate_left(first, 1) + xxh64_rotate_left(second, 7) + xxh64_rotate_left(third, 12) +
                      xxh64_rotate_left(fourth, 18);
    merged = xxh64_merge(merged, first);
    merged = xxh64_merge(merged, second);
    merged = xxh64_merge(merged, third);
    return xxh64_merge(merged, fourth);
}

/* The checksum of `length` bytes at `data`, which may be NULL when length is 0. */
static inline uint64_t xxh64(const void *data, size_t length, uint64_t seed) {
    const uint8_t *bytes = (const uint8_t *)data;
    size_t stripes = length / 32;
    uint64_t value = stripes ? xxh64_stripes(bytes, stripes, seed) : seed + XXH64_PRIME_5;
    value += length; /* step 4 */

    /* Step 5: the up to 31 bytes behind the last stripe. */
    size_t rest = length - stripes * 32;
    if (rest) {
        bytes += stripes * 32;
    }
    for (; rest >= 8; rest -= 8, bytes += 8) {
        value = xxh64_rotate_left(value ^ xxh64_round(0, xxh64_lane8(bytes)), 27) * XXH64_PRIME_1 + XXH64_PRIME_4;
    }
    if (rest >= 4) {
        value = xxh64_rotate_left(value ^ (xxh64_lane4(bytes) * XXH64_PRIME_1), 23) * XXH64_PRIME_2 + XXH64_PRIME_3;
        rest -= 4;
        bytes += 4;
    }
    for (; rest > 0; rest--, bytes++) {
        value = xxh64_rotate_left(value ^ (*bytes * XXH64_PRIME_5), 11) * XXH64_PRIME_1;
    }

    /* Step 6: every bit of the input reaches every bit of the output. */
    value ^= value >> 33;
    value *= XXH64_PRIME_2;
    value ^= value >> 29;
    value *= XXH64_PRIME_3;
    value ^= value >> 32;
    return value;
}

#endif
