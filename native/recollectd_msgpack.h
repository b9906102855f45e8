/* As much of msgpack as the hot path needs.
 *
 * Readers know the encodings that encoders commonly write and say no (0) to everything else; whoever reads then leaves
 * the whole message to the full decoder, which decides. Writers choose the shortest encoding, as msgspec does, and trust
 * the caller to have made room.
 */
#ifndef RECOLLECTD_MSGPACK_H
#define RECOLLECTD_MSGPACK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What the writers below write at most. */
#define MSGPACK_NUMBER_BYTES_MAX 9
#define MSGPACK_HEAD_BYTES_MAX 5
#define MSGPACK_NIL 0xC0

typedef struct {
    const uint8_t *at;
    const uint8_t *end;
} msgpack_reader;

static inline uint64_t msgpack_big_endian(const uint8_t *bytes, size_t count) {
    uint64_t value = 0;
    for (size_t index = 0; index < count; index++) {
        value = value << 8 | bytes[index];
    }
    return value;
}

/* Read `count` bytes of big-endian integer that follow a first byte. */
static inline int msgpack_read_sized(msgpack_reader *reader, size_t count, uint64_t *value) {
    if ((size_t)(reader->end - reader->at) < 1 + count) {
        return 0;
    }
    *value = msgpack_big_endian(reader->at + 1, count);
    reader->at += 1 + count;
    return 1;
}

/* A number of 0 or more. */
static inline int msgpack_read_number(msgpack_reader *reader, uint64_t *value) {
    if (reader->at == reader->end) {
        return 0;
    }
    uint8_t first = *reader->at;
    if (first <= 0x7F) {
        *value = first;
        reader->at++;
        return 1;
    }
    return first >= 0xCC && first <= 0xCF && msgpack_read_sized(reader, (size_t)1 << (first - 0xCC), value);
}

static inline int msgpack_read_array(msgpack_reader *reader, uint64_t *count) {
    if (reader->at == reader->end) {
        return 0;
    }
    uint8_t first = *reader->at;
    if ((first & 0xF0) == 0x90) {
        *count = first & 0x0F;
        reader->at++;
        return 1;
    }
    return (first == 0xDC || first == 0xDD) && msgpack_read_sized(reader, first == 0xDC ? 2 : 4, count);
}

/* Text of 1 byte or more; whether it is UTF-8 is not looked at. */
static inline int msgpack_read_text(msgpack_reader *reader, const uint8_t **text, uint64_t *bytes) {
    if (reader->at == reader->end) {
        return 0;
    }
    uint8_t first = *reader->at;
    if ((first & 0xE0) == 0xA0) {
        *bytes = first & 0x1F;
        reader->at++;
    } else if (first < 0xD9 || first > 0xDB || !msgpack_read_sized(reader, (size_t)1 << (first - 0xD9), bytes)) {
        return 0;
    }
    if (*bytes == 0 || *bytes > (uint64_t)(reader->end - reader->at)) {
        return 0;
    }
    *text = reader->at;
    reader->at += *bytes;
    return 1;
}

static inline int msgpack_read_nil(msgpack_reader *reader) {
    if (reader->at == reader->end || *reader->at != MSGPACK_NIL) {
        return 0;
    }
    reader->at++;
    return 1;
}

/* Write a first byte and `count` bytes of integer behind it; return where the next byte goes, as all writers do. */
static inline uint8_t *msgpack_write_sized(uint8_t *to, uint8_t first, uint64_t value, size_t count) {
    *to++ = first;
    for (size_t index = count; index-- > 0;) {
        *to++ = (uint8_t)(value >> (8 * index));
    }
    return to;
}

static inline uint8_t *msgpack_write_number(uint8_t *to, uint64_t value) {
    if (value <= 0x7F) {
        *to = (uint8_t)value;
        return to + 1;
    }
    if (value > UINT32_MAX) {
        return msgpack_write_sized(to, 0xCF, value, 8);
    }
    return value <= UINT8_MAX    ? msgpack_write_sized(to, 0xCC, value, 1)
           : value <= UINT16_MAX ? msgpack_write_sized(to, 0xCD, value, 2)
                                 : msgpack_write_sized(to, 0xCE, value, 4);
}

static inline uint8_t *msgpack_write_array(uint8_t *to, uint32_t count) {
    if (count <= 0x0F) {
        *to = (uint8_t)(0x90 | count);
        return to + 1;
    }
    return count <= UINT16_MAX ? msgpack_write_sized(to, 0xDC, count, 2) : msgpack_write_sized(to, 0xDD, count, 4);
}

static inline uint8_t *msgpack_write_text(uint8_t *to, const uint8_t *text, uint32_t bytes) {
    if (bytes <= 0x1F) {
        *to++ = (uint8_t)(0xA0 | bytes);
    } else {
        to = bytes <= UINT8_MAX    ? msgpack_write_sized(to, 0xD9, bytes, 1)
             : bytes <= UINT16_MAX ? msgpack_write_sized(to, 0xDA, bytes, 2)
                                   : msgpack_write_sized(to, 0xDB, bytes, 4);
    }
    memcpy(to, text, bytes);
    return to + bytes;
}

#endif
