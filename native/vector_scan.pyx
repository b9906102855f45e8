# cython: language_level=3, boundscheck=False, wraparound=False
"""Vectors as rows in memory: stored in their precision, scored exactly, without the interpreter.

The loops are C (recollectd_vector_kernels.h, recollectd_vector_scan.h); here buffers are held and checked.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int8_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset

cdef extern from "recollectd_vector_scan.h" nogil:
    enum:
        C_F32 "VECTOR_F32"
        C_I8 "VECTOR_I8"
        C_DOT "VECTOR_DOT"
        C_L2 "VECTOR_L2"
        C_RANGE "SCAN_RANGE"
        C_COARSE "SCAN_COARSE"
        C_ROWS "SCAN_ROWS"

    ctypedef struct scan_part:
        int kind
        const uint8_t *stored
        const int8_t *coarse
        const float *coarse_scales
        const uint64_t *died
        const uint8_t *mask
        const uint64_t *rows
        size_t count
        size_t accepted

    ctypedef struct scan_hit:
        float score
        uint32_t part
        uint64_t row

    ctypedef struct scan_heap:
        scan_hit *hits
        size_t count
        size_t room

    ctypedef struct scan_query:
        int measure
        int precision
        size_t dimensions
        size_t row_bytes
        const float *vector
        const int8_t *coarse
        uint64_t seq

    size_t vector_row_bytes(int precision, size_t dimensions)
    double vector_norm(const float *vector, size_t dimensions)
    float vector_quantise(const float *vector, int8_t *out, size_t dimensions)
    void vector_store(int precision, const float *vector, uint8_t *row, size_t dimensions)
    void vector_load(int precision, const uint8_t *row, float *vector, size_t dimensions)
    void scan_parts(const scan_query *query, scan_part *parts, uint32_t count, scan_heap *coarse, scan_heap *best)


def row_bytes(int precision, size_t dimensions):
    return vector_row_bytes(precision, dimensions)


cdef void normalise(const float *vector, float *out, size_t dimensions) noexcept nogil:
    cdef double norm = vector_norm(vector, dimensions)
    cdef size_t at
    for at in range(dimensions):
        out[at] = <float>(vector[at] / norm) if norm > 0 else 0


@cython.final
cdef class _Held:
    """Buffers that stay where they are until this goes away."""

    cdef Py_buffer views[6]
    cdef int count

    def __cinit__(self):
        self.count = 0

    def __dealloc__(self):
        for at in range(self.count):
            PyBuffer_Release(&self.views[at])

    cdef void *hold(self, source, size_t bytes_min, int flags=PyBUF_SIMPLE) except? NULL:
        if source is None:
            return NULL
        PyObject_GetBuffer(source, &self.views[self.count], flags)
        self.count += 1
        cdef Py_buffer *view = &self.views[self.count - 1]
        if <size_t>view.len < bytes_min:
            raise ValueError(f"a buffer of {view.len} bytes is shorter than {bytes_min}")
        return view.buf


def norm(vector, size_t dimensions):
    cdef _Held held = _Held()
    return vector_norm(<const float *>held.hold(vector, dimensions * 4), dimensions)


def prepare(vector, exact, coarse, size_t dimensions, bint to_unit):
    cdef _Held held = _Held()
    cdef const float *source = <const float *>held.hold(vector, dimensions * 4)
    cdef float *floats = <float *>held.hold(exact, dimensions * 4, PyBUF_WRITABLE)
    cdef int8_t *small = <int8_t *>held.hold(coarse, dimensions, PyBUF_WRITABLE)
    if to_unit:
        normalise(source, floats, dimensions)
    else:
        vector_store(C_F32, source, <uint8_t *>floats, dimensions)
    return vector_quantise(floats, small, dimensions)


def store(int precision, size_t dimensions, vectors, size_t count, bint to_unit, size_t first, rows,
          coarse=None, coarse_scales=None):
    cdef _Held held = _Held()
    cdef size_t width = vector_row_bytes(precision, dimensions)
    cdef const float *source = <const float *>held.hold(vectors, count * dimensions * 4)
    cdef uint8_t *stored = <uint8_t *>held.hold(rows, (first + count) * width, PyBUF_WRITABLE)
    cdef int8_t *small = <int8_t *>held.hold(coarse, (first + count) * dimensions, PyBUF_WRITABLE)
    cdef float *scales = <float *>held.hold(coarse_scales, (first + count) * 4, PyBUF_WRITABLE)
    cdef float *floats = <float *>malloc(dimensions * 4 + 1)
    cdef size_t at
    if not floats:
        raise MemoryError
    with nogil:
        for at in range(count):
            if to_unit:
                normalise(source + at * dimensions, floats, dimensions)
            else:
                vector_store(C_F32, source + at * dimensions, <uint8_t *>floats, dimensions)
            vector_store(precision, floats, stored + (first + at) * width, dimensions)
            if small and scales:
                scales[first + at] = vector_quantise(floats, small + (first + at) * dimensions, dimensions)
    free(floats)


def load(int precision, size_t dimensions, rows, size_t first, size_t count, out):
    cdef _Held held = _Held()
    cdef size_t width = vector_row_bytes(precision, dimensions)
    cdef const uint8_t *stored = <const uint8_t *>held.hold(rows, (first + count) * width)
    cdef float *floats = <float *>held.hold(out, count * dimensions * 4, PyBUF_WRITABLE)
    cdef size_t at
    with nogil:
        for at in range(count):
            vector_load(precision, stored + (first + at) * width, floats + at * dimensions, dimensions)


@cython.final
cdef class Scan:
    cdef scan_query query
    cdef scan_part *parts
    cdef uint32_t count
    cdef list held
    cdef readonly list accepted

    def __cinit__(self, int measure, int precision, size_t dimensions, vector, coarse, uint64_t seq):
        cdef _Held held = _Held()
        self.parts = NULL
        self.count = 0
        self.held = [held]
        self.accepted = []
        self.query.measure = measure
        self.query.precision = precision
        self.query.dimensions = dimensions
        self.query.row_bytes = vector_row_bytes(precision, dimensions)
        self.query.vector = <const float *>held.hold(vector, dimensions * 4)
        self.query.coarse = <const int8_t *>held.hold(coarse, dimensions)
        self.query.seq = seq

    def __dealloc__(self):
        free(self.parts)

    cdef scan_part *append(self, _Held held, stored, died, mask, size_t rows_max) except NULL:
        cdef scan_part *grown = <scan_part *>realloc(self.parts, (self.count + 1) * sizeof(scan_part))
        if not grown:
            raise MemoryError
        self.parts = grown
        cdef scan_part *part = &self.parts[self.count]
        memset(part, 0, sizeof(scan_part))
        part.stored = <const uint8_t *>held.hold(stored, rows_max * self.query.row_bytes)
        part.died = <const uint64_t *>held.hold(died, rows_max * 8)
        part.mask = <const uint8_t *>held.hold(mask, (rows_max + 7) // 8)
        self.held.append(held)
        return part

    def add_range(self, stored, size_t count, died=None, mask=None, coarse=None, coarse_scales=None):
        cdef _Held held = _Held()
        cdef scan_part *part = self.append(held, stored, died, mask, count)
        part.kind = C_RANGE
        part.count = count
        if coarse is not None and coarse_scales is not None:
            part.kind = C_COARSE
            part.coarse = <const int8_t *>held.hold(coarse, count * self.query.dimensions)
            part.coarse_scales = <const float *>held.hold(coarse_scales, count * 4)
        self.count += 1
        return self.count - 1

    def add_rows(self, stored, size_t rows_max, rows, size_t count, died=None, mask=None):
        cdef _Held held = _Held()
        cdef scan_part *part = self.append(held, stored, died, mask, rows_max)
        cdef size_t at
        part.kind = C_ROWS
        part.count = count
        part.rows = <const uint64_t *>held.hold(rows, count * 8)
        for at in range(count):
            if part.rows[at] >= rows_max:
                raise IndexError(f"row {part.rows[at]} of {rows_max}")
        self.count += 1
        return self.count - 1

    def run(self, size_t limit, size_t coarse_limit):
        cdef scan_heap best, coarse
        cdef size_t at
        memset(&best, 0, sizeof(scan_heap))
        memset(&coarse, 0, sizeof(scan_heap))
        best.room, coarse.room = limit, coarse_limit
        best.hits = <scan_hit *>malloc((limit + coarse_limit + 1) * sizeof(scan_hit))
        if not best.hits:
            raise MemoryError
        coarse.hits = best.hits + limit
        with nogil:
            scan_parts(&self.query, self.parts, self.count, &coarse, &best)
        found = [(best.hits[at].score, best.hits[at].part, best.hits[at].row) for at in range(best.count)]
        self.accepted = [self.parts[at].accepted for at in range(self.count)]
        free(best.hits)
        return found


F32, BF16, I8 = 0, 1, 2
DOT, L2 = C_DOT, C_L2
