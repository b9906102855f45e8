# cython: language_level=3, boundscheck=False, wraparound=False
"""Plain puts of state records on the short way (hot_writes.pyx): those without a time to live."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from recollectd._native.hot_writes cimport HotKind, HotWrite, HotWrites, row_key
from recollectd_hot_commit cimport (
    CACHE_KEY_BYTES_MAX, HOT_AROUND_BYTES_MAX, HOT_CONTENT_BYTES_MAX, HOT_FAMILY_HEADS, HOT_FAMILY_VALUES,
    HOT_ROW_DELETE, HOT_ROW_DELETE_RANGE, HOT_ROW_PUT, c_cache, hot_author, hot_desk, hot_limits, hot_request,
)

cdef extern from "recollectd_hot_put.h" nogil:
    enum:
        C_STATE_PUT "HOT_STATE_PUT"
        HOT_ANY_VERSION
        HOT_DELETES_MAX
        HOT_VERSION_ROW_BYTES

    ctypedef struct hot_put:
        hot_request request
        const uint8_t *value
        uint64_t value_bytes, if_version

    ctypedef struct hot_head:
        uint64_t version, first_version, revision, created_at, updated_at, largest

    ctypedef struct hot_put_commit:
        uint64_t bytes, reply_at, reply_bytes, head_at, head_bytes, value_at

    bint hot_read_put(hot_put *put, const uint8_t *frame, uint64_t frame_bytes, const c_cache *cache,
                      const hot_limits *limits)
    hot_put_commit hot_write_put(uint8_t *to, uint64_t time, const hot_put *put, const hot_author *author,
                                 const hot_head *head, uint64_t previous_first_version)
    void hot_write_version(uint8_t *to, const hot_head *head, const uint8_t *value, uint64_t value_bytes)

STATE_PUT = C_STATE_PUT

# What is in them is done with before the next frame's turn.
cdef hot_put REQUEST
cdef uint8_t SCRATCH[HOT_CONTENT_BYTES_MAX + HOT_AROUND_BYTES_MAX]


@cython.final
cdef class HotPuts(HotKind):
    cdef object _new_head, _policies

    def __cinit__(self, new_head, policies):
        self._new_head = new_head
        self._policies = policies
        self.subject = &REQUEST.request

    cdef bint read(self, const uint8_t *frame, uint64_t frame_bytes, const hot_desk *desk):
        return hot_read_put(&REQUEST, frame, frame_bytes, desk.cache, &desk.limits)

    cdef HotWrite make(self, before, HotWrites writes, uint64_t seq, uint64_t time, hot_author *author):
        cdef HotPut put
        cdef hot_head head
        cdef uint64_t version = 0, previous_first = 0, count
        head.version = head.first_version = 1
        head.revision, head.updated_at, head.created_at, head.largest = seq, time, time, REQUEST.value_bytes
        if before is not None:
            if before.expires_at:
                return None
            version, previous_first = before.version, before.first_version
            key = PyBytes_FromStringAndSize(<char *>REQUEST.request.bytes, REQUEST.request.key.length)
            count = self._policies.of(key).count
            head.version = version + 1
            # As state.writes.first_kept does it.
            head.first_version = previous_first if not count or version + 2 < previous_first + count \
                else version + 2 - count
            head.largest = max(head.largest, <uint64_t>before.largest)
            if before.deleted:
                version = 0
            else:
                head.created_at = before.created_at
        if REQUEST.if_version != HOT_ANY_VERSION and REQUEST.if_version != version:
            return None
        put = HotPut.__new__(HotPut)
        put._at = hot_write_put(SCRATCH, time, &REQUEST, author, &head, previous_first)
        put.payload = PyBytes_FromStringAndSize(<char *>SCRATCH, put._at.bytes)
        put.reply_at, put.reply_bytes = put._at.reply_at, put._at.reply_bytes
        put._c_head, put._value_bytes, put._previous_first = head, REQUEST.value_bytes, previous_first
        put._head = self._new_head(head.version, head.first_version, seq, head.created_at, time, 0, 0, False, False,
                                   head.largest)
        return put


@cython.final
cdef class HotPut(HotWrite):
    cdef hot_head _c_head
    cdef hot_put_commit _at
    cdef uint64_t _value_bytes, _previous_first

    def add_rows(self, list rows not None):
        """Add the rows of state.events.apply_written."""
        cdef uint8_t path[2 * CACHE_KEY_BYTES_MAX + 16]
        cdef uint64_t path_bytes = self.path(path), version
        cdef bytes row = PyBytes_FromStringAndSize(NULL, HOT_VERSION_ROW_BYTES + self._value_bytes)
        hot_write_version(<uint8_t *>PyBytes_AS_STRING(row), &self._c_head,
                          <const uint8_t *>PyBytes_AS_STRING(self.payload) + self._at.value_at, self._value_bytes)
        rows.append((HOT_ROW_PUT, HOT_FAMILY_HEADS, self.key, self.part(self._at.head_at, self._at.head_bytes)))
        rows.append((HOT_ROW_PUT, HOT_FAMILY_VALUES, row_key(path, path_bytes, self._c_head.version), row))
        if self._previous_first == 0 or self._previous_first >= self._c_head.first_version:
            return
        if self._c_head.first_version - self._previous_first > HOT_DELETES_MAX:
            rows.append((HOT_ROW_DELETE_RANGE, HOT_FAMILY_VALUES, row_key(path, path_bytes, self._previous_first),
                         row_key(path, path_bytes, self._c_head.first_version)))
            return
        for version in range(self._previous_first, self._c_head.first_version):
            rows.append((HOT_ROW_DELETE, HOT_FAMILY_VALUES, row_key(path, path_bytes, version), b""))

    def follow(self, cache):
        """Tell the value cache what state.caching.follow_written tells it."""
        cdef hot_head *head = &self._c_head
        cache.put(self.seq, self.key, self.part(self._at.value_at, self._value_bytes), head.version, head.created_at,
                  head.updated_at, 0, head.revision, False)
