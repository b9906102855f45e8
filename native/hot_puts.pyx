# cython: language_level=3, boundscheck=False, wraparound=False
"""Plain puts of state records on the short way (hot_writes.pyx): those without a time to live."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from recollectd._native.facts cimport Maker
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


# Heads without a time to live, which are on the short way again and again.
@cython.final
@cython.no_gc
cdef class HotHead(Maker):
    cdef hot_head head
    cdef object _new_head

    cdef object make(self):
        cdef hot_head *head = &self.head
        return self._new_head(head.version, head.first_version, head.revision, head.created_at, head.updated_at, 0, 0,
                              False, False, head.largest)


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
        cdef HotHead fact
        cdef hot_head head, last
        cdef uint64_t version = 0, previous_first = 0, count
        cdef bint deleted
        head.version = head.first_version = 1
        head.revision, head.updated_at, head.created_at, head.largest = seq, time, time, REQUEST.value_bytes
        if before is not None:
            if isinstance(before, HotHead):
                last, deleted = (<HotHead>before).head, False
            elif before.expires_at:
                return None
            else:
                last.version, last.first_version = before.version, before.first_version
                last.created_at, last.largest, deleted = before.created_at, before.largest, before.deleted
            version, previous_first = last.version, last.first_version
            count = self._versions_kept()
            head.version = version + 1
            # As state.writes.first_kept does it.
            head.first_version = previous_first if not count or version + 2 < previous_first + count \
                else version + 2 - count
            head.largest = max(head.largest, last.largest)
            if deleted:
                version = 0
            else:
                head.created_at = last.created_at
        if REQUEST.if_version != HOT_ANY_VERSION and REQUEST.if_version != version:
            return None
        put = HotPut.__new__(HotPut)
        put._at = hot_write_put(SCRATCH, time, &REQUEST, author, &head, previous_first)
        put.payload = PyBytes_FromStringAndSize(<char *>SCRATCH, put._at.bytes)
        put.reply_at, put.reply_bytes = put._at.reply_at, put._at.reply_bytes
        put._c_head, put._value_bytes, put._previous_first = head, REQUEST.value_bytes, previous_first
        fact = HotHead.__new__(HotHead)
        fact.head, fact._new_head = head, self._new_head
        put._head = fact
        return put

    cdef uint64_t _versions_kept(self) except? 0:
        """Return how many versions of the record are kept; 0: all."""
        cdef bytes key
        policy = self._policies.everywhere
        if policy is None:
            key = PyBytes_FromStringAndSize(<char *>REQUEST.request.bytes, REQUEST.request.key.length)
            policy = self._policies.of(key)
        return policy.count


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
