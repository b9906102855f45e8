/* Exact BM25 over the live documents of one scope.
 *
 * Okapi BM25 as in Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), section
 * 3.5, with the never negative idf of Lucene. For each field with a weight, for each distinct term of the query in its
 * order, in double precision and exactly so:
 *
 *     idf    = log(1 + (N - df + 0.5) / (df + 0.5))      N: live documents with the field, df: those with the term
 *     factor = weight * idf * (k1 + 1)
 *     score += factor * tf / (tf + (base + slope * length))      base = k1 * (1 - b), slope = k1 * b / (L / N)
 *
 * L is the sum of the lengths of those N documents. A document's score is therefore the same in whichever parts the
 * scope lies, and no other scope touches it. Equal scores are in the order of the ids' bytes.
 */
#ifndef RECOLLECTD_KEYWORD_SEARCH_H
#define RECOLLECTD_KEYWORD_SEARCH_H

#include <math.h>

#include "recollectd_keyword_index.h"

namespace keyword {

struct FieldWeight {
    uint32_t field;
    double weight;
};

struct Query {
    std::string scope;
    std::vector<std::string> terms; /* distinct */
    std::vector<FieldWeight> weights;
    double k1 = 0, b = 0;
    size_t limit = 0;
    bool restricted = false;
    double rare_share = 0; /* if not 0: only terms that more than one document has, but no larger share of all */
    std::vector<Bytes> allowed;
};

struct Hit {
    std::string id;
    double score;
};

/* What a search reads, noted under the lock. */
struct Snapshot {
    uint64_t seq = 0;
    std::vector<FieldStatistics> statistics;
    std::vector<PartView> parts;
    std::vector<Bytes> lists; /* of the parts in memory: by part, weight, term; those of segments are found later */
    std::vector<Grow<uint32_t>> lengths; /* by part, weight */
};

static inline bool search_note(Index &index, const Query &query, Snapshot &note) {
    std::vector<std::pmr::string> wanted(query.terms.begin(), query.terms.end());
    std::lock_guard<std::mutex> guard(index.lock);
    auto found = index.scopes.find(query.scope);
    note.seq = index.applied_seq;
    if (found == index.scopes.end()) {
        return false;
    }
    Scope &scope = *found->second;
    note.statistics = scope.statistics;
    for (const std::shared_ptr<Part> &part : scope.parts) {
        note.parts.emplace_back(part);
    }
    if (scope.growing) {
        note.parts.emplace_back(scope.growing);
    }
    for (const PartView &view : note.parts) {
        for (const FieldWeight &one : query.weights) {
            note.lengths.push_back(view.part->lengths[one.field]);
            for (const std::pmr::string &term : wanted) {
                if (view.part->file) {
                    note.lists.emplace_back();
                    continue;
                }
                const Terms &terms = view.part->terms[one.field];
                auto list = terms.find(term);
                note.lists.push_back(list == terms.end() ? Bytes() : Bytes{list->second.items, list->second.used});
            }
        }
    }
    return true;
}

/* The ids a search may answer, by their hash and bytes. */
struct Allowed {
    std::vector<uint32_t> table; /* index into ids + 1, or 0 */
    const std::vector<Bytes> &ids;

    explicit Allowed(const std::vector<Bytes> &from) : ids(from) {
        size_t size = 4;
        while (size < ids.size() * 2) {
            size *= 2;
        }
        table.assign(size, 0);
        for (size_t at = 0; at < ids.size(); at++) {
            *slot(ids[at]) = (uint32_t)at + 1;
        }
    }

    uint32_t *slot(Bytes id) {
        size_t mask = table.size() - 1;
        for (size_t at = xxh64(id.at, id.count, 0) & mask;; at = (at + 1) & mask) {
            if (table[at] == 0 || same(ids[table[at] - 1], id)) {
                return &table[at];
            }
        }
    }

    static bool same(Bytes a, Bytes b) { return a.count == b.count && memcmp(a.at, b.at, a.count) == 0; }
    bool has(Bytes id) { return *slot(id) != 0; }
};

/* One scope's scores while they are summed up: a number per row of all parts, and which rows have one. */
struct Scores {
    std::vector<double> of_row; /* all zero between searches */
    std::vector<uint32_t> touched;
    std::vector<Posting> postings;
    std::vector<size_t> part_ends;

