# cython: language_level=3, boundscheck=False, wraparound=False
"""The short way of plain writes: from a frame's bytes to a commit that waits for the journal.

A write goes this way when nothing about it needs more than a look: its record's head is at hand or soon will be
(hot_waiting.pyx), its session knows it for new, nothing in its lane waits. Every other write, and every one in doubt,
goes the ordinary way through recollectd/server/writes.py. Both ways share everything that is true about writes on their way: the sequencer's order
and facts, the sessions, the lanes, the committer's queue. So they mix in any order.

Lives on the event loop. What must be looked up once in a turn of the loop (time, room) is looked up by the first write.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t, uint8_t, uint64_t
from recollectd._native.facts cimport Entry, latest
from recollectd._native.hot_waiting cimport Flights
from recollectd._native.session cimport Session, new_outcome
from recollectd_hot_commit cimport (
    HOT_REQUEST_HEADER_BYTES, HOT_TAGS, hot_author, hot_desk, hot_floor, hot_read_write, hot_write, hot_write_path,
)

# A message on the short way begins with the head of an array of 3 to 15 fields and a tag of one byte.
cdef enum:
    FIELDS_MIN = 0x93
    FIELDS_MAX = 0x9F


# What is in it is done with before the next frame's turn.
cdef hot_write HEADER


cdef class HotKind:
    cdef list keys(self):
        return None

    cdef bint read(self, const uint8_t *frame, uint64_t frame_bytes, const hot_desk *desk):
        return False

    cdef HotWrite make(self, before, HotWrites writes, uint64_t seq, uint64_t time, hot_author *author):
        return None


@cython.final
cdef class HotWrites:
    def __cinit__(self, reads, ways, dict kinds not None, *, double slow_s):
        self._reads = reads
        self._desk = <const hot_desk *>PyCapsule_GetPointer(reads.pointer(), b"recollectd.desk")
        self.ways = ways
        self._sequencer, self._facts = ways.sequencer, ways.sequencer.facts
        self._ranges, self._changed = ways.sequencer.ranges, ways.sequencer.ranges.changed
        self._sessions, self._sessions_dirty = ways.sessions.by_id, ways.sessions.dirty
        self._underway, self._ready = ways.underway, ways.ready
        self._flights = Flights(self._facts, ways.fetch, ways.call_soon, ways.time)
        self._dirty = []
        self._kinds = [kinds.get(tag) for tag in range(HOT_TAGS)]
        self._counts = dict.fromkeys(kinds, 0)
        self._slow_s = slow_s

    @property
    def bytes_in_flight(self):
        return self._flights.bytes_in_flight

    def taken(self):
        return {tag: count for tag, count in self._counts.items() if count}

    def lane(self, connection, otherwise):
        cdef HotLane lane = HotLane.__new__(HotLane)
        lane.writes, lane.flights, lane.desk = self, self._flights, self._desk
        lane.connection = connection
        lane.otherwise = otherwise
        return lane

    cdef bint _begin_turn(self) except -1:
        """Look up what holds for this turn of the loop."""
        self._now_us = self.ways.now()
        self._began = self.ways.time()
        self._room_bytes = self.ways.room_bytes()
        self.ways.call_soon(self.end_turn)
        self.ways.wake()
        return True

    def end_turn(self):
        self._now_us = 0

    cdef Session _session(self, HotLane lane):
        """Return the session of a write that is applied. It may have been forgotten while the write was on its way."""
        session = self._sessions.get(lane.session_id)
        if session is None:
            session = self.ways.sessions.begin(lane.session_id, lane.principal.decode())
        return <Session>session

    cdef int _note_range(self, bytes key, uint64_t text_at, uint64_t seq) except -1:
        """Note that a namespace changes, for guards of ranges."""
        cdef bytes prefix = PyBytes_FromStringAndSize(PyBytes_AS_STRING(key), text_at)
        if prefix in self._changed:
            self._changed[prefix] = seq
        else:
            self._ranges.note(key, seq)
        return 0

    def flush(self):
        cdef list dirty = self._dirty
        cdef HotLane lane
        if dirty:
            self._dirty = []
            for lane in dirty:
                lane.dirty = False
                lane.connection.flush_replies()
        if self._slowest_s > 0:
            self.ways.note_slow(self._slowest_s)
            self._slowest_s = 0
        self._ended = 0


@cython.final
cdef class HotLane:
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
        if not (self.join(frame) if self.frames else self.carry_out(frame, True)):
            self.otherwise(frame)

    cdef HotKind _kind(self, bytes frame):
        """Return the kind of a frame and read it, if it is one for the short way."""
        cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(frame)
        cdef const uint8_t *message = start + HOT_REQUEST_HEADER_BYTES
        cdef Py_ssize_t frame_bytes = PyBytes_GET_SIZE(frame)
        if (frame_bytes < HOT_REQUEST_HEADER_BYTES + 2 or not FIELDS_MIN <= message[0] <= FIELDS_MAX
                or message[1] >= HOT_TAGS):
            return None
        kind = self.writes._kinds[message[1]]
        if (kind is None or not hot_read_write(&HEADER, start, frame_bytes, &self.desk.limits)
                or not (<HotKind>kind).read(start, frame_bytes, self.desk)):
            return None
        return <HotKind>kind

    cdef bint carry_out(self, bytes frame, bint may_wait) except -1:
        """Carry out a frame, or let it wait for its rows, if it is a write for the short way."""
        cdef Py_ssize_t frame_bytes = PyBytes_GET_SIZE(frame) - HOT_REQUEST_HEADER_BYTES
        cdef HotWrites writes = self.writes
        cdef HotWrite write
        cdef HotKind kind
        if self.session_id is None or len(self.waiting) or self.walks:
            return False
        kind = self._kind(frame)
        if kind is None:
            return False
        write = self._several(kind, &HEADER, frame, may_wait) if kind.many else self._one(kind, &HEADER, frame, may_wait)
        if write is None:
            return len(self.frames) > 0 and may_wait
        write.size, write.text_at = frame_bytes, kind.subject.text_at
        self._enter(write)
        writes._counts[PyBytes_AS_STRING(frame)[HOT_REQUEST_HEADER_BYTES + 1]] += 1
        return True

    cdef list subjects(self, bytes frame):
        cdef HotKind kind = self._kind(frame)
        cdef list keys
        if kind is None:
            return None
        if not kind.many:
            return [PyBytes_FromStringAndSize(<char *>kind.subject.bytes, kind.subject.key.length)]
        keys = kind.keys()
        return keys if len(set(keys)) == len(keys) else None

    cdef bint _may_begin(self, hot_write *header, int64_t size) except -1:
        """Whether a write is a new one, and may be taken now."""
        cdef HotWrites writes = self.writes
        if not self._is_new(header):
            return False
        if writes._now_us == 0:
            writes._begin_turn()
        return writes._room_bytes >= size

    cdef HotWrite _one(self, HotKind kind, hot_write *header, bytes frame, bint may_wait):
        """Make the write of one record, or let it wait."""
        cdef hot_request *subject = kind.subject
        cdef HotWrite write
        cdef Entry entry
        key = PyBytes_FromStringAndSize(<char *>subject.bytes, subject.key.length)
        if key in self.readings or not self.has_room(PyBytes_GET_SIZE(frame) - HOT_REQUEST_HEADER_BYTES):
            return None
        entry = self.writes._facts.use(key)
        if entry is None and may_wait:
            self.wait(frame, [key])
        if entry is None or not self._may_begin(header, PyBytes_GET_SIZE(frame) - HOT_REQUEST_HEADER_BYTES):
            return None
        write = self._make(kind, latest(entry), header)
        if write is not None:
            write.key, write._entry = key, entry
        return write

    cdef HotWrite _several(self, HotKind kind, hot_write *header, bytes frame, bint may_wait):
        """Make the write of several records, each there once, or let it wait."""
        cdef HotWrite write
        cdef Entry entry
        cdef list keys = kind.keys(), entries = []
        if len(set(keys)) < len(keys) or not self.has_room(PyBytes_GET_SIZE(frame) - HOT_REQUEST_HEADER_BYTES):
            return None
        for key in keys:
            if key in self.readings:
                return None
            entries.append(self.writes._facts.use(<bytes>key))
        if None in entries and may_wait:
            self.wait(frame, keys)
        if None in entries or not self._may_begin(header, PyBytes_GET_SIZE(frame) - HOT_REQUEST_HEADER_BYTES):
            return None
        write = self._make(kind, [latest(<Entry>each) for each in entries], header)
        if write is not None:
            write.key, write._entry = keys[0], entries[0]
            write._keys, write._entries = keys, entries
        return write

    cdef bint _is_new(self, hot_write *write) except -1:
        """Whether the session says for certain that this number was never sent before."""
        number = write.number
        session = self.writes._sessions.get(self.session_id)
        if (session is None or write.number < (<Session>session).floor
                or number in (<Session>session).outcomes):
            return False
        underway = self.writes._underway.get(self.session_id)
        return underway is None or (number not in <dict>underway.tickets
                                    and write.number >= <uint64_t>underway.floor)

    cdef HotWrite _make(self, HotKind kind, before, hot_write *header):
        cdef HotWrites writes = self.writes
        cdef uint64_t seq = <uint64_t>writes._sequencer.last_seq + 1
        cdef uint64_t time = max(writes._now_us, <uint64_t>writes._sequencer.last_time)
        cdef hot_author author
        cdef HotWrite write
        author.principal = <const uint8_t *>PyBytes_AS_STRING(self.principal)
        author.principal_bytes = <unsigned int>PyBytes_GET_SIZE(self.principal)
        author.session_id = <const uint8_t *>PyBytes_AS_STRING(self.session_id)
        author.session_id_bytes = <unsigned int>PyBytes_GET_SIZE(self.session_id)
        author.number, author.floor, author.digest = header.number, hot_floor(header), header.digest
        write = kind.make(before, writes, seq, time, &author)
        if write is not None:
            write._lane, write.seq, write.time, write.began = self, seq, time, writes._began
            write.number, write.floor, write.digest = author.number, author.floor, author.digest
            write.request_id = header.request_id
        return write

    cdef int _enter(self, HotWrite write) except -1:
        """From here on the write is on its way."""
        cdef HotWrites writes = self.writes
        cdef int64_t payload_bytes = PyBytes_GET_SIZE(write.payload)
        seq = write.seq
        number = write.number
        writes._sequencer.last_seq = seq
        writes._sequencer.last_time = write.time
        writes._facts.hits += 1
        if write._keys is None:
            writes._facts.expect(write._entry, write._head, write.seq)
            self.by_key[write.key] = write
            self.intake.note_write(write.key, 1)
        else:
            for entry, fact, key in zip(write._entries, write._heads, write._keys):
                writes._facts.expect(<Entry>entry, fact, write.seq)
                self.by_key[key] = write
                self.intake.note_write(<bytes>key, 1)
        write._head = write._heads = None
        if write._more is not None:
            for key, fact in write._more:
                writes._facts.pending(key, fact, write.seq)
        writes._note_range(write.key, write.text_at, write.seq)
        underway = writes._underway.get(self.session_id)
        if underway is None:
            underway = writes._underway[self.session_id] = writes.ways.new_underway()
        (<dict>underway.tickets)[number] = write
        if <uint64_t>underway.floor < write.floor:
            underway.floor = write.floor
        self.tickets[write] = None
        self.lane.flying = write
        self.weigh(write.size, 1)
        writes.taken_bytes += payload_bytes
        writes._room_bytes -= payload_bytes
        writes._ready.append(write)
        return 0

    cdef int _leave(self, HotWrite write) except -1:
        """The write has ended, as Lane.leave does it."""
        cdef HotWrites writes = self.writes
        number = write.number
        self.weigh(write.size, -1)
        underway = writes._underway[self.session_id]
        del (<dict>underway.tickets)[number]
        if not underway.tickets:
            del writes._underway[self.session_id]
        del self.tickets[write]
        for key in write._keys or (write.key,):
            self.intake.note_write(<bytes>key, -1)
            if self.by_key.get(key) is write:
                del self.by_key[key]
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


cdef class HotWrite:
    """A write on its way; what the committer needs of it, and what others on the lane see of a ticket."""

    cdef bytes part(self, uint64_t at, uint64_t count):
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.payload) + at, count)

    cdef uint64_t path(self, uint8_t *to):
        """Write the path of the rows below its record."""
        return hot_write_path(to, <const uint8_t *>PyBytes_AS_STRING(self.key), PyBytes_GET_SIZE(self.key),
                              self.text_at)

    # -- the way to its end ---------------------------------------------------------------------------------------------

    def written(self):
        """Nothing is told before it is durable: an asynchronous write goes the ordinary way."""

    def applied(self):
        cdef HotWrites writes = self._lane.writes
        if self._entries is None:
            writes._facts.settle(self._entry, self.seq)
        else:
            for entry in self._entries:
                writes._facts.settle(<Entry>entry, self.seq)
        if self._more is not None:
            writes._facts.applied([key for key, _ in self._more], self.seq)
        self._outcome = new_outcome(self.digest, self.seq, self.part(self.reply_at, self.reply_bytes))
        writes._session(self._lane).add(self.number, self.floor, self._outcome, self.time)
        writes._sessions_dirty.add(self._lane.session_id)

    def finish(self):
        cdef HotWrites writes = self._lane.writes
        if writes._ended == 0:
            writes._ended = writes.ways.time()
        if writes._ended - self.began > writes._slow_s:
            writes._slowest_s = max(writes._slowest_s, writes._ended - self.began)
        self._lane.intake.queue(self.request_id, self.seq, self._outcome.reply)
        self._lane._leave(self)

    def refuse(self, error):
        self._refusal = error
        self._lane.connection.send_error(self.request_id, error)
        self._lane._leave(self)

    # -- as others see it -----------------------------------------------------------------------------------------------

    @property
    def kind(self):
        return PyBytes_AS_STRING(self.key)[0]

    @property
    def outcome(self):
        if self._outcome is not None:
            return self._outcome.seq, self._outcome.reply
        return None if self._refusal is None else (0, self._refusal)

    @property
    def lane(self):
        return self._lane.lane

    @property
    def commit(self):
        return self._lane.writes.ways.decode(self.payload)

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
