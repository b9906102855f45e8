/* Random numbers, and which key is next: uniform, zipfian (scrambled, as YCSB has it), latest, or one after the other.
 *
 * The zipfian draw is that of Gray et al., "Quickly Generating Billion-Record Synthetic Databases" (SIGMOD 1994). */
#ifndef BENCH_KEYS_H
#define BENCH_KEYS_H

#include <math.h>
#include <stdint.h>

static uint64_t random_state;

static inline uint64_t scramble(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
    return value ^ (value >> 31);
}

static inline uint64_t random_bits(void) { return scramble(random_state += 0x9e3779b97f4a7c15ull); }

static inline uint64_t random_below(uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)random_bits() * bound) >> 64);
}

static inline double random_unit(void) { return (double)(random_bits() >> 11) * 0x1.0p-53; }

enum distribution { UNIFORM, ZIPFIAN, LATEST, SEQUENTIAL };

struct keys {
    enum distribution distribution;
    uint64_t count, next, insert_start, insert_step, inserted;
    double theta, zeta, alpha, eta;
};

static void keys_prepare(struct keys *keys)
{
    if (keys->distribution != ZIPFIAN && keys->distribution != LATEST) return;
    for (uint64_t rank = 1; rank <= keys->count; rank++) keys->zeta += pow(1.0 / (double)rank, keys->theta);
    double first_two = 1.0 + pow(0.5, keys->theta);
    keys->alpha = 1.0 / (1.0 - keys->theta);
    keys->eta = (1.0 - pow(2.0 / (double)keys->count, 1.0 - keys->theta)) / (1.0 - first_two / keys->zeta);
}

static uint64_t zipfian_rank(const struct keys *keys)
{
    double unit = random_unit(), scaled = unit * keys->zeta;
    if (scaled < 1.0) return 0;
    if (scaled < 1.0 + pow(0.5, keys->theta)) return 1;
    uint64_t rank = (uint64_t)((double)keys->count * pow(keys->eta * unit - keys->eta + 1.0, keys->alpha));
    return rank < keys->count ? rank : keys->count - 1;
}

static uint64_t keys_choose(struct keys *keys)
{
    uint64_t rank;
    switch (keys->distribution) {
    case SEQUENTIAL:
        return keys->next++ % keys->count;
    case ZIPFIAN:
        return scramble(zipfian_rank(keys)) % keys->count;
    case LATEST:
        rank = zipfian_rank(keys);
        if (rank < keys->inserted) return keys->insert_start + (keys->inserted - 1 - rank) * keys->insert_step;
        return keys->count - 1 - (rank - keys->inserted);
    default:
        return random_below(keys->count);
    }
}

static inline uint64_t keys_insert(struct keys *keys)
{
    return keys->insert_start + keys->insert_step * keys->inserted++;
}

#endif
