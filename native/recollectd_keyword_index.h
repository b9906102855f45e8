/* The keyword index: scopes, their parts, and where each document lies.
 *
 * One lock guards the structure. It is held for as long as a commit's postings are added, a search notes what it will
 * read, or a step of an installation takes; never while postings are scored, files written or pages read.
 *
 * Versions: a reader notes the last commit applied. What is added later lies behind what it noted; what dies later has
 * a larger `dead` than its own, so it sees the scope as of one commit however long it reads.
 */
#ifndef RECOLLECTD_KEYWORD_INDEX_H
#define RECOLLECTD_KEYWORD_INDEX_H

#include <map>
#include <mutex>
#include <set>

#include "recollectd_keyword_locations.h"
#include "recollectd_keyword_part.h"

namespace keyword {

struct FieldStatistics {
    uint64_t documents = 0; /* live ones that have the field */
    uint64_t length = 0;    /* the sum of their lengths in it */
};

struct Scope {
    std::string name;
    std::vector<std::shared_ptr<Part>> parts; /* the frozen one and those of segments */
    std::shared_ptr<Part> growing;
    std::vector<FieldStatistics> statistics;
    uint64_t documents = 0;
};

/* Where a location's slot leads: to a part, or on to the part that took its place. */
struct Slot {
    std::shared_ptr<Part> part;
    std::shared_ptr<std::vector<uint32_t>> forward;
    uint32_t target = 0;
};

struct Segment {
    std::shared_ptr<Mapping> file;
    std::vector<std::shared_ptr<Part>> parts; /* in the order of the file's blocks */
    uint64_t documents = 0;
};

/* What a commit says about one document; fields: packed by the analysis, at == NULL: the document does not have it. */
struct Change {
    std::string scope;
    Bytes id;
    bool removes;
    std::vector<Bytes> fields;
};

struct Totals {
    uint64_t applied_seq, scopes, documents, delta_documents, delta_bytes, frozen_parts, memory_bytes;
};

static const uint32_t ROW_GONE = UINT32_MAX;

struct Index {
    std::mutex lock;
    size_t field_count;
    uint64_t name_seed;
    uint64_t applied_seq = 0;
    std::unordered_map<std::string, std::unique_ptr<Scope>> scopes;
    std::vector<Slot> slots;
    std::vector<uint32_t> free_slots;
    Locations locations;
    std::set<Scope *> growing;
    std::shared_ptr<Arena> arena; /* of all that is growing */
    std::vector<std::shared_ptr<Part>> frozen;
    std::map<uint64_t, std::shared_ptr<Segment>> segments;
    uint64_t documents = 0;
    uint64_t growing_documents = 0;
    uint64_t growing_bytes = 0; /* beside the arena's */
    uint64_t frozen_bytes = 0;

    Index(size_t fields, uint64_t seed) : field_count(fields), name_seed(seed) {}

    /* -- structure: all of these need the lock ------------------------------------------------------------------- */

    Scope *scope_named(const std::string &name) {
        std::unique_ptr<Scope> &found = scopes[name];
        if (!found) {
            found.reset(new Scope());
            found->name = name;
            found->statistics.resize(field_count);
        }
        return found.get();
    }

    std::shared_ptr<Part> new_part(Scope *scope) {
        std::shared_ptr<Part> part = std::make_shared<Part>();
        part->scope = scope;
        part->lengths.resize(field_count);
        if (free_slots.empty()) {
            free_slots.push_back((uint32_t)slots.size());
            slots.emplace_back();
        }
        part->slot = free_slots.back();
        free_slots.pop_back();
        slots[part->slot].part = part;
        return part;
    }

    void drop_slot(uint32_t slot) {
        slots[slot] = Slot();
        free_slots.push_back(slot);
    }

    /* Follow a location to the part that has the document now. */
    Part &part_at(const Location &location, uint32_t *row) {
        uint32_t slot = location.slot;
        *row = location.row;
        while (slots[slot].forward) {
            *row = (*slots[slot].forward)[*row];
            slot = slots[slot].target;
        }
        return *slots[slot].part;
    }

    void count(Part &part, uint32_t row, int sign) {
        Scope &scope = *part.scope;
        for (size_t field = 0; field < field_count; field++) {
            uint32_t length = part.length(field, row);
            if (length != LENGTH_ABSENT) {
                scope.statistics[field].documents += (uint64_t)(int64_t)sign;
                scope.statistics[field].length += (uint64_t)((int64_t)sign * length);
            }
        }
        scope.documents += (uint64_t)(int64_t)sign;
        documents += (uint64_t)(int64_t)sign;
    }

