# cython: language_level=3, boundscheck=False, wraparound=False
"""Facts by key: what the sequencer knows of rows, in applied state and with the commits on their way.

One look-up finds all there is to know of a row, and a write keeps what it has found.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError
from cpython.list cimport PyList_GET_ITEM
from cpython.object cimport PyObject_Hash
from cpython.ref cimport PyObject
from libc.stdint cimport uint64_t

cdef extern from "recollectd_hot_append.h":
    enum:
        HOT_INDEX_MESSAGE_ID


cdef enum:
    # Rows lie in so many dictionaries, so that none is ever so large that letting it grow holds everybody up: five
    # million rows are some 5,000 each.
    PARTS = 1024
    PART_SHIFT = 40  # a dictionary goes by the lowest bits of the hash, and by these late if at all


cdef class Maker:
    cdef object make(self):
        return None


# Entries are in no cycle: the lists hold them without counting, and facts refer to no entry.
@cython.final
@cython.no_gc
cdef class Entry:
    def __cinit__(self, bytes key not None):
        self.key = key
        links_init(&self.used, <void *>self)
        links_init(&self.underway, <void *>self)

    def __dealloc__(self):
        links_remove(&self.used)
        links_remove(&self.underway)


cdef object made(Entry entry):
    """What a row is to whoever is sequenced next, made if it has to be."""
    fact = latest(entry)
    return (<Maker>fact).make() if isinstance(fact, Maker) else fact


@cython.final
cdef class FactCache:
    def __cinit__(self, Py_ssize_t count_max):
        self._count_max = max(1, count_max)
        self._parts = [{} for _ in range(PARTS)]
        links_init(&self._used, NULL)
        links_init(&self._underway, NULL)

    def __dealloc__(self):
        # Entries may outlive the cache.
        while links_are_in_use(&self._used):
            links_remove(self._used.behind)
        while links_are_in_use(&self._underway):
            links_remove(self._underway.behind)

    def __len__(self):
        return self._known_count

    cdef PyObject *_find(self, bytes key) except? NULL:
        return PyDict_GetItemWithError(self._part(key), key)

    cdef dict _part(self, bytes key):
        return <dict>PyList_GET_ITEM(self._parts, (PyObject_Hash(key) >> PART_SHIFT) & (PARTS - 1))

    # -- for those who have an entry -------------------------------------------------------------------------------------

    cdef Entry use(self, bytes key):
        cdef PyObject *found = self._find(key)
        if found is NULL:
            return None
        entry = <Entry>found
        if entry.known:
            links_append(&self._used, &entry.used)
        elif not entry.seq:
            return None
        return entry

    cdef int expect(self, Entry entry, fact, uint64_t seq) except -1:
        if not entry.seq:
            self.pending_count += 1
            links_append(&self._underway, &entry.underway)
        entry.pending, entry.seq = fact, seq
        return 0

    cdef int settle(self, Entry entry, uint64_t seq) except -1:
        if entry.seq != seq:
            return 0
        fact = entry.pending
        self._release(entry)
        if PyBytes_GET_SIZE(entry.key) and PyBytes_AS_STRING(entry.key)[0] == HOT_INDEX_MESSAGE_ID:
            self._forget(entry)  # ids are hardly ever asked for again
        else:
            self._keep(entry, fact)
        return 0

    # -- inside ----------------------------------------------------------------------------------------------------------

    cdef Entry _entry(self, bytes key):
        """Return the entry of a row, which may be a new one that says nothing yet."""
        cdef PyObject *found = self._find(key)
        if found is not NULL:
            return <Entry>found
        entry = Entry.__new__(Entry, key)
        self._part(key)[key] = entry
        return entry

    cdef int _keep(self, Entry entry, fact) except -1:
        """Take up what a row is in applied state; the least recently used one may go for it."""
        entry.applied = fact
        links_append(&self._used, &entry.used)
        if not entry.known:
            entry.known = True
            self._known_count += 1
            self._shrink()
        return 0

    cdef int _forget(self, Entry entry) except -1:
        """Know nothing of a row's applied state any more, and let the entry go if nothing else needs it."""
        if entry.known:
            entry.known, entry.applied = False, None
            self._known_count -= 1
            links_remove(&entry.used)
        if not entry.seq and not entry.pins:
            self._part(entry.key).pop(entry.key, None)
        return 0

    cdef int _release(self, Entry entry) except -1:
        """Nothing is pending for a row any more."""
        entry.seq, entry.pending = 0, None
        self.pending_count -= 1
        links_remove(&entry.underway)
        return 0

    cdef int _shrink(self) except -1:
        """Let the least recently used rows go, beyond the bound, but for the pinned ones."""
        cdef Py_ssize_t excess = self._known_count - self._count_max
        cdef Entry oldest
        for _ in range(excess):
            oldest = <Entry>self._used.behind.owner
            if oldest.pins:
                links_append(&self._used, &oldest.used)
            else:
                self._forget(oldest)
        return 0

    # -- for everybody ---------------------------------------------------------------------------------------------------

    def knows(self, bytes key not None):
        cdef PyObject *found = self._find(key)
        return found is not NULL and ((<Entry>found).known or (<Entry>found).seq != 0)

    def get(self, bytes key not None):
        cdef PyObject *found = self._find(key)
        if found is NULL or not ((<Entry>found).known or (<Entry>found).seq):
            raise KeyError(key)
        return made(<Entry>found)

    def gather(self, keys):
        cdef dict gathered = {}
        cdef Entry entry
        for key in keys:
            entry = self.use(<bytes?>key)
            if entry is None:
                self.misses += 1
                return None
            gathered[key] = made(entry)
        self.hits += 1
        return gathered

    def pending(self, bytes key not None, fact, uint64_t seq):
        self.expect(self._entry(key), fact, seq)

    def applied(self, keys, uint64_t seq):
        cdef PyObject *found
        for key in keys:
            found = self._find(key)
            if found is not NULL and (<Entry>found).seq:
                self.settle(<Entry>found, seq)

    def pending_seq(self, keys):
        cdef uint64_t newest = 0
        cdef PyObject *found
        for key in keys:
            found = self._find(key)
            if found is not NULL:
                newest = max(newest, (<Entry>found).seq)
        return newest

    def drop_pending(self):
        cdef Entry entry
        while links_are_in_use(&self._underway):
            entry = <Entry>self._underway.behind.owner
            self._release(entry)
            self._forget(entry)

    def learn(self, dict facts not None):
        cdef Entry entry
        for key, fact in facts.items():
            entry = self._entry(<bytes?>key)
            if not entry.known and not entry.seq:
                self._keep(entry, fact if self.compact is None else self.compact(fact))

    def pin(self, keys):
        cdef Entry entry
        for key in keys:
            entry = self._entry(<bytes?>key)
            entry.pins += 1

    def unpin(self, keys):
        cdef Entry entry
        for key in keys:
            entry = self._part(<bytes?>key)[key]
            entry.pins -= 1
            if not entry.pins and not entry.known:
                self._forget(entry)
