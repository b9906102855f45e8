# cython: language_level=3, boundscheck=False, wraparound=False
"""One connection's bytes: received ones are cut into frames, replies leave together.

A read that the value cache answers is answered here (see recollectd_hot_answer.h), from the frame's bytes to the
outbox. Every other frame goes to Python, in its turn: what it sets off (a write on its way, a hello, the connection's
end) counts for the frames behind it. Lives on the event loop.
"""

from cpython.buffer cimport PyBUF_WRITE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

cdef extern from "recollectd_hot_answer.h" nogil:
    enum:
        HOT_AHEAD
        HOT_ASK_TIME
        HOT_DONE
        HOT_LENGTH_BYTES
        HOT_MARKS
        HOT_NO_MEMORY
        HOT_REPLY_HEADER_BYTES
        HOT_REQUEST_HEADER_BYTES

    ctypedef struct cache_key:
        uint64_t hash

    void cache_poison(void *start, uint64_t bytes)
    void cache_unpoison(void *start, uint64_t bytes)
    cache_key cache_key_for(const c_cache *cache, const uint8_t *bytes, uint32_t length)
    uint32_t hot_load32(const uint8_t *bytes)
    int64_t hot_whole_frames(const uint8_t *bytes, uint64_t count, const hot_limits *limits)
    void hot_read_request(hot_request *request, const uint8_t *frame, uint64_t frame_bytes, const c_cache *cache,
                          const hot_limits *limits)
    void hot_prefetch_entry(const hot_request *request, const c_cache *cache)
    void hot_prefetch_next(const hot_request *request, const c_cache *cache)
    int hot_answer(hot_desk *desk, hot_request *request, const uint8_t *frame, uint32_t *marks)
    bint hot_outbox_put(hot_outbox *box, const uint8_t *bytes, uint64_t count)
    void hot_write_header(uint8_t *to, uint64_t message_bytes, uint32_t request_id, uint64_t position)
    void hot_outbox_clear(hot_outbox *box)
    uint64_t hot_outbox_send(const hot_outbox *box, int fd)
    void hot_pending_clear(hot_pending *pending)
    bint hot_pending_add(hot_pending *pending, const uint8_t *bytes, uint64_t count)
    void hot_pending_take(hot_pending *pending, uint64_t count)
    uint32_t *hot_mark(uint32_t *marks, uint64_t hash)

cdef enum:
    RECEIVE_BYTES = 262144
    # With so many bytes of replies, they leave before the next frame is looked at.
    OUTBOX_BYTES_HIGH = 1048576

# One buffer serves all connections, and so do the requests read ahead: what is in them is done with before the next
# connection's turn.
cdef uint8_t *RECEIVED = <uint8_t *>calloc(1, RECEIVE_BYTES)
cdef hot_request *AHEAD = <hot_request *>calloc(HOT_AHEAD, sizeof(hot_request))
if RECEIVED is NULL or AHEAD is NULL:
    raise MemoryError
cdef object RECEIVE_VIEW = PyMemoryView_FromMemory(<char *>RECEIVED, RECEIVE_BYTES, PyBUF_WRITE)


