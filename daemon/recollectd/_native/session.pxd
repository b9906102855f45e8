"""The classes of session.pyx, for the short way of writes."""

from libc.stdint cimport uint64_t

cdef class Outcome:
    cdef readonly uint64_t digest, seq
    cdef readonly bytes reply

cdef class Session:
    cdef readonly str principal
    cdef readonly uint64_t floor, highest, used_at
    cdef readonly dict outcomes
    cdef uint64_t _window_numbers
    cdef Py_ssize_t _bytes, _bytes_max

    cdef int add(self, number, uint64_t floor, Outcome outcome, uint64_t time) except -1
    cdef int _forget_below(self, uint64_t floor) except -1

cdef Outcome new_outcome(uint64_t digest, uint64_t seq, bytes reply)
