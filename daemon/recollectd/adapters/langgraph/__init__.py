"""LangGraph: a checkpointer and a store over a recollectd daemon."""
