"""The classes of facts.pyx, for the short way of writes."""

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint64_t

cdef extern from "recollectd_links.h" nogil:
    ctypedef struct links:
        links *before
        links *behind
        void *owner

    void links_init(links *link, void *owner)
    bint links_are_in_use(const links *link)
    void links_remove(links *link)
    void links_append(links *to, links *link)

cdef class Maker:
    """A fact that is made only for who asks: the short way of writes has its own form of it."""
    cdef object make(self)

cdef class Entry:
    """One row: its fact in applied state, and the one that commits on their way will make of it."""
    cdef bytes key
    cdef object applied  # where `known`
    cdef object pending  # where `seq`
    cdef uint64_t seq  # of the commit that brings `pending`; 0: none does
    cdef int64_t pins
    cdef bint known
    cdef links used  # among the known ones, the last used at the end
    cdef links underway  # among those with something pending

cdef class FactCache:
    cdef list _parts
    cdef public object compact
    cdef links _used, _underway
    cdef Py_ssize_t _count_max, _known_count
    cdef readonly Py_ssize_t pending_count
    cdef readonly uint64_t hits, misses  # of writes: was all they need at hand

    # The entry of a row that is at hand, None of another. It counts as used.
    cdef Entry use(self, bytes key)
    # Say what a row that is at hand will be once a commit is applied.
    cdef int expect(self, Entry entry, fact, uint64_t seq) except -1
    # The commit is applied.
    cdef int settle(self, Entry entry, uint64_t seq) except -1

    cdef PyObject *_find(self, bytes key) except? NULL
    cdef dict _part(self, bytes key)
    cdef Entry _entry(self, bytes key)
    cdef int _keep(self, Entry entry, fact) except -1
    cdef int _forget(self, Entry entry) except -1
    cdef int _release(self, Entry entry) except -1
    cdef int _shrink(self) except -1

# What a row is to whoever is sequenced next; a Maker as it is.
cdef inline object latest(Entry entry):
    return entry.pending if entry.seq else entry.applied
