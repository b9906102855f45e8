/* Where one reply ends, in each protocol, and whether it is an error or says that there is nothing. */
#ifndef BENCH_REPLIES_H
#define BENCH_REPLIES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct verdict {
    int error;
    int missing;
    uint32_t request_id; /* only where replies may overtake each other */
};

static inline uint32_t read_le32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline uint32_t read_be32(const uint8_t *at) { return __builtin_bswap32(read_le32(at)); }

/* Each function returns the reply's size, or 0 when it has not arrived whole. */

enum { OUR_REPLY_HEADER_BYTES = 16, OUR_TAG_OFFSET = 17, OUR_ABSENT_TAG = 18 };
static int our_error_tag;

static size_t our_reply(const uint8_t *at, size_t size, struct verdict *verdict)
{
    if (size < OUR_REPLY_HEADER_BYTES) return 0;
    size_t whole = (size_t)read_le32(at) + 4;
    if (whole > size) return 0;
    verdict->request_id = read_le32(at + 4);
    verdict->error = at[OUR_TAG_OFFSET] == our_error_tag;
    verdict->missing = at[OUR_TAG_OFFSET] == OUR_ABSENT_TAG;
    return whole;
}

static size_t resp_reply(const uint8_t *at, size_t size, struct verdict *verdict)
{
    const uint8_t *line_end = size < 4 ? NULL : memchr(at, '\n', size);
    if (!line_end) return 0;
    size_t whole = (size_t)(line_end - at) + 1;
    long count;
    switch (at[0]) {
    case '-':
        verdict->error = 1;
        return whole;
    case '$':
        count = strtol((const char *)at + 1, NULL, 10);
        if (count < 0) {
            verdict->missing = 1;
            return whole;
        }
        whole += (size_t)count + 2;
        return whole <= size ? whole : 0;
    case '*':
        count = strtol((const char *)at + 1, NULL, 10);
        if (count <= 0) verdict->missing = 1;
        for (long item = 0; item < count; item++) {
            size_t part = resp_reply(at + whole, size - whole, verdict);
            if (!part) return 0;
            whole += part;
        }
        return whole;
    default:
        return whole;
    }
}

/* One reply is everything up to ReadyForQuery: each request ends with its own Sync. */
static size_t postgres_reply(const uint8_t *at, size_t size, struct verdict *verdict)
{
    size_t whole = 0;
    while (size - whole >= 5) {
        const uint8_t *message = at + whole;
        size_t length = (size_t)read_be32(message + 1) + 1;
        if (whole + length > size) return 0;
        if (message[0] == 'E') verdict->error = 1;
        if (message[0] == 'C' && !memcmp(message + 5, "SELECT 0", 9)) verdict->missing = 1;
        whole += length;
        if (message[0] == 'Z') return whole;
    }
    return 0;
}

#endif
