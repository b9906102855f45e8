/* A part: some documents of one scope with their postings. New ones grow in memory; those of a segment lie in its file.
 *
 * Every live document lies in exactly one part of its scope, so parts may be merged in any order.
 */
#ifndef RECOLLECTD_KEYWORD_PART_H
#define RECOLLECTD_KEYWORD_PART_H

#include <algorithm>
#include <memory_resource>
#include <unordered_map>

#include "recollectd_keyword_segment.h"

namespace keyword {

struct Scope;

/* Memory of what is growing: taken in large blocks and given back all at once. A million small pieces given back one by
 * one would make apply wait for the allocator. Only apply takes from it; a part that is kept keeps all of it. */
struct Arena {
    struct Blocks : std::pmr::memory_resource {
        size_t bytes = 0;

        void *do_allocate(size_t count, size_t alignment) override {
            bytes += count;
            return std::pmr::new_delete_resource()->allocate(count, alignment);
        }
        void do_deallocate(void *at, size_t count, size_t alignment) override {
            std::pmr::new_delete_resource()->deallocate(at, count, alignment);
        }
        bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override { return this == &other; }
    };

    Blocks blocks;
    std::pmr::monotonic_buffer_resource memory{1 << 16, &blocks};
};

/* The postings of a term, growing as Grow does. */
struct PostingList {
    uint8_t *items = nullptr;
    uint32_t used = 0;
    uint32_t capacity = 0;
    uint32_t last_row = 0;

    void append(Arena &arena, const uint8_t *more, uint32_t count) {
        if (used + count > capacity) {
            capacity = capacity ? capacity * 2 + count : 8 + count;
            uint8_t *larger = (uint8_t *)arena.memory.allocate(capacity, 1);
            if (used) {
                memcpy(larger, items, used);
            }
            items = larger;
        }
        memcpy(items + used, more, count);
        used += count;
    }
};

typedef std::pmr::unordered_map<std::pmr::string, PostingList> Terms;

struct Part {
    Scope *scope = nullptr;
    uint32_t slot = 0;
    uint32_t rows = 0;
    uint32_t dead_count = 0;
    /* Set while the part is being rewritten; what dies meanwhile is noted for the part that takes its place. */
    bool merging = false;
    std::vector<uint32_t> died_meanwhile;

    std::vector<Grow<uint32_t>> lengths; /* of each field, in memory for both kinds of part: apply must not touch files */
    Grow<uint64_t> dead;                 /* of each row the commit that took it away, or 0; empty while all live */

    /* In memory. */
    Grow<uint8_t> id_bytes;
    Grow<uint32_t> id_ends;
    std::shared_ptr<Arena> arena;
    std::vector<Terms> terms; /* by field, in the arena */

    /* In a segment. */
    std::shared_ptr<Mapping> file;
    const uint8_t *file_ids = nullptr;
    uint32_t file_ids_bytes = 0;
    const uint32_t *file_id_ends = nullptr;
    std::vector<FieldBlock> fields;

    uint32_t length(size_t field, uint32_t row) const { return lengths[field].items[row]; }

    /* Mark a row; returns by how many bytes the part grew. */
    size_t bury(uint32_t row, uint64_t seq) {
        size_t grown = 0;
        if (dead.used == 0) {
            grown = dead.reserve(rows);
            memset(dead.items.get(), 0, dead.bytes());
            dead.used = rows;
        }
        __atomic_store_n(dead.items.get() + row, seq, __ATOMIC_RELAXED);
        dead_count++;
        if (merging) {
            died_meanwhile.push_back(row);
        }
        return grown;
    }

    size_t memory_bytes() const {
        size_t total = sizeof *this + dead.bytes();
        for (const Grow<uint32_t> &one : lengths) {
            total += one.bytes();
        }
        return total;
    }
};

/* A part as it was at one moment, readable without the lock. */
struct PartView {
    std::shared_ptr<Part> part; /* keeps file and fields; its growing arrays are those below */
    uint32_t rows = 0;
    Grow<uint64_t> dead_rows;
    Grow<uint8_t> id_bytes;
    Grow<uint32_t> id_ends;

    /* To be made under the lock. */
    PartView(const std::shared_ptr<Part> &from)
        : part(from), rows(from->rows), dead_rows(from->dead), id_bytes(from->id_bytes), id_ends(from->id_ends) {}

    const uint64_t *dead() const { return dead_rows.used ? dead_rows.items.get() : nullptr; }

    /* The id of a row; at == NULL if its segment was altered. */
    Bytes id(uint32_t row) const {
        const uint32_t *all_ends = part->file ? part->file_id_ends : id_ends.items.get();
        const uint8_t *ids = part->file ? part->file_ids : id_bytes.items.get();
        size_t bytes = part->file ? part->file_ids_bytes : id_bytes.used;
        uint32_t begins = row ? all_ends[row - 1] : 0, ends = all_ends[row];
        return begins <= ends && ends <= bytes ? Bytes{ids + begins, ends - begins} : Bytes{nullptr, 0};
    }
};

/* What a commit says about one field of a document, packed by the analysis:
 * length, then for each distinct term its bytes' count, its bytes and its occurrences, all numbers as varints. */
static inline bool part_add_field(Part &part, size_t field, Bytes packed, size_t *grown) {
    const uint8_t *at = packed.at, *end = packed.at + packed.count;
    uint64_t length, count, occurrences;
    if ((at = varint_read(at, end, &length)) == nullptr || length >= LENGTH_ABSENT) {
        return false;
    }
    *grown += part.lengths[field].push((uint32_t)length);
    uint32_t row = part.rows;
    while (at < end) {
        if ((at = varint_read(at, end, &count)) == nullptr || count > (uint64_t)(end - at)) {
            return false;
        }
        std::pmr::string term((const char *)at, (size_t)count);
        if ((at = varint_read(at + count, end, &occurrences)) == nullptr || occurrences >= LENGTH_ABSENT) {
            return false;
        }
        PostingList &list = part.terms[field][term];
        uint8_t posting[POSTING_BYTES_MAX];
        size_t bytes = posting_bytes(posting, row - list.last_row, (uint32_t)occurrences);
        list.append(*part.arena, posting, (uint32_t)bytes);
        list.last_row = row;
    }
    return true;
}

/* The terms of one field of a part in order of their bytes, with their postings. */
struct TermCursor {
    const FieldBlock *block = nullptr;
    std::vector<const Terms::value_type *> sorted;
    uint64_t index = 0;

    TermCursor(const Part &part, size_t field) {
        if (part.file) {
            block = &part.fields[field];
            return;
        }
        for (const Terms::value_type &one : part.terms[field]) {
            sorted.push_back(&one);
        }
        std::sort(sorted.begin(), sorted.end(),
                  [](const Terms::value_type *a, const Terms::value_type *b) { return a->first < b->first; });
    }

    bool done() const { return index >= (block ? block->term_count : sorted.size()); }

    std::string term() const {
        if (!block) {
            return std::string(sorted[index]->first);
        }
        Bytes here = block->term(index);
        return std::string((const char *)here.at, here.count);
    }

    Bytes list() const {
        if (block) {
            return block->list(index);
        }
        const PostingList &list = sorted[index]->second;
        return {list.items, list.used};
    }
};

}  // namespace keyword

#endif
