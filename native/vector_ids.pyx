# cython: language_level=3, boundscheck=False, wraparound=False
"""Record ids of a segment's rows, both ways, read where a mapped file lies.

    u64 rows, u64 slots, then u32 offsets[rows + 1], u32 table[slots], the ids one behind the other     do not change

The table is open addressing by XXH64: a slot holds row + 1, or 0 when it is free. A row without an id is a hole.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

cdef extern from "recollectd_xxh64.h" nogil:
    uint64_t c_xxh64 "xxh64"(const void *data, size_t length, uint64_t seed)

cdef enum:
    HEADER_BYTES = 16

cdef uint64_t BLOB_BYTES_MAX = 0xffffffff


def pack(list ids):
    cdef uint64_t rows = len(ids), slots = 1, blob_bytes = 0, slot
    cdef uint32_t at = 0, row, other
    cdef bytes one
    for one in ids:
        blob_bytes += PyBytes_GET_SIZE(one)
    if blob_bytes > BLOB_BYTES_MAX or rows >= BLOB_BYTES_MAX:
        raise ValueError("the ids of one segment have more than 4 GiB")
    while slots * 2 < rows * 3:
        slots *= 2
    cdef bytes packed = PyBytes_FromStringAndSize(NULL, HEADER_BYTES + (rows + 1 + slots) * 4 + blob_bytes)
    cdef char *start = PyBytes_AS_STRING(packed)
    cdef uint32_t *offsets = <uint32_t *>(start + HEADER_BYTES)
    cdef uint32_t *table = offsets + rows + 1
    cdef char *blob = <char *>(table + slots)
    memcpy(start, &rows, 8)
    memcpy(start + 8, &slots, 8)
    memset(table, 0, slots * 4)
    for row in range(<uint32_t>rows):
        one = ids[row]
        offsets[row] = at
        memcpy(blob + at, PyBytes_AS_STRING(one), PyBytes_GET_SIZE(one))
        at += <uint32_t>PyBytes_GET_SIZE(one)
        if not one:
            continue
        slot = c_xxh64(PyBytes_AS_STRING(one), PyBytes_GET_SIZE(one), 0) & (slots - 1)
        while table[slot]:
            other = table[slot] - 1
            if ids[other] == one:
                raise ValueError(f"rows {other} and {row} have one id")
            slot = (slot + 1) & (slots - 1)
        table[slot] = row + 1
    offsets[rows] = at
    return packed


@cython.final
cdef class IdTable:
    cdef Py_buffer view
    cdef bint held
    cdef uint64_t rows, slots
    cdef const uint32_t *offsets
    cdef const uint32_t *table
    cdef const char *blob

    def __cinit__(self, packed):
        self.held = False
        PyObject_GetBuffer(packed, &self.view, PyBUF_SIMPLE)
        self.held = True
        cdef const char *start = <const char *>self.view.buf
        cdef uint64_t length = <uint64_t>self.view.len
        if length < HEADER_BYTES:
            raise ValueError("too short for a table of ids")
        memcpy(&self.rows, start, 8)
        memcpy(&self.slots, start + 8, 8)
        if self.rows > length // 4 or self.slots > length // 4 or not self.slots or self.slots & (self.slots - 1):
            raise ValueError("not a table of ids")
        self.offsets = <const uint32_t *>(start + HEADER_BYTES)
        self.table = self.offsets + self.rows + 1
        self.blob = <const char *>(self.table + self.slots)
        if HEADER_BYTES + (self.rows + 1 + self.slots) * 4 > length or (
                HEADER_BYTES + (self.rows + 1 + self.slots) * 4 + self.offsets[self.rows] != length):
            raise ValueError("not a table of ids")

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)

    def __len__(self):
        return self.rows

    cdef int64_t find_row(self, const char *wanted, size_t length) noexcept:
        cdef uint64_t slot, row
        if not length:
            return -1
        slot = c_xxh64(wanted, length, 0) & (self.slots - 1)
        while self.table[slot]:
            row = self.table[slot] - 1
            if (self.offsets[row + 1] - self.offsets[row] == length
                    and memcmp(self.blob + self.offsets[row], wanted, length) == 0):
                return <int64_t>row
            slot = (slot + 1) & (self.slots - 1)
        return -1

    def find(self, bytes record_id not None):
        return self.find_row(PyBytes_AS_STRING(record_id), PyBytes_GET_SIZE(record_id))

    def find_many(self, list record_ids not None):
        cdef size_t count = len(record_ids), found = 0
        cdef bytes rows = PyBytes_FromStringAndSize(NULL, count * 8)
        cdef uint64_t *out = <uint64_t *>PyBytes_AS_STRING(rows)
        cdef bytes one
        cdef int64_t row
        for one in record_ids:
            row = self.find_row(PyBytes_AS_STRING(one), PyBytes_GET_SIZE(one))
            if row >= 0:
                out[found] = <uint64_t>row
                found += 1
        return rows[:found * 8]

    def __getitem__(self, uint64_t row):
        if row >= self.rows:
            raise IndexError(row)
        return self.blob[self.offsets[row]:self.offsets[row + 1]]
