# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False
"""The keyword index's Python face; recollectd_keyword_*.h hold the index itself and say how it works.

Apply keeps the GIL: giving it away would let the event loop wait for it. It may, because whoever holds the index's lock
never wants the GIL. Search, writing and installing release it.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.memory cimport make_shared, shared_ptr, unique_ptr
from libcpp.string cimport string
from libcpp.vector cimport vector

import os

cdef extern from "recollectd_keyword_install.h" namespace "keyword" nogil:
    cdef cppclass Bytes:
        Bytes()
        const uint8_t *at
        size_t count

    cdef cppclass Change:
        string scope
        Bytes id
        cbool removes
        vector[Bytes] fields

    ctypedef struct Totals:
        uint64_t applied_seq
        uint64_t scopes
        uint64_t documents
        uint64_t delta_documents
        uint64_t delta_bytes
        uint64_t frozen_parts
        uint64_t memory_bytes

    cdef cppclass Mapping:
        uint64_t bytes
        bint open(int descriptor, uint64_t size)

    cdef cppclass Writer:
        Writer(int into)
        int error
        uint64_t at
        uint64_t checksum

    cdef cppclass DeadRow:
        uint32_t block
        uint32_t row

    cdef cppclass C_Index "keyword::Index":
        C_Index(size_t fields, uint64_t seed)
        uint64_t applied_seq
        cbool apply(uint64_t seq, const vector[Change] &changes) except +
        uint64_t documents_in(const string &name) except +
        uint64_t delta_bytes() except +
        uint64_t freeze() except +
        Totals totals() except +

    cdef cppclass Merge:
        vector[uint64_t] segments
        uint64_t seq
        uint64_t written
        uint64_t documents
        cbool damaged

    void merge_begin(C_Index &index, Merge &merge) except +
    void merge_write(const C_Index &index, Merge &merge, Writer &out) except +
    cbool merge_install(C_Index &index, Merge &merge, uint64_t number, const shared_ptr[Mapping] &file) except +
    cbool segment_open(C_Index &index, uint64_t number, const shared_ptr[Mapping] &file, const DeadRow *dead,
                       size_t dead_count, uint64_t seq) except +
    vector[DeadRow] segment_dead(C_Index &index, uint64_t number, uint64_t seq) except +
    cbool segment_size(C_Index &index, uint64_t number, uint64_t *documents, uint64_t *dead) except +
    size_t c_block_bytes "keyword::CHECKSUM_BLOCK_BYTES"

cdef extern from "recollectd_keyword_search.h" namespace "keyword" nogil:
    cdef cppclass FieldWeight:
        uint32_t field
        double weight

    cdef cppclass Query:
        string scope
        vector[string] terms
        vector[FieldWeight] weights
        double k1
        double b
        size_t limit
        double rare_share
        cbool restricted
        vector[Bytes] allowed

    cdef cppclass Hit:
        string id
        double score

    cdef cppclass ScoresPool:
        size_t bytes() except +

    cbool c_search "keyword::search"(C_Index &index, ScoresPool &pool, const Query &query, vector[Hit] &hits) except +

CHECKSUM_BLOCK_BYTES = c_block_bytes


cdef inline Bytes bytes_of(bytes one) except *:
    """The bytes of an object that the caller keeps."""
    cdef Bytes view
    if one is None:
        raise TypeError("bytes are wanted, not None")
    view.at = <const uint8_t *>PyBytes_AS_STRING(one)
    view.count = <size_t>PyBytes_GET_SIZE(one)
    return view


@cython.final
@cython.auto_pickle(False)
cdef class SegmentMerge:
    """A merge on its way: begun, then written, then installed. Made by the index."""

    cdef Merge merge
    cdef readonly uint64_t file_bytes
    cdef readonly uint64_t checksum

    @property
    def documents(self):
        return self.merge.documents

    @property
    def seq(self):
        return self.merge.seq


@cython.final
@cython.auto_pickle(False)
cdef class KeywordIndex:
    cdef unique_ptr[C_Index] index
    cdef ScoresPool pool
    cdef readonly size_t field_count

    def __cinit__(self, size_t field_count):
        if not 1 <= field_count <= 16:
            raise ValueError(f"an index has 1 to 16 fields, not {field_count}")
        self.field_count = field_count
        self.index.reset(new C_Index(field_count, int.from_bytes(os.urandom(8), "little")))

    # -- apply -----------------------------------------------------------------------------------------------------------

    def apply(self, uint64_t seq, list changes):
        cdef vector[Change] noted
        cdef bytes scope, record_id
        cdef object packed, field
        cdef cbool whole
        noted.resize(len(changes))
        for at, (scope, record_id, packed) in enumerate(changes):
            noted[at].scope, noted[at].id, noted[at].removes = scope, bytes_of(record_id), packed is None
            if packed is None:
                continue
            if <size_t>len(<tuple?>packed) != self.field_count:
                raise ValueError(f"a document has {self.field_count} fields, not {len(packed)}")
            for field in <tuple>packed:
                if field is None:
                    noted[at].fields.push_back(Bytes())
                else:
                    noted[at].fields.push_back(bytes_of(<bytes?>field))
        whole = self.index.get().apply(seq, noted)
        if not whole:
            raise ValueError("a field is not packed as it must be")

    # -- search ----------------------------------------------------------------------------------------------------------

    def search(self, bytes scope, list terms, list weights, size_t limit, double k1, double b, tuple allowed=None,
               double rare_share=0.0):
        cdef Query query
        cdef vector[Hit] hits
        cdef FieldWeight weight
        cdef bytes one
        cdef cbool whole
        query.scope = scope
        query.k1, query.b, query.limit = k1, b, limit
        query.rare_share = rare_share
        for one in terms:
            query.terms.push_back(one)
        for field, share in weights:
            if not 0 <= field < self.field_count:
                raise ValueError(f"there is no field {field}")
            weight.field, weight.weight = field, share
            query.weights.push_back(weight)
        query.restricted = allowed is not None
        if allowed is not None:
            query.allowed.reserve(len(allowed))
            for one in allowed:
                query.allowed.push_back(bytes_of(one))
        with nogil:
            whole = c_search(self.index.get()[0], self.pool, query, hits)
        if not whole:
            raise ValueError("a posting list is damaged")
        return [
            (PyBytes_FromStringAndSize(hits[at].id.data(), <Py_ssize_t>hits[at].id.size()), hits[at].score)
            for at in range(hits.size())
        ]

    # -- files: one background thread ------------------------------------------------------------------------------------

    def freeze(self):
        cdef uint64_t seq
        with nogil:
            seq = self.index.get().freeze()
        return seq

    def merge_begin(self, list segments, uint64_t seq):
        cdef SegmentMerge one = SegmentMerge()
        one.merge.segments = segments
        one.merge.seq = seq
        with nogil:
            merge_begin(self.index.get()[0], one.merge)
        return one

    def merge_write(self, SegmentMerge one, int descriptor):
        cdef unique_ptr[Writer] out
        out.reset(new Writer(descriptor))
        with nogil:
            merge_write(self.index.get()[0], one.merge, out.get()[0])
        if one.merge.damaged:
            raise ValueError("a posting list is damaged")
        if out.get().error:
            raise OSError(out.get().error, os.strerror(out.get().error))
        one.file_bytes, one.checksum = out.get().at, out.get().checksum

    def merge_install(self, SegmentMerge one, uint64_t number, int descriptor):
        cdef shared_ptr[Mapping] file
        cdef cbool whole
        if one.merge.documents:
            file = map_file(descriptor, one.file_bytes)
        with nogil:
            whole = merge_install(self.index.get()[0], one.merge, number, file)
        if not whole:
            raise ValueError("a segment is not what was written")

    def segment_open(self, uint64_t number, int descriptor, uint64_t file_bytes, bytes dead, uint64_t seq):
        cdef shared_ptr[Mapping] file = map_file(descriptor, file_bytes)
        cdef const DeadRow *rows = <const DeadRow *>PyBytes_AS_STRING(dead)
        cdef size_t count = <size_t>PyBytes_GET_SIZE(dead) // sizeof(DeadRow)
        cdef cbool whole
        with nogil:
            whole = segment_open(self.index.get()[0], number, file, rows, count, seq)
        if not whole:
            raise ValueError("a segment is not what the manifest says")

    def segment_dead(self, uint64_t number, uint64_t seq):
        cdef vector[DeadRow] dead
        with nogil:
            dead = segment_dead(self.index.get()[0], number, seq)
        return PyBytes_FromStringAndSize(<const char *>dead.data(), <Py_ssize_t>(dead.size() * sizeof(DeadRow)))

    def segment_size(self, uint64_t number):
        cdef uint64_t documents = 0, dead = 0
        cdef cbool found
        with nogil:
            found = segment_size(self.index.get()[0], number, &documents, &dead)
        if not found:
            raise KeyError(number)
        return documents, dead

    # -- what there is ---------------------------------------------------------------------------------------------------

    def documents(self, bytes scope not None):
        return self.index.get().documents_in(scope)

    @property
    def delta_bytes(self):
        return self.index.get().delta_bytes()

    def totals(self):
        cdef Totals found
        cdef size_t pool_bytes
        with nogil:
            found = self.index.get().totals()
            pool_bytes = self.pool.bytes()
        return (
            found.applied_seq, found.scopes, found.documents, found.delta_documents, found.delta_bytes,
            found.frozen_parts, found.memory_bytes + pool_bytes,
        )


cdef shared_ptr[Mapping] map_file(int descriptor, uint64_t file_bytes) except *:
    cdef shared_ptr[Mapping] file = make_shared[Mapping]()
    if not file.get().open(descriptor, file_bytes):
        raise OSError("the segment cannot be mapped")
    return file
