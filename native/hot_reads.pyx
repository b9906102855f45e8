# cython: language_level=3, boundscheck=False, wraparound=False
"""What all connections share of the hot path: the desk, where reads are answered from the value cache.

Intakes (intake.pyx) use the desk from C. Python asks it by record key, for requests that came the slower route.
Lives on the event loop.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy

cdef extern from "recollectd_hot_answer.h" nogil:
    enum:
        CACHE_KEY_BYTES_MAX
        HOT_ASK_TIME
        HOT_DONE
        HOT_HISTORY
        HOT_KIND_CONVERSATION
        HOT_LOG_READ
        HOT_NO_MEMORY
        HOT_RECORDS_TAG
        HOT_STATE_GET
        HOT_TAGS
        HOT_VALUES_TAG

    ctypedef struct c_cache "cache":
        pass

    ctypedef struct cache_entry:
        uint32_t key_bytes

    ctypedef struct cache_key:
        pass

    ctypedef struct hot_limits:
        uint64_t frame_bytes_max
        uint64_t deadline_ms_max
        uint64_t namespace_labels_max
        uint64_t label_bytes_max
        uint64_t key_bytes_max
        uint64_t operations_per_frame_max
        uint64_t page_items_max
        uint64_t page_items_default
        uint64_t page_bytes_max
        uint64_t requests_in_flight_max
        uint64_t in_flight_bytes_max

    ctypedef struct hot_request:
        uint32_t tag
        uint32_t text_at
        uint64_t wanted
        cache_key key
        uint8_t *bytes

    ctypedef struct hot_outbox:
        uint8_t *bytes
        uint64_t used

    ctypedef struct hot_page:
        pass

    ctypedef struct hot_desk:
        c_cache *cache
        hot_limits limits
        hot_outbox outbox
        int64_t now_us
        uint64_t position
        uint32_t *touched
        uint32_t *absent
        uint64_t touched_count
        uint64_t *answered
        uint64_t hits
        uint64_t misses
        int64_t bytes_in_flight
        int64_t bytes_in_flight_max
        int64_t request_bytes

    cache_key cache_key_for(const c_cache *cache, const uint8_t *bytes, uint32_t length)
    cache_entry *cache_at(const c_cache *cache, uint64_t reference)
    int64_t cache_expires_at(const cache_entry *entry)
    uint8_t *cache_key_of(const cache_entry *entry)
    int hot_page_begin(hot_desk *desk, hot_page *page, uint64_t tag, uint64_t count)
    int hot_page_add(hot_desk *desk, hot_page *page, const cache_key *keys, uint32_t count, uint32_t text_at,
                     uint32_t *marks)
    int hot_page_end(hot_desk *desk, hot_page *page)
    int hot_take_back(hot_desk *desk, uint64_t start, int outcome)
    int hot_append_message(hot_desk *desk, hot_request *request, uint32_t *marks)


cdef uint32_t text_at(bytes key) except 0:
    """Return where the key or id begins in a record key."""
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(key)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(key), place = 1
    while place < size and at[place]:
        place += 1 + at[place]
    if place >= size or size > CACHE_KEY_BYTES_MAX:
        raise ValueError("this is no record key")
    return <uint32_t>(place + 1)


cdef hot_limits limits_of(dict limits) except *:
    cdef hot_limits bounds = hot_limits(
        limits["frame_bytes_max"], limits["deadline_ms_max"], limits["namespace_labels_max"],
        limits["label_bytes_max"], limits["key_bytes_max"], limits["operations_per_frame_max"],
        limits["page_items_max"], limits["page_items_default"], limits["page_bytes_max"],
        limits["requests_in_flight_per_connection_max"], limits["in_flight_bytes_per_connection_max"])
    cdef uint64_t namespace_bytes_max = bounds.namespace_labels_max * (1 + bounds.label_bytes_max)
    if bounds.label_bytes_max > 255 or 2 + namespace_bytes_max + bounds.key_bytes_max > CACHE_KEY_BYTES_MAX:
        raise ValueError("record keys may be longer than the cache has room for")
    return bounds


cdef class HotReads:
    cdef hot_desk desk
    cdef object _cache  # it owns what desk.cache points at
    cdef object _now_us
    cdef object _touched

    def __cinit__(self, cache, *, now_us, touched, dict limits not None, int64_t bytes_in_flight_max,
                  int64_t request_bytes):
        self._cache = cache
        self._now_us = now_us
        self._touched = touched
        self.desk.cache = <c_cache *>PyCapsule_GetPointer(cache.pointer(), b"recollectd.cache")
        self.desk.limits = limits_of(limits)
        self.desk.bytes_in_flight_max = bytes_in_flight_max
        self.desk.request_bytes = request_bytes

    def __dealloc__(self):
        free(self.desk.outbox.bytes)
        free(self.desk.touched)
        free(self.desk.absent)

    def pointer(self):
        return PyCapsule_New(&self.desk, b"recollectd.desk", NULL)

    @property
    def position(self):
        return self.desk.position

    @position.setter
    def position(self, uint64_t seq):
        self.desk.position = seq

    @property
    def bytes_in_flight(self):
        return self.desk.bytes_in_flight

    @bytes_in_flight.setter
    def bytes_in_flight(self, int64_t size):
        self.desk.bytes_in_flight = size

    @property
    def hits(self):
        return self.desk.hits

    @property
    def misses(self):
        return self.desk.misses

    def answered(self):
        cdef int tag
        return {tag: self.desk.answered[tag] for tag in range(HOT_TAGS) if self.desk.answered[tag]}

    # -- the message that answers, or None when the cache does not have it ----------------------------------------------

    def get(self, bytes key not None):
        return self._message(key, HOT_STATE_GET, 0)

    def last(self, bytes key not None, uint64_t wanted):
        cdef bint conversation = PyBytes_AS_STRING(key)[0] == HOT_KIND_CONVERSATION
        return self._message(key, HOT_HISTORY if conversation else HOT_LOG_READ, wanted)

    cdef object _message(self, bytes key, uint32_t tag, uint64_t wanted):
        cdef uint64_t start = self.desk.outbox.used
        cdef hot_request request
        cdef int outcome
        request.tag = tag
        request.wanted = wanted
        request.text_at = text_at(key)
        request.key = cache_key_for(self.desk.cache, <const uint8_t *>PyBytes_AS_STRING(key), <uint32_t>len(key))
        memcpy(request.bytes, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        self.desk.now_us = 0
        outcome = hot_append_message(&self.desk, &request, NULL)
        if outcome == HOT_ASK_TIME:
            self.look_at_clock()
            outcome = hot_append_message(&self.desk, &request, NULL)
        return self._take(start, outcome, 1)

    def get_many(self, tuple keys not None):
        return self._page(keys, HOT_RECORDS_TAG)

    def get_values(self, tuple keys not None):
        return self._page(keys, HOT_VALUES_TAG)

    cdef object _page(self, tuple keys, uint64_t tag):
        cdef uint64_t start = self.desk.outbox.used
        cdef int outcome
        self.desk.now_us = 0
        outcome = hot_take_back(&self.desk, start, self._append_page(keys, tag))
        if outcome == HOT_ASK_TIME:
            self.look_at_clock()
            outcome = hot_take_back(&self.desk, start, self._append_page(keys, tag))
        return self._take(start, outcome, len(keys))

    cdef int _append_page(self, tuple keys, uint64_t tag) except -1:
        cdef hot_page page
        cdef cache_key key
        cdef bytes each
        cdef int outcome = hot_page_begin(&self.desk, &page, tag, len(keys))
        for each in keys:
            if outcome != HOT_DONE:
                return outcome
            key = cache_key_for(self.desk.cache, <const uint8_t *>PyBytes_AS_STRING(each), <uint32_t>len(each))
            outcome = hot_page_add(&self.desk, &page, &key, 1, text_at(each), NULL)
        return hot_page_end(&self.desk, &page) if outcome == HOT_DONE else outcome

    cdef object _take(self, uint64_t start, int outcome, uint64_t records):
        """Take what was appended out of the outbox again."""
        cdef bytes message
        if outcome == HOT_NO_MEMORY:
            raise MemoryError
        if outcome != HOT_DONE:
            self.desk.misses += records
            return None
        message = PyBytes_FromStringAndSize(<char *>self.desk.outbox.bytes + start, self.desk.outbox.used - start)
        self.desk.outbox.used = start
        self.tell_touched()
        return message

    # -- what an answer needs of Python ---------------------------------------------------------------------------------

    def look_at_clock(self):
        self.desk.now_us = self._now_us()

    def tell_touched(self):
        cdef cache_entry *entry
        cdef uint64_t index
        cdef list touches = []
        for index in range(self.desk.touched_count):
            entry = cache_at(self.desk.cache, self.desk.touched[index])
            key = PyBytes_FromStringAndSize(<char *>cache_key_of(entry), entry.key_bytes)
            touches.append((key, cache_expires_at(entry)))
        self.desk.touched_count = 0
        if touches:
            self._touched(touches)
