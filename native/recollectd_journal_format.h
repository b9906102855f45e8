/* The journal's structures as native code sees them. Do not change: they are on disk.
 *
 * recollectd/journal/format.py describes the format in full and reads it; golden-bytes tests hold the two together.
 */
#ifndef RECOLLECTD_JOURNAL_FORMAT_H
#define RECOLLECTD_JOURNAL_FORMAT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "recollectd_xxh64.h"

#define JOURNAL_FORMAT 1
#define JOURNAL_BATCH_MAGIC "RCLB"
#define JOURNAL_BATCH_SEALING 0x0001u
#define JOURNAL_BATCH_ALIGN 8u
#define JOURNAL_ENTRY_HEAD_BYTES 5u
#define JOURNAL_ENTRY_ZSTD 0x01u

typedef struct {
    char magic[8];
    uint16_t format;
    uint16_t flags;
    uint32_t zero;
    uint64_t epoch;
    uint64_t first_seq;
    uint64_t created_us;
    uint8_t store_id[16];
    uint64_t previous_checksum;
    uint64_t secret;
    uint64_t checksum;
} journal_segment_header;

typedef struct {
    char magic[4];
    uint16_t format;
    uint16_t flags;
    uint32_t payload_bytes;
    uint32_t count;
    uint64_t epoch;
    uint64_t first_seq;
    uint64_t time_us;
    uint64_t synced_seq;
    uint64_t previous_checksum;
    uint64_t header_checksum;
    uint64_t checksum;
} journal_batch_header;

_Static_assert(sizeof(journal_segment_header) == 80, "the segment header's layout is on disk");
_Static_assert(sizeof(journal_batch_header) == 72, "the batch header's layout is on disk");

#define JOURNAL_SEGMENT_HEADER_BYTES sizeof(journal_segment_header)
#define JOURNAL_BATCH_HEADER_BYTES sizeof(journal_batch_header)

static inline size_t journal_align(size_t bytes) {
    return (bytes + JOURNAL_BATCH_ALIGN - 1) & ~(size_t)(JOURNAL_BATCH_ALIGN - 1);
}

/* Fill in what only the writer knows, and both checksums; `batch` is the header, the payload and its zero padding.
 * The payload's checksum is seeded with the header's, so it vouches for both and is the link of the chain. */
static inline uint64_t journal_finish_batch(uint8_t *batch, size_t batch_bytes, uint64_t secret, uint64_t synced_seq,
                                            uint64_t previous_checksum) {
    journal_batch_header *header = (journal_batch_header *)batch;
    header->synced_seq = synced_seq;
    header->previous_checksum = previous_checksum;
    header->header_checksum = xxh64(batch, offsetof(journal_batch_header, header_checksum), secret);
    header->checksum =
        xxh64(batch + JOURNAL_BATCH_HEADER_BYTES, batch_bytes - JOURNAL_BATCH_HEADER_BYTES, header->header_checksum);
    return header->checksum;
}

static inline void journal_finish_segment_header(journal_segment_header *header, uint64_t previous_checksum) {
    header->previous_checksum = previous_checksum;
    header->checksum = xxh64(header, offsetof(journal_segment_header, checksum), 0);
}

#endif
