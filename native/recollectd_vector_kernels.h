/* Scoring of vectors: inner products and squared distances of one query with many stored rows.
 *
 * A row is stored as f32, as bf16 (the upper half of an f32) or as i8 followed by the f32 it is to be multiplied with.
 * The loops are written over vectors of sixteen floats; the compiler makes one copy for each generation of processors
 * and the loader takes the one that fits. Sums are taken in sixteen lanes, so they differ from a sequential sum in the
 * last bits, and always alike for the same two vectors: a score depends on nothing but query and row.
 */
#ifndef RECOLLECTD_VECTOR_KERNELS_H
#define RECOLLECTD_VECTOR_KERNELS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#define VECTOR_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), optimize("O3")))
#else
#define VECTOR_CLONES
#endif

enum { VECTOR_F32 = 0, VECTOR_BF16 = 1, VECTOR_I8 = 2 };
enum { VECTOR_DOT = 0, VECTOR_L2 = 1 };
enum { VECTOR_LANES = 16 };

typedef float vector_floats __attribute__((vector_size(64)));

#define VECTOR_SUM(sums) \
    do { \
        for (int lane = VECTOR_LANES / 2; lane; lane /= 2) \
            for (int at = 0; at < lane; at++) (sums)[at] += (sums)[at + lane]; \
    } while (0)

static inline size_t vector_row_bytes(int precision, size_t dimensions)
{
    switch (precision) {
    case VECTOR_F32: return dimensions * 4;
    case VECTOR_BF16: return dimensions * 2;
    default: return dimensions + 4;
    }
}

VECTOR_CLONES static float vector_dot_f32(const float *query, const uint8_t *row, size_t dimensions)
{
    vector_floats low = {0}, high = {0}, a, b;
    size_t at = 0;
    for (; at + 2 * VECTOR_LANES <= dimensions; at += 2 * VECTOR_LANES) {
        memcpy(&a, query + at, 64), memcpy(&b, row + at * 4, 64);
        low += a * b;
        memcpy(&a, query + at + VECTOR_LANES, 64), memcpy(&b, row + at * 4 + 64, 64);
        high += a * b;
    }
    low += high;
    VECTOR_SUM(low);
    float sum = low[0], one;
    for (; at < dimensions; at++) memcpy(&one, row + at * 4, 4), sum += query[at] * one;
    return sum;
}

VECTOR_CLONES static float vector_l2_f32(const float *query, const uint8_t *row, size_t dimensions)
{
    vector_floats sums = {0}, a, b;
    size_t at = 0;
    for (; at + VECTOR_LANES <= dimensions; at += VECTOR_LANES) {
        memcpy(&a, query + at, 64), memcpy(&b, row + at * 4, 64);
        a -= b;
        sums += a * a;
    }
    VECTOR_SUM(sums);
    float sum = sums[0], one;
    for (; at < dimensions; at++) memcpy(&one, row + at * 4, 4), sum += (query[at] - one) * (query[at] - one);
    return sum;
}

/* bf16 and i8 rows are widened piece by piece into floats on the stack, and those scored as above. */
enum { VECTOR_PIECE = 256 };

VECTOR_CLONES static void vector_widen_bf16(const uint8_t *row, float *wide, size_t count)
{
    for (size_t at = 0; at < count; at++) {
        uint16_t half;
        memcpy(&half, row + at * 2, 2);
        uint32_t bits = (uint32_t)half << 16;
        memcpy(wide + at, &bits, 4);
    }
}

VECTOR_CLONES static void vector_widen_i8(const int8_t *row, float scale, float *wide, size_t count)
{
    for (size_t at = 0; at < count; at++) wide[at] = (float)row[at] * scale;
}

