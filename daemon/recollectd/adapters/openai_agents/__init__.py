"""The OpenAI Agents SDK: a session over a recollectd daemon."""

from recollectd.adapters.openai_agents.session import RecollectdSession

__all__ = ["RecollectdSession"]
