# cython: language_level=3, boundscheck=False, wraparound=False
"""What a session's numbered writes came to, for who sends one again."""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Size
from libc.stdint cimport uint64_t


@cython.final
@cython.freelist(1024)
cdef class Outcome:
    def __cinit__(self, uint64_t digest=0, uint64_t seq=0, bytes reply=b""):
        self.digest, self.seq, self.reply = digest, seq, reply

    def __eq__(self, other):
        if not isinstance(other, Outcome):
            return NotImplemented
        it = <Outcome>other
        return self.digest == it.digest and self.seq == it.seq and self.reply == it.reply

    def __hash__(self):
        return hash(self.reply)


cdef Outcome new_outcome(uint64_t digest, uint64_t seq, bytes reply):
    cdef Outcome outcome = Outcome.__new__(Outcome)
    outcome.digest, outcome.seq, outcome.reply = digest, seq, reply
    return outcome


@cython.final
cdef class Session:
    def __cinit__(self, str principal not None, *, uint64_t window_numbers, Py_ssize_t bytes_max):
        self.principal = principal
        self.floor = 1
        self.outcomes = {}
        self._window_numbers = window_numbers
        self._bytes_max = bytes_max

    def restore(self, uint64_t floor, uint64_t highest, uint64_t used_at, dict outcomes not None):
        cdef Outcome outcome
        self.floor, self.highest, self.used_at, self.outcomes = floor, highest, used_at, outcomes
        self._bytes = 0
        for outcome in outcomes.values():
            self._bytes += PyBytes_GET_SIZE(outcome.reply)

    def remember(self, number, uint64_t floor, Outcome outcome not None, uint64_t time):
        self.add(number, floor, outcome, time)

    cdef int add(self, number, uint64_t floor, Outcome outcome, uint64_t time) except -1:
        cdef uint64_t asked = number
        self.highest = max(self.highest, asked)
        self.used_at = time
        floor = max(self.floor, min(floor, asked))
        if self.highest >= self._window_numbers:
            floor = max(floor, self.highest - self._window_numbers + 1)
        if asked >= floor:  # else it was overtaken, on its way, by one a window ahead
            self.outcomes[number] = outcome
            self._bytes += PyBytes_GET_SIZE(outcome.reply)
        if floor != self.floor:
            self._forget_below(floor)
        while self._bytes > self._bytes_max and PyDict_Size(self.outcomes) > 1:
            self._forget_below(<uint64_t>min(self.outcomes) + 1)
        return 0

    cdef int _forget_below(self, uint64_t floor) except -1:
        cdef Outcome outcome
        if floor - self.floor > <uint64_t>PyDict_Size(self.outcomes):
            forgotten = [number for number in self.outcomes if <uint64_t>number < floor]
        else:
            forgotten = range(self.floor, floor)
        for number in forgotten:
            outcome = self.outcomes.pop(number, None)
            if outcome is not None:
                self._bytes -= PyBytes_GET_SIZE(outcome.reply)
        self.floor = floor
        return 0
