# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False
"""Mapped memory as buffers; what nobody looks at any more is given back by a thread of its own (recollectd_regions.h)."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_SetFromErrno

cdef extern from "recollectd_regions.h" namespace "regions" nogil:
    void *take_zeros(size_t size)
    void *take_file(int descriptor, size_t size)
    void c_advise "regions::advise"(void *start, size_t size, int advice)
    void release(void *start, size_t size)
    void c_settle "regions::settle"()
    size_t c_waiting_bytes "regions::waiting_bytes"()

cdef extern from "<sys/mman.h>" nogil:
    int MADV_NORMAL, MADV_SEQUENTIAL, MADV_RANDOM, MADV_DONTNEED


@cython.final
cdef class _Region:
    cdef void *start
    cdef size_t size
    cdef bint writable

    def __cinit__(self):
        self.start = NULL

    def __dealloc__(self):
        if self.start is not NULL:
            release(self.start, self.size)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.start, self.size, not self.writable, flags)

    def __releasebuffer__(self, Py_buffer *buffer):
        pass

cdef made(void *start, size_t size, bint writable):
    cdef _Region region = _Region.__new__(_Region)
    region.start, region.size, region.writable = start, size, writable
    return memoryview(region)


def zeros(size_t size):
    if not size:
        raise ValueError("a region has a byte or more")
    cdef void *start
    with nogil:
        start = take_zeros(size)
    if start is NULL:
        raise MemoryError
    return made(start, size, True)


def of_file(int descriptor, size_t size):
    if not size:
        raise ValueError("a region has a byte or more")
    cdef void *start
    with nogil:
        start = take_file(descriptor, size)
    if start is NULL:
        PyErr_SetFromErrno(OSError)
    return made(start, size, False)


cdef int advise(region, int advice) except -1:
    cdef Py_buffer buffer
    PyObject_GetBuffer(region, &buffer, PyBUF_SIMPLE)
    with nogil:
        c_advise(buffer.buf, buffer.len, advice)
    PyBuffer_Release(&buffer)
    return 0


def expect_random(region not None):
    advise(region, MADV_RANDOM)


def expect_in_order(region not None):
    advise(region, MADV_SEQUENTIAL)


def expect_anything(region not None):
    advise(region, MADV_NORMAL)


def leave_to_cache(memoryview region not None):
    if not region.readonly:
        raise ValueError("what is no file's would be lost")
    advise(region, MADV_DONTNEED)


def settle():
    with nogil:
        c_settle()


def waiting_bytes():
    return c_waiting_bytes()
