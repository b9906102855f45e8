/* Where each live document lies: its name -> the slot of its part and its row there.
 *
 * Open addressing with linear probing in 256 small tables, so that one that grows moves a 256th of all entries and
 * apply never waits long. A removed entry closes its gap at once (Knuth, volume 3, section 6.4, algorithm R).
 */
#ifndef RECOLLECTD_KEYWORD_LOCATIONS_H
#define RECOLLECTD_KEYWORD_LOCATIONS_H

#include "recollectd_keyword_memory.h"

namespace keyword {

struct Location {
    Name name; /* low == 0: free; names have their lowest bit set */
    uint32_t slot;
    uint32_t row;
};

struct LocationTable {
    std::vector<Location> entries;
    size_t used = 0;

    size_t mask() const { return entries.size() - 1; }
    size_t home(const Name &name) const { return (size_t)(name.high >> 8) & mask(); }

    Location *find(const Name &name) {
        if (entries.empty()) {
            return nullptr;
        }
        for (size_t at = home(name);; at = (at + 1) & mask()) {
            if (entries[at].name.low == 0) {
                return nullptr;
            }
            if (entries[at].name == name) {
                return &entries[at];
            }
        }
    }

    void place(const Location &entry) {
        size_t at = home(entry.name);
        while (entries[at].name.low != 0) {
            at = (at + 1) & mask();
        }
        entries[at] = entry;
    }

    void add(const Location &entry) {
        if ((used + 1) * 8 > entries.size() * 7) {
            std::vector<Location> before(entries.empty() ? 4 : entries.size() * 2, Location{{0, 0}, 0, 0});
            before.swap(entries);
            for (const Location &old : before) {
                if (old.name.low != 0) {
                    place(old);
                }
            }
        }
        place(entry);
        used++;
    }

    void remove(Location *entry) {
        size_t gap = (size_t)(entry - entries.data());
        for (size_t at = (gap + 1) & mask(); entries[at].name.low != 0; at = (at + 1) & mask()) {
            size_t wants = home(entries[at].name);
            bool may_stay = gap <= at ? (gap < wants && wants <= at) : (gap < wants || wants <= at);
            if (!may_stay) {
                entries[gap] = entries[at];
                gap = at;
            }
        }
        entries[gap].name = {0, 0};
        used--;
    }
};

struct Locations {
    LocationTable tables[256];

    LocationTable &table(const Name &name) { return tables[name.high & 255]; }
    Location *find(const Name &name) { return table(name).find(name); }
    void add(const Location &entry) { table(entry.name).add(entry); }
    void remove(Location *entry) { table(entry->name).remove(entry); }

    size_t bytes() const {
        size_t total = sizeof tables;
        for (const LocationTable &one : tables) {
            total += one.entries.capacity() * sizeof(Location);
        }
        return total;
    }
};

}  // namespace keyword

#endif
