"""The keyword view: exact BM25 over the live documents of a scope, in immutable posting segments and a live delta."""
