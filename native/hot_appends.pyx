# cython: language_level=3, boundscheck=False, wraparound=False
"""Plain appends to logs and conversations on the short way (hot_writes.pyx): a few items, without guards or ids of the
caller's."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from recollectd._native.hot_writes cimport HotKind, HotWrite, HotWrites, row_key
from recollectd_hot_commit cimport (
    CACHE_KEY_BYTES_MAX, HOT_AROUND_BYTES_MAX, HOT_CONTENT_BYTES_MAX, HOT_FAMILY_ENTRIES, HOT_FAMILY_HEADS,
    HOT_FAMILY_INDEX, HOT_ROW_DELETE, HOT_ROW_PUT, c_cache, hot_author, hot_desk, hot_limits, hot_request,
    hot_write_path, hot_write_row_number,
)

import os

cdef extern from "recollectd_hot_append.h" nogil:
    enum:
        C_CONVERSATION_APPEND "HOT_CONVERSATION_APPEND"
        C_LOG_APPEND "HOT_LOG_APPEND"
        HOT_INDEX_MESSAGE_ID
        HOT_MESSAGE_ID_BYTES_MAX
        HOT_RANDOM_BYTES

    ctypedef struct hot_append:
        hot_request request
        uint64_t count, largest, bytes

    ctypedef struct hot_log_head:
        uint64_t first, next, revision, incarnation, rewritten, created_at, updated_at, largest
        const uint8_t *metadata
        uint64_t metadata_bytes
        int conversation, named

    ctypedef struct hot_append_commit:
        uint64_t bytes, reply_at, reply_bytes, head_at, head_bytes, items_at

    bint hot_read_append(hot_append *append, uint32_t tag, const uint8_t *frame, uint64_t frame_bytes,
                         const c_cache *cache, const hot_limits *limits, uint64_t time_us_max)
    hot_append_commit hot_write_append(uint8_t *to, uint64_t time, const hot_append *append, const hot_author *author,
                                       const hot_log_head *head, uint64_t first, const uint8_t *random,
                                       uint64_t previous_used_second)
    uint32_t hot_write_message_id(uint8_t *to, uint64_t position, const uint8_t *random)
    uint64_t hot_value_bytes(const uint8_t *at, const uint8_t *end)
    uint8_t *hot_write_log_item(uint8_t *to, uint64_t position, uint64_t stored_at, const uint8_t *value,
                                uint64_t value_bytes)
    uint64_t hot_write_message(uint8_t *to, uint64_t position, const uint8_t *entry, uint64_t entry_bytes)

LOG_APPEND = C_LOG_APPEND
CONVERSATION_APPEND = C_CONVERSATION_APPEND

# What is in them is done with before the next frame's turn.
cdef hot_append REQUEST
cdef uint8_t SCRATCH[HOT_CONTENT_BYTES_MAX + 2 * HOT_AROUND_BYTES_MAX]

cdef enum:
    METADATA_BYTES_MAX = 8192
    SECOND_US = 1000000


@cython.final
cdef class HotAppends(HotKind):
    """new_head makes heads of the kind; new_place, last_use_key: of conversations, None for logs."""
    cdef uint32_t _tag
    cdef uint64_t _time_us_max
    cdef object _new_head, _new_place, _last_use_key

    def __cinit__(self, uint32_t tag, uint64_t time_us_max, new_head, new_place=None, last_use_key=None):
        self._tag = tag
        self._time_us_max = time_us_max
        self._new_head, self._new_place, self._last_use_key = new_head, new_place, last_use_key
        self.subject = &REQUEST.request

    cdef bint read(self, const uint8_t *frame, uint64_t frame_bytes, const hot_desk *desk):
        return hot_read_append(&REQUEST, self._tag, frame, frame_bytes, desk.cache, &desk.limits, self._time_us_max)

    cdef HotWrite make(self, before, HotWrites writes, uint64_t seq, uint64_t time, hot_author *author):
        cdef HotAppend append
        cdef hot_log_head head
        cdef uint64_t first = 0, previous_second = 0
        cdef bytes metadata = b"\xc0", drawn
        cdef const uint8_t *random = NULL
        head.conversation, head.named = self._new_place is not None, False
        head.metadata, head.metadata_bytes = NULL, 0
        if head.conversation:
            if before is None:
                return None
            if before.metadata is not None:
                metadata = bytes(before.metadata)
                if PyBytes_GET_SIZE(metadata) > METADATA_BYTES_MAX:
                    return None
            drawn = os.urandom(HOT_RANDOM_BYTES)  # one draw for all, as the other route makes it
            random = <const uint8_t *>PyBytes_AS_STRING(drawn)
            previous_second = <uint64_t>before.updated_at // SECOND_US
            head.named = before.named
            head.metadata = <const uint8_t *>PyBytes_AS_STRING(metadata)
            head.metadata_bytes = PyBytes_GET_SIZE(metadata)
        head.first, head.largest, head.created_at = 0, REQUEST.largest, time
        head.incarnation = head.rewritten = seq
        if before is not None:
            first, head.first, head.created_at = before.next, before.first, before.created_at
            head.incarnation, head.rewritten = before.incarnation, before.rewritten
            head.largest = max(head.largest, <uint64_t>before.largest)
        head.next, head.revision, head.updated_at = first + REQUEST.count, seq, time
        append = HotAppend.__new__(HotAppend)
        append._at = hot_write_append(SCRATCH, time, &REQUEST, author, &head, first, random, previous_second)
        append.payload = PyBytes_FromStringAndSize(<char *>SCRATCH, append._at.bytes)
        append.reply_at, append.reply_bytes = append._at.reply_at, append._at.reply_bytes
        append._bounds, append._first, append._count = (head.first, head.next), first, REQUEST.count
        append._conversation = head.conversation
        parts = (head.first, head.next, seq, head.incarnation, head.rewritten, head.created_at, time, head.largest)
        if head.conversation:
            append._head = self._new_head(*parts, before.metadata, before.named)
            append._more = self._places(head.incarnation, first, time, random)
            if time // SECOND_US != previous_second:
                append._last_use_key, append._previous_second = self._last_use_key, previous_second
        else:
            append._head = self._new_head(*parts)
        return append

    cdef list _places(self, uint64_t incarnation, uint64_t first, uint64_t time, const uint8_t *random):
        """Return where the messages lie, for who sends an id back before it can be found in applied state."""
        cdef uint8_t path[2 * CACHE_KEY_BYTES_MAX + 64 + HOT_MESSAGE_ID_BYTES_MAX]
        cdef hot_request *request = &REQUEST.request
        cdef uint64_t start, id_bytes, index
        cdef list places = []
        path[0] = HOT_INDEX_MESSAGE_ID
        start = 1 + hot_write_path(path + 1, request.bytes, request.key.length, request.text_at)
        hot_write_row_number(path + start, incarnation)
        start += 8
        for index in range(REQUEST.count):
            id_bytes = hot_write_message_id(path + start, first + index, random)
            key = PyBytes_FromStringAndSize(<char *>path, start + id_bytes)
            places.append((key, self._new_place(first + index, time)))
        return places


@cython.final
cdef class HotAppend(HotWrite):
    cdef hot_append_commit _at
    cdef tuple _bounds
    cdef object _last_use_key
    cdef uint64_t _first, _count, _previous_second
    cdef bint _conversation

    cdef list _items(self):
        """Return the items or entries as they are in the journal entry."""
        cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(self.payload)
        cdef const uint8_t *end = at + PyBytes_GET_SIZE(self.payload)
        cdef uint64_t index, count
        cdef list items = []
        at += self._at.items_at
        for index in range(self._count):
            count = hot_value_bytes(at, end)
            items.append(PyBytes_FromStringAndSize(<char *>at, count))
            at += count
        return items

    def add_rows(self, list rows not None):
        """Add the rows of logs.events.apply_appended or conversations.events.apply_messages_appended."""
        cdef uint8_t path[2 * CACHE_KEY_BYTES_MAX + 16]
        cdef uint64_t path_bytes = self.path(path), position = self._first
        cdef uint64_t stored_at = self.time
        rows.append((HOT_ROW_PUT, HOT_FAMILY_HEADS, self.key, self.part(self._at.head_at, self._at.head_bytes)))
        for item in self._items():
            if not self._conversation:
                item = PyBytes_FromStringAndSize(<char *>&stored_at, 8) + <bytes>item
            rows.append((HOT_ROW_PUT, HOT_FAMILY_ENTRIES, row_key(path, path_bytes, position), item))
            position += 1
        if self._last_use_key is not None:
            before, now = self._previous_second, self.time // SECOND_US
            rows.append((HOT_ROW_DELETE, HOT_FAMILY_INDEX, self._last_use_key(self.key, before), b""))
            rows.append((HOT_ROW_PUT, HOT_FAMILY_INDEX, self._last_use_key(self.key, now), b""))

    def follow(self, cache):
        """Tell the value cache what logs.caching or conversations.caching tell it."""
        cdef bytes item, shown
        cdef uint64_t position = self._first, count
        cdef uint8_t *start
        cdef list items = []
        for item in self._items():
            shown = PyBytes_FromStringAndSize(NULL, PyBytes_GET_SIZE(item) + 32)
            start = <uint8_t *>PyBytes_AS_STRING(shown)
            if self._conversation:
                count = hot_write_message(start, position, <const uint8_t *>PyBytes_AS_STRING(item),
                                          PyBytes_GET_SIZE(item))
            else:
                count = hot_write_log_item(start, position, self.time, <const uint8_t *>PyBytes_AS_STRING(item),
                                           PyBytes_GET_SIZE(item)) - start
            items.append(shown[:count])
            position += 1
        kept = items[max(0, len(items) - <Py_ssize_t>cache.tail_items_max):]
        cache.append(self.seq, self.key, self._bounds[0], self._bounds[1], self.seq, self._first, tuple(kept))