    void forget_if_empty(Scope *scope) {
        if (scope->parts.empty() && !scope->growing) {
            growing.erase(scope);
            scopes.erase(std::string(scope->name));
        }
    }

    /* -- apply: under the lock, on the event loop ---------------------------------------------------------------- */

    bool remove(const Name &name, uint64_t seq) {
        Location *found = locations.find(name);
        if (!found) {
            return false;
        }
        uint32_t row;
        Part &part = part_at(*found, &row);
        size_t grown = part.bury(row, seq);
        growing_bytes += part.file ? 0 : grown; /* what belongs to a segment's part is counted with it */
        count(part, row, -1);
        locations.remove(found);
        return true;
    }

    bool put(const std::string &name, Bytes id, const std::vector<Bytes> &fields, uint64_t seq) {
        Name hashed = name_of(name_seed, name, id.at, id.count);
        remove(hashed, seq);
        Scope *scope = scope_named(name);
        if (!scope->growing) {
            scope->growing = new_part(scope);
            if (!arena) {
                arena = std::make_shared<Arena>();
            }
            scope->growing->arena = arena;
            scope->growing->terms.reserve(field_count);
            for (size_t field = 0; field < field_count; field++) {
                scope->growing->terms.emplace_back(&arena->memory);
            }
            growing.insert(scope);
            growing_bytes += sizeof(Part) + sizeof(Terms) * field_count;
        }
        Part &part = *scope->growing;
        size_t grown = part.id_bytes.append(id.at, id.count);
        grown += part.id_ends.push((uint32_t)part.id_bytes.used);
        grown += part.dead.used ? part.dead.push(0) : 0;
        for (size_t field = 0; field < field_count; field++) {
            if (fields[field].at == nullptr) {
                grown += part.lengths[field].push(LENGTH_ABSENT);
            } else if (!part_add_field(part, field, fields[field], &grown)) {
                return false;
            }
        }
        locations.add({hashed, part.slot, part.rows});
        count(part, part.rows, 1);
        part.rows++;
        growing_documents++;
        growing_bytes += grown;
        return true;
    }

    /* All changes of a commit: a reader sees all of them or none. Returns false if a field is not packed as it must be. */
    bool apply(uint64_t seq, const std::vector<Change> &changes) {
        std::lock_guard<std::mutex> guard(lock);
        bool whole = true;
        for (const Change &change : changes) {
            if (change.removes) {
                remove(name_of(name_seed, change.scope, change.id.at, change.id.count), seq);
            } else {
                whole = put(change.scope, change.id, change.fields, seq) && whole;
            }
        }
        applied_seq = seq;
        return whole;
    }

    /* Close what is growing, so that it can be written; returns the commit it is as of. */
    uint64_t freeze() {
        std::lock_guard<std::mutex> guard(lock);
        for (Scope *scope : growing) {
            scope->growing->merging = true;
            scope->parts.push_back(scope->growing);
            frozen.push_back(scope->growing);
            scope->growing.reset();
        }
        growing.clear();
        frozen_bytes += growing_total();
        arena.reset();
        growing_bytes = 0;
        growing_documents = 0;
        return applied_seq;
    }

    uint64_t growing_total() const { return growing_bytes + (arena ? arena->blocks.bytes : 0); }

    uint64_t documents_in(const std::string &name) {
        std::lock_guard<std::mutex> guard(lock);
        auto found = scopes.find(name);
        return found == scopes.end() ? 0 : found->second->documents;
    }

    uint64_t delta_bytes() {
        std::lock_guard<std::mutex> guard(lock);
        return growing_total() + frozen_bytes;
    }

    Totals totals() {
        std::lock_guard<std::mutex> guard(lock);
        return {applied_seq,   scopes.size(), documents, growing_documents, growing_total() + frozen_bytes, frozen.size(),
                memory_bytes()};
    }

    size_t memory_bytes() {
        size_t total = locations.bytes() + slots.capacity() * sizeof(Slot) + growing_total() + frozen_bytes;
        total += scopes.size() * (sizeof(Scope) + 96 + field_count * sizeof(FieldStatistics));
        for (const auto &one : segments) {
            for (const std::shared_ptr<Part> &part : one.second->parts) {
                total += part->memory_bytes() + field_count * sizeof(FieldBlock);
            }
        }
        return total;
    }
};

}  // namespace keyword

#endif
