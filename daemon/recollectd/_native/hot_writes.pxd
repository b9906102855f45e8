"""The classes of hot_writes.pyx, for the modules of single kinds of records."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from recollectd._native.facts cimport Entry, FactCache
from recollectd._native.hot_waiting cimport Flights, WaitingLane
from recollectd._native.session cimport Outcome, Session
from recollectd_hot_commit cimport hot_author, hot_desk, hot_request, hot_write

cdef class HotKind:
    """How the writes of one kind are read and made."""

    # The request that `read` has accepted: its record, or with `many` what all of its records have in common.
    cdef hot_request *subject
    cdef bint many

    # With `many`: the keys of the records, in their order.
    cdef list keys(self)

    # Read a frame; whether it is one for the short way.
    cdef bint read(self, const uint8_t *frame, uint64_t frame_bytes, const hot_desk *desk)

    # Make the write from the record's fact (with `many` a list of facts): facts as they will be, the journal entry.
    # None: the ordinary way.
    cdef HotWrite make(self, before, HotWrites writes, uint64_t seq, uint64_t time, hot_author *author)

cdef class HotWrites:
    cdef object _reads  # it owns what _desk points at
    cdef const hot_desk *_desk
    cdef public object ways
    cdef FactCache _facts
    cdef Flights _flights
    cdef object _sequencer, _ranges
    cdef dict _sessions, _underway, _changed
    cdef set _sessions_dirty
    cdef object _ready
    cdef list _dirty
    cdef list _kinds  # by tag
    cdef dict _counts
    cdef uint64_t _now_us  # 0: not looked up in this turn
    cdef double _began
    cdef int64_t _room_bytes
    cdef readonly int64_t taken_bytes
    cdef double _slow_s, _slowest_s, _ended

    cdef bint _begin_turn(self) except -1
    cdef Session _session(self, HotLane lane)
    cdef int _note_range(self, bytes key, uint64_t text_at, uint64_t seq) except -1

cdef class HotLane(WaitingLane):
    cdef HotWrites writes
    cdef object lane, waiting
    cdef dict tickets, by_key, readings, walks
    cdef bytes session_id, principal
    cdef bint dirty

    cdef HotKind _kind(self, bytes frame)
    cdef HotWrite _one(self, HotKind kind, hot_write *header, bytes frame, bint may_wait)
    cdef HotWrite _several(self, HotKind kind, hot_write *header, bytes frame, bint may_wait)
    cdef bint _may_begin(self, hot_write *header, int64_t size) except -1
    cdef bint _is_new(self, hot_write *write) except -1
    cdef HotWrite _make(self, HotKind kind, before, hot_write *write)
    cdef int _enter(self, HotWrite write) except -1
    cdef int _leave(self, HotWrite write) except -1

cdef class HotWrite:
    cdef HotLane _lane
    cdef Entry _entry  # of its record; with `keys`, of the first
    cdef list _keys, _entries, _heads  # of a write of several records
    cdef Outcome _outcome
    cdef object _refusal
    cdef readonly bytes key
    cdef readonly uint64_t seq
    cdef readonly uint64_t time
    cdef readonly bytes payload
    cdef readonly uint64_t digest
    cdef object _head
    cdef list _more  # further facts of the commit, (key, fact); they are not kept once it is applied
    cdef list _waiters
    cdef uint64_t number, floor
    cdef uint64_t reply_at, reply_bytes
    cdef uint32_t text_at, request_id
    cdef uint32_t more_rows  # beside a head and one other
    cdef bint superseded  # a later commit, applied in the same step, writes its record's head
    cdef int64_t size
    cdef double began

    cdef bytes part(self, uint64_t at, uint64_t count)
    cdef uint64_t path(self, uint8_t *to)
