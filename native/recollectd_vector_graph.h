/* Walking a graph where its file is mapped: the rows near a query, found without the interpreter and without locks.
 *
 * The file is usearch's (index_dense, format 2), written by it and checked as a whole before it is opened here:
 *
 *     u32 count, u32 bytes of a vector, the vectors by slot            copies of i8 or bf16
 *     64 bytes: "usearch", u16 major, minor, patch, what is measured
 *     u64 count, connectivity, connectivity of the lowest level, highest level, first slot
 *     i16 level of each slot
 *     for each slot: u64 key, i16 level, then for the lowest level and each above it: u32 count, u32 slots[its room]
 *
 * A search is that of Malkov and Yashunin (2018): greedily down to the lowest level, there the best `effort` rows that
 * count are kept, and whatever is nearer than the worst of them is looked at. Rows that do not count (dead, or not
 * allowed) are walked through and not kept, so a graph with many of them is walked further, by itself.
 */
#ifndef RECOLLECTD_VECTOR_GRAPH_H
#define RECOLLECTD_VECTOR_GRAPH_H

#include <stdlib.h>

#include "recollectd_vector_kernels.h"

enum { GRAPH_HEAD_BYTES = 64, GRAPH_FIGURES_BYTES = 40, GRAPH_NODE_BYTES = 10, GRAPH_LEVELS_MAX = 64 };
enum { GRAPH_CONNECTIVITY_MAX = 1024, GRAPH_AHEAD = 4, GRAPH_LINE_BYTES = 64 };

typedef struct {
    const uint8_t *vectors, *nodes;
    uint32_t *above; /* of each slot: how many higher levels the slots before it have, in all */
    size_t count, vector_bytes, dimensions, node_bytes, level_bytes;
    uint32_t connectivity, connectivity_base, first;
    int top_level, measure, precision;
    int in_order; /* whether each slot's key is its number */
} vector_graph;

static inline uint64_t graph_load64(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, 8);
    return value;
}

static inline uint32_t graph_load32(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, 4);
    return value;
}

static inline const uint8_t *graph_node(const vector_graph *graph, uint32_t slot)
{
    return graph->nodes + slot * graph->node_bytes + (size_t)graph->above[slot] * graph->level_bytes;
}

static inline int graph_level(const vector_graph *graph, uint32_t slot)
{
    return (int)(graph->above[slot + 1] - graph->above[slot]);
}

/* Return 0, or why these bytes are no graph of such vectors. `graph->above` is for the caller to free, either way. */
static const char *graph_open(vector_graph *graph, const uint8_t *bytes, size_t length, size_t dimensions, int measure,
                              int precision)
{
    memset(graph, 0, sizeof *graph);
    graph->dimensions = dimensions, graph->measure = measure, graph->precision = precision;
    if (length < 8) return "it is too short";
    graph->count = graph_load32(bytes), graph->vector_bytes = graph_load32(bytes + 4);
    if (graph->vector_bytes != dimensions * (precision == VECTOR_BF16 ? 2 : 1)) return "its vectors have another size";
    size_t at = 8 + graph->count * graph->vector_bytes;
    if (length < at + GRAPH_HEAD_BYTES + GRAPH_FIGURES_BYTES + 2 * graph->count) return "it is too short";
    graph->vectors = bytes + 8;
    if (memcmp(bytes + at, "usearch\2\0", 9)) return "it is of another format";
    at += GRAPH_HEAD_BYTES;
    uint64_t count = graph_load64(bytes + at), connectivity = graph_load64(bytes + at + 8);
    uint64_t base = graph_load64(bytes + at + 16), top = graph_load64(bytes + at + 24);
    uint64_t first = graph_load64(bytes + at + 32);
    if (!count && !graph->count) return 0;
    if (count != graph->count || connectivity > GRAPH_CONNECTIVITY_MAX || base > GRAPH_CONNECTIVITY_MAX ||
        top > GRAPH_LEVELS_MAX || (count && first >= count))
        return "its figures make no sense";
    graph->connectivity = (uint32_t)connectivity, graph->connectivity_base = (uint32_t)base;
    graph->top_level = (int)top, graph->first = (uint32_t)first;
    graph->node_bytes = GRAPH_NODE_BYTES + 4 + 4 * base, graph->level_bytes = 4 + 4 * connectivity;
    const uint8_t *levels = bytes + at + GRAPH_FIGURES_BYTES;
    graph->nodes = levels + 2 * count;
    graph->above = (uint32_t *)malloc((count + 1) * 4);
    if (!graph->above) return "there is no memory";
    uint64_t above = 0;
    for (size_t slot = 0; slot < count; slot++) {
        int16_t level;
        memcpy(&level, levels + 2 * slot, 2);
        if (level < 0 || level > graph->top_level) return "its levels make no sense";
        graph->above[slot] = (uint32_t)above;
        above += (uint32_t)level;
    }
    graph->above[count] = (uint32_t)above;
    size_t before = (size_t)(graph->nodes - bytes);
    if (above > UINT32_MAX || before + count * graph->node_bytes + above * graph->level_bytes != length)
        return "it has another length than its nodes";
    if (count && graph_level(graph, graph->first) < graph->top_level) return "its levels make no sense";
    graph->in_order = 1;
    for (size_t slot = 0; slot < count; slot++)
        if (graph_load64(graph_node(graph, (uint32_t)slot)) != slot) graph->in_order = 0;
    return 0;
}

