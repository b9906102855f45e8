/* What the keyword index is made of: arrays that readers may keep while they grow, numbers in few bytes, 128-bit names.
 *
 * An array of Grow is written by one thread, under the index's lock. A reader copies the Grow under that lock and then
 * reads the first `used` elements without it: an append writes behind them, and one that needs room moves to new memory
 * and leaves the old to those who still hold it.
 */
#ifndef RECOLLECTD_KEYWORD_MEMORY_H
#define RECOLLECTD_KEYWORD_MEMORY_H

#include <stdint.h>
#include <string.h>

#include <memory>
#include <string>
#include <vector>

#include "recollectd_xxh64.h"

namespace keyword {

template <typename Item>
struct Grow {
    std::shared_ptr<Item[]> items;
    size_t used = 0;
    size_t capacity = 0;

    /* Make room for `more` elements; return by how many bytes the array grew. */
    size_t reserve(size_t more) {
        if (used + more <= capacity) {
            return 0;
        }
        size_t wanted = capacity == 0 ? (more < 8 ? 8 : more) : capacity * 2;
        while (wanted < used + more) {
            wanted *= 2;
        }
        std::shared_ptr<Item[]> larger(new Item[wanted]);
        if (used) {
            memcpy(larger.get(), items.get(), used * sizeof(Item));
        }
        size_t grown = (wanted - capacity) * sizeof(Item);
        items = std::move(larger);
        capacity = wanted;
        return grown;
    }

    size_t push(Item item) {
        size_t grown = reserve(1);
        items[used++] = item;
        return grown;
    }

    size_t append(const Item *more, size_t count) {
        size_t grown = reserve(count);
        if (count) {
            memcpy(items.get() + used, more, count * sizeof(Item));
        }
        used += count;
        return grown;
    }

    size_t bytes() const { return capacity * sizeof(Item); }
};

/* Seven bits a byte, lowest first; the last byte has its high bit clear. */
static inline size_t varint_bytes(uint8_t *into, uint64_t value) {
    size_t count = 0;
    while (value >= 0x80) {
        into[count++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    into[count++] = (uint8_t)value;
    return count;
}

/* Returns what follows the number, or NULL when it does not end before `end` or in 64 bits. */
static inline const uint8_t *varint_read(const uint8_t *at, const uint8_t *end, uint64_t *value) {
    uint64_t read = 0;
    for (unsigned shift = 0; at < end && shift < 64; shift += 7) {
        uint8_t byte = *at++;
        read |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = read;
            return at;
        }
    }
    return nullptr;
}

/* A posting list: for each document the distance from the one before, doubled, plus 1 if the term occurs more than
 * once, in which case the number of occurrences follows. Do not change: it is on disk. */
struct Posting {
    uint32_t row;
    uint32_t occurrences;
};

static inline size_t posting_bytes(uint8_t *into, uint32_t distance, uint32_t occurrences) {
    size_t count = varint_bytes(into, ((uint64_t)distance << 1) | (occurrences > 1));
    return occurrences > 1 ? count + varint_bytes(into + count, occurrences) : count;
}

enum { POSTING_BYTES_MAX = 20 };

/* Whether a document that died at `dead` (0: it has not) is there for a reader at `seq`. */
static inline bool is_live(uint64_t dead, uint64_t seq) { return dead == 0 || dead > seq; }

static inline uint64_t load_dead(const uint64_t *dead, uint32_t row) {
    return dead == nullptr ? 0 : __atomic_load_n(dead + row, __ATOMIC_RELAXED);
}

/* Append the live postings of a list; return false if the bytes are no list over `rows` documents. */
static inline bool postings_read(const uint8_t *at, const uint8_t *end, uint32_t rows, const uint64_t *dead,
                                 uint64_t seq, std::vector<Posting> &into) {
    uint64_t row = 0;
    while (at < end) {
        uint64_t value, occurrences = 1;
        if (*at < 0x80) {
            value = *at++;
        } else if ((at = varint_read(at, end, &value)) == nullptr) {
            return false;
        }
        if ((value & 1) && (at = varint_read(at, end, &occurrences)) == nullptr) {
            return false;
        }
        row += value >> 1;
        if (row >= rows || occurrences > UINT32_MAX) {
            return false;
        }
        if (dead == nullptr || is_live(load_dead(dead, (uint32_t)row), seq)) {
            into.push_back({(uint32_t)row, (uint32_t)occurrences});
        }
    }
    return true;
}

/* The name of a document for the table of locations. The seed is random and lives as long as the process: nobody can
 * choose ids that collide, and by chance two of a billion do with a probability of 10^-21. */
struct Name {
    uint64_t high;
    uint64_t low;
    bool operator==(const Name &other) const { return high == other.high && low == other.low; }
};

static inline Name name_of(uint64_t seed, const std::string &scope, const uint8_t *id, size_t id_bytes) {
    uint64_t high = xxh64(scope.data(), scope.size(), seed);
    uint64_t low = xxh64(scope.data(), scope.size(), ~seed);
    return {xxh64(id, id_bytes, high), xxh64(id, id_bytes, low) | 1};
}

}  // namespace keyword

#endif
