# cython: language_level=3, boundscheck=False, wraparound=False
"""The value cache's Python face: apply and cold reads put in, the hot path (hot_path.pyx) reads out.

The cache itself is C (recollectd_cache_*.h says how it lies in memory and what it keeps).
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "recollectd_cache_tails.h" nogil:
    enum:
        C_ABSENT "CACHE_ABSENT"
        C_DEAD "CACHE_DEAD"
        C_GHOST_WAYS "CACHE_GHOST_WAYS"
        C_GUARDS "CACHE_GUARDS"
        C_KEY_BYTES_MAX "CACHE_KEY_BYTES_MAX"
        C_TAIL "CACHE_TAIL"
        C_TAIL_ITEMS_MAX "CACHE_TAIL_ITEMS_MAX"
        C_VALUE "CACHE_VALUE"

    uint64_t C_BYTES_MAX "CACHE_BYTES_MAX"
    uint64_t C_BYTES_MIN "CACHE_BYTES_MIN"

    c_cache *cache_open(uint64_t bytes_max, uint64_t seed)
    void cache_close(c_cache *cache)
    cache_key cache_key_for(const c_cache *cache, const uint8_t *bytes, uint32_t length)
    void cache_changed(c_cache *cache, cache_key key, uint64_t seq)
    bint cache_may_fill(c_cache *cache, cache_key key, uint64_t read_at)
    void cache_put(c_cache *cache, cache_key key, cache_head head, const uint8_t *value, uint64_t value_bytes)
    void cache_put_absent(c_cache *cache, cache_key key)
    void cache_touch(c_cache *cache, cache_key key, uint64_t expires_at, uint64_t revision, int sliding)
    void cache_drop(c_cache *cache, cache_key key)
    void cache_tail_begin(c_cache *cache, cache_key key, cache_bounds bounds, const cache_item *items, uint32_t count)
    void cache_tail_append(c_cache *cache, cache_key key, cache_bounds bounds, uint64_t position,
                           const cache_item *items, uint32_t count)
    void cache_tail_cut(c_cache *cache, cache_key key, cache_bounds bounds)
    void cache_clear(c_cache *cache, uint64_t seq)

BYTES_MIN = C_BYTES_MIN
BYTES_MAX = C_BYTES_MAX


cdef cache_key key_of(c_cache *cache, bytes key) except *:
    if PyBytes_GET_SIZE(key) > C_KEY_BYTES_MAX:
        raise ValueError(f"a key has at most {C_KEY_BYTES_MAX} bytes")
    return cache_key_for(cache, <const uint8_t *>PyBytes_AS_STRING(key), <uint32_t>PyBytes_GET_SIZE(key))


cdef uint32_t newest_of(tuple items, cache_item *into) except *:
    """Point at the newest items, as many as a tail holds; return how many they are."""
    cdef Py_ssize_t first = max(0, len(items) - C_TAIL_ITEMS_MAX), index
    cdef bytes item
    for index in range(first, len(items)):
        item = items[index]
        into[index - first].bytes = <const uint8_t *>PyBytes_AS_STRING(item)
        into[index - first].length = <uint32_t>PyBytes_GET_SIZE(item)
    return <uint32_t>(len(items) - first)


cdef class ValueCache:
    def __cinit__(self, uint64_t bytes_max, uint64_t seed):
        if not C_BYTES_MIN <= bytes_max <= C_BYTES_MAX:
            raise ValueError(f"a cache has {C_BYTES_MIN} to {C_BYTES_MAX} bytes, not {bytes_max}")
        self.bytes_max = bytes_max
        self.tail_items_max = C_TAIL_ITEMS_MAX
        self.cache = cache_open(bytes_max, seed)
        if self.cache is NULL:
            PyErr_SetFromErrno(OSError)

    def __dealloc__(self):
        if self.cache is not NULL:
            cache_close(self.cache)

    def pointer(self):
        return PyCapsule_New(self.cache, b"recollectd.cache", NULL)

    # -- apply: what a commit changed --------------------------------------------------------------------------------

    def put(self, uint64_t seq, bytes key not None, value, uint64_t version, uint64_t created_at, uint64_t updated_at,
            uint64_t expires_at, uint64_t revision, bint sliding):
        cdef cache_key at = key_of(self.cache, key)
        cache_changed(self.cache, at, seq)
        self._put(at, value, cache_head(version, created_at, updated_at, expires_at, revision, sliding))

    cdef int put_bytes(self, uint64_t seq, bytes key, const uint8_t *value, uint64_t value_bytes,
                       cache_head head) except -1:
        cdef cache_key at = key_of(self.cache, key)
        cache_changed(self.cache, at, seq)
        cache_put(self.cache, at, head, value, value_bytes)
        return 0

    cdef object _put(self, cache_key key, value, cache_head head):
        cdef Py_buffer view
        PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
        try:
            cache_put(self.cache, key, head, <const uint8_t *>view.buf, <uint64_t>view.len)
        finally:
            PyBuffer_Release(&view)

    def put_absent(self, uint64_t seq, bytes key not None):
        cdef cache_key at = key_of(self.cache, key)
        cache_changed(self.cache, at, seq)
        cache_put_absent(self.cache, at)

    def touch(self, uint64_t seq, bytes key not None, uint64_t expires_at, uint64_t revision, bint sliding):
        cdef cache_key at = key_of(self.cache, key)
        cache_changed(self.cache, at, seq)
        cache_touch(self.cache, at, expires_at, revision, sliding)

    def append(self, uint64_t seq, bytes key not None, uint64_t first, uint64_t next, uint64_t revision,
               uint64_t position, tuple items not None):
        cdef cache_item newest[C_TAIL_ITEMS_MAX]
        self.append_items(seq, key, cache_bounds(first, next, revision), position, newest, newest_of(items, newest))

    cdef int append_items(self, uint64_t seq, bytes key, cache_bounds bounds, uint64_t position,
                          const cache_item *items, uint32_t count) except -1:
        cdef cache_key at = key_of(self.cache, key)
        cache_changed(self.cache, at, seq)
        cache_tail_append(self.cache, at, bounds, position, items, count)
        return 0

    def cut(self, uint64_t seq, bytes key not None, uint64_t first, uint64_t next, uint64_t revision):
        cdef cache_key at = key_of(self.cache, key)
        cache_changed(self.cache, at, seq)
        cache_tail_cut(self.cache, at, cache_bounds(first, next, revision))

    def drop(self, uint64_t seq, bytes key not None):
        cdef cache_key at = key_of(self.cache, key)
        cache_changed(self.cache, at, seq)
        cache_drop(self.cache, at)

    def clear(self, uint64_t seq):
        cache_clear(self.cache, seq)

    # -- cold reads: what was found as of `read_at` ------------------------------------------------------------------

    def fill(self, uint64_t read_at, bytes key not None, value, uint64_t version, uint64_t created_at,
             uint64_t updated_at, uint64_t expires_at, uint64_t revision, bint sliding):
        cdef cache_key at = key_of(self.cache, key)
        if not cache_may_fill(self.cache, at, read_at):
            return False
        self._put(at, value, cache_head(version, created_at, updated_at, expires_at, revision, sliding))
        return True

    def fill_absent(self, uint64_t read_at, bytes key not None):
        cdef cache_key at = key_of(self.cache, key)
        if not cache_may_fill(self.cache, at, read_at):
            return False
        cache_put_absent(self.cache, at)
        return True

    def fill_tail(self, uint64_t read_at, bytes key not None, uint64_t first, uint64_t next, uint64_t revision,
                  tuple items not None):
        cdef cache_item newest[C_TAIL_ITEMS_MAX]
        cdef cache_key at = key_of(self.cache, key)
        cdef uint32_t count = newest_of(items, newest)
        if not cache_may_fill(self.cache, at, read_at):
            return False
        cache_tail_begin(self.cache, at, cache_bounds(first, next, revision), newest, count)
        return True

    # -- figures ------------------------------------------------------------------------------------------------------

    def statistics(self):
        cdef cache_accounts *accounts = &self.cache.accounts
        cdef uint64_t live = accounts.count[C_VALUE] + accounts.count[C_ABSENT] + accounts.count[C_TAIL]
        cdef uint64_t table = 4 * self.cache.buckets_now + 2 * C_GHOST_WAYS * self.cache.ghost_rows
        cdef uint64_t keys = sum_of(accounts.key_bytes), content = sum_of(accounts.content_bytes)
        cdef uint64_t spans = sum_of(accounts.span_bytes)
        cdef uint64_t around = (accounts.span_bytes[C_VALUE] - accounts.key_bytes[C_VALUE]
                                - accounts.content_bytes[C_VALUE])
        each = around / accounts.count[C_VALUE] + table / live if accounts.count[C_VALUE] else 0.0
        return {
            "bytes_max": self.bytes_max,
            "bytes": spans + table + 8 * C_GUARDS,
            "key_bytes": keys,
            "value_bytes": content,
            "overhead_bytes": spans - accounts.span_bytes[C_DEAD] - keys - content + table + 8 * C_GUARDS,
            "superseded_bytes": accounts.span_bytes[C_DEAD],
            "overhead_bytes_per_value": round(each, 1),
            "values": accounts.count[C_VALUE],
            "absent": accounts.count[C_ABSENT],
            "tails": accounts.count[C_TAIL],
            "evictions": self.cache.evictions,
            "promotions": self.cache.promotions,
            "fills": self.cache.fills,
            "fills_late": self.cache.fills_late,
        }


cdef uint64_t sum_of(const uint64_t *figures):
    return figures[C_VALUE] + figures[C_ABSENT] + figures[C_TAIL] + figures[C_DEAD]
