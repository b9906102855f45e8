/* Replies on their way out, and the parts of a connection that are only bytes: what has not come whole, which records
 * its writes touch.
 */
#ifndef RECOLLECTD_HOT_OUTBOX_H
#define RECOLLECTD_HOT_OUTBOX_H

#include "recollectd_hot_request.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

/* -- outbox: reply frames, one behind the other ------------------------------------------------------------------- */

#define HOT_OUTBOX_BYTES_KEPT (1024 * 1024)

typedef struct {
    uint8_t *bytes;
    uint64_t used;
    uint64_t room;
} hot_outbox;

/* Where the next so many bytes may be written; NULL when there is no memory. Moves what is there. */
static inline uint8_t *hot_outbox_reserve(hot_outbox *box, uint64_t bytes) {
    if (box->room - box->used < bytes) {
        uint64_t room = box->room ? box->room : 64 * 1024;
        while (room - box->used < bytes) {
            room *= 2;
        }
        uint8_t *moved = (uint8_t *)realloc(box->bytes, room);
        if (!moved) {
            return NULL;
        }
        box->bytes = moved;
        box->room = room;
    }
    return box->bytes + box->used;
}

static inline void hot_outbox_clear(hot_outbox *box) {
    box->used = 0;
    if (box->room > HOT_OUTBOX_BYTES_KEPT) {
        free(box->bytes);
        *box = (hot_outbox){0};
    }
}

/* Append bytes. 0 when there is no memory. */
static inline int hot_outbox_put(hot_outbox *box, const uint8_t *bytes, uint64_t count) {
    uint8_t *to = hot_outbox_reserve(box, count);
    if (!to) {
        return 0;
    }
    memcpy(to, bytes, count);
    box->used += count;
    return 1;
}

/* Write the header of a reply frame. */
static inline void hot_write_header(uint8_t *to, uint64_t message_bytes, uint32_t request_id, uint64_t position) {
    uint32_t length = (uint32_t)(HOT_REPLY_HEADER_BYTES - HOT_LENGTH_BYTES + message_bytes);
    memcpy(to, &length, sizeof length);
    memcpy(to + 4, &request_id, sizeof request_id);
    memcpy(to + 8, &position, sizeof position);
}

/* Send what a socket takes now; return how much that is. 0 also for an error, which the next write will meet again. */
static inline uint64_t hot_outbox_send(const hot_outbox *box, int fd) {
    ssize_t sent;
    do {
        sent = send(fd, box->bytes, box->used, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? 0 : (uint64_t)sent;
}

/* -- pending: bytes received that are no whole frame yet ---------------------------------------------------------- */

typedef struct {
    uint8_t *bytes;
    uint64_t used;
    uint64_t room;
} hot_pending;

static inline void hot_pending_clear(hot_pending *pending) {
    free(pending->bytes);
    *pending = (hot_pending){0};
}

/* Add received bytes. 0 when there is no memory. Room is made for the whole frame that has begun, once. */
static inline int hot_pending_add(hot_pending *pending, const uint8_t *bytes, uint64_t count) {
    uint64_t needed = pending->used + count;
    if (needed > pending->room) {
        uint64_t frame = 0;
        if (pending->used >= HOT_LENGTH_BYTES) {
            frame = HOT_LENGTH_BYTES + (uint64_t)hot_load32(pending->bytes);
        } else if (!pending->used && count >= HOT_LENGTH_BYTES) {
            frame = HOT_LENGTH_BYTES + (uint64_t)hot_load32(bytes);
        }
        uint64_t room = needed > frame ? needed : frame;
        uint8_t *moved = (uint8_t *)realloc(pending->bytes, room);
        if (!moved) {
            return 0;
        }
        pending->bytes = moved;
        pending->room = room;
    }
    memcpy(pending->bytes + pending->used, bytes, count);
    pending->used = needed;
    return 1;
}

/* Forget the first so many bytes. */
static inline void hot_pending_take(hot_pending *pending, uint64_t count) {
    if (count == pending->used) {
        hot_pending_clear(pending);
        return;
    }
    memmove(pending->bytes, pending->bytes + count, pending->used - count);
    pending->used -= count;
}

/* -- marks: records that the connection's writes on their way touch ------------------------------------------------
 * Counts by hash. A read of a record whose count is 0 has no write before it; for any other, Python looks closely. */

#define HOT_MARKS 512

static inline uint32_t *hot_mark(uint32_t *marks, uint64_t hash) { return &marks[hash >> 32 & (HOT_MARKS - 1)]; }

#endif
