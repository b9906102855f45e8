/* Taking segments into the index: at start, and in place of the parts they were merged from. */
#ifndef RECOLLECTD_KEYWORD_INSTALL_H
#define RECOLLECTD_KEYWORD_INSTALL_H

#include "recollectd_keyword_merge.h"

namespace keyword {

/* How many locations are set anew under one holding of the lock. */
enum { LOCATIONS_PER_STEP = 2048 };

/* Dead rows as the manifest has them: pairs of block and row. */
struct DeadRow {
    uint32_t block;
    uint32_t row;
};

/* Take a segment in at start, when nobody reads yet. Returns false if it is not what the manifest says. */
static inline bool segment_open(Index &index, uint64_t number, const std::shared_ptr<Mapping> &file,
                                const DeadRow *dead, size_t dead_count, uint64_t seq) {
    const uint64_t *directory;
    const Footer *footer = segment_footer(*file, index.field_count, &directory);
    if (!footer) {
        return false;
    }
    auto segment = std::make_shared<Segment>();
    segment->file = file;
    segment->documents = footer->document_count;
    size_t next = 0;
    for (uint64_t block = 0; block < footer->block_count; block++) {
        Part parsed;
        std::string name;
        if (!segment_part(file, directory[block], index.field_count, parsed, name)) {
            return false;
        }
        Scope *scope = index.scope_named(name);
        std::shared_ptr<Part> part = index.new_part(scope);
        part_fill(*part, std::move(parsed));
        scope->parts.push_back(part);
        segment->parts.push_back(part);
        for (; next < dead_count && dead[next].block == block; next++) {
            if (dead[next].row >= part->rows) {
                return false;
            }
            part->bury(dead[next].row, seq);
        }
        PartView view(part);
        for (uint32_t row = 0; row < part->rows; row++) {
            if (load_dead(view.dead(), row) == 0) {
                Bytes id = view.id(row);
                Name hashed = name_of(index.name_seed, name, id.at, id.count);
                if (index.locations.find(hashed)) {
                    return false;
                }
                index.locations.add({hashed, part->slot, row});
                index.count(*part, row, 1);
            }
        }
    }
    index.segments[number] = segment;
    return next == dead_count;
}

/* Put one scope's new part in place of the old ones. Under the lock. */
static inline void install_scope(Index &index, MergeScope &merged, const std::shared_ptr<Part> &part, uint64_t seq) {
    Scope *scope = merged.from[0].part->scope;
    for (size_t at = 0; at < merged.from.size(); at++) {
        PartView &view = merged.from[at];
        const std::vector<uint32_t> &forward = *merged.forward[at];
        scope->parts.erase(std::find(scope->parts.begin(), scope->parts.end(), view.part));
        Slot &slot = index.slots[view.part->slot];
        slot.forward = merged.forward[at];
        slot.target = part ? part->slot : 0;
        slot.part.reset();
        /* What died after seq is still in the new part: mark it there. Such rows are few, or the merge took long. */
        const uint64_t *dead = view.part->dead.used ? view.part->dead.items.get() : nullptr;
        for (uint32_t row : view.part->died_meanwhile) {
            if (forward[row] != ROW_GONE && load_dead(part->dead.used ? part->dead.items.get() : nullptr, forward[row]) == 0) {
                part->bury(forward[row], dead[row]);
            }
        }
        const uint64_t *before = view.dead();
        for (uint32_t row = 0; before && row < view.rows; row++) {
            uint64_t died = load_dead(before, row);
            if (died > seq && load_dead(part->dead.used ? part->dead.items.get() : nullptr, forward[row]) == 0) {
                part->bury(forward[row], died);
            }
        }
    }
    if (part) {
        scope->parts.push_back(part);
    }
    index.forget_if_empty(scope);
}

/* Let the locations of a part that is gone lead straight to the new one, a few at a time; then free its slot. */
static inline void install_locations(Index &index, const MergeScope &merged, size_t at, uint32_t slot) {
    const PartView &view = merged.from[at];
    const std::vector<uint32_t> &forward = *merged.forward[at];
    std::vector<std::pair<Name, uint32_t>> names;
    for (uint32_t row = 0; row < view.rows;) {
        names.clear();
        for (; row < view.rows && names.size() < LOCATIONS_PER_STEP; row++) {
            if (forward[row] != ROW_GONE) {
                Bytes id = view.id(row);
                names.emplace_back(name_of(index.name_seed, merged.name, id.at, id.count), forward[row]);
            }
        }
        std::lock_guard<std::mutex> guard(index.lock);
        for (const auto &one : names) {
            Location *found = index.locations.find(one.first);
            if (found && found->slot == view.part->slot) {
                found->slot = slot;
                found->row = one.second;
            }
        }
    }
    std::lock_guard<std::mutex> guard(index.lock);
    index.drop_slot(view.part->slot);
}

/* Let go of what was merged: under the lock of the index's hold on it, then without it of the memory, which is much. */
static inline void install_end(Index &index, Merge &merge, uint64_t number, const std::shared_ptr<Segment> &segment) {
    std::vector<std::shared_ptr<Part>> frozen;
    std::vector<std::shared_ptr<Segment>> gone;
    {
        std::lock_guard<std::mutex> guard(index.lock);
        for (uint64_t merged : merge.segments) {
            gone.push_back(index.segments.at(merged));
            index.segments.erase(merged);
        }
        if (merge.segments.empty()) {
            frozen.swap(index.frozen);
            index.frozen_bytes = 0;
        }
        if (segment) {
            index.segments[number] = segment;
        }
    }
    merge.scopes.clear();
}

/* Put a written merge in place; file: the new segment, or none if nothing was left. Returns false if the file is not
 * what was written. On the background thread, without the lock. */
static inline bool merge_install(Index &index, Merge &merge, uint64_t number, const std::shared_ptr<Mapping> &file) {
    const uint64_t *directory = nullptr;
    const Footer *footer = file ? segment_footer(*file, index.field_count, &directory) : nullptr;
    if (file && (!footer || footer->block_count != merge.written)) {
        return false;
    }
    auto segment = std::make_shared<Segment>();
    segment->file = file;
    segment->documents = merge.documents;
    std::vector<Part> parsed(merge.written);
    for (uint64_t block = 0; block < merge.written; block++) {
        std::string name;
        if (!segment_part(file, directory[block], index.field_count, parsed[block], name)) {
            return false;
        }
    }
    size_t block = 0;
    for (MergeScope &scope : merge.scopes) {
        std::shared_ptr<Part> part;
        {
            std::lock_guard<std::mutex> guard(index.lock);
            if (scope.rows) {
                part = index.new_part(scope.from[0].part->scope);
                part_fill(*part, std::move(parsed[block++]));
                segment->parts.push_back(part);
            }
            install_scope(index, scope, part, merge.seq);
        }
        for (size_t at = 0; at < scope.from.size(); at++) {
            install_locations(index, scope, at, part ? part->slot : 0);
        }
    }
    install_end(index, merge, number, file ? segment : nullptr);
    return true;
}

/* The rows of a segment that died up to a commit. */
static inline std::vector<DeadRow> segment_dead(Index &index, uint64_t number, uint64_t seq) {
    std::vector<PartView> views;
    {
        std::lock_guard<std::mutex> guard(index.lock);
        for (const std::shared_ptr<Part> &part : index.segments.at(number)->parts) {
            views.emplace_back(part);
        }
    }
    std::vector<DeadRow> found;
    for (size_t block = 0; block < views.size(); block++) {
        const uint64_t *dead = views[block].dead();
        for (uint32_t row = 0; dead && row < views[block].rows; row++) {
            if (!is_live(load_dead(dead, row), seq)) {
                found.push_back({(uint32_t)block, row});
            }
        }
    }
    return found;
}

/* How many documents a segment has and how many of them are dead; false if there is no such segment. */
static inline bool segment_size(Index &index, uint64_t number, uint64_t *documents, uint64_t *dead) {
    std::lock_guard<std::mutex> guard(index.lock);
    auto found = index.segments.find(number);
    if (found == index.segments.end()) {
        return false;
    }
    *documents = found->second->documents;
    *dead = 0;
    for (const std::shared_ptr<Part> &part : found->second->parts) {
        *dead += part->dead_count;
    }
    return true;
}

}  // namespace keyword

#endif
