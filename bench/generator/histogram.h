/* Latencies in buckets of constant relative width, as HdrHistogram has them: 128 per power of two, under 0.8 % wide. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

enum { HISTOGRAM_SUB_BITS = 7, HISTOGRAM_BUCKETS = 8192 };

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
};

static inline void histogram_add(struct histogram *histogram, uint64_t value_ns)
{
    unsigned shift = 0;
    if (value_ns >> (HISTOGRAM_SUB_BITS + 1)) shift = 63 - __builtin_clzll(value_ns) - HISTOGRAM_SUB_BITS;
    histogram->counts[((uint64_t)shift << HISTOGRAM_SUB_BITS) + (value_ns >> shift)]++;
}

/* Prints "<label> <index> <middle of the bucket in ns> <count>" for each bucket that holds anything. */
static inline void histogram_print(const struct histogram *histogram, const char *label, int index)
{
    for (uint64_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        if (!histogram->counts[bucket]) continue;
        uint64_t value = bucket;
        if (bucket >> (HISTOGRAM_SUB_BITS + 1)) {
            unsigned shift = (unsigned)(bucket >> HISTOGRAM_SUB_BITS) - 1;
            value = ((bucket - ((uint64_t)shift << HISTOGRAM_SUB_BITS)) << shift) + (1ull << shift) / 2;
        }
        printf("%s %d %llu %llu\n", label, index, (unsigned long long)value,
               (unsigned long long)histogram->counts[bucket]);
    }
}

#endif