typedef struct {
    float score;
    uint32_t slot;
} graph_place;

/* Room for walks, one after the other, in one graph or several; all zero at first.
 *
 * seen: a bit a slot; touched: the slots whose bits are set. next: a heap of what is to be looked at, the best on top;
 * best: a heap of what counts, the worst on top, and after a walk in order, the best first.
 */
typedef struct {
    uint64_t *seen;
    size_t seen_words;
    uint32_t *touched;
    size_t touched_count, touched_room;
    graph_place *next, *best;
    size_t next_count, next_room, best_count, best_room;
    uint64_t *rows;
    size_t rows_room;
} graph_room;

static inline void graph_room_free(graph_room *room)
{
    free(room->seen), free(room->touched), free(room->next), free(room->best), free(room->rows);
    memset(room, 0, sizeof *room);
}

static inline int graph_grow(void **array, size_t *room, size_t wanted, size_t size)
{
    if (wanted <= *room) return 1;
    size_t more = *room * 2 > wanted ? *room * 2 : wanted;
    void *grown = realloc(*array, more * size);
    if (!grown) return 0;
    *array = grown, *room = more;
    return 1;
}

/* See that a walk with such an effort finds room: 0 where there is no memory. */
static int graph_make_room(graph_room *room, const vector_graph *graph, size_t effort)
{
    size_t words = graph->count / 64 + 1;
    if (words > room->seen_words) {
        free(room->seen);
        room->seen_words = 0;
        room->seen = (uint64_t *)calloc(words, 8);
        if (!room->seen) return 0;
        room->seen_words = words;
    }
    return graph_grow((void **)&room->best, &room->best_room, effort + 1, sizeof(graph_place)) &&
           graph_grow((void **)&room->touched, &room->touched_room, 1, 4) &&
           graph_grow((void **)&room->rows, &room->rows_room, effort + 1, 8);
}

/* Set a slot's bit, for which there is room: 1 if it was not set. */
static inline int graph_see(graph_room *room, uint32_t slot)
{
    uint64_t bit = (uint64_t)1 << (slot & 63), *word = room->seen + (slot >> 6);
    if (*word & bit) return 0;
    *word |= bit;
    room->touched[room->touched_count++] = slot;
    return 1;
}

static inline void graph_forget(graph_room *room)
{
    for (size_t at = 0; at < room->touched_count; at++) room->seen[room->touched[at] >> 6] = 0;
    room->touched_count = room->next_count = room->best_count = 0;
}

/* Heaps: with sign 1 the highest score is on top, with -1 the lowest. */
static inline void graph_rise(graph_place *heap, size_t at, graph_place place, float sign)
{
    for (; at && sign * heap[(at - 1) / 2].score < sign * place.score; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = place;
}

static inline void graph_sink(graph_place *heap, size_t count, graph_place place, float sign)
{
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && sign * heap[child + 1].score > sign * heap[child].score) child++;
        if (sign * place.score >= sign * heap[child].score) break;
        heap[at] = heap[child];
    }
    heap[at] = place;
}

static inline float graph_score(const vector_graph *graph, const float *query, const int8_t *coarse, uint32_t slot)
{
    const uint8_t *row = graph->vectors + slot * graph->vector_bytes;
    if (graph->precision == VECTOR_I8) return (float)vector_dot_i8(coarse, (const int8_t *)row, graph->dimensions);
    return vector_score(graph->measure, VECTOR_BF16, query, row, graph->dimensions);
}

static inline void graph_fetch(const vector_graph *graph, uint32_t slot)
{
    const uint8_t *row = graph->vectors + slot * graph->vector_bytes;
    for (size_t at = 0; at < graph->vector_bytes; at += GRAPH_LINE_BYTES) __builtin_prefetch(row + at);
}

