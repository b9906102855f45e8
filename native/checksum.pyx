# cython: language_level=3
"""XXH64 for Python code; native code uses the header directly."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint64_t

cdef extern from "recollectd_xxh64.h" nogil:
    uint64_t c_xxh64 "xxh64"(const void *data, size_t length, uint64_t seed)

# Up to this a thread switch costs more than it gives to others.
cdef enum:
    HOLD_BYTES_MAX = 16384


def xxh64(data, uint64_t seed=0):
    cdef Py_buffer view
    cdef uint64_t value
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if view.len <= HOLD_BYTES_MAX:
            value = c_xxh64(view.buf, <size_t>view.len, seed)
        else:
            with nogil:
                value = c_xxh64(view.buf, <size_t>view.len, seed)
    finally:
        PyBuffer_Release(&view)
    return value
