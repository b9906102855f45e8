/* Rewriting parts: what is frozen becomes a segment, several segments become one, the dead are left out.
 *
 * A Merge is begun under the lock, written without it by one background thread, and installed in steps that each take
 * the lock for a moment. Between them every search finds each document once, in the old part or in the new one.
 */
#ifndef RECOLLECTD_KEYWORD_MERGE_H
#define RECOLLECTD_KEYWORD_MERGE_H

#include "recollectd_keyword_index.h"

namespace keyword {

/* The parts of one scope that become one. */
struct MergeScope {
    std::string name;
    std::vector<PartView> from;
    std::vector<std::shared_ptr<std::vector<uint32_t>>> forward; /* old row -> new row or ROW_GONE, for each of from */
    uint32_t rows = 0;
};

struct Merge {
    std::vector<MergeScope> scopes; /* in the order of their bytes */
    std::vector<uint64_t> segments; /* that go; none: what was frozen goes */
    uint64_t seq = 0;               /* what died up to this commit is left out */
    uint64_t written = 0;           /* blocks */
    uint64_t documents = 0;
    bool damaged = false;
};

/* Note what is to be merged: these segments, or what is frozen if there are none. */
static inline void merge_begin(Index &index, Merge &merge) {
    std::vector<PartView> found;
    {
        std::lock_guard<std::mutex> guard(index.lock);
        if (merge.segments.empty()) {
            found.assign(index.frozen.begin(), index.frozen.end());
        }
        for (uint64_t number : merge.segments) {
            const std::vector<std::shared_ptr<Part>> &parts = index.segments.at(number)->parts;
            found.insert(found.end(), parts.begin(), parts.end());
        }
        for (const PartView &view : found) {
            view.part->merging = true;
            view.part->died_meanwhile.clear();
        }
    }
    /* A scope stays as long as it has a part, and its parts go by this thread alone. */
    std::stable_sort(found.begin(), found.end(), [](const PartView &a, const PartView &b) {
        return a.part->scope->name < b.part->scope->name;
    });
    for (PartView &view : found) {
        const std::string &name = view.part->scope->name;
        if (merge.scopes.empty() || merge.scopes.back().name != name) {
            merge.scopes.emplace_back();
            merge.scopes.back().name = name;
        }
        merge.scopes.back().from.push_back(std::move(view));
    }
}

static inline void merge_number_rows(const Merge &merge, MergeScope &scope) {
    for (const PartView &view : scope.from) {
        auto rows = std::make_shared<std::vector<uint32_t>>(view.rows);
        const uint64_t *dead = view.dead();
        for (uint32_t row = 0; row < view.rows; row++) {
            (*rows)[row] = is_live(load_dead(dead, row), merge.seq) ? scope.rows++ : ROW_GONE;
        }
        scope.forward.push_back(rows);
    }
}

/* Write the postings of one term, those of the parts one after the other; returns false if a list cannot be read. */
static inline bool merge_term(Writer &out, const MergeScope &scope, std::vector<TermCursor> &cursors,
                              const std::string &term, std::vector<Posting> &room) {
    uint32_t last = 0;
    uint8_t encoded[POSTING_BYTES_MAX];
    for (size_t at = 0; at < cursors.size(); at++) {
        if (cursors[at].done() || cursors[at].term() != term) {
            continue;
        }
        room.clear();
        Bytes list = cursors[at].list();
        if (!postings_read(list.at, list.at + list.count, scope.from[at].rows, nullptr, 0, room)) {
            return false;
        }
        for (const Posting &posting : room) {
            uint32_t row = (*scope.forward[at])[posting.row];
            if (row != ROW_GONE) {
                out.write(encoded, posting_bytes(encoded, row - last, posting.occurrences));
                last = row;
            }
        }
        cursors[at].index++;
    }
    return true;
}

static inline bool merge_field(Writer &out, const MergeScope &scope, size_t field, FieldHead &head) {
    std::vector<uint32_t> lengths, term_ends;
    std::vector<uint64_t> posting_ends;
    std::string terms;
    std::vector<Posting> room;
    std::vector<TermCursor> cursors;
    for (size_t at = 0; at < scope.from.size(); at++) {
        const PartView &view = scope.from[at];
        cursors.emplace_back(*view.part, field);
        for (uint32_t row = 0; row < view.rows; row++) {
            if ((*scope.forward[at])[row] != ROW_GONE) {
                lengths.push_back(view.part->length(field, row));
            }
        }
    }
    head.lengths_at = out.section(lengths.data(), lengths.size());
    head.postings_at = out.align();
    for (;;) {
        const TermCursor *first = nullptr;
        for (const TermCursor &cursor : cursors) {
            if (!cursor.done() && (!first || cursor.term() < first->term())) {
                first = &cursor;
            }
        }
        if (!first) {
            break;
        }
        std::string term = first->term();
        uint64_t begins = out.at;
        if (!merge_term(out, scope, cursors, term, room)) {
            return false;
        }
        if (out.at != begins) { /* a term of none but dead documents is gone */
            terms += term;
            term_ends.push_back((uint32_t)terms.size());
            posting_ends.push_back(out.at - head.postings_at);
        }
    }
    head.term_count = term_ends.size();
    head.posting_ends_at = out.section(posting_ends.data(), posting_ends.size());
    head.term_ends_at = out.section(term_ends.data(), term_ends.size());
    head.terms_at = out.section(terms.data(), terms.size());
    return terms.size() <= UINT32_MAX;
}

static inline bool merge_block(Writer &out, size_t field_count, const MergeScope &scope, uint64_t *head_at) {
    BlockHead head = {(uint32_t)scope.name.size(), scope.rows, 0, 0, 0};
    std::vector<uint32_t> id_ends;
    std::string ids;
    for (size_t at = 0; at < scope.from.size(); at++) {
        for (uint32_t row = 0; row < scope.from[at].rows; row++) {
            if ((*scope.forward[at])[row] != ROW_GONE) {
                Bytes id = scope.from[at].id(row);
                if (id.at == nullptr) {
                    return false;
                }
                ids.append((const char *)id.at, id.count);
                id_ends.push_back((uint32_t)ids.size());
            }
        }
    }
    if (ids.size() > UINT32_MAX) {
        return false;
    }
    head.scope_at = out.section(scope.name.data(), scope.name.size());
    head.id_ends_at = out.section(id_ends.data(), id_ends.size());
    head.ids_at = out.section(ids.data(), ids.size());
    std::vector<FieldHead> fields(field_count);
    for (size_t field = 0; field < field_count; field++) {
        if (!merge_field(out, scope, field, fields[field])) {
            return false;
        }
    }
    *head_at = out.section(&head, 1);
    out.write(fields.data(), fields.size() * sizeof(FieldHead));
    return true;
}

/* Write a segment; without the lock. merge.damaged: a list could not be read, nothing may be installed. */
static inline void merge_write(const Index &index, Merge &merge, Writer &out) {
    std::vector<uint64_t> directory;
    for (MergeScope &scope : merge.scopes) {
        merge_number_rows(merge, scope);
        if (scope.rows == 0) {
            continue;
        }
        uint64_t head_at = 0;
        if (!merge_block(out, index.field_count, scope, &head_at)) {
            merge.damaged = true;
            return;
        }
        if (out.error) {
            return;
        }
        directory.push_back(head_at);
        merge.documents += scope.rows;
    }
    merge.written = directory.size();
    uint64_t directory_at = out.section(directory.data(), directory.size());
    Footer footer = {SEGMENT_MAGIC, index.field_count, merge.written, merge.documents, directory_at, 0};
    out.section(&footer, 1);
    out.finish();
}

/* -- segments that are there ---------------------------------------------------------------------------------------- */

/* A block of a file as a part that is not yet in the index; returns false if the file is not one of ours. */
static inline bool segment_part(const std::shared_ptr<Mapping> &file, uint64_t head_at, size_t field_count, Part &part,
                                std::string &scope) {
    const BlockHead *head = file->items<BlockHead>(head_at, 1);
    const FieldHead *fields = head ? file->items<FieldHead>(head_at + sizeof(BlockHead), field_count) : nullptr;
    if (!fields) {
        return false;
    }
    const uint8_t *name = file->items<uint8_t>(head->scope_at, head->scope_bytes);
    part.file = file;
    part.rows = head->rows;
    part.file_id_ends = file->items<uint32_t>(head->id_ends_at, head->rows);
    if (!name || !part.file_id_ends || !head->rows || !std::is_sorted(part.file_id_ends, part.file_id_ends + head->rows)) {
        return false;
    }
    part.file_ids_bytes = part.file_id_ends[head->rows - 1];
    part.file_ids = file->items<uint8_t>(head->ids_at, part.file_ids_bytes);
    part.fields.resize(field_count);
    part.lengths.resize(field_count);
    for (size_t field = 0; field < field_count; field++) {
        if (!part.fields[field].parse(*file, fields[field], head->rows)) {
            return false;
        }
        part.lengths[field].append(part.fields[field].lengths, head->rows);
    }
    scope.assign((const char *)name, head->scope_bytes);
    return part.file_ids != nullptr;
}

static inline const Footer *segment_footer(const Mapping &file, size_t field_count, const uint64_t **directory) {
    const Footer *footer = file.bytes < sizeof(Footer) ? nullptr : file.items<Footer>(file.bytes - sizeof(Footer), 1);
    if (!footer || footer->magic != SEGMENT_MAGIC || footer->field_count != field_count) {
        return nullptr;
    }
    *directory = file.items<uint64_t>(footer->directory_at, footer->block_count);
    return *directory ? footer : nullptr;
}

/* Copies what a parsed part holds into one that the index knows. */
static inline void part_fill(Part &part, Part &&parsed) {
    part.rows = parsed.rows;
    part.file = std::move(parsed.file);
    part.file_ids = parsed.file_ids;
    part.file_ids_bytes = parsed.file_ids_bytes;
    part.file_id_ends = parsed.file_id_ends;
    part.fields = std::move(parsed.fields);
    part.lengths = std::move(parsed.lengths);
}

}  // namespace keyword

#endif
