"""A cache of LangChain for answers of models: a state record for each question."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.exceptions import LangChainException
from langchain_core.messages import messages_from_dict
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk

from recollectd.adapters.langchain.common import in_their_terms, place
from recollectd.adapters.texts import json_text
from recollectd.client import Client

TYPES: Final = {each.__name__: each for each in (Generation, GenerationChunk, ChatGeneration, ChatGenerationChunk)}
"""Every class that is made from what is stored, beside LangChain's messages. Names are never given anew."""


class RecollectdCache(BaseCache):
    """Answers of models, kept by a recollectd daemon, for all processes that ask the same.

        set_llm_cache(RecollectdCache(client, ttl=86_400))

    A question is known by the SHA-256 of prompt and parameters. What cannot be kept, and a daemon that does not answer,
    raise LangChainException.
    """

    def __init__(self, client: Client, name: str = "cache", *, ttl: float | None = None) -> None:
        """Use a client, which stays the caller's to close. name: of this cache among others; ttl: seconds."""
        self._client = place(client, "cache", name)
        self._ttl = ttl

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """Return the answer to a question, None if none is known."""
        with in_their_terms():
            record = self._client.state.get(_key(prompt, llm_string))
        return None if record is None else [_unpacked(each) for each in record.value]

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keep the answer to a question."""
        packed = [_packed(generation) for generation in return_val]
        with in_their_terms():
            self._client.state.put(_key(prompt, llm_string), packed, ttl=self._ttl)

    def clear(self, **kwargs: Any) -> None:
        """Forget all answers; there are no options."""
        with in_their_terms():
            self._client.state.delete_prefix("")


def _key(prompt: str, llm_string: str) -> str:
    # The length keeps ("ab", "c") and ("a", "bc") apart.
    whole = f"{len(prompt)}:{prompt}{llm_string}"
    return hashlib.sha256(whole.encode(errors="surrogatepass")).hexdigest()


def _packed(generation: Generation) -> str:
    name = type(generation).__name__
    if TYPES.get(name) is not type(generation):
        raise LangChainException(f"an answer of type {name} cannot be kept")
    try:
        fields = generation.model_dump(mode="json", exclude={"message"})
        if isinstance(generation, ChatGeneration):
            message = generation.message
            fields["message"] = {"type": message.type, "data": message.model_dump(mode="json")}
        return json_text({"type": name, "fields": fields})
    except (TypeError, ValueError, RecursionError) as error:
        raise LangChainException(f"the answer cannot be kept: {error}") from error


def _unpacked(text: str) -> Generation:
    stored = json.loads(text)
    fields = stored["fields"]
    if "message" in fields:
        (fields["message"],) = messages_from_dict([fields["message"]])
    return TYPES[stored["type"]](**fields)
