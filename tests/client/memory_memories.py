"""Memories and vector spaces for the fake daemon's store: as much as the client's tests ask for."""

from __future__ import annotations

from msgspec import structs

from recollectd.protocol import errors
from recollectd.protocol.messages import connection, search_settings, vector_spaces
from recollectd.protocol.messages import memories as messages
from recollectd.protocol.messages.fields import Reply

AT = 1_700_000_000_123_456


class FakeMemories:
    """Answers requests about memories. Every search finds everything."""

    position: int

    def __init__(self) -> None:
        self.memories: dict[str, messages.Memory] = {}
        self.spaces: dict[str, vector_spaces.Space] = {}
        self.searches_messages = False

    def _MemoryAdd(self, request: messages.MemoryAdd) -> Reply:
        return messages.MemoriesStored(tuple(map(self._store, request.memories)))

    def _MemoryReplace(self, request: messages.MemoryReplace) -> Reply:
        self._known(request.memory.memory_id or "")
        return messages.MemoriesStored((self._store(request.memory),))

    def _store(self, new: messages.NewMemory) -> messages.MemoryStored:
        self.position += 1
        memory_id = new.memory_id or f"m-{self.position}"
        before = self.memories.get(memory_id)
        version = 1 if before is None else before.version + 1
        fields = {name: getattr(new, name) for name in new.__struct_fields__ if name not in ("memory_id", "ttl_us")}
        text = fields.pop("text")
        self.memories[memory_id] = messages.Memory(memory_id, text, version, AT, AT, self.position, **fields)
        return messages.MemoryStored(memory_id, version, AT, AT)

    def _known(self, memory_id: str) -> messages.Memory:
        if memory_id not in self.memories:
            raise errors.NotFound("no such memory", field="memory_id")
        return self.memories[memory_id]

    def _MemoryGet(self, request: messages.MemoryGet) -> Reply:
        return messages.Memories(tuple(map(self.memories.get, request.memory_ids)))

    def _MemoryForget(self, request: messages.MemoryForget) -> Reply:
        found = self._known(request.memory_id)
        self.memories[request.memory_id] = structs.replace(found, forgotten_at=None if request.undo else AT)
        return messages.MemoryMarked(found.version, AT, None)

    def _MemorySupersede(self, request: messages.MemorySupersede) -> Reply:
        return messages.MemoryMarked(self._known(request.memory_id).version, None, AT)

    def _MemoryDelete(self, request: messages.MemoryDelete) -> Reply:
        self.position += 1
        return connection.Deleted(0 if self.memories.pop(request.memory_id, None) is None else 1)

    def _lacking(self, request: messages.MemoryList | messages.MemoryCount) -> list[messages.Memory]:
        found = [each for each in self.memories.values() if each.revision > request.changed_since]
        return [each for each in found if request.lacking not in (each.vectors or {})]

    def _MemoryList(self, request: messages.MemoryList) -> Reply:
        return messages.MemoryPage(tuple(self._lacking(request))[: request.limit], b"", AT, self.position)

    def _MemoryCount(self, request: messages.MemoryCount) -> Reply:
        return connection.Counted(len(self._lacking(request)), b"")

    def _MemoryHistory(self, request: messages.MemoryHistory) -> Reply:
        found = self._known(request.memory_id)
        gone = messages.MemoryVersion(found.version + 1, AT, None)
        there = messages.MemoryVersion(found.version, AT, messages.NewMemory(found.text, found.memory_id))
        return messages.MemoryVersions((gone, there), 0, found.version)

    def _MemorySearch(self, request: messages.MemorySearch) -> Reply:
        if not request.records:
            ids = tuple(self.memories)[: request.limit]
            return messages.MemoryRanks(ids, (0.5,) * len(ids))
        details = (messages.ScoreDetail("keyword", 1, 2.5, 1.0, 3.0),) if request.explain else ()
        results = tuple(messages.MemoryResult(each, 0.5, details) for each in self.memories.values())
        return messages.MemoryResults(results[: request.limit])

    def _MemoryContext(self, request: messages.MemoryContext) -> Reply:
        return messages.ContextText("\n".join(each.text for each in self.memories.values()), tuple(self.memories), 1)

    def _SearchConfigure(self, request: search_settings.SearchConfigure) -> Reply:
        self.searches_messages = bool(request.messages)
        return search_settings.SearchSettings(request.language or "english", True, True, bool(request.messages), False)

    def _SearchSettingsGet(self, request: search_settings.SearchSettingsGet) -> Reply:
        return search_settings.SearchSettings("english", True, True, self.searches_messages, False)

    def _SpaceCreate(self, request: vector_spaces.SpaceCreate) -> Reply:
        self.spaces[request.name] = vector_spaces.Space(
            request.name, request.dimensions, request.metric, request.precision, request.model, AT
        )
        return connection.Done()

    def _SpaceAlias(self, request: vector_spaces.SpaceAlias) -> Reply:
        self.spaces[request.name] = vector_spaces.Space(request.name, 1, "", "", "", AT, request.alias_of)
        return connection.Done()

    def _SpaceEmbed(self, request: vector_spaces.SpaceEmbed) -> Reply:
        self.position += 1
        for each in request.vectors:
            found = self.memories[each.memory_id]
            vectors = {**(found.vectors or {}), request.space: each.components}
            self.memories[each.memory_id] = structs.replace(found, vectors=vectors, revision=self.position)
        return vector_spaces.Embedded((True,) * len(request.vectors))

    def _SpaceSwitch(self, request: vector_spaces.SpaceSwitch) -> Reply:
        if any(each.revision > request.position for each in self.memories.values()):
            return vector_spaces.Switched(False)
        self._SpaceAlias(vector_spaces.SpaceAlias(request.namespace, request.name, request.alias_of))
        return vector_spaces.Switched(True)

    def _SpaceList(self, request: vector_spaces.SpaceList) -> Reply:
        return vector_spaces.Spaces(tuple(self.spaces.values()))

    def _SpaceDrop(self, request: vector_spaces.SpaceDrop) -> Reply:
        return connection.Deleted(0 if self.spaces.pop(request.name, None) is None else 1)
