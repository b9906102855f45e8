# cython: language_level=3, boundscheck=False, wraparound=False
"""Plain appends to logs and conversations on the short way (hot_writes.pyx): a few items, without guards or ids of the
caller's."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from recollectd._native.facts cimport Maker
from recollectd._native.hot_steps cimport row_key
from recollectd._native.hot_writes cimport HotKind, HotWrite, HotWrites
from recollectd._native.value_cache cimport ValueCache, cache_bounds, cache_item
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
        HOT_ITEMS_MAX
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

cdef enum:
    METADATA_BYTES_MAX = 8192
    SECOND_US = 1000000
    SHOWN_AROUND_BYTES_MAX = 32  # of an item, in the value cache
    STORED_AT_BYTES = 8  # before an item of a log, in its row
    DRAWN_BYTES = 4096  # a call of the kernel for each append would cost more than the rest of its id

# What is in them is done with before the next frame's turn, or the next commit's.
cdef hot_append REQUEST
cdef uint8_t SCRATCH[HOT_CONTENT_BYTES_MAX + 2 * HOT_AROUND_BYTES_MAX]
cdef uint8_t SHOWN[HOT_CONTENT_BYTES_MAX + 2 * HOT_AROUND_BYTES_MAX + HOT_ITEMS_MAX * SHOWN_AROUND_BYTES_MAX]


# Heads that were appended to on the short way, which are again and again.
@cython.final
@cython.no_gc
cdef class HotLogHead(Maker):
    cdef hot_log_head head  # its metadata lies in `encoded`
    cdef object new_head, metadata
    cdef bytes encoded

    cdef object make(self):
        cdef hot_log_head *head = &self.head
        parts = (head.first, head.next, head.revision, head.incarnation, head.rewritten, head.created_at,
                 head.updated_at, head.largest)
        return self.new_head(*parts, self.metadata, bool(head.named)) if head.conversation else self.new_head(*parts)


@cython.final
cdef class HotAppends(HotKind):
    """new_head makes heads of the kind; new_place, last_use_key: of conversations, None for logs."""
    cdef uint32_t _tag
    cdef uint64_t _time_us_max
    cdef object _new_head, _new_place, _last_use_key
    cdef bytes _drawn  # randomness for the ids of messages
    cdef Py_ssize_t _drawn_at

    def __cinit__(self, uint32_t tag, uint64_t time_us_max, new_head, new_place=None, last_use_key=None):
        self._tag = tag
        self._time_us_max = time_us_max
        self._new_head, self._new_place, self._last_use_key = new_head, new_place, last_use_key
        self._drawn = b""
        self.subject = &REQUEST.request

    cdef bint read(self, const uint8_t *frame, uint64_t frame_bytes, const hot_desk *desk):
        return hot_read_append(&REQUEST, self._tag, frame, frame_bytes, desk.cache, &desk.limits, self._time_us_max)

    cdef HotLogHead _known(self, before):
        """Return a head that was made elsewhere in the form of the short way; None where it is not for it."""
        cdef HotLogHead known = HotLogHead.__new__(HotLogHead)
        cdef hot_log_head *head = &known.head
        head.first, head.next, head.created_at = before.first, before.next, before.created_at
        head.incarnation, head.rewritten = before.incarnation, before.rewritten
        head.updated_at, head.largest = before.updated_at, before.largest
        if self._new_place is not None:
            known.metadata, head.named = before.metadata, before.named
            known.encoded = b"\xc0" if before.metadata is None else bytes(before.metadata)
            if PyBytes_GET_SIZE(known.encoded) > METADATA_BYTES_MAX:
                return None
        return known

    cdef HotLogHead _next(self, before, uint64_t seq, uint64_t time):
        """Return what the head will be; None: the ordinary way."""
        cdef HotLogHead after = HotLogHead.__new__(HotLogHead), last
        cdef hot_log_head *head = &after.head
        if before is None:
            if self._new_place is not None:
                return None
            head.first = head.next = head.largest = 0
            head.incarnation = head.rewritten = seq
            head.created_at = time
            head.named = False
        else:
            last = <HotLogHead>before if isinstance(before, HotLogHead) else self._known(before)
            if last is None:
                return None
            head[0] = last.head
            after.metadata, after.encoded = last.metadata, last.encoded
        after.new_head, head.conversation = self._new_head, self._new_place is not None
        head.metadata, head.metadata_bytes = NULL, 0
        if head.conversation:
            head.metadata = <const uint8_t *>PyBytes_AS_STRING(after.encoded)
            head.metadata_bytes = PyBytes_GET_SIZE(after.encoded)
        head.next, head.revision, head.updated_at = head.next + REQUEST.count, seq, time
        head.largest = max(head.largest, REQUEST.largest)
        return after

    cdef uint64_t _updated_at(self, before) except? 0:
        return (<HotLogHead>before).head.updated_at if isinstance(before, HotLogHead) else before.updated_at

    cdef const uint8_t *_random(self) except? NULL:
        """Return HOT_RANDOM_BYTES that nobody else gets."""
        if self._drawn_at + HOT_RANDOM_BYTES > PyBytes_GET_SIZE(self._drawn):
            self._drawn, self._drawn_at = os.urandom(DRAWN_BYTES), 0
        self._drawn_at += HOT_RANDOM_BYTES
        return <const uint8_t *>PyBytes_AS_STRING(self._drawn) + self._drawn_at - HOT_RANDOM_BYTES

    cdef HotWrite make(self, before, HotWrites writes, uint64_t seq, uint64_t time, hot_author *author):
        cdef HotAppend append
        cdef HotLogHead after = self._next(before, seq, time)
        cdef hot_log_head *head
        cdef uint64_t first, previous_second = 0
        cdef const uint8_t *random = NULL
        if after is None:
            return None
        head = &after.head
        first = head.next - REQUEST.count
        if head.conversation:
            random = self._random()  # one draw for all messages, as the other route makes it
            previous_second = self._updated_at(before) // SECOND_US
        append = HotAppend.__new__(HotAppend)
        append._at = hot_write_append(SCRATCH, time, &REQUEST, author, head, first, random, previous_second)
        append.payload = PyBytes_FromStringAndSize(<char *>SCRATCH, append._at.bytes)
        append.reply_at, append.reply_bytes = append._at.reply_at, append._at.reply_bytes
        append.more_rows = REQUEST.count - 1
        append._first_kept, append._first, append._count = head.first, first, REQUEST.count
        append._conversation, append._head = head.conversation, after
        if head.conversation:
            append._more = self._places(head.incarnation, first, time, random)
            if time // SECOND_US != previous_second:
                append._last_use_key, append._previous_second = self._last_use_key, previous_second
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
    cdef object _last_use_key
    cdef uint64_t _first_kept, _first, _count, _previous_second
    cdef bint _conversation

    def add_rows(self, list rows not None):
        """Add the rows of logs.events.apply_appended or conversations.events.apply_messages_appended."""
        cdef uint8_t path[2 * CACHE_KEY_BYTES_MAX + 16]
        cdef uint64_t path_bytes = self.path(path), position, count
        cdef uint64_t before_bytes = 0 if self._conversation else STORED_AT_BYTES
        cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(self.payload) + self._at.items_at
        cdef const uint8_t *end = <const uint8_t *>PyBytes_AS_STRING(self.payload) + PyBytes_GET_SIZE(self.payload)
        cdef bytes row
        if not self.superseded:
            rows.append((HOT_ROW_PUT, HOT_FAMILY_HEADS, self.key, self.part(self._at.head_at, self._at.head_bytes)))
        for position in range(self._first, self._first + self._count):
            count = hot_value_bytes(at, end)
            row = PyBytes_FromStringAndSize(NULL, before_bytes + count)
            memcpy(PyBytes_AS_STRING(row), &self.time, before_bytes)
            memcpy(PyBytes_AS_STRING(row) + before_bytes, at, count)
            rows.append((HOT_ROW_PUT, HOT_FAMILY_ENTRIES, row_key(path, path_bytes, position), row))
            at += count
        if self._last_use_key is not None:
            before, now = self._previous_second, self.time // SECOND_US
            rows.append((HOT_ROW_DELETE, HOT_FAMILY_INDEX, self._last_use_key(self.key, before), b""))
            rows.append((HOT_ROW_PUT, HOT_FAMILY_INDEX, self._last_use_key(self.key, now), b""))

    def follow(self, ValueCache cache not None):
        """Tell the value cache what logs.caching or conversations.caching tell it."""
        cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(self.payload) + self._at.items_at
        cdef const uint8_t *end = <const uint8_t *>PyBytes_AS_STRING(self.payload) + PyBytes_GET_SIZE(self.payload)
        cdef cache_item items[HOT_ITEMS_MAX]  # a tail has room for more
        cdef uint8_t *to = SHOWN
        cdef uint64_t index, count
        for index in range(self._count):
            count = hot_value_bytes(at, end)
            items[index].bytes = to
            if self._conversation:
                to += hot_write_message(to, self._first + index, at, count)
            else:
                to = hot_write_log_item(to, self._first + index, self.time, at, count)
            items[index].length = <uint32_t>(to - items[index].bytes)
            at += count
        cache.append_items(self.seq, self.key, cache_bounds(self._first_kept, self._first + self._count, self.seq),
                           self._first, items, <uint32_t>self._count)
