"""Opens the views over memories in a data folder; what is lost or damaged is made anew from the records."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from recollectd.memory.memories.documents import FIELDS
from recollectd.memory.memories.scanning import all_documents
from recollectd.memory.memories.scopes import SearchScopes, walk_settings
from recollectd.memory.memories.view_options import DEFAULT_VIEW_OPTIONS, ViewOptions
from recollectd.memory.memories.views import MemoryViews
from recollectd.storage.engine import Engine
from recollectd.storage.keyspace import CHANGES_TRIMMED_KEY, Family, unpack_number
from recollectd.storage.keywords.errors import KeywordsDamaged, KeywordsOutdated
from recollectd.storage.keywords.options import KeywordOptions
from recollectd.storage.keywords.view import open_keywords, rebuild_keywords
from recollectd.storage.vectors.view import VectorView

log = logging.getLogger("recollectd.views")

KEYWORD_BYTES_MAX: Final = 256 << 20
KEYWORDS_NAME: Final = "keywords"
VECTORS_NAME: Final = "vectors"


def open_views(folder: Path, engine: Engine, options: ViewOptions = DEFAULT_VIEW_OPTIONS) -> MemoryViews:
    """Open the views in a data folder, or make them, and bring them up to what is applied. Raises OSError."""
    row = engine.get_many(Family.META, (CHANGES_TRIMMED_KEY,))[0]
    trimmed = 0 if row is None else unpack_number(row)
    scopes = SearchScopes(walk_settings(engine))
    keyword_options = KeywordOptions(
        fields=FIELDS,
        analysis_of=scopes.analysis_of,
        delta_bytes_wanted=options.keyword_flush_bytes,
        delta_bytes_max=max(KEYWORD_BYTES_MAX, 2 * options.keyword_flush_bytes),
    )
    try:
        keywords = open_keywords(folder / KEYWORDS_NAME, keyword_options)
        if keywords.durable_seq < trimmed:
            raise KeywordsOutdated(f"durable up to {keywords.durable_seq}, changes are known from {trimmed + 1} on")
    except (KeywordsDamaged, KeywordsOutdated) as error:
        log.warning("the keyword view is made anew from the records: %s", error)
        keywords = rebuild_keywords(
            folder / KEYWORDS_NAME, engine.applied_seq, all_documents(engine, scopes), keyword_options
        )
    vectors = VectorView(folder / VECTORS_NAME, options.vectors, keeper=False)
    views = MemoryViews(engine, keywords, vectors, scopes, options)
    views.come_up(trimmed)
    return views
