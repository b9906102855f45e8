/* Whether bytes are one msgpack value that anybody may store.
 *
 * Says yes only to what recollectd/memory/values.py accepts; of that it leaves the unusual out (extensions, deep nesting,
 * maps with keys that are neither text nor numbers), which then goes the slower route.
 */
#ifndef RECOLLECTD_MSGPACK_VALUE_H
#define RECOLLECTD_MSGPACK_VALUE_H

#include "recollectd_msgpack.h"

/* recollectd/protocol/limits.py allows deeper ones. */
#define MSGPACK_DEPTH_MAX 16

/* Well-formed UTF-8: The Unicode Standard, section 3.9, table 3-7. */
static inline int msgpack_is_utf8(const uint8_t *at, const uint8_t *end) {
    while (at < end) {
        uint8_t first = *at++;
        if (first < 0x80) {
            continue;
        }
        size_t more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
        if (first < 0xC2 || first > 0xF4 || (size_t)(end - at) < more) {
            return 0;
        }
        uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
        uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
        for (; more; more--, at++, low = 0x80, high = 0xBF) {
            if (*at < low || *at > high) {
                return 0;
            }
        }
    }
    return 1;
}

static inline int msgpack_skip(msgpack_reader *reader, uint64_t bytes) {
    if (bytes > (uint64_t)(reader->end - reader->at)) {
        return 0;
    }
    reader->at += bytes;
    return 1;
}

static inline int msgpack_pass_text(msgpack_reader *reader, uint64_t bytes) {
    const uint8_t *text = reader->at;
    return msgpack_skip(reader, bytes) && msgpack_is_utf8(text, reader->at);
}

/* Read the length that follows a first byte, 1, 2 or 4 bytes by `size` 0, 1 or 2. */
static inline int msgpack_read_length(msgpack_reader *reader, int size, uint64_t *length) {
    return msgpack_read_sized(reader, (size_t)1 << size, length);
}

static inline int msgpack_pass_value(msgpack_reader *reader, int depth);

static inline int msgpack_pass_array(msgpack_reader *reader, uint64_t count, int depth) {
    for (; count; count--) {
        if (!msgpack_pass_value(reader, depth - 1)) {
            return 0;
        }
    }
    return 1;
}

static inline int msgpack_is_key(uint8_t first) {
    return first <= 0x7F || first >= 0xE0 || (first & 0xE0) == 0xA0 || (first >= 0xCC && first <= 0xD3) ||
           (first >= 0xD9 && first <= 0xDB);
}

static inline int msgpack_pass_map(msgpack_reader *reader, uint64_t count, int depth) {
    for (; count; count--) {
        if (reader->at == reader->end || !msgpack_is_key(*reader->at) || !msgpack_pass_value(reader, depth - 1) ||
            !msgpack_pass_value(reader, depth - 1)) {
            return 0;
        }
    }
    return 1;
}

/* Move past one value. */
static inline int msgpack_pass_value(msgpack_reader *reader, int depth) {
    uint64_t length;
    if (reader->at == reader->end || depth <= 0) {
        return 0;
    }
    uint8_t first = *reader->at;
    if (first <= 0x7F || first >= 0xE0 || first == MSGPACK_NIL || first == 0xC2 || first == 0xC3) {
        return msgpack_skip(reader, 1);
    }
    if (first <= 0x8F) {
        reader->at++;
        return msgpack_pass_map(reader, first & 0x0F, depth);
    }
    if (first <= 0x9F) {
        reader->at++;
        return msgpack_pass_array(reader, first & 0x0F, depth);
    }
    if (first <= 0xBF) {
        reader->at++;
        return msgpack_pass_text(reader, first & 0x1F);
    }
    if (first >= 0xC4 && first <= 0xC6) {
        return msgpack_read_length(reader, first - 0xC4, &length) && msgpack_skip(reader, length);
    }
    if (first == 0xCA || first == 0xCB) {
        return msgpack_skip(reader, first == 0xCA ? 5 : 9);
    }
    if (first >= 0xCC && first <= 0xD3) {
        return msgpack_skip(reader, 1 + ((uint64_t)1 << ((first - 0xCC) & 3)));
    }
    if (first >= 0xD9 && first <= 0xDB) {
        return msgpack_read_length(reader, first - 0xD9, &length) && msgpack_pass_text(reader, length);
    }
    if (first == 0xDC || first == 0xDD) {
        return msgpack_read_length(reader, first - 0xDB, &length) && msgpack_pass_array(reader, length, depth);
    }
    if (first == 0xDE || first == 0xDF) {
        return msgpack_read_length(reader, first - 0xDD, &length) && msgpack_pass_map(reader, length, depth);
    }
    return 0;
}

#endif
