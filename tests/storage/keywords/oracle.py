"""BM25 by brute force: every document looked at for every query, the arithmetic as the view's header states it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from recollectd.storage.keywords.analysis import DEFAULT_ANALYSIS, Analysis, analyser
from recollectd.storage.keywords.options import DEFAULT_SCORING, Scoring

Documents = Mapping[bytes, Sequence[str | None]]


def best(
    documents: Documents,
    query: str,
    weights: Sequence[tuple[int, float]],
    limit: int,
    *,
    allowed: Collection[bytes] | None = None,
    scoring: Scoring = DEFAULT_SCORING,
    analysis: Analysis = DEFAULT_ANALYSIS,
) -> list[tuple[bytes, float]]:
    """Return the best documents of one scope. weights: (field, weight); documents: id -> the text of each field."""
    scores = dict.fromkeys(documents, 0.0)
    at_work = analyser(analysis)
    wanted = at_work.query(query)
    for field, weight in weights:
        terms = {name: at_work.terms(text) for name, texts in documents.items() if (text := texts[field]) is not None}
        length = sum(len(found) for found in terms.values())
        for term in wanted:
            frequency = sum(term in found for found in terms.values())
            if not frequency:
                continue
            idf = math.log(1.0 + (len(terms) - frequency + 0.5) / (frequency + 0.5))
            factor = weight * idf * (scoring.k1 + 1.0)
            base = scoring.k1 * (1.0 - scoring.b)
            slope = scoring.k1 * scoring.b / (length / len(terms))
            for name, found in terms.items():
                if occurrences := found.count(term):
                    scores[name] += factor * occurrences / (occurrences + (base + slope * len(found)))
    found_all = [(name, score) for name, score in scores.items() if score > 0 and (allowed is None or name in allowed)]
    return sorted(found_all, key=lambda one: (-one[1], one[0]))[:limit]