    void clear() {
        for (uint32_t row : touched) {
            of_row[row] = 0;
        }
        touched.clear();
    }
};

/* The live postings of one term, all parts together. Returns false if a list is damaged. */
static inline bool search_read(const Snapshot &note, const Query &query, size_t weight, size_t term, Scores &scores) {
    scores.postings.clear();
    scores.part_ends.clear();
    for (size_t at = 0; at < note.parts.size(); at++) {
        const PartView &view = note.parts[at];
        Bytes list = note.lists[(at * query.weights.size() + weight) * query.terms.size() + term];
        if (view.part->file) {
            list = view.part->fields[query.weights[weight].field].find(query.terms[term]);
        }
        if (!postings_read(list.at, list.at + list.count, view.rows, view.dead(), note.seq, scores.postings)) {
            return false;
        }
        scores.part_ends.push_back(scores.postings.size());
    }
    return true;
}

/* Whether the term just read is one to score by. */
static inline bool search_counts(const Snapshot &note, const Query &query, size_t weight, const Scores &scores) {
    size_t frequency = scores.postings.size();
    if (query.rare_share <= 0) {
        return frequency > 0;
    }
    double documents = (double)note.statistics[query.weights[weight].field].documents;
    return frequency > 1 && ((double)frequency <= query.rare_share * documents || frequency == 2);
}

static inline void search_add(const Snapshot &note, const Query &query, size_t weight, Scores &scores) {
    const FieldStatistics &field = note.statistics[query.weights[weight].field];
    double documents = (double)field.documents;
    double frequency = (double)scores.postings.size();
    double idf = log(1.0 + (documents - frequency + 0.5) / (frequency + 0.5));
    double factor = query.weights[weight].weight * idf * (query.k1 + 1.0);
    double base = query.k1 * (1.0 - query.b);
    double slope = query.k1 * query.b / ((double)field.length / documents);
    size_t next = 0;
    uint32_t first_row = 0;
    for (size_t at = 0; at < note.parts.size(); at++) {
        const uint32_t *lengths = note.lengths[at * query.weights.size() + weight].items.get();
        double *of_row = scores.of_row.data() + first_row;
        for (; next < scores.part_ends[at]; next++) {
            Posting posting = scores.postings[next];
            double occurrences = (double)posting.occurrences;
            double before = of_row[posting.row];
            if (before == 0) {
                scores.touched.push_back(first_row + posting.row);
            }
            of_row[posting.row] = before + factor * occurrences / (occurrences + (base + slope * lengths[posting.row]));
        }
        first_row += note.parts[at].rows;
    }
}

struct Candidate {
    double score;
    Bytes id;
};

/* Whether a stands before b in the answer. */
static inline bool is_better(const Candidate &a, const Candidate &b) {
    if (a.score != b.score) {
        return a.score > b.score;
    }
    size_t common = a.id.count < b.id.count ? a.id.count : b.id.count;
    int order = common ? memcmp(a.id.at, b.id.at, common) : 0;
    return order != 0 ? order < 0 : a.id.count < b.id.count;
}

/* Returns false if an id cannot be read. */
static inline bool search_choose(const Snapshot &note, const Query &query, const Scores &scores, std::vector<Hit> &hits) {
    std::vector<uint32_t> ends;
    for (const PartView &view : note.parts) {
        ends.push_back((ends.empty() ? 0 : ends.back()) + view.rows);
    }
    Allowed allowed(query.allowed);
    std::vector<Candidate> best; /* a heap, the worst on top */
    for (uint32_t row : scores.touched) {
        double score = scores.of_row[row];
        if (!(score > 0) || (best.size() == query.limit && score < best.front().score)) {
            continue;
        }
        size_t at = (size_t)(std::upper_bound(ends.begin(), ends.end(), row) - ends.begin());
        Candidate one = {score, note.parts[at].id(row - (at ? ends[at - 1] : 0))};
        if (one.id.at == nullptr) {
            return false;
        }
        if ((query.restricted && !allowed.has(one.id)) || (best.size() == query.limit && !is_better(one, best.front()))) {
            continue;
        }
        if (best.size() == query.limit) {
            std::pop_heap(best.begin(), best.end(), is_better);
            best.pop_back();
        }
        best.push_back(one);
        std::push_heap(best.begin(), best.end(), is_better);
    }
    std::sort_heap(best.begin(), best.end(), is_better);
    for (const Candidate &one : best) {
        hits.push_back({std::string((const char *)one.id.at, one.id.count), one.score});
    }
    return true;
}

/* Room for scores, lent to one search after the other: at most as many as searches ran at once. */
struct ScoresPool {
    std::mutex lock;
    std::vector<std::unique_ptr<Scores>> free;

    std::unique_ptr<Scores> take() {
        std::lock_guard<std::mutex> guard(lock);
        if (free.empty()) {
            return std::unique_ptr<Scores>(new Scores());
        }
        std::unique_ptr<Scores> one = std::move(free.back());
        free.pop_back();
        return one;
    }

    void give(std::unique_ptr<Scores> one) {
        std::lock_guard<std::mutex> guard(lock);
        free.push_back(std::move(one));
    }

    size_t bytes() {
        std::lock_guard<std::mutex> guard(lock);
        size_t total = 0;
        for (const auto &one : free) {
            total += one->of_row.capacity() * sizeof(double) + one->touched.capacity() * sizeof(uint32_t) +
                     one->postings.capacity() * sizeof(Posting);
        }
        return total;
    }
};

/* The best documents; on any thread, without the GIL. Returns false if a posting list is damaged. */
static inline bool search(Index &index, ScoresPool &pool, const Query &query, std::vector<Hit> &hits) {
    Snapshot note;
    if (query.limit == 0 || !search_note(index, query, note)) {
        return true;
    }
    size_t rows = 0;
    for (const PartView &view : note.parts) {
        rows += view.rows;
    }
    std::unique_ptr<Scores> scores = pool.take();
    if (scores->of_row.size() < rows) {
        scores->of_row.resize(rows, 0.0);
    }
    bool whole = true;
    for (size_t weight = 0; weight < query.weights.size() && whole; weight++) {
        for (size_t term = 0; term < query.terms.size() && whole; term++) {
            whole = search_read(note, query, weight, term, *scores);
            if (whole && search_counts(note, query, weight, *scores)) {
                search_add(note, query, weight, *scores);
            }
        }
    }
    whole = whole && search_choose(note, query, *scores, hits);
    scores->clear();
    pool.give(std::move(scores));
    return whole;
}

}  // namespace keyword

#endif
