"""The class of intake.pyx, for the short way of writes."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "recollectd_hot_answer.h" nogil:
    ctypedef struct c_cache "cache":
        pass

    ctypedef struct hot_limits:
        uint64_t requests_in_flight_max
        uint64_t in_flight_bytes_max

    ctypedef struct hot_request:
        uint32_t tag

    ctypedef struct hot_outbox:
        uint8_t *bytes
        uint64_t used

    ctypedef struct hot_pending:
        uint8_t *bytes
        uint64_t used

    ctypedef struct hot_desk:
        c_cache *cache
        hot_limits limits
        hot_outbox outbox
        int64_t now_us
        uint64_t touched_count
        int64_t bytes_in_flight
        int64_t bytes_in_flight_max
        int64_t request_bytes
        bint serving

cdef class Intake:
    cdef object _reads  # it owns what _desk points at
    cdef hot_desk *_desk
    cdef object _begin
    cdef object _take
    cdef object _unframed
    cdef object _time
    cdef object _transport
    cdef int _fd  # for sending past the transport; -1: do not
    cdef bint _backed_up  # the transport may hold bytes that must leave before ours
    cdef bint _serving
    cdef list _unsent  # reply frames queued between wake-ups
    cdef Py_ssize_t _unsent_bytes
    cdef hot_pending _pending
    cdef uint32_t *_marks
    cdef uint64_t _writes
    cdef uint64_t _writes_anywhere
    cdef public int64_t requests_in_flight
    cdef public int64_t bytes_in_flight
    cdef public double last_frame_at
    cdef public bint begun
    cdef public bint welcomed
    cdef public bint choked
    cdef public bint ending

    # A write of one record begins its way, or (-1) ends it.
    cdef int note_write(self, bytes key, int change) except -1
    cdef int queue(self, uint32_t request_id, uint64_t position, bytes message) except -1

    cdef int _receive(self, const uint8_t *data, uint64_t count) except -1
    cdef uint64_t _serve(self, const uint8_t *data, uint64_t count) except? 0
    cdef uint64_t _serve_some(self, const uint8_t *data, uint64_t whole) except 0
    cdef bint _is_open(self, uint64_t frame_bytes)
    cdef bint _answer(self, hot_request *request, const uint8_t *frame) except -1
    cdef int _count(self, bytes key, uint32_t one) except -1
    cdef int _put_unsent(self) except -1
    cdef int _send(self) except -1
