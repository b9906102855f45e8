# cython: language_level=3, boundscheck=False, wraparound=False
"""Vectors as rows in memory: stored in their precision, scored exactly, without the interpreter.

The loops are C (recollectd_vector_kernels.h, recollectd_vector_scan.h); here buffers are held and checked.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int8_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

cdef extern from "recollectd_vector_scan.h" nogil:
    enum:
        C_F32 "VECTOR_F32"
        C_I8 "VECTOR_I8"
        C_DOT "VECTOR_DOT"
        C_L2 "VECTOR_L2"
        C_RANGE "SCAN_RANGE"
        C_COARSE "SCAN_COARSE"
        C_ROWS "SCAN_ROWS"
        C_GRAPH "SCAN_GRAPH"

    ctypedef struct vector_graph:
        uint32_t *above
        size_t count

    ctypedef struct graph_room:
        pass

    const char *graph_open(vector_graph *graph, const uint8_t *bytes, size_t length, size_t dimensions, int measure,
                           int precision)
    void graph_room_free(graph_room *room)

    ctypedef struct scan_part:
        int kind
        const uint8_t *stored
        const int8_t *coarse
        const float *coarse_scales
        const uint64_t *died
        const uint8_t *mask
        const uint64_t *rows
        const vector_graph *graph
        size_t effort
        size_t fetch
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
    bint scan_parts(const scan_query *query, scan_part *parts, uint32_t count, graph_room *room, scan_heap *coarse,
                    scan_heap *best)


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
cdef class Graph:
    cdef vector_graph graph
    cdef size_t dimensions  # of an empty one, too
    cdef _Held held

    def __cinit__(self, file, size_t dimensions, int measure, int precision):
        self.dimensions = dimensions
        self.graph.above = NULL
        self.held = _Held()
        cdef const uint8_t *start = <const uint8_t *>self.held.hold(file, 0)
        cdef size_t length = self.held.views[0].len
        cdef const char *why
        if precision == C_F32 or precision == C_I8 and measure != C_DOT:
            raise ValueError("a graph is of bf16, or of i8 for inner products")
        with nogil:  # it looks at every node
            why = graph_open(&self.graph, start, length, dimensions, measure, precision)
        if why is not NULL:
            raise ValueError(why.decode())

    def __dealloc__(self):
        free(self.graph.above)

    def __len__(self):
        return self.graph.count

    @property
    def table_bytes(self):
        return (self.graph.count + 1) * 4


cdef struct Room:
    # What one search after the other needs: a query as floats and as i8, heaps, and a copy of the parts.
    float *floats
    int8_t *small
    scan_part *parts
    scan_heap best
    scan_heap coarse
    graph_room walk


cdef int take_room(Room *room, size_t dimensions, uint32_t parts, size_t limit, size_t coarse_limit) except -1:
    memset(room, 0, sizeof(Room))
    room.floats = <float *>malloc(dimensions * 4 + 1)
    room.small = <int8_t *>malloc(dimensions + 1)
    room.parts = <scan_part *>malloc(parts * sizeof(scan_part) + 1)
    room.best.hits = <scan_hit *>malloc((limit + coarse_limit + 1) * sizeof(scan_hit))
    if not room.floats or not room.small or not room.parts or not room.best.hits:
        give_room_back(room)
        raise MemoryError
    room.coarse.hits = room.best.hits + limit
    room.best.room, room.coarse.room = limit, coarse_limit
    return 0


cdef void give_room_back(Room *room) noexcept:
    free(room.floats)
    free(room.small)
    free(room.parts)
    free(room.best.hits)
    graph_room_free(&room.walk)


@cython.final
cdef class Scan:
    cdef scan_query query
    cdef scan_part *parts
    cdef uint32_t count
    cdef list held
    cdef bint to_unit

    def __cinit__(self, int measure, int precision, size_t dimensions, bint to_unit, uint64_t seq):
        self.parts = NULL
        self.count = 0
        self.held = []
        self.to_unit = to_unit
        self.query.measure = measure
        self.query.precision = precision
        self.query.dimensions = dimensions
        self.query.row_bytes = vector_row_bytes(precision, dimensions)
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

    def add_graph(self, Graph graph not None, stored, size_t rows_max, size_t effort, size_t fetch, died=None,
                  mask=None):
        if graph.dimensions != self.query.dimensions:
            raise ValueError(f"a graph of {graph.dimensions} dimensions for a query of {self.query.dimensions}")
        cdef scan_part *part = self.append(_Held(), stored, died, mask, rows_max)
        part.kind = C_GRAPH
        part.count = rows_max
        part.graph = &graph.graph
        part.effort = effort if effort > fetch else fetch
        part.fetch = fetch
        self.held.append(graph)
        self.count += 1
        return self.count - 1

    cdef bint search(self, Room *room, const float *vector) noexcept nogil:
        cdef scan_query query = self.query
        if self.to_unit:
            normalise(vector, room.floats, query.dimensions)
        else:
            vector_store(C_F32, vector, <uint8_t *>room.floats, query.dimensions)
        vector_quantise(room.floats, room.small, query.dimensions)
        query.vector, query.coarse = room.floats, room.small
        memcpy(room.parts, self.parts, self.count * sizeof(scan_part))
        return scan_parts(&query, room.parts, self.count, &room.walk, &room.coarse, &room.best)

    def run(self, vector, size_t limit, size_t coarse_limit):
        cdef _Held held = _Held()
        cdef const float *source = <const float *>held.hold(vector, self.query.dimensions * 4)
        cdef Room room
        cdef size_t at
        cdef bint fine
        take_room(&room, self.query.dimensions, self.count, limit, coarse_limit)
        try:
            with nogil:
                fine = self.search(&room, source)
            if not fine:
                raise MemoryError
            return (
                [(room.best.hits[at].score, room.best.hits[at].part, room.best.hits[at].row)
                 for at in range(room.best.count)],
                [room.parts[at].accepted for at in range(self.count)],
            )
        finally:
            give_room_back(&room)

    def run_many(self, list vectors not None, size_t limit, size_t wanted, size_t coarse_limit, list names not None):
        cdef size_t count = len(vectors), dimensions = self.query.dimensions, number, at
        cdef scan_hit *found = NULL
        cdef size_t *counts = NULL
        cdef const float **sources = NULL
        cdef list held = []
        cdef _Held one
        cdef Room room
        cdef bint fine = True
        take_room(&room, dimensions, self.count, wanted, coarse_limit)
        try:
            found = <scan_hit *>malloc(count * wanted * sizeof(scan_hit) + 1)
            counts = <size_t *>malloc(count * sizeof(size_t) + 1)
            sources = <const float **>malloc(count * sizeof(float *) + 1)
            if not found or not counts or not sources:
                raise MemoryError
            for number in range(count):
                one = _Held()
                sources[number] = <const float *>one.hold(vectors[number], dimensions * 4)
                held.append(one)
            with nogil:
                for number in range(count):
                    fine = self.search(&room, sources[number])
                    if not fine:
                        break
                    counts[number] = room.best.count if self.is_decided(&room, limit, wanted) else 0
                    memcpy(found + number * wanted, room.best.hits, room.best.count * sizeof(scan_hit))
            if not fine:
                raise MemoryError
            return [name_hits(found + number * wanted, counts[number], limit, names) for number in range(count)]
        finally:
            give_room_back(&room)
            free(found)
            free(counts)
            free(sources)

    cdef bint is_decided(self, Room *room, size_t limit, size_t wanted) noexcept nogil:
        """Whether no graph gave too little, and all that are as near as the last that is wanted were found."""
        cdef scan_hit *hits = room.best.hits
        cdef uint32_t at
        if room.best.count < wanted or wanted <= limit:
            return False
        for at in range(self.count):
            if room.parts[at].kind == C_GRAPH and room.parts[at].accepted < wanted:
                return False
        return hits[limit - 1].score > hits[room.best.count - 1].score


cdef list name_hits(scan_hit *hits, size_t count, size_t limit, list names):
    """Return ids and scores of the first hits, equals by id, or None where they are not decided."""
    cdef size_t at, named = limit
    cdef bint equals = False
    cdef list found
    if not count:
        return None
    while named < count and hits[named].score == hits[limit - 1].score:
        named += 1
    for at in range(named - 1):
        equals = equals or hits[at].score == hits[at + 1].score
    if not equals:
        return [(names[hits[at].part][hits[at].row], hits[at].score) for at in range(limit)]
    found = [(-hits[at].score, names[hits[at].part][hits[at].row]) for at in range(named)]
    found.sort()
    return [(record_id, -score) for score, record_id in found[:limit]]


F32, BF16, I8 = 0, 1, 2
DOT, L2 = C_DOT, C_L2
