"""Random operations on few memories, so that they meet. Their texts are words by which each can be found alone."""

from __future__ import annotations

import random
import struct
from typing import Final

from bench.crash.hints import Hints
from recollectd.protocol.messages import memories, search_settings, vector_spaces
from recollectd.protocol.messages.fields import Request, Write

Namespace = tuple[str, ...]

MEMORY_IDS: Final = (*(f"m{number}" for number in range(8)), "m\x00", "mä")
# Analysed otherwise by each language and without stemming, so that what was indexed before a change shows.
WORDS: Final = ("zebras", "pianos", "violet", "harbours", "lanterns", "copper")
# Of two sizes, so that what is taken for a vector of the other shows; the last is mostly an alias.
SPACES: Final = {"vectors": 4, "moved": 3}
ALIAS: Final = "current"


class MemoryWorkload:
    """Writes of memories in a namespace that is given."""

    def __init__(self, rng: random.Random, hints: Hints) -> None:
        self._rng = rng
        self._hints = hints

    def vector(self, space: str) -> bytes:
        """Return a vector with a length."""
        dimensions = SPACES.get(space) or self._rng.choice((*SPACES.values(),))
        return struct.pack(f"<{dimensions}f", *(self._rng.uniform(0.1, 1.0) for _ in range(dimensions)))

    def vectors(self, share: float) -> dict[str, bytes] | None:
        """Return vectors in some spaces, in each with this probability."""
        named = [name for name in (*SPACES, ALIAS) if self._rng.random() < share]
        return {name: self.vector(name) for name in named} or None

    def words(self) -> str:
        """Return a few words."""
        return " ".join(self._rng.sample(WORDS, self._rng.randint(1, 3)))

    def _new(self, memory_id: str | None) -> memories.NewMemory:
        return memories.NewMemory(self.words(), memory_id, vectors=self.vectors(0.2))

    def _version(self) -> int | None:
        return self._rng.choice((None, None, None, 1, 2))

    def add(self, namespace: Namespace) -> Write:
        """Return an addition of one or more."""
        ids: list[str | None] = [*self._rng.sample(MEMORY_IDS, self._rng.choice((1, 1, 1, 3)))]
        if self._rng.random() < 0.1:
            ids.append(None)
        return memories.MemoryAdd(namespace, tuple(map(self._new, ids)), self._rng.random() < 0.4)

    def replace(self, namespace: Namespace) -> Write:
        """Return a next version."""
        return memories.MemoryReplace(namespace, self._new(self._rng.choice(MEMORY_IDS)), self._version())

    def mark(self, namespace: Namespace) -> Write:
        """Return what hides a memory, or shows it again."""
        one, other = self._rng.sample(MEMORY_IDS, 2)
        if self._rng.random() < 0.6:
            return memories.MemoryForget(namespace, one, self._version(), self._rng.random() < 0.5)
        return memories.MemorySupersede(namespace, one, other, self._version())

    def delete(self, namespace: Namespace) -> Write:
        """Return a deletion."""
        return memories.MemoryDelete(namespace, self._rng.choice(MEMORY_IDS), self._version())

    def create_space(self, namespace: Namespace) -> Write:
        """Return a creation of a vector space, rarely under the name that is mostly an alias."""
        name = ALIAS if self._rng.random() < 0.05 else self._rng.choice((*SPACES,))
        return vector_spaces.SpaceCreate(namespace, name, SPACES.get(name, 4), precision="f32")

    def drop_space(self, namespace: Namespace) -> Write:
        """Return the end of a space or an alias."""
        return vector_spaces.SpaceDrop(namespace, self._rng.choice((*SPACES, ALIAS)))

    def name_space(self, namespace: Namespace) -> Write:
        """Return what lets a name stand for a space."""
        name = self._rng.choice((ALIAS, ALIAS, ALIAS, "moved"))
        return vector_spaces.SpaceAlias(namespace, name, self._rng.choice((*SPACES, ALIAS)))

    def look(self, namespace: Namespace) -> Request:
        """Return a question for what lacks a vector, as who embeds anew asks it."""
        if self._rng.random() < 0.5:
            return vector_spaces.SpaceLacking(namespace, self._rng.choice((*SPACES,)), limit=40)
        return memories.MemoryList(namespace, hidden=True, limit=500, lacking=self._rng.choice((*SPACES,)))

    def find(self, namespace: Namespace) -> Request:
        """Return what finds memories, which may be counted."""
        draw = self._rng.random()
        if draw < 0.6:
            return memories.MemoryGet(namespace, (self._rng.choice(MEMORY_IDS),))
        search = memories.MemorySearch(namespace, self.words(), limit=3)
        return search if draw < 0.9 else memories.MemoryContext(search, 50)

    def embed(self, namespace: Namespace) -> Write:
        """Return vectors for memories, mostly for those that were seen to lack one."""
        space = self._rng.choice((*SPACES, ALIAS))
        seen = self._hints.lacking.get((namespace, space), ())
        lacking = self._rng.sample(seen, min(len(seen), self._rng.randint(1, 6)))
        if not lacking or self._rng.random() < 0.1:
            lacking = [(self._rng.choice(MEMORY_IDS), self._rng.randint(1, 4))]
        given = [vector_spaces.MemoryVector(*each, self.vector(space)) for each in lacking]
        return vector_spaces.SpaceEmbed(namespace, space, tuple(given))

    def embed_messages(self, namespace: Namespace) -> Write:
        """Return vectors for messages, mostly for those that were seen to lack one."""
        space = self._rng.choice((*SPACES, ALIAS))
        seen = self._hints.lacking_messages.get((namespace, space), ())
        lacking = self._rng.sample(seen, min(len(seen), self._rng.randint(1, 6)))
        if not lacking or self._rng.random() < 0.1:
            lacking = [("chat", self._rng.randint(1, 4), 100_000)]
        given = [vector_spaces.MessageVector(*each, self.vector(space)) for each in lacking]
        return vector_spaces.SpaceEmbedMessages(namespace, space, tuple(given))

    def switch(self, namespace: Namespace) -> Write:
        """Return a switch to a space that was seen to lack nothing; mostly too late."""
        whole = [space for space in SPACES if (namespace, space) in self._hints.whole]
        space = self._rng.choice(whole or (*SPACES,))
        return vector_spaces.SpaceSwitch(namespace, ALIAS, space, self._hints.whole.get((namespace, space), 0))

    def configure(self, namespace: Namespace) -> Write:
        """Return a change of how texts are analysed, of whether messages are found, or accesses are counted."""
        draw = self._rng.random()
        if draw < 0.3:
            return search_settings.SearchConfigure(namespace, accesses=self._rng.random() < 0.7)
        if draw < 0.6:
            return search_settings.SearchConfigure(namespace, messages=self._rng.random() < 0.7)
        return search_settings.SearchConfigure(
            namespace,
            language=self._rng.choice((None, "english", "german", "none")),
            stemming=self._rng.choice((None, True, False)),
            stop_words=self._rng.choice((None, True, False)),
        )
