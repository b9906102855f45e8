# cython: language_level=3, boundscheck=False, wraparound=False
"""Writes for the short way whose records' heads are not at hand, and what waits behind them.

All heads that are missing in a turn of the loop, on whatever connections, are fetched by one list get; then the frames
go on in native code as if the heads had been there. On its connection a waiting write is where a write is that waits
for the journal: writes behind it wait for it, so do reads of its record, and other reads pass it by.

When something else comes behind (a transaction, a scan), all go the ordinary way together, where each asks for its rows
at once, whatever it waits for.
"""

cimport cython
from collections import deque
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy
from recollectd_hot_commit cimport (
    HOT_DEADLINE_AT, HOT_RESERVED_AT, HOT_REQUEST_HEADER_BYTES, hot_is_several, hot_is_text,
    hot_read_request, hot_request, hot_request_id,
)

from recollectd.protocol import errors, limits

# What is in it is done with before the next frame's turn.
cdef hot_request READING
cdef uint32_t DEADLINE_MS = limits.DEADLINE_MS_DEFAULT


@cython.final
cdef class Flight:
    def __cinit__(self):
        self.keys = {}
        self.lanes = {}

    def land(self):
        """The rows are there, or cannot be read: then the ordinary way finds out why."""
        self.landed = True
        lanes, self.lanes = self.lanes, {}
        for lane in lanes:
            (<WaitingLane>lane).go_on()


@cython.final
cdef class Flights:
    def __cinit__(self, facts, fetch, call_soon, time):
        self.facts, self.fetch, self.call_soon, self.time = facts, fetch, call_soon, time

    cdef Flight ask(self, WaitingLane lane, list keys):
        if self.boarding is None:
            self.boarding = Flight.__new__(Flight)
            self.call_soon(self.take_off)
        for key in keys:
            self.boarding.keys[key] = None
        self.boarding.lanes[lane] = None
        return self.boarding

    def take_off(self):
        flight, self.boarding = self.boarding, None
        self.fetch(list(flight.keys), flight.land)


@cython.final
cdef class WaitingFrame:
    pass


cdef class WaitingLane:
    def __cinit__(self):
        self.frames = deque()
        self.touched = {}

    cdef bint has_room(self, int64_t size) except -1:
        cdef const hot_desk *desk = self.desk
        return (self.requests_in_flight + self.intake.requests_in_flight < self.requests_max
                and self.bytes_in_flight + self.intake.bytes_in_flight + size <= self.bytes_max
                and desk.bytes_in_flight + self.flights.bytes_in_flight + size + desk.request_bytes
                <= desk.bytes_in_flight_max)

    cdef int weigh(self, int64_t size, int sign) except -1:
        self.requests_in_flight += sign
        self.bytes_in_flight += sign * size
        self.flights.bytes_in_flight += sign * (size + self.desk.request_bytes)
        return 0

    cdef list subjects(self, bytes frame):
        raise NotImplementedError

    cdef bint carry_out(self, bytes frame, bint may_wait) except -1:
        raise NotImplementedError

    # -- in -------------------------------------------------------------------------------------------------------------

    cdef bint wait(self, bytes frame, list keys) except -1:
        missing = [key for key in keys if self.flights.facts.use(<bytes>key) is None]
        for key in missing:  # what is known came as text
            if not hot_is_text(<const uint8_t *>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)):
                return False
        self.flights.facts.misses += 1 if missing else 0
        self._append(frame, keys, self.flights.ask(self, missing) if missing else None)
        return True

    cdef bint join(self, bytes frame) except -1:
        cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(frame)
        cdef list keys
        if start[HOT_RESERVED_AT] or not self.has_room(PyBytes_GET_SIZE(frame) - HOT_REQUEST_HEADER_BYTES):
            return False  # it is refused, whatever comes of those before it
        keys = self.subjects(frame)
        if keys is not None:
            if not self.wait(frame, keys):
                self._give_up()
                return False
            return True
        hot_read_request(&READING, start, PyBytes_GET_SIZE(frame), self.desk.cache, &self.desk.limits)
        if READING.tag == 0 or hot_is_several(READING.tag):
            self._give_up()
            return False
        key = PyBytes_FromStringAndSize(<char *>READING.bytes, READING.key.length)
        if key not in self.touched:
            return False
        self._append(frame, None, None)
        return True

    cdef int _give_up(self) except -1:
        cdef WaitingFrame waiting
        while self.frames:
            waiting = <WaitingFrame>self.frames.popleft()
            self._let_go(waiting)
            self.otherwise(waiting.frame)
            self._unpin(waiting)
        return 0

    cdef int _append(self, bytes frame, list keys, Flight flight) except -1:
        cdef WaitingFrame waiting = WaitingFrame.__new__(WaitingFrame)
        cdef uint32_t deadline_ms
        memcpy(&deadline_ms, PyBytes_AS_STRING(frame) + HOT_DEADLINE_AT, sizeof(deadline_ms))
        waiting.frame, waiting.keys, waiting.flight = frame, keys, flight
        waiting.deadline = <double>self.flights.time() + (deadline_ms or DEADLINE_MS) / 1e3
        self.weigh(PyBytes_GET_SIZE(frame) - HOT_REQUEST_HEADER_BYTES, 1)
        if keys is not None:
            self.flights.facts.pin(keys)
            for key in keys:
                self.touched[key] = self.touched.get(key, 0) + 1
                self.intake.note_write(<bytes>key, 1)
        self.frames.append(waiting)
        return 0

    # -- and on ---------------------------------------------------------------------------------------------------------

    cdef int go_on(self) except -1:
        cdef WaitingFrame waiting
        while self.frames:
            waiting = <WaitingFrame>self.frames[0]
            if waiting.flight is not None and not waiting.flight.landed:
                return 0
            self.frames.popleft()
            self._step(waiting)
        self.connection.flush_replies()
        return 0

    cdef int _step(self, WaitingFrame waiting) except -1:
        cdef bytes frame = waiting.frame
        self._let_go(waiting)
        if waiting.deadline < <double>self.flights.time():
            request_id = hot_request_id(<const uint8_t *>PyBytes_AS_STRING(frame))
            self.connection.send_error(request_id, errors.DeadlineExceeded())
        elif waiting.keys is None or not self.carry_out(frame, False):
            self.otherwise(frame)
        self._unpin(waiting)
        return 0

    cdef int _let_go(self, WaitingFrame waiting) except -1:
        self.weigh(PyBytes_GET_SIZE(waiting.frame) - HOT_REQUEST_HEADER_BYTES, -1)
        for key in waiting.keys or ():
            self.intake.note_write(<bytes>key, -1)
            left = <object>self.touched[key] - 1
            if left:
                self.touched[key] = left
            else:
                del self.touched[key]
        return 0

    cdef int _unpin(self, WaitingFrame waiting) except -1:
        if waiting.keys is not None:
            self.flights.facts.unpin(waiting.keys)
        return 0
