# cython: language_level=3, boundscheck=False, wraparound=False
"""Plain puts of state records, one or many, on the short way (hot_writes.pyx): those without a time to live."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from recollectd._native.facts cimport Maker
from recollectd._native.hot_steps cimport row_key
from recollectd._native.hot_writes cimport HotKind, HotWrite, HotWrites
from recollectd._native.value_cache cimport ValueCache, cache_head
from recollectd_hot_commit cimport (
    CACHE_KEY_BYTES_MAX, HOT_AROUND_BYTES_MAX, HOT_CONTENT_BYTES_MAX, HOT_FAMILY_HEADS, HOT_FAMILY_VALUES,
    HOT_ROW_DELETE, HOT_ROW_DELETE_RANGE, HOT_ROW_PUT, c_cache, hot_author, hot_desk, hot_limits, hot_request,
    hot_write_path,
)

cdef extern from "recollectd_hot_put.h" nogil:
    ctypedef struct msgpack_reader:
        pass

    enum:
        C_STATE_PUT "HOT_STATE_PUT"
        C_STATE_PUT_MANY "HOT_STATE_PUT_MANY"
        HOT_ANY_VERSION
        HOT_DELETES_MAX
        HOT_VERSION_ROW_BYTES

    ctypedef struct hot_put:
        hot_request request
        const uint8_t *value
        uint64_t value_bytes, if_version

    ctypedef struct hot_put_item:
        const uint8_t *key
        const uint8_t *value
        uint64_t key_bytes, value_bytes

    ctypedef struct hot_put_many:
        hot_request request
        msgpack_reader items
        uint64_t count

    ctypedef struct hot_written:
        uint64_t head_at, head_bytes, value_at, value_bytes

    ctypedef struct hot_head:
        uint64_t version, first_version, revision, created_at, updated_at, largest

    ctypedef struct hot_put_commit:
        uint64_t bytes, reply_at, reply_bytes, head_at, head_bytes, value_at

    bint hot_read_put(hot_put *put, const uint8_t *frame, uint64_t frame_bytes, const c_cache *cache,
                      const hot_limits *limits)
    hot_put_commit hot_write_put(uint8_t *to, uint64_t time, const hot_put *put, const hot_author *author,
                                 const hot_head *head, uint64_t previous_first_version)
    bint hot_next_item(msgpack_reader *reader, hot_put_item *item)
    bint hot_read_put_many(hot_put_many *many, const uint8_t *frame, uint64_t frame_bytes, const hot_limits *limits)
    uint8_t *hot_begin_put_many(uint8_t *start, uint64_t time, const hot_author *author, const hot_head *heads,
                                uint64_t count, uint8_t *reply, hot_put_commit *commit)
    uint8_t *hot_write_written(const uint8_t *start, uint8_t *to, const uint8_t *key, uint64_t key_bytes,
                               const hot_head *head, const uint8_t *value, uint64_t value_bytes,
                               uint64_t previous_first_version, hot_written *written)
    void hot_write_version(uint8_t *to, const hot_head *head, const uint8_t *value, uint64_t value_bytes)

STATE_PUT = C_STATE_PUT
STATE_PUT_MANY = C_STATE_PUT_MANY

# What is in them is done with before the next frame's turn.
cdef hot_put REQUEST
cdef hot_put_many MANY
cdef uint8_t SCRATCH[HOT_CONTENT_BYTES_MAX + HOT_AROUND_BYTES_MAX]
cdef uint8_t REPLY[HOT_CONTENT_BYTES_MAX + HOT_AROUND_BYTES_MAX]


# Heads without a time to live, which are on the short way again and again.
@cython.final
@cython.no_gc
cdef class HotHead(Maker):
    cdef hot_head head
    cdef object _new_head

    cdef object make(self):
        cdef hot_head *head = &self.head
        return self._new_head(head.version, head.first_version, head.revision, head.created_at, head.updated_at, 0, 0,
                              False, False, head.largest)


# What a record's head was, as far as the next put needs it. version_seen: as guards see it, 0 for no record.
ctypedef struct hot_before:
    uint64_t version_seen, first_version


cdef class PlainPuts(HotKind):
    """What puts of one and of many have in common."""
    cdef object _new_head, _policies

    def __cinit__(self, new_head, policies):
        self._new_head = new_head
        self._policies = policies

    cdef bint _next(self, before, bytes key, uint64_t seq, uint64_t time, uint64_t value_bytes, hot_head *head,
                    hot_before *found) except -1:
        """Say what a head will be; key: None while all records keep the same. False: the ordinary way."""
        cdef hot_head last
        cdef bint deleted
        cdef uint64_t count
        head.version = head.first_version = 1
        head.revision, head.updated_at, head.created_at, head.largest = seq, time, time, value_bytes
        found.version_seen = found.first_version = 0
        if before is None:
            return True
        if isinstance(before, HotHead):
            last, deleted = (<HotHead>before).head, False
        elif before.expires_at:
            return False
        else:
            last.version, last.first_version = before.version, before.first_version
            last.created_at, last.largest, deleted = before.created_at, before.largest, before.deleted
        count = (self._policies.everywhere if key is None else self._policies.of(key)).count
        head.version = last.version + 1
        # As state.writes.first_kept does it.
        head.first_version = last.first_version if not count or last.version + 2 < last.first_version + count \
            else last.version + 2 - count
        head.largest = max(head.largest, last.largest)
        found.first_version = last.first_version
        if not deleted:
            found.version_seen = last.version
            head.created_at = last.created_at
        return True

    def compact(self, fact):
        cdef hot_head head
        if (type(fact) is not self._new_head or fact.expires_at or fact.ttl_us or fact.sliding or fact.deleted):
            return fact
        head.version, head.first_version, head.revision = fact.version, fact.first_version, fact.revision
        head.created_at, head.updated_at, head.largest = fact.created_at, fact.updated_at, fact.largest
        return self._fact(&head)

    cdef HotHead _fact(self, hot_head *head):
        cdef HotHead fact = HotHead.__new__(HotHead)
        fact.head, fact._new_head = head[0], self._new_head
        return fact


@cython.final
cdef class HotPuts(PlainPuts):
    def __cinit__(self, new_head, policies):
        self.subject = &REQUEST.request

    cdef bint read(self, const uint8_t *frame, uint64_t frame_bytes, const hot_desk *desk):
        return hot_read_put(&REQUEST, frame, frame_bytes, desk.cache, &desk.limits)

    cdef HotWrite make(self, before, HotWrites writes, uint64_t seq, uint64_t time, hot_author *author):
        cdef HotPut put
        cdef hot_head head
        cdef hot_before found
        cdef bytes key = None
        if self._policies.everywhere is None:
            key = PyBytes_FromStringAndSize(<char *>REQUEST.request.bytes, REQUEST.request.key.length)
        if (not self._next(before, key, seq, time, REQUEST.value_bytes, &head, &found)
                or REQUEST.if_version != HOT_ANY_VERSION and REQUEST.if_version != found.version_seen):
            return None
        put = HotPut.__new__(HotPut)
        put._at = hot_write_put(SCRATCH, time, &REQUEST, author, &head, found.first_version)
        put.payload = PyBytes_FromStringAndSize(<char *>SCRATCH, put._at.bytes)
        put.reply_at, put.reply_bytes = put._at.reply_at, put._at.reply_bytes
        put._c_head, put._previous_first = head, found.first_version
        put._written = hot_written(put._at.head_at, put._at.head_bytes, put._at.value_at, REQUEST.value_bytes)
        put._head = self._fact(&head)
        return put


@cython.final
cdef class HotPutsOfMany(PlainPuts):
    cdef list _named  # the keys of the request that was read

    def __cinit__(self, new_head, policies):
        self.subject = &MANY.request
        self.many = True

    cdef bint read(self, const uint8_t *frame, uint64_t frame_bytes, const hot_desk *desk):
        return hot_read_put_many(&MANY, frame, frame_bytes, &desk.limits)

    cdef list keys(self):
        cdef hot_put_item item
        cdef msgpack_reader reader = MANY.items
        cdef uint8_t *end = MANY.request.bytes + MANY.request.text_at
        self._named = []
        for _ in range(MANY.count):
            hot_next_item(&reader, &item)
            memcpy(end, item.key, item.key_bytes)
            self._named.append(PyBytes_FromStringAndSize(<char *>MANY.request.bytes,
                                                         MANY.request.text_at + item.key_bytes))
        return self._named

    cdef HotWrite make(self, before, HotWrites writes, uint64_t seq, uint64_t time, hot_author *author):
        cdef HotPutOfMany put = HotPutOfMany.__new__(HotPutOfMany)
        cdef hot_put_commit at
        cdef hot_put_item item
        cdef hot_before found
        cdef msgpack_reader reader = MANY.items
        cdef uint8_t *to
        cdef uint64_t index
        cdef bint same = self._policies.everywhere is not None
        cdef bytes key
        put.allocate(MANY.count)
        for index in range(MANY.count):
            hot_next_item(&reader, &item)
            key = None if same else self._named[index]
            if not self._next((<list>before)[index], key, seq, time, item.value_bytes, &put._c_heads[index], &found):
                return None
            put._previous_firsts[index] = found.first_version
        reader = MANY.items
        to = hot_begin_put_many(SCRATCH, time, author, put._c_heads, MANY.count, REPLY, &at)
        for index in range(MANY.count):
            hot_next_item(&reader, &item)
            key = self._named[index]
            to = hot_write_written(SCRATCH, to, <const uint8_t *>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key),
                                   &put._c_heads[index], item.value, item.value_bytes, put._previous_firsts[index],
                                   &put._writtens[index])
        put.payload = PyBytes_FromStringAndSize(<char *>SCRATCH, to - SCRATCH)
        put.reply_at, put.reply_bytes = at.reply_at, at.reply_bytes
        put._heads = [self._fact(&put._c_heads[index]) for index in range(MANY.count)]
        return put


cdef int add_put_rows(list rows, HotWrite write, bytes key, hot_head *head, hot_written *written,
                      uint64_t previous_first) except -1:
    """Add the rows of state.events.apply_written."""
    cdef uint8_t path[2 * CACHE_KEY_BYTES_MAX + 16]
    cdef uint64_t path_bytes = hot_write_path(path, <const uint8_t *>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key),
                                              write.text_at), version
    cdef bytes row = PyBytes_FromStringAndSize(NULL, HOT_VERSION_ROW_BYTES + written.value_bytes)
    hot_write_version(<uint8_t *>PyBytes_AS_STRING(row), head,
                      <const uint8_t *>PyBytes_AS_STRING(write.payload) + written.value_at, written.value_bytes)
    if not write.superseded:
        rows.append((HOT_ROW_PUT, HOT_FAMILY_HEADS, key, write.part(written.head_at, written.head_bytes)))
    rows.append((HOT_ROW_PUT, HOT_FAMILY_VALUES, row_key(path, path_bytes, head.version), row))
    if previous_first == 0 or previous_first >= head.first_version:
        return 0
    if head.first_version - previous_first > HOT_DELETES_MAX:
        rows.append((HOT_ROW_DELETE_RANGE, HOT_FAMILY_VALUES, row_key(path, path_bytes, previous_first),
                     row_key(path, path_bytes, head.first_version)))
        return 0
    for version in range(previous_first, head.first_version):
        rows.append((HOT_ROW_DELETE, HOT_FAMILY_VALUES, row_key(path, path_bytes, version), b""))
    return 0


cdef int follow_put(ValueCache cache, HotWrite write, bytes key, hot_head *head, hot_written *written) except -1:
    """Tell the value cache what state.caching.follow_written tells it."""
    return cache.put_bytes(write.seq, key, <const uint8_t *>PyBytes_AS_STRING(write.payload) + written.value_at,
                           written.value_bytes,
                           cache_head(head.version, head.created_at, head.updated_at, 0, head.revision, False))


@cython.final
cdef class HotPut(HotWrite):
    cdef hot_head _c_head
    cdef hot_put_commit _at
    cdef hot_written _written
    cdef uint64_t _previous_first

    def add_rows(self, list rows not None):
        add_put_rows(rows, self, self.key, &self._c_head, &self._written, self._previous_first)

    def follow(self, ValueCache cache not None):
        follow_put(cache, self, self.key, &self._c_head, &self._written)


@cython.final
cdef class HotPutOfMany(HotWrite):
    # One of each for every record.
    cdef hot_head *_c_heads
    cdef hot_written *_writtens
    cdef uint64_t *_previous_firsts

    cdef int allocate(self, uint64_t count) except -1:
        self._c_heads = <hot_head *>calloc(count, sizeof(hot_head))
        self._writtens = <hot_written *>calloc(count, sizeof(hot_written))
        self._previous_firsts = <uint64_t *>calloc(count, sizeof(uint64_t))
        if self._c_heads is NULL or self._writtens is NULL or self._previous_firsts is NULL:
            raise MemoryError
        return 0

    def __dealloc__(self):
        free(self._c_heads)
        free(self._writtens)
        free(self._previous_firsts)

    def add_rows(self, list rows not None):
        for index, key in enumerate(self._keys):
            add_put_rows(rows, self, <bytes>key, &self._c_heads[<int>index], &self._writtens[<int>index],
                         self._previous_firsts[<int>index])

    def follow(self, ValueCache cache not None):
        for index, key in enumerate(self._keys):
            follow_put(cache, self, <bytes>key, &self._c_heads[<int>index], &self._writtens[<int>index])
