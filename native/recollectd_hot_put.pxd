"""What of recollectd_hot_put.h and recollectd_hot_answer.h Cython modules use."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "recollectd_hot_put.h" nogil:
    enum:
        CACHE_KEY_BYTES_MAX
        HOT_ANY_VERSION
        HOT_REQUEST_HEADER_BYTES
        HOT_DELETES_MAX
        HOT_FAMILY_HEADS
        HOT_FAMILY_VALUES
        HOT_ROW_DELETE
        HOT_ROW_DELETE_RANGE
        HOT_ROW_PUT
        HOT_STATE_PUT
        HOT_VERSION_ROW_BYTES

    ctypedef struct c_cache "cache":
        pass

    ctypedef struct cache_key:
        uint32_t length

    ctypedef struct hot_limits:
        pass

    ctypedef struct hot_request:
        uint32_t text_at
        cache_key key
        uint8_t *bytes

    ctypedef struct hot_put:
        hot_request request
        const uint8_t *value
        uint64_t value_bytes, if_version, number, span, digest

    ctypedef struct hot_head:
        uint64_t version, first_version, revision, created_at, updated_at, largest

    ctypedef struct hot_author:
        const uint8_t *principal
        const uint8_t *session_id
        uint32_t principal_bytes, session_id_bytes
        uint64_t number, floor, digest

    ctypedef struct hot_commit:
        uint64_t bytes, reply_at, reply_bytes, head_at, head_bytes, value_at

    uint32_t hot_request_id(const uint8_t *frame)
    bint hot_read_put(hot_put *put, const uint8_t *frame, uint64_t frame_bytes, const c_cache *cache,
                      const hot_limits *limits)
    uint64_t hot_commit_bytes_max(const hot_put *put, const hot_author *author)
    hot_commit hot_write_commit(uint8_t *to, uint64_t time, const hot_put *put, const hot_author *author,
                                const hot_head *head, uint64_t previous_first_version)
    void hot_write_version(uint8_t *to, const hot_head *head, const uint8_t *value, uint64_t value_bytes)
    uint64_t hot_write_path(uint8_t *to, const uint8_t *key, uint64_t key_bytes, uint64_t text_at)
    void hot_write_row_number(uint8_t *to, uint64_t number)

cdef extern from "recollectd_hot_answer.h" nogil:
    ctypedef struct hot_desk:
        c_cache *cache
        hot_limits limits
        int64_t bytes_in_flight
        int64_t bytes_in_flight_max
        int64_t request_bytes
