# cython: language_level=3, boundscheck=False, wraparound=False
"""Which records are known to be there and in sight, and until when: 16 bytes for each, in bounded memory.

By a hash with a seed that nobody outside knows; the hash stands for the key. A record is in one of the WAYS places from
that of its hash on. The table grows with the number of records; at its bound, the next one takes another's place.
Whoever has the interpreter may call.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

cdef extern from "recollectd_xxh64.h" nogil:
    uint64_t c_xxh64 "xxh64"(const void *data, size_t length, uint64_t seed)

cdef enum:
    WAYS = 16
    PLACES_MIN = 256

cdef struct Place:
    uint64_t hash  # 0: free
    int64_t until


@cython.final
cdef class VisibleRecords:
    cdef Place *places
    cdef uint64_t count, count_max, seed, kept, turn

    def __cinit__(self, uint64_t bytes_max, uint64_t seed):
        self.seed = seed
        self.kept = self.turn = self.count = self.count_max = 0
        self.places = NULL
        if bytes_max < (PLACES_MIN + WAYS) * sizeof(Place):
            return
        self.count_max = PLACES_MIN
        while (self.count_max * 2 + WAYS) * sizeof(Place) <= bytes_max:
            self.count_max *= 2
        self.take_room(PLACES_MIN)

    def __dealloc__(self):
        free(self.places)

    def __len__(self):
        return self.kept

    @property
    def memory_bytes(self):
        return (self.count + WAYS) * sizeof(Place) if self.count else 0

    cdef int take_room(self, uint64_t count) except -1:
        cdef Place *old = self.places
        cdef uint64_t before = self.count + WAYS if self.count else 0, at
        cdef Place *made = <Place *>calloc(count + WAYS, sizeof(Place))
        if made is NULL:
            raise MemoryError
        self.places, self.count, self.kept = made, count, 0
        for at in range(before):
            if old[at].hash:
                self.put(old[at].hash, old[at].until)
        free(old)
        return 0

    cdef uint64_t hash_of(self, const char *key, size_t length) noexcept:
        cdef uint64_t hash = c_xxh64(key, length, self.seed)
        return hash if hash else 1

    cdef Place *find(self, uint64_t hash) noexcept:
        cdef Place *first = self.places + (hash & (self.count - 1))
        cdef int way
        for way in range(WAYS):
            if first[way].hash == hash:
                return first + way
        return NULL

    cdef void put(self, uint64_t hash, int64_t until) noexcept:
        cdef Place *first = self.places + (hash & (self.count - 1))
        cdef Place *place = self.find(hash)
        cdef int way
        for way in range(WAYS):
            if place is NULL and not first[way].hash:
                place = first + way
                self.kept += 1
        if place is NULL:
            place = first + self.turn % WAYS
            self.turn += 1
        place.hash, place.until = hash, until

    def keep(self, bytes key not None, int64_t until):
        if not self.count:
            return
        if self.kept * 2 > self.count and self.count < self.count_max:
            self.take_room(self.count * 2)
        self.put(self.hash_of(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)), until)

    def forget(self, bytes key not None):
        cdef Place *place
        if self.count:
            place = self.find(self.hash_of(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)))
            if place is not NULL:
                place.hash = 0
                self.kept -= 1

    def clear(self):
        free(self.places)
        self.places = NULL
        self.count = self.kept = 0
        if self.count_max:
            self.take_room(PLACES_MIN)

    def until(self, bytes key not None):
        cdef Place *place = NULL
        if self.count:
            place = self.find(self.hash_of(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)))
        return -1 if place is NULL else place.until

    def all_visible(self, bytes prefix not None, list hits not None, int64_t time):
        cdef bytes key
        cdef Place *place
        cdef tuple hit
        for hit in hits:
            if not self.count:
                return False
            key = prefix + <bytes>hit[0]
            place = self.find(self.hash_of(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)))
            if place is NULL or (place.until and place.until <= time):
                return False
        return True
