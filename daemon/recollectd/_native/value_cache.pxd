"""The class of value_cache.pyx, for the short way of writes."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "recollectd_cache_tails.h" nogil:
    ctypedef struct cache_accounts:
        uint64_t count[4]
        uint64_t key_bytes[4]
        uint64_t content_bytes[4]
        uint64_t span_bytes[4]

    ctypedef struct c_cache "cache":
        uint64_t buckets_now
        uint64_t ghost_rows
        uint64_t evictions
        uint64_t promotions
        uint64_t fills
        uint64_t fills_late
        cache_accounts accounts

    ctypedef struct cache_key:
        uint64_t hash

    ctypedef struct cache_head:
        uint64_t version
        uint64_t created_at
        uint64_t updated_at
        uint64_t expires_at
        uint64_t revision
        int sliding

    ctypedef struct cache_item:
        const uint8_t *bytes
        uint32_t length

    ctypedef struct cache_bounds:
        uint64_t first
        uint64_t next
        uint64_t revision

cdef class ValueCache:
    cdef c_cache *cache
    cdef readonly uint64_t bytes_max
    cdef readonly int tail_items_max

    # As `put`, of bytes that lie anywhere.
    cdef int put_bytes(self, uint64_t seq, bytes key, const uint8_t *value, uint64_t value_bytes,
                       cache_head head) except -1
    # As `append`, of items that lie anywhere, the last of them at most as many as a tail holds.
    cdef int append_items(self, uint64_t seq, bytes key, cache_bounds bounds, uint64_t position,
                          const cache_item *items, uint32_t count) except -1
    cdef object _put(self, cache_key key, value, cache_head head)
