/* Keyword segments: immutable files of posting lists, a block of its own for each scope.
 *
 *     file       blocks, directory, footer; integers little-endian, each section begins at a multiple of 8
 *     block      scope, id ends u32[rows], ids, per field: lengths u32[rows], postings, posting ends u64[terms],
 *                term ends u32[terms], terms (sorted by their bytes); then BlockHead and a FieldHead per field
 *     directory  u64 offset of each block's BlockHead, in order of the scopes' bytes
 *     footer     Footer, the last 48 bytes
 *
 * Offsets count from the file's beginning; an end is where the item ends in its section, the item before it ends where
 * it begins. A length of LENGTH_ABSENT says that the document does not have this field. Do not change: it is on disk.
 */
#ifndef RECOLLECTD_KEYWORD_SEGMENT_H
#define RECOLLECTD_KEYWORD_SEGMENT_H

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "recollectd_keyword_memory.h"

namespace keyword {

static const uint32_t LENGTH_ABSENT = UINT32_MAX;
static const uint64_t SEGMENT_MAGIC = 0x3130474553574b52ULL; /* "RKWSEG01" */
static const size_t CHECKSUM_BLOCK_BYTES = 1 << 20;

struct Footer {
    uint64_t magic;
    uint64_t field_count;
    uint64_t block_count;
    uint64_t document_count;
    uint64_t directory_at;
    uint64_t reserved;
};

struct BlockHead {
    uint32_t scope_bytes;
    uint32_t rows;
    uint64_t scope_at;
    uint64_t id_ends_at;
    uint64_t ids_at;
};

struct FieldHead {
    uint64_t term_count;
    uint64_t lengths_at;
    uint64_t postings_at;
    uint64_t posting_ends_at;
    uint64_t term_ends_at;
    uint64_t terms_at;
};

/* The checksum of a file: XXH64 of each MiB with the checksum before it as seed, so that it can be taken on the way. */
struct Writer {
    int descriptor;
    int error = 0;
    uint64_t at = 0;
    uint64_t checksum = 0;
    std::vector<uint8_t> buffer;

    explicit Writer(int into) : descriptor(into) { buffer.reserve(CHECKSUM_BLOCK_BYTES); }

    void write(const void *data, size_t count) {
        const uint8_t *bytes = (const uint8_t *)data;
        at += count;
        while (count) {
            size_t room = CHECKSUM_BLOCK_BYTES - buffer.size();
            size_t now = count < room ? count : room;
            buffer.insert(buffer.end(), bytes, bytes + now);
            bytes += now;
            count -= now;
            if (buffer.size() == CHECKSUM_BLOCK_BYTES) {
                drain();
            }
        }
    }

    template <typename Item>
    uint64_t section(const Item *items, size_t count) {
        uint64_t begins = align();
        write(items, count * sizeof(Item));
        return begins;
    }

    uint64_t align() {
        static const uint8_t zeros[8] = {0};
        write(zeros, (size_t)(-at & 7));
        return at;
    }

    void drain() {
        checksum = xxh64(buffer.data(), buffer.size(), checksum);
        for (size_t done = 0; done < buffer.size() && !error;) {
            ssize_t count = ::write(descriptor, buffer.data() + done, buffer.size() - done);
            if (count < 0 && errno != EINTR) {
                error = errno;
            }
            done += count > 0 ? (size_t)count : 0;
        }
        buffer.clear();
    }

    void finish() {
        if (!buffer.empty()) {
            drain();
        }
    }
};

/* A segment file in memory. Whoever maps one has compared its checksum first. */
struct Mapping {
    const uint8_t *base = nullptr;
    uint64_t bytes = 0;

    bool open(int descriptor, uint64_t size) {
        void *address = mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
        if (address == MAP_FAILED) {
            return false;
        }
        base = (const uint8_t *)address;
        bytes = size;
        return true;
    }

    ~Mapping() {
        if (base) {
            munmap((void *)base, bytes);
        }
    }

    /* `count` items at an offset, or NULL if they do not lie inside the file. */
    template <typename Item>
    const Item *items(uint64_t at, uint64_t count) const {
        if (at % (sizeof(Item) < 8 ? sizeof(Item) : 8) || at > bytes || count > (bytes - at) / sizeof(Item)) {
            return nullptr;
        }
        return (const Item *)(base + at);
    }
};

struct Bytes {
    const uint8_t *at = nullptr;
    size_t count = 0;
};

/* One field of a block: where its terms and postings lie. What was checked when it was opened may be altered on the disk
 * later, so ends are compared with the sections' sizes whenever they are read. */
struct FieldBlock {
    uint64_t term_count = 0;
    uint64_t terms_bytes = 0;
    uint64_t postings_bytes = 0;
    const uint32_t *lengths = nullptr;
    const uint64_t *posting_ends = nullptr;
    const uint32_t *term_ends = nullptr;
    const uint8_t *postings = nullptr;
    const uint8_t *terms = nullptr;

    bool parse(const Mapping &file, const FieldHead &head, uint32_t rows) {
        term_count = head.term_count;
        lengths = file.items<uint32_t>(head.lengths_at, rows);
        posting_ends = file.items<uint64_t>(head.posting_ends_at, term_count);
        term_ends = file.items<uint32_t>(head.term_ends_at, term_count);
        if (!lengths || !posting_ends || !term_ends) {
            return false;
        }
        postings_bytes = term_count ? posting_ends[term_count - 1] : 0;
        terms_bytes = term_count ? term_ends[term_count - 1] : 0;
        postings = file.items<uint8_t>(head.postings_at, postings_bytes);
        terms = file.items<uint8_t>(head.terms_at, terms_bytes);
        return postings && terms && ends_rise();
    }

    bool ends_rise() const {
        for (uint64_t at = 1; at < term_count; at++) {
            if (posting_ends[at] < posting_ends[at - 1] || term_ends[at] < term_ends[at - 1]) {
                return false;
            }
        }
        return true;
    }

    Bytes term(uint64_t index) const {
        uint32_t begins = index ? term_ends[index - 1] : 0, ends = term_ends[index];
        return begins <= ends && ends <= terms_bytes ? Bytes{terms + begins, ends - begins} : Bytes{terms, 0};
    }

    Bytes list(uint64_t index) const {
        static const uint8_t unreadable[1] = {0x80};
        uint64_t begins = index ? posting_ends[index - 1] : 0, ends = posting_ends[index];
        bool inside = begins <= ends && ends <= postings_bytes;
        return inside ? Bytes{postings + begins, (size_t)(ends - begins)} : Bytes{unreadable, 1};
    }

    /* The postings of a term, or nothing. */
    Bytes find(const std::string &wanted) const {
        uint64_t low = 0, high = term_count;
        while (low < high) {
            uint64_t middle = low + (high - low) / 2;
            Bytes here = term(middle);
            size_t common = here.count < wanted.size() ? here.count : wanted.size();
            int order = memcmp(here.at, wanted.data(), common);
            if (order == 0 && here.count == wanted.size()) {
                return list(middle);
            }
            if (order < 0 || (order == 0 && here.count < wanted.size())) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return {};
    }
};

}  // namespace keyword

#endif