cdef class Intake:
    def __cinit__(self, reads, *, begin, take, unframed, time):
        self._reads = reads
        self._desk = <hot_desk *>PyCapsule_GetPointer(reads.pointer(), b"recollectd.desk")
        self._begin = begin
        self._take = take
        self._unframed = unframed
        self._time = time
        self._fd = -1
        self._unsent = []
        self.last_frame_at = time()

    def __dealloc__(self):
        hot_pending_clear(&self._pending)
        free(self._marks)

    def open(self, transport, int fd):
        self._transport = transport
        self._fd = fd

    def end(self):
        self.ending = True
        self.flush()
        self._fd = -1

    def close(self):
        self.ending = True
        self._fd = -1
        self._transport = None
        self._unsent.clear()

    # -- bytes in -------------------------------------------------------------------------------------------------------

    def get_buffer(self, Py_ssize_t sizehint):
        return RECEIVE_VIEW

    def buffer_updated(self, Py_ssize_t nbytes):
        cdef uint64_t skip = 0
        if self.ending:
            return
        cache_poison(RECEIVED + nbytes, RECEIVE_BYTES - nbytes)
        try:
            if not self.begun:
                skip = self._begin(PyBytes_FromStringAndSize(<char *>RECEIVED, nbytes))
            self._receive(RECEIVED + skip, nbytes - skip)
        except BaseException:
            self.ending = True  # what was served must not be served again
            raise
        finally:
            cache_unpoison(RECEIVED, RECEIVE_BYTES)

    cdef int _receive(self, const uint8_t *data, uint64_t count) except -1:
        cdef uint64_t served
        if self._pending.used:
            if not hot_pending_add(&self._pending, data, count):
                raise MemoryError
            served = self._serve(self._pending.bytes, self._pending.used)
            hot_pending_take(&self._pending, served)
            return 0
        served = self._serve(data, count)
        if served < count and not hot_pending_add(&self._pending, data + served, count - served):
            raise MemoryError
        return 0

    cdef uint64_t _serve(self, const uint8_t *data, uint64_t count) except? 0:
        """Serve the whole frames there are; return how many bytes are done with."""
        cdef int64_t whole
        cdef uint64_t served = 0
        if self.ending:
            return count
        whole = hot_whole_frames(data, count, &self._desk.limits)
        if whole < 0:
            self._unframed(PyBytes_FromStringAndSize(<char *>data + (-1 - whole), HOT_LENGTH_BYTES))
            return count
        if whole == 0:
            return 0
        self.last_frame_at = self._time()
        if self._desk.serving:
            raise RuntimeError("a connection's frames are served within another's")
        self._desk.serving = self._serving = True
        try:
            self._put_unsent()
            self._desk.now_us = 0
            while served < <uint64_t>whole and not self.ending:
                served += self._serve_some(data + served, whole - served)
        finally:
            self._desk.serving = self._serving = False
            self._send()
        return count if self.ending else served

    cdef uint64_t _serve_some(self, const uint8_t *data, uint64_t whole) except 0:
        """Serve the next few frames: all are read first, so that what they look up is on its way from memory."""
        cdef const uint8_t *frames[HOT_AHEAD]
        cdef uint64_t sizes[HOT_AHEAD]
        cdef uint64_t at = 0
        cdef int count = 0, index
        while count < HOT_AHEAD and at < whole:
            frames[count] = data + at
            sizes[count] = HOT_LENGTH_BYTES + <uint64_t>hot_load32(data + at)
            hot_read_request(&AHEAD[count], frames[count], sizes[count], self._desk.cache, &self._desk.limits)
            at += sizes[count]
            count += 1
        for index in range(count):
            hot_prefetch_entry(&AHEAD[index], self._desk.cache)
        for index in range(count):
            hot_prefetch_next(&AHEAD[index], self._desk.cache)
        for index in range(count):
            if not self._is_open(sizes[index]) or not self._answer(&AHEAD[index], frames[index]):
                self._take(PyBytes_FromStringAndSize(<char *>frames[index], sizes[index]))
            if self._desk.outbox.used > OUTBOX_BYTES_HIGH:
                self._send()
            if self.ending:
                break
        return at

    cdef bint _is_open(self, uint64_t frame_bytes):
        """Whether a read of this size may be answered here: no bound and no state of the connection is against it."""
        cdef int64_t size = <int64_t>frame_bytes - HOT_REQUEST_HEADER_BYTES
        cdef hot_desk *desk = self._desk
        return (self.welcomed and not self.choked and not self._writes_anywhere
                and self.requests_in_flight < <int64_t>desk.limits.requests_in_flight_max
                and self.bytes_in_flight + size <= <int64_t>desk.limits.in_flight_bytes_max
                and desk.bytes_in_flight + size + desk.request_bytes <= desk.bytes_in_flight_max)

    cdef bint _answer(self, hot_request *request, const uint8_t *frame) except -1:
        cdef uint32_t *marks = self._marks if self._writes else NULL
        cdef int outcome = hot_answer(self._desk, request, frame, marks)
        if outcome == HOT_ASK_TIME:
            self._reads.look_at_clock()
            outcome = hot_answer(self._desk, request, frame, marks)
        if outcome == HOT_NO_MEMORY:
            raise MemoryError
        if self._desk.touched_count:
            self._reads.tell_touched()
        return outcome == HOT_DONE

    # -- writes on their way --------------------------------------------------------------------------------------------

    def mark(self, keys):
        self._writes += 1
        if keys is None:
            self._writes_anywhere += 1
        else:
            for key in keys:
                self._count(key, 1)

    def unmark(self, keys):
        self._writes -= 1
        if keys is None:
            self._writes_anywhere -= 1
        else:
            for key in keys:
                self._count(key, <uint32_t>-1)

    cdef int note_write(self, bytes key, int change) except -1:
        self._writes += change
        return self._count(key, <uint32_t>change)

    cdef int _count(self, bytes key, uint32_t one) except -1:
        cdef cache_key at
        if self._marks is NULL:
            self._marks = <uint32_t *>calloc(HOT_MARKS, sizeof(uint32_t))
            if self._marks is NULL:
                raise MemoryError
        at = cache_key_for(self._desk.cache, <const uint8_t *>PyBytes_AS_STRING(key), <uint32_t>len(key))
        hot_mark(self._marks, at.hash)[0] += one
        return 0

    # -- bytes out ------------------------------------------------------------------------------------------------------

    def reply(self, uint32_t request_id, uint64_t position, bytes message not None):
        self.queue(request_id, position, message)

    cdef int queue(self, uint32_t request_id, uint64_t position, bytes message) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(message)
        cdef bytes frame
        if self._transport is None:
            return 0
        frame = PyBytes_FromStringAndSize(NULL, HOT_REPLY_HEADER_BYTES + size)
        hot_write_header(<uint8_t *>PyBytes_AS_STRING(frame), size, request_id, position)
        memcpy(PyBytes_AS_STRING(frame) + HOT_REPLY_HEADER_BYTES, PyBytes_AS_STRING(message), size)
        self._unsent.append(frame)
        self._unsent_bytes += size
        if self._serving:
            self._put_unsent()
        elif self._unsent_bytes > OUTBOX_BYTES_HIGH:
            self.flush()
        return 0

    def flush(self):
        if self._serving:
            self._send()
        elif self._unsent and self._transport is not None:
            if not self._desk.serving:  # else the outbox is another's
                self._put_unsent()
                self._send()
                return
            queued, self._unsent, self._unsent_bytes = self._unsent, [], 0
            self._backed_up = True
            self._transport.write(b"".join(queued))

    cdef int _put_unsent(self) except -1:
        """Move what is queued into the outbox."""
        cdef bytes frame
        for frame in self._unsent:
            if not hot_outbox_put(&self._desk.outbox, <const uint8_t *>PyBytes_AS_STRING(frame), len(frame)):
                raise MemoryError
        self._unsent.clear()
        self._unsent_bytes = 0
        return 0

    cdef int _send(self) except -1:
        """Send what is in the outbox: to the socket, and what that does not take to the transport."""
        cdef hot_outbox *box = &self._desk.outbox
        cdef uint64_t sent = 0
        cdef bytes rest = None
        if self._transport is not None and box.used:
            if self._backed_up:
                self._backed_up = self._transport.get_write_buffer_size() > 0
            if self._fd >= 0 and not self._backed_up:
                sent = hot_outbox_send(box, self._fd)
            if sent < box.used:
                rest = PyBytes_FromStringAndSize(<char *>box.bytes + sent, box.used - sent)
        hot_outbox_clear(box)
        if rest is not None:
            self._backed_up = True
            self._transport.write(rest)
        return 0
