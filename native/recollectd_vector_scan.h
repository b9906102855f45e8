/* The best rows of several parts of a space, found without the interpreter.
 *
 * A part is a run of rows in memory or in a mapped file. A row counts if it had not died by the reader's seq and its
 * bit in the part's mask, if there is one, is set. Ranges are scored row by row; coarse ranges by their i8 copies
 * first, the best of which are scored again by what is stored; lists of rows are scored one by one, and so is what a
 * part's graph finds near the query.
 */
#ifndef RECOLLECTD_VECTOR_SCAN_H
#define RECOLLECTD_VECTOR_SCAN_H

#include "recollectd_vector_graph.h"

enum { SCAN_RANGE = 0, SCAN_COARSE = 1, SCAN_ROWS = 2, SCAN_GRAPH = 3 };

typedef struct {
    int kind;
    const uint8_t *stored;
    const int8_t *coarse;       /* SCAN_COARSE */
    const float *coarse_scales; /* SCAN_COARSE */
    const uint64_t *died;       /* seq of the commit that took the row away, 0 while it lives; or NULL: all live */
    const uint8_t *mask;        /* a bit per row, or NULL: all count */
    const uint64_t *rows;       /* SCAN_ROWS; others take the first count rows */
    const vector_graph *graph;  /* SCAN_GRAPH */
    size_t effort, fetch;       /* SCAN_GRAPH: how many the walk keeps, and how many of these are scored */
    size_t count;
    size_t accepted; /* out: how many rows counted */
} scan_part;

typedef struct {
    float score;
    uint32_t part;
    uint64_t row;
} scan_hit;

/* The worst of what is kept is at the top. */
typedef struct {
    scan_hit *hits;
    size_t count, room;
} scan_heap;

typedef struct {
    int measure, precision;
    size_t dimensions, row_bytes;
    const float *vector;
    const int8_t *coarse;
    uint64_t seq;
} scan_query;

static inline void scan_sink(scan_hit *hits, size_t count, size_t at)
{
    for (scan_hit moved = hits[at];;) {
        size_t child = 2 * at + 1;
        if (child + 1 < count && hits[child + 1].score < hits[child].score) child++;
        if (child >= count || moved.score <= hits[child].score) {
            hits[at] = moved;
            return;
        }
        hits[at] = hits[child];
        at = child;
    }
}

static inline void scan_keep(scan_heap *heap, scan_hit hit)
{
    if (heap->count == heap->room) {
        if (!heap->room || hit.score <= heap->hits[0].score) return;
        heap->hits[0] = hit;
        scan_sink(heap->hits, heap->count, 0);
        return;
    }
    size_t at = heap->count++;
    for (; at && heap->hits[(at - 1) / 2].score > hit.score; at = (at - 1) / 2) heap->hits[at] = heap->hits[(at - 1) / 2];
    heap->hits[at] = hit;
}

/* Best first. The heap is none any more. */
static inline void scan_order(scan_heap *heap)
{
    for (size_t left = heap->count; left > 1; left--) {
        scan_hit worst = heap->hits[0];
        heap->hits[0] = heap->hits[left - 1];
        scan_sink(heap->hits, left - 1, 0);
        heap->hits[left - 1] = worst;
    }
}

static inline int scan_counts(const scan_part *part, uint64_t row, uint64_t seq)
{
    if (part->mask && !(part->mask[row >> 3] >> (row & 7) & 1)) return 0;
    if (!part->died) return 1;
    uint64_t died = __atomic_load_n(part->died + row, __ATOMIC_RELAXED);
    return !died || died > seq;
}

static void scan_coarsely(const scan_query *query, scan_part *part, uint32_t number, scan_heap *heap)
{
    for (size_t row = 0; row < part->count; row++) {
        if (!scan_counts(part, row, query->seq)) continue;
        part->accepted++;
        int32_t dot = vector_dot_i8(query->coarse, part->coarse + row * query->dimensions, query->dimensions);
        scan_keep(heap, (scan_hit){(float)dot * part->coarse_scales[row], number, row});
    }
}

static void scan_exactly(const scan_query *query, scan_part *part, uint32_t number, scan_heap *heap)
{
    enum { AHEAD = 4 };
    for (size_t at = 0; at < part->count; at++) {
        uint64_t row = part->rows ? part->rows[at] : at;
        if (part->rows && at + AHEAD < part->count)
            __builtin_prefetch(part->stored + part->rows[at + AHEAD] * query->row_bytes);
        if (!scan_counts(part, row, query->seq)) continue;
        part->accepted++;
        float score = vector_score(query->measure, query->precision, query->vector,
                                   part->stored + row * query->row_bytes, query->dimensions);
        scan_keep(heap, (scan_hit){score, number, row});
    }
}

typedef struct {
    const scan_part *part;
    uint64_t seq;
} scan_counting;

static int scan_counts_row(const void *context, uint64_t row)
{
    const scan_counting *counting = (const scan_counting *)context;
    return row < counting->part->count && scan_counts(counting->part, row, counting->seq);
}

/* What the graph finds is scored by what is stored. 0 where there is no memory. */
static int scan_graph(const scan_query *query, scan_part *part, uint32_t number, graph_room *room, scan_heap *heap)
{
    scan_counting counting = {part, query->seq};
    scan_part found = {.kind = SCAN_ROWS, .stored = part->stored};
    if (!graph_walk(part->graph, room, query->vector, query->coarse, part->effort, scan_counts_row, &counting)) return 0;
    found.count = room->best_count < part->fetch ? room->best_count : part->fetch;
    for (size_t at = 0; at < found.count; at++) room->rows[at] = graph_row(part->graph, room->best[at].slot);
    found.rows = room->rows;
    scan_exactly(query, &found, number, heap);
    part->accepted = room->best_count;
    return 1;
}

/* Fill `best` with the best rows of all parts, best first; `coarse` is room for what is scored twice. 0 where there is
 * no memory. */
static int scan_parts(const scan_query *query, scan_part *parts, uint32_t count, graph_room *room, scan_heap *coarse,
                      scan_heap *best)
{
    best->count = coarse->count = 0;
    for (uint32_t number = 0; number < count; number++) {
        parts[number].accepted = 0;
        if (parts[number].kind == SCAN_COARSE)
            scan_coarsely(query, &parts[number], number, coarse);
        else if (parts[number].kind != SCAN_GRAPH)
            scan_exactly(query, &parts[number], number, best);
        else if (!scan_graph(query, &parts[number], number, room, best))
            return 0;
    }
    for (size_t at = 0; at < coarse->count; at++) {
        scan_hit hit = coarse->hits[at];
        hit.score = vector_score(query->measure, query->precision, query->vector,
                                 parts[hit.part].stored + hit.row * query->row_bytes, query->dimensions);
        scan_keep(best, hit);
    }
    scan_order(best);
    return 1;
}

#endif
