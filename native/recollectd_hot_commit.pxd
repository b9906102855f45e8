"""What of recollectd_hot_commit.h and recollectd_hot_answer.h Cython modules use."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "recollectd_hot_commit.h" nogil:
    enum:
        CACHE_KEY_BYTES_MAX
        HOT_AROUND_BYTES_MAX
        HOT_CONTENT_BYTES_MAX
        HOT_DEADLINE_AT
        HOT_FAMILY_ENTRIES
        HOT_FAMILY_HEADS
        HOT_FAMILY_INDEX
        HOT_FAMILY_VALUES
        HOT_REQUEST_HEADER_BYTES
        HOT_RESERVED_AT
        HOT_ROW_DELETE
        HOT_ROW_DELETE_RANGE
        HOT_ROW_PUT
        HOT_TAGS

    ctypedef struct c_cache "cache":
        pass

    ctypedef struct cache_key:
        uint32_t length

    ctypedef struct hot_limits:
        pass

    ctypedef struct hot_request:
        uint32_t tag, text_at
        cache_key key
        uint8_t *bytes

    ctypedef struct hot_write:
        uint64_t number, span, digest
        uint32_t request_id

    ctypedef struct hot_author:
        const uint8_t *principal
        const uint8_t *session_id
        uint32_t principal_bytes, session_id_bytes
        uint64_t number, floor, digest

    uint32_t hot_request_id(const uint8_t *frame)
    bint hot_is_several(uint32_t tag)
    void hot_read_request(hot_request *request, const uint8_t *frame, uint64_t frame_bytes, const c_cache *cache,
                          const hot_limits *limits)
    bint hot_read_write(hot_write *write, const uint8_t *frame, uint64_t frame_bytes, const hot_limits *limits)
    uint64_t hot_floor(const hot_write *write)
    bint hot_is_text(const uint8_t *key, uint64_t key_bytes)
    uint64_t hot_write_path(uint8_t *to, const uint8_t *key, uint64_t key_bytes, uint64_t text_at)
    void hot_write_row_number(uint8_t *to, uint64_t number)

cdef extern from "recollectd_hot_answer.h" nogil:
    ctypedef struct hot_desk:
        c_cache *cache
        hot_limits limits
        int64_t bytes_in_flight
        int64_t bytes_in_flight_max
        int64_t request_bytes