static inline void graph_fetch_links(const vector_graph *graph, uint32_t slot)
{
    const uint8_t *node = graph_node(graph, slot);
    for (size_t at = 0; at < graph->node_bytes; at += GRAPH_LINE_BYTES) __builtin_prefetch(node + at);
}

static inline uint64_t graph_row(const vector_graph *graph, uint32_t slot)
{
    return graph->in_order ? slot : graph_load64(graph_node(graph, slot));
}

/* Go down to the slot that is nearest on the level above the lowest. */
static uint32_t graph_descend(const vector_graph *graph, const float *query, const int8_t *coarse)
{
    uint32_t nearest = graph->first;
    float score = graph_score(graph, query, coarse, nearest);
    for (int level = graph->top_level; level > 0; level--) {
        for (int moved = 1; moved;) {
            const uint8_t *links = graph_node(graph, nearest) + graph->node_bytes + (level - 1) * graph->level_bytes;
            uint32_t count = graph_load32(links);
            moved = 0;
            if (count > graph->connectivity) count = graph->connectivity;
            for (uint32_t at = 0; at < count; at++) {
                uint32_t slot = graph_load32(links + 4 + 4 * at);
                if (slot >= graph->count || graph_level(graph, slot) < level) continue;
                float found = graph_score(graph, query, coarse, slot);
                if (found > score) score = found, nearest = slot, moved = 1;
            }
        }
    }
    return nearest;
}

/* Whether the row of a slot counts: asked only of those that are near enough. */
typedef int graph_counts(const void *context, uint64_t row);

static inline void graph_keep(graph_room *room, size_t effort, graph_place place)
{
    if (room->best_count < effort)
        graph_rise(room->best, room->best_count++, place, -1);
    else
        graph_sink(room->best, room->best_count, place, -1);
}

static inline int graph_enter(graph_room *room, const vector_graph *graph, size_t effort, graph_place place,
                              graph_counts *counts, const void *context)
{
    if (!graph_grow((void **)&room->next, &room->next_room, room->next_count + 1, sizeof(graph_place))) return 0;
    graph_rise(room->next, room->next_count++, place, 1);
    if (counts(context, graph_row(graph, place.slot))) graph_keep(room, effort, place);
    return 1;
}

/* Find up to `effort` rows near a query that count: `room->best`, the best first. 0 where there is no memory. */
static int graph_walk(const vector_graph *graph, graph_room *room, const float *query, const int8_t *coarse,
                      size_t effort, graph_counts *counts, const void *context)
{
    uint32_t near[GRAPH_CONNECTIVITY_MAX];
    if (!graph_make_room(room, graph, effort)) return 0;
    graph_forget(room);
    if (!graph->count) return 1;
    uint32_t first = graph_descend(graph, query, coarse);
    graph_see(room, first);
    int fine = graph_enter(room, graph, effort, (graph_place){graph_score(graph, query, coarse, first), first}, counts, context);
    while (fine && room->next_count) {
        graph_place place = room->next[0];
        if (room->best_count == effort && place.score < room->best[0].score) break;
        if (--room->next_count) {
            graph_sink(room->next, room->next_count, room->next[room->next_count], 1);
            graph_fetch_links(graph, room->next[0].slot); // perhaps the next one
        }
        const uint8_t *links = graph_node(graph, place.slot) + GRAPH_NODE_BYTES;
        uint32_t count = graph_load32(links), fresh = 0;
        if (count > graph->connectivity_base) count = graph->connectivity_base;
        fine = graph_grow((void **)&room->touched, &room->touched_room, room->touched_count + count, 4);
        for (uint32_t at = 0; at < count && fine; at++) {
            uint32_t slot = graph_load32(links + 4 + 4 * at);
            if (slot < graph->count && graph_see(room, slot)) {
                if (fresh < GRAPH_AHEAD) graph_fetch(graph, slot);
                near[fresh++] = slot;
            }
        }
        for (uint32_t at = 0; at < fresh && fine; at++) {
            if (at + GRAPH_AHEAD < fresh) graph_fetch(graph, near[at + GRAPH_AHEAD]);
            place = (graph_place){graph_score(graph, query, coarse, near[at]), near[at]};
            if (room->best_count < effort || place.score > room->best[0].score)
                fine = graph_enter(room, graph, effort, place, counts, context);
        }
        if (room->next_count) graph_fetch_links(graph, room->next[0].slot);
    }
    for (size_t left = room->best_count; left > 1;) {
        graph_place worst = room->best[0];
        left--;
        graph_sink(room->best, left, room->best[left], -1);
        room->best[left] = worst;
    }
    return fine;
}

#endif
