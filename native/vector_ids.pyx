# cython: language_level=3, boundscheck=False, wraparound=False
"""Record ids of rows, both ways: a segment's, read where a mapped file lies, and those of a delta, which grow.

A segment's file:

    u64 rows, u64 slots, then u32 offsets[rows + 1], u32 table[slots], the ids one behind the other     do not change

The table is open addressing by XXH64: a slot holds row + 1, or 0 when it is free. A row without an id is a hole.

Whoever has the interpreter may call.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

cdef extern from "recollectd_xxh64.h" nogil:
    uint64_t c_xxh64 "xxh64"(const void *data, size_t length, uint64_t seed)

cdef enum:
    HEADER_BYTES = 16
    SLOTS_MIN = 64

cdef uint64_t BLOB_BYTES_MAX = 0xffffffff
# In a slot of a table that grows: whose id was taken out.
cdef uint32_t FORGOTTEN = 0xffffffff


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

    def kill_many(self, list record_ids not None, died not None, uint64_t seq):
        cdef Py_buffer buffer
        cdef uint64_t *deaths
        cdef list killed = []
        cdef bytes one
        cdef int64_t row
        PyObject_GetBuffer(died, &buffer, PyBUF_WRITABLE)
        try:
            if <uint64_t>buffer.len < self.rows * 8:
                raise ValueError("not a death for each row")
            deaths = <uint64_t *>buffer.buf
            for one in record_ids:
                row = self.find_row(PyBytes_AS_STRING(one), PyBytes_GET_SIZE(one))
                if row >= 0 and not deaths[row]:
                    deaths[row] = seq
                    killed.append(one)
        finally:
            PyBuffer_Release(&buffer)
        return killed

    def __getitem__(self, uint64_t row):
        if row >= self.rows:
            raise IndexError(row)
        return self.blob[self.offsets[row]:self.offsets[row + 1]]


cdef struct Entry:
    uint64_t end  # of the id in the blob; it begins where the one before it ends
    uint64_t hash


@cython.final
cdef class IdLog:
    cdef Entry *entries
    cdef char *blob
    cdef uint32_t *table
    cdef uint64_t seed, rows, rows_max, bytes_max, slots
    cdef uint64_t living, used  # slots of ids that are found, and of those that were taken out, too

    def __cinit__(self, uint64_t seed, uint64_t rows_expected=0):
        self.entries, self.blob, self.table = NULL, NULL, NULL
        self.rows = self.rows_max = self.bytes_max = self.living = self.used = 0
        self.seed = seed
        self.slots = SLOTS_MIN
        while self.slots * 2 < rows_expected * 3:
            self.slots *= 2
        self.table = <uint32_t *>calloc(self.slots, sizeof(uint32_t))
        if self.table is NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.entries)
        free(self.blob)
        free(self.table)

    def __len__(self):
        return self.rows

    cdef uint64_t start_of(self, uint64_t row) noexcept:
        return self.entries[row - 1].end if row else 0

    cdef int64_t slot_of(self, const char *wanted, size_t length, uint64_t hash) noexcept:
        """Return the slot of a living id, or -1."""
        cdef uint64_t slot = hash & (self.slots - 1), row, start
        while self.table[slot]:
            if self.table[slot] != FORGOTTEN:
                row = self.table[slot] - 1
                start = self.start_of(row)
                if (self.entries[row].hash == hash and self.entries[row].end - start == length
                        and memcmp(self.blob + start, wanted, length) == 0):
                    return <int64_t>slot
            slot = (slot + 1) & (self.slots - 1)
        return -1

    cdef int take_slots(self, uint64_t count) except -1:
        """Make room for so many more ids; those forgotten leave their slots."""
        cdef uint64_t slots = self.slots, before = self.slots, slot, target
        if (self.used + count) * 3 <= slots * 2:
            return 0
        while (self.living + count) * 3 > slots * 2:
            slots *= 2
        cdef uint32_t *old = self.table
        cdef uint32_t *made = <uint32_t *>calloc(slots, sizeof(uint32_t))
        if made is NULL:
            raise MemoryError
        self.table, self.slots, self.used = made, slots, self.living
        for slot in range(before):
            if old[slot] and old[slot] != FORGOTTEN:
                target = self.entries[old[slot] - 1].hash & (slots - 1)
                while made[target]:
                    target = (target + 1) & (slots - 1)
                made[target] = old[slot]
        free(old)
        return 0

    cdef int take_rows(self, uint64_t rows, uint64_t size) except -1:
        """Make room for so many rows, and bytes of ids, in all."""
        cdef void *grown
        if rows > self.rows_max:
            rows = max(rows, 2 * self.rows_max)
            grown = realloc(self.entries, rows * sizeof(Entry))
            if grown is NULL:
                raise MemoryError
            self.entries, self.rows_max = <Entry *>grown, rows
        if size > self.bytes_max:
            size = max(size, 2 * self.bytes_max)
            grown = realloc(self.blob, size)
            if grown is NULL:
                raise MemoryError
            self.blob, self.bytes_max = <char *>grown, size
        return 0

    cdef uint64_t hash_of(self, bytes record_id) noexcept:
        return c_xxh64(PyBytes_AS_STRING(record_id), PyBytes_GET_SIZE(record_id), self.seed)

    cdef int64_t slot_of_id(self, bytes record_id) noexcept:
        return self.slot_of(PyBytes_AS_STRING(record_id), PyBytes_GET_SIZE(record_id), self.hash_of(record_id))

    def append(self, list record_ids not None):
        cdef uint64_t count = len(record_ids), at = self.start_of(self.rows), size = at, length, hash, slot
        cdef int64_t known
        cdef bytes one
        for one in record_ids:
            size += PyBytes_GET_SIZE(one)
        if self.rows + count >= FORGOTTEN:
            raise ValueError("too many rows")
        self.take_slots(count)
        self.take_rows(self.rows + count, size)
        for one in record_ids:
            length = PyBytes_GET_SIZE(one)
            hash = self.hash_of(one)
            known = self.slot_of(PyBytes_AS_STRING(one), length, hash)
            memcpy(self.blob + at, PyBytes_AS_STRING(one), length)
            at += length
            self.entries[self.rows] = Entry(at, hash)
            self.rows += 1
            slot = <uint64_t>known
            if known < 0:
                slot = hash & (self.slots - 1)
                while self.table[slot]:
                    slot = (slot + 1) & (self.slots - 1)
                self.used += 1
                self.living += 1
            self.table[slot] = <uint32_t>self.rows

    def kill_many(self, list record_ids not None, died not None, uint64_t seq):
        cdef Py_buffer buffer
        cdef list killed = []
        cdef bytes one
        cdef int64_t slot
        PyObject_GetBuffer(died, &buffer, PyBUF_WRITABLE)
        try:
            if <uint64_t>buffer.len < self.rows * 8:
                raise ValueError("not a death for each row")
            for one in record_ids:
                slot = self.slot_of_id(one)
                if slot >= 0:
                    (<uint64_t *>buffer.buf)[self.table[slot] - 1] = seq
                    self.table[slot] = FORGOTTEN
                    self.living -= 1
                    killed.append(one)
        finally:
            PyBuffer_Release(&buffer)
        return killed

    def find_many(self, list record_ids not None):
        cdef size_t count = len(record_ids), found = 0
        cdef bytes rows = PyBytes_FromStringAndSize(NULL, count * 8)
        cdef uint64_t *out = <uint64_t *>PyBytes_AS_STRING(rows)
        cdef bytes one
        cdef int64_t slot
        for one in record_ids:
            slot = self.slot_of_id(one)
            if slot >= 0:
                out[found] = self.table[slot] - 1
                found += 1
        return rows[:found * 8]

    def __getitem__(self, uint64_t row):
        if row >= self.rows:
            raise IndexError(row)
        return self.blob[self.start_of(row):self.entries[row].end]