VECTOR_CLONES static int32_t vector_dot_i8_plain(const int8_t *query, const int8_t *row, size_t dimensions)
{
    int32_t sum = 0;
    for (size_t at = 0; at < dimensions; at++) sum += (int16_t)query[at] * (int16_t)row[at];
    return sum;
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#include <immintrin.h>

/* With VNNI, 64 products at a time, of unsigned with signed bytes: the row's have 128 added, and the query's sum 128
 * times too much is taken away. All is exact in 32 bits. */
__attribute__((target("avx512f,avx512bw,avx512vnni"))) static int32_t
vector_dot_i8_vnni(const int8_t *query, const int8_t *row, size_t dimensions)
{
    const __m512i half = _mm512_set1_epi8((char)0x80), ones = _mm512_set1_epi8(1);
    __m512i sums = _mm512_setzero_si512(), over = _mm512_setzero_si512();
    for (size_t at = 0; at < dimensions; at += 64) {
        __mmask64 mask = dimensions - at < 64 ? ((__mmask64)1 << (dimensions - at)) - 1 : ~(__mmask64)0;
        __m512i one = _mm512_maskz_loadu_epi8(mask, query + at), other = _mm512_maskz_loadu_epi8(mask, row + at);
        sums = _mm512_dpbusd_epi32(sums, _mm512_xor_si512(other, half), one);
        over = _mm512_dpbusd_epi32(over, ones, one);
    }
    return _mm512_reduce_add_epi32(_mm512_sub_epi32(sums, _mm512_slli_epi32(over, 7)));
}

static inline int32_t vector_dot_i8(const int8_t *query, const int8_t *row, size_t dimensions)
{
    static int fits = -1; /* all threads find the same */
    if (fits < 0) fits = __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw");
    return fits ? vector_dot_i8_vnni(query, row, dimensions) : vector_dot_i8_plain(query, row, dimensions);
}
#else
static inline int32_t vector_dot_i8(const int8_t *query, const int8_t *row, size_t dimensions)
{
    return vector_dot_i8_plain(query, row, dimensions);
}
#endif

static inline float vector_i8_scale(const uint8_t *row, size_t dimensions)
{
    float scale;
    memcpy(&scale, row + dimensions, 4);
    return scale;
}

/* The higher the nearer: an inner product, or a squared distance with its sign turned. */
static float vector_score(int measure, int precision, const float *query, const uint8_t *row, size_t dimensions)
{
    if (precision == VECTOR_F32)
        return measure == VECTOR_L2 ? -vector_l2_f32(query, row, dimensions) : vector_dot_f32(query, row, dimensions);
    float wide[VECTOR_PIECE], sum = 0, scale = precision == VECTOR_I8 ? vector_i8_scale(row, dimensions) : 0;
    for (size_t at = 0; at < dimensions; at += VECTOR_PIECE) {
        size_t count = dimensions - at < VECTOR_PIECE ? dimensions - at : VECTOR_PIECE;
        if (precision == VECTOR_BF16)
            vector_widen_bf16(row + at * 2, wide, count);
        else
            vector_widen_i8((const int8_t *)row + at, scale, wide, count);
        sum += measure == VECTOR_L2 ? -vector_l2_f32(query + at, (const uint8_t *)wide, count)
                                    : vector_dot_f32(query + at, (const uint8_t *)wide, count);
    }
    return sum;
}

/* -- storing ----------------------------------------------------------------------------------------------------- */

static inline double vector_norm(const float *vector, size_t dimensions)
{
    double sum = 0;
    for (size_t at = 0; at < dimensions; at++) sum += (double)vector[at] * vector[at];
    return sqrt(sum);
}

/* Write what lies between -127 and 127 when divided by the scale that is returned. */
static inline float vector_quantise(const float *vector, int8_t *out, size_t dimensions)
{
    float largest = 0;
    for (size_t at = 0; at < dimensions; at++) largest = fmaxf(largest, fabsf(vector[at]));
    float factor = largest > 0 ? 127 / largest : 0;
    for (size_t at = 0; at < dimensions; at++) out[at] = (int8_t)lrintf(vector[at] * factor);
    return largest / 127;
}

static inline uint16_t vector_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/* Write a row in its precision from a vector of floats. */
static inline void vector_store(int precision, const float *vector, uint8_t *row, size_t dimensions)
{
    if (precision == VECTOR_F32) {
        memcpy(row, vector, dimensions * 4);
    } else if (precision == VECTOR_BF16) {
        for (size_t at = 0; at < dimensions; at++) {
            uint16_t half = vector_bf16(vector[at]);
            memcpy(row + at * 2, &half, 2);
        }
    } else {
        float scale = vector_quantise(vector, (int8_t *)row, dimensions);
        memcpy(row + dimensions, &scale, 4);
    }
}

/* Write floats from a row. */
static inline void vector_load(int precision, const uint8_t *row, float *vector, size_t dimensions)
{
    if (precision == VECTOR_F32)
        memcpy(vector, row, dimensions * 4);
    else if (precision == VECTOR_BF16)
        vector_widen_bf16(row, vector, dimensions);
    else
        vector_widen_i8((const int8_t *)row, vector_i8_scale(row, dimensions), vector, dimensions);
}

#endif
