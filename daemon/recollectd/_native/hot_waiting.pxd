"""The classes of hot_waiting.pyx, for the short way of writes."""

from libc.stdint cimport int64_t, uint8_t

from recollectd._native.facts cimport FactCache
from recollectd._native.intake cimport Intake
from recollectd_hot_commit cimport hot_desk

cdef class Flight:
    """Rows that are fetched together, and the lanes that wait for them."""

    cdef dict keys, lanes  # in the order of asking; the values say nothing
    cdef bint landed

cdef class Flights:
    """Makes flights, one for all that is asked for in a turn of the loop. fetch(keys, told): see WriteRouter.fetch."""

    cdef object fetch, call_soon, time
    cdef FactCache facts
    cdef Flight boarding
    cdef int64_t bytes_in_flight  # of all requests on the short way

    cdef Flight ask(self, WaitingLane lane, list keys)

cdef class WaitingFrame:
    """A frame on its way that waits for its turn. keys: those of a write for the short way, pinned."""

    cdef bytes frame
    cdef list keys
    cdef Flight flight  # None: it waits for the frames before it alone
    cdef double deadline  # loop time

cdef class WaitingLane:
    """What a lane is for those that wait in it. Frames of a client's writes and what must come behind them."""

    cdef Flights flights
    cdef const hot_desk *desk
    cdef object connection, otherwise
    cdef Intake intake
    cdef object frames  # a deque of WaitingFrame
    cdef dict touched  # record keys of the writes that wait, with how many
    cdef int64_t requests_max, bytes_max
    cdef readonly int64_t requests_in_flight, bytes_in_flight

    # Let a write wait until its rows are there; False: the ordinary way says what is wrong with a key.
    cdef bint wait(self, bytes frame, list keys) except -1
    # Whether a frame that came behind waiting ones waits, too. False: it need not, or all go the ordinary way.
    cdef bint join(self, bytes frame) except -1
    cdef int go_on(self) except -1

    # Whether there is room for a request of so many bytes; that one is on its way (1) or no more (-1).
    cdef bint has_room(self, int64_t size) except -1
    cdef int weigh(self, int64_t size, int sign) except -1

    # What the lane itself knows: the keys of a write for the short way, None for anything else; to carry one out.
    cdef list subjects(self, bytes frame)
    cdef bint carry_out(self, bytes frame, bint may_wait) except -1

    cdef int _append(self, bytes frame, list keys, Flight flight) except -1
    cdef int _give_up(self) except -1
    cdef int _step(self, WaitingFrame waiting) except -1
    cdef int _let_go(self, WaitingFrame waiting) except -1
    cdef int _unpin(self, WaitingFrame waiting) except -1
