# cython: language_level=3, boundscheck=False, wraparound=False
"""The short way of plain puts of state records: from a frame's bytes to a commit that waits for the journal.

A put goes this way when nothing about it needs more than a look: its record's head is at hand, its session knows it for
new, nothing in its lane waits. Every other write, and every put in doubt, goes the ordinary way through
recollectd/server/writes.py. Both ways share everything that is true about writes on their way: the sequencer's order
and facts, the sessions, the lanes, the committer's queue. So they mix in any order.

Lives on the event loop. What must be looked up once in a turn of the loop (time, room) is looked up by the first put.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from recollectd_hot_put cimport (
    CACHE_KEY_BYTES_MAX, HOT_ANY_VERSION, HOT_DELETES_MAX, HOT_FAMILY_HEADS, HOT_FAMILY_VALUES,
    HOT_REQUEST_HEADER_BYTES, HOT_ROW_DELETE, HOT_ROW_DELETE_RANGE, HOT_ROW_PUT, HOT_STATE_PUT,
    HOT_VERSION_ROW_BYTES, hot_author, hot_commit, hot_commit_bytes_max, hot_desk, hot_head, hot_put, hot_read_put,
    hot_request_id, hot_write_commit, hot_write_path, hot_write_row_number, hot_write_version,
)

# A frame's message begins with the head of an array of 4 to 15 fields and the tag.
cdef enum:
    FIELDS_MIN = 0x94
    FIELDS_MAX = 0x9F

# What is in them is done with before the next frame's turn.
cdef hot_put PUT
cdef enum:
    SCRATCH_BYTES = 131072
cdef uint8_t SCRATCH[SCRATCH_BYTES]


@cython.final
cdef class HotWrites:
    cdef object _reads  # it owns what _desk points at
    cdef const hot_desk *_desk
    cdef object _ways, _facts, _sequencer, _ranges, _policies
    cdef dict _overlay
    cdef object _known
    cdef dict _sessions, _underway
    cdef object _ready, _new_head, _remember
    cdef list _dirty
    cdef uint64_t _now_us  # 0: not looked up in this turn
    cdef double _began
    cdef int64_t _room_bytes
    cdef readonly int64_t bytes_in_flight, unapplied_bytes
    cdef readonly uint64_t puts
    cdef double _slow_s, _slowest_s, _ended

    def __cinit__(self, reads, ways, *, double slow_s):
        self._reads = reads
        self._desk = <const hot_desk *>PyCapsule_GetPointer(reads.pointer(), b"recollectd.desk")
        self._ways = ways
        self._sequencer, self._facts = ways.sequencer, ways.sequencer.facts
        self._ranges, self._policies = ways.sequencer.ranges, ways.sequencer.policies
        self._overlay, self._known = self._facts.overlay, self._facts.known
        self._sessions, self._remember = ways.sessions.by_id, ways.sessions.remember
        self._underway, self._ready, self._new_head = ways.underway, ways.ready, ways.new_head
        self._dirty = []
        self._slow_s = slow_s

    def lane(self, connection, otherwise):
        cdef HotLane lane = HotLane.__new__(HotLane)
        lane.writes = self
        lane.connection = connection
        lane.otherwise = otherwise
        return lane

    cdef bint _begin_turn(self) except -1:
        """Look up what holds for this turn of the loop."""
        self._now_us = self._ways.now()
        self._began = self._ways.time()
        self._room_bytes = self._ways.room_bytes()
        self._ways.call_soon(self.end_turn)
        self._ways.wake()
        return True

    def end_turn(self):
        self._now_us = 0

    cdef object _look_up(self, bytes key):
        """Return the head at hand as a tuple of one, (None,) for a record known to be absent; None if it is not."""
        held = self._overlay.get(key)
        if held is not None:
            return (<tuple>held)[1:]
        if key in self._known:
            self._known.move_to_end(key)
            return (self._known[key],)
        return None

    def flush(self):
        """Send the replies that `finish` has queued; call after the last of some."""
        cdef list dirty = self._dirty
        cdef HotLane lane
        if dirty:
            self._dirty = []
            for lane in dirty:
                lane.dirty = False
                lane.connection.flush_replies()
        if self._slowest_s > 0:
            self._ways.note_slow(self._slowest_s)
            self._slowest_s = 0
        self._ended = 0


@cython.final
cdef class HotLane:
    cdef HotWrites writes
    cdef object connection, otherwise, intake, lane, waiting
    cdef dict tickets, by_key, readings, walks
    cdef bytes session_id, principal
    cdef bint dirty
    cdef int64_t requests_max, bytes_max
    cdef readonly int64_t requests_in_flight, bytes_in_flight

    def welcome(self, lane, intake, bytes session_id not None, str principal not None, int64_t requests_max,
                int64_t bytes_max):
        self.requests_max = requests_max
        self.bytes_max = bytes_max
        self.lane = lane
        self.waiting = lane.waiting
        self.tickets = lane.tickets
        self.by_key = lane.by_key
        self.readings = lane.readings
        self.walks = lane.walks
        self.intake = intake
        self.principal = principal.encode()
        self.session_id = session_id

    def take(self, bytes frame not None):
        if not self._put(frame):
            self.otherwise(frame)

    cdef bint _put(self, bytes frame) except -1:
        cdef const uint8_t *bytes_at = <const uint8_t *>PyBytes_AS_STRING(frame)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(frame)
        cdef HotWrites writes = self.writes
        cdef const uint8_t *message = bytes_at + HOT_REQUEST_HEADER_BYTES
        if (size < HOT_REQUEST_HEADER_BYTES + 2 or not FIELDS_MIN <= message[0] <= FIELDS_MAX
                or message[1] != HOT_STATE_PUT or self.session_id is None or len(self.waiting) or self.walks):
            return False
        if not hot_read_put(&PUT, bytes_at, size, writes._desk.cache, &writes._desk.limits):
            return False
        key = PyBytes_FromStringAndSize(<char *>PUT.request.bytes, PUT.request.key.length)
        if key in self.readings:
            return False
        size -= HOT_REQUEST_HEADER_BYTES
        if not self._has_room(size) or (writes._now_us == 0 and not writes._begin_turn()):
            return False
        if writes._room_bytes < size:
            return False
        known = writes._look_up(key)
        if known is None or not self._is_new():
            return False
        return self._sequence(key, (<tuple>known)[0], hot_request_id(bytes_at), size)

    cdef bint _has_room(self, int64_t size) except -1:
        cdef const hot_desk *desk = self.writes._desk
        return (self.requests_in_flight + <int64_t>self.intake.requests_in_flight
                < self.requests_max
                and self.bytes_in_flight + <int64_t>self.intake.bytes_in_flight + size
                <= self.bytes_max
                and desk.bytes_in_flight + self.writes.bytes_in_flight + size + desk.request_bytes
                <= desk.bytes_in_flight_max)

    cdef bint _is_new(self) except -1:
        """Whether the session says for certain that this number was never sent before."""
        number = PUT.number
        session = self.writes._sessions.get(self.session_id)
        if session is None or PUT.number < <uint64_t>session.floor or number in <dict>session.outcomes:
            return False
        underway = self.writes._underway.get(self.session_id)
        return underway is None or (number not in <dict>underway.tickets
                                    and PUT.number >= <uint64_t>underway.floor)

    cdef bint _sequence(self, bytes key, before, uint32_t request_id, int64_t size) except -1:
        cdef HotWrites writes = self.writes
        cdef HotWrite write
        cdef hot_head head
        cdef uint64_t previous_first = 0, version = 0, count
        cdef uint64_t seq = <uint64_t>writes._sequencer.last_seq + 1
        cdef uint64_t time = max(writes._now_us, <uint64_t>writes._sequencer.last_time)
        head.revision, head.updated_at, head.created_at, head.largest = seq, time, time, PUT.value_bytes
        if before is None:
            head.version = head.first_version = 1
        else:
            if before.expires_at:
                return False
            version, previous_first = before.version, before.first_version
            count = writes._policies.of(key).count
            head.version = version + 1
            head.first_version = previous_first if not count or version + 2 < previous_first + count \
                else version + 2 - count
            head.largest = max(head.largest, <uint64_t>before.largest)
            if before.deleted:
                version = 0
            else:
                head.created_at = before.created_at
        if PUT.if_version != HOT_ANY_VERSION and PUT.if_version != version:
            return False
        write = HotWrite.__new__(HotWrite)
        write.lane, write.key, write.head, write.request_id, write.size = self, key, head, request_id, size
        write.seq, write.time, write.began = seq, time, writes._began
        write.text_at = PUT.request.text_at
        write.previous_first = previous_first
        if not write.encode():
            return False
        self._enter(write)
        return True

    cdef int _enter(self, HotWrite write) except -1:
        """From here on the put is on its way."""
        cdef HotWrites writes = self.writes
        cdef hot_head *head = &write.head
        fact = writes._new_head(head.version, head.first_version, head.revision, head.created_at, head.updated_at,
                                0, 0, False, False, head.largest)
        seq = write.seq
        number = write.number
        writes._sequencer.last_seq = seq
        writes._sequencer.last_time = write.time
        writes._overlay[write.key] = (seq, fact)
        writes._ranges.note(write.key, seq)
        underway = writes._underway.get(self.session_id)
        if underway is None:
            underway = writes._underway[self.session_id] = writes._ways.new_underway()
        (<dict>underway.tickets)[number] = write
        if <uint64_t>underway.floor < write.floor:
            underway.floor = write.floor
        self.tickets[write] = None
        self.by_key[write.key] = write
        self.lane.flying = write
        self.intake.mark((write.key,))
        self.requests_in_flight += 1
        self.bytes_in_flight += write.size
        writes.bytes_in_flight += write.size + writes._desk.request_bytes
        writes.unapplied_bytes += PyBytes_GET_SIZE(write.payload)
        writes._room_bytes -= PyBytes_GET_SIZE(write.payload)
        writes.puts += 1
        writes._ready.append(write)
        return 0

    cdef int _leave(self, HotWrite write) except -1:
        """The put has ended, as Lane.leave does it."""
        cdef HotWrites writes = self.writes
        number = write.number
        self.requests_in_flight -= 1
        self.bytes_in_flight -= write.size
        writes.bytes_in_flight -= write.size + writes._desk.request_bytes
        underway = writes._underway[self.session_id]
        del (<dict>underway.tickets)[number]
        if not underway.tickets:
            del writes._underway[self.session_id]
        del self.tickets[write]
        self.intake.unmark((write.key,))
        if self.by_key.get(write.key) is write:
            del self.by_key[write.key]
        if self.lane.flying is write:
            self.lane.flying = None
        if not self.dirty:
            self.dirty = True
            writes._dirty.append(self)
        waiters, write._waiters = write._waiters, None
        if waiters is not None:
            for resume in waiters:
                resume()
        return 0


@cython.final
@cython.no_gc
@cython.freelist(1024)
cdef class HotWrite:
    """A put on its way; what the committer needs of it, and what others on the lane see of a ticket."""
    cdef HotLane lane
    cdef readonly bytes key
    cdef readonly uint64_t seq
    cdef readonly uint64_t time
    cdef readonly bytes payload
    cdef list _waiters
    cdef readonly object outcome
    cdef hot_head head
    cdef readonly uint64_t digest
    cdef uint64_t number, floor
    cdef hot_commit at  # where the parts of the payload lie
    cdef uint64_t value_bytes, previous_first
    cdef uint32_t text_at, request_id
    cdef int64_t size
    cdef double began

    cdef bint encode(self) except -1:
        """Make the journal entry; False when it is too large for this way."""
        cdef hot_author author
        cdef hot_commit commit
        cdef HotLane lane = self.lane
        self.number, self.digest = PUT.number, PUT.digest
        self.floor = PUT.number - PUT.span if PUT.number > PUT.span else 1
        author.principal = <const uint8_t *>PyBytes_AS_STRING(lane.principal)
        author.principal_bytes = <uint32_t>PyBytes_GET_SIZE(lane.principal)
        author.session_id = <const uint8_t *>PyBytes_AS_STRING(lane.session_id)
        author.session_id_bytes = <uint32_t>PyBytes_GET_SIZE(lane.session_id)
        author.number, author.floor, author.digest = self.number, self.floor, self.digest
        if hot_commit_bytes_max(&PUT, &author) > SCRATCH_BYTES:
            return False
        commit = hot_write_commit(SCRATCH, self.time, &PUT, &author, &self.head, self.previous_first)
        self.payload = PyBytes_FromStringAndSize(<char *>SCRATCH, commit.bytes)
        self.at, self.value_bytes = commit, PUT.value_bytes
        return True

    cdef bytes part(self, uint64_t at, uint64_t count):
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.payload) + at, count)

    # -- the way to its end ---------------------------------------------------------------------------------------------

    def add_rows(self, list rows not None):
        """Add the rows of state.events.apply_written."""
        cdef uint8_t path[2 * CACHE_KEY_BYTES_MAX + 16]
        cdef uint64_t path_bytes, version
        cdef bytes row = PyBytes_FromStringAndSize(NULL, HOT_VERSION_ROW_BYTES + self.value_bytes)
        path_bytes = hot_write_path(path, <const uint8_t *>PyBytes_AS_STRING(self.key), PyBytes_GET_SIZE(self.key),
                                    self.text_at)
        hot_write_version(<uint8_t *>PyBytes_AS_STRING(row), &self.head,
                          <const uint8_t *>PyBytes_AS_STRING(self.payload) + self.at.value_at, self.value_bytes)
        rows.append((HOT_ROW_PUT, HOT_FAMILY_HEADS, self.key, self.part(self.at.head_at, self.at.head_bytes)))
        rows.append((HOT_ROW_PUT, HOT_FAMILY_VALUES, row_key(path, path_bytes, self.head.version), row))
        if self.previous_first == 0 or self.previous_first >= self.head.first_version:
            return
        if self.head.first_version - self.previous_first > <uint64_t>HOT_DELETES_MAX:
            rows.append((HOT_ROW_DELETE_RANGE, HOT_FAMILY_VALUES, row_key(path, path_bytes, self.previous_first),
                         row_key(path, path_bytes, self.head.first_version)))
            return
        for version in range(self.previous_first, self.head.first_version):
            rows.append((HOT_ROW_DELETE, HOT_FAMILY_VALUES, row_key(path, path_bytes, version), b""))

    def written(self):
        """Nothing is told before it is durable: an asynchronous put goes the ordinary way."""

    def applied(self):
        """Bring along what is known of its record and its session."""
        cdef HotWrites writes = self.lane.writes
        held = writes._overlay.get(self.key)
        seq = self.seq
        if held is not None and (<tuple>held)[0] == seq:
            del writes._overlay[self.key]
            writes._facts.keep(self.key, (<tuple>held)[1])
        reply = self.part(self.at.reply_at, self.at.reply_bytes)
        self.outcome = (seq, reply)
        writes._remember(self.lane.session_id, self.number, self.floor, self.digest, seq, reply, self.time)
        writes.unapplied_bytes -= PyBytes_GET_SIZE(self.payload)

    def follow(self, cache):
        """Tell the value cache."""
        cache.put(self.seq, self.key, self.part(self.at.value_at, self.value_bytes), self.head.version,
                  self.head.created_at, self.head.updated_at, 0, self.head.revision, False)

    def finish(self):
        """Answer."""
        cdef HotWrites writes = self.lane.writes
        if writes._ended == 0:
            writes._ended = writes._ways.time()
        if writes._ended - self.began > writes._slow_s:
            writes._slowest_s = max(writes._slowest_s, writes._ended - self.began)
        self.lane.intake.reply(self.request_id, self.seq, (<tuple>self.outcome)[1])
        self.lane._leave(self)

    def refuse(self, error):
        """It did not reach the journal, and is taken back."""
        self.lane.writes.unapplied_bytes -= PyBytes_GET_SIZE(self.payload)
        self.outcome = (0, error)
        self.lane.connection.send_error(self.request_id, error)
        self.lane._leave(self)

    # -- as others see it -----------------------------------------------------------------------------------------------

    @property
    def commit(self):
        return self.lane.writes._ways.decode(self.payload)

    @property
    def sequenced(self):
        return self

    @property
    def asynchronous(self):
        return False

    @property
    def waiters(self):
        if self._waiters is None:
            self._waiters = []
        return self._waiters


cdef bytes row_key(uint8_t *path, uint64_t path_bytes, uint64_t number):
    hot_write_row_number(path + path_bytes, number)
    return PyBytes_FromStringAndSize(<char *>path, path_bytes + 8)
