# cython: language_level=3, boundscheck=False
"""The journal's hot path: packing batches, and the thread that makes them durable.

The thread itself is C (recollectd_journal_thread.h says who owns what); this module is its Python face. A `Packed`
owns its memory until `Writer.append` or `Writer.seal` hands it to the thread.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EAGAIN
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

import os

cdef extern from "recollectd_journal_writer.h" nogil:
    enum:
        JOURNAL_FORMAT
        JOURNAL_BATCH_SEALING
        JOURNAL_ENTRY_HEAD_BYTES
        JOURNAL_ENTRY_ZSTD
        JOURNAL_NAME_BYTES
        JOURNAL_SYNC_BUCKETS

    size_t JOURNAL_SEGMENT_HEADER_BYTES
    size_t JOURNAL_BATCH_HEADER_BYTES
    const char *JOURNAL_BATCH_MAGIC
    size_t journal_align(size_t bytes)

    ctypedef struct journal_segment_header:
        uint64_t secret

    ctypedef struct journal_batch_header:
        char magic[4]
        uint16_t format
        uint16_t flags
        uint32_t payload_bytes
        uint32_t count
        uint64_t epoch
        uint64_t first_seq
        uint64_t time_us

    ctypedef enum journal_job_kind:
        JOURNAL_APPEND
        JOURNAL_SEAL
        JOURNAL_ROTATE

    ctypedef enum journal_step:
        JOURNAL_STEP_NONE
        JOURNAL_STEP_PACK

    ctypedef struct journal_next_segment:
        int fd
        journal_segment_header header
        char spare_name[64]
        char name[64]

    ctypedef struct journal_job:
        journal_job_kind kind
        uint8_t *batch
        size_t batch_bytes
        uint64_t offset
        uint64_t last_seq
        int tell_written
        journal_next_segment *next

    ctypedef struct journal_writer_statistics:
        uint64_t written_bytes
        uint64_t batches
        uint64_t syncs
        uint64_t sync_us_last
        uint64_t sync_us_total
        uint64_t sync_us_histogram[32]

    ctypedef struct journal_writer_progress:
        uint64_t written_seq
        uint64_t synced_seq
        int error
        journal_step error_step

    ctypedef struct journal_writer:
        int event_fd

    journal_writer *journal_writer_start(int fd, int directory_fd, uint64_t secret, uint64_t checksum,
                                         uint64_t synced_seq)
    int journal_writer_submit(journal_writer *writer, journal_job job, int wait)
    void journal_writer_fail(journal_writer *writer, journal_step step, int error)
    void journal_writer_drain(journal_writer *writer)
    void journal_writer_stop(journal_writer *writer)
    void journal_writer_free(journal_writer *writer)
    journal_writer_progress journal_writer_look(journal_writer *writer, int clear)
    journal_writer_statistics journal_writer_count(journal_writer *writer)

# A batch's payload length travels as 32 bits and recovery reads a batch at once; nobody should meet this bound.
BATCH_BYTES_MAX = 1 << 30

# Copies of at least this size let other threads run meanwhile.
cdef enum:
    COPY_HOLD_BYTES_MAX = 65536

# In the order of journal_step in the header.
cdef tuple STEPS = (
    "",
    "write to the segment",
    "sync of the segment",
    "write of the next segment's header",
    "sync of the next segment",
    "renaming of the next segment",
    "sync of the directory",
    "packing of a batch",
)


# -- packing -----------------------------------------------------------------------------------------------------------
# One pass measures, one copies. The entries are taken as a tuple first: a list could shrink or grow between the passes
# when a large copy lets another thread run.

cdef size_t measure(tuple entries) except 0:
    cdef size_t total = JOURNAL_BATCH_HEADER_BYTES
    for entry in entries:
        if type(entry) is not bytes:
            raise TypeError(f"a journal entry must be bytes, not {type(entry).__name__}")
        total += JOURNAL_ENTRY_HEAD_BYTES + <size_t>PyBytes_GET_SIZE(entry)
    total = journal_align(total)
    if total > <size_t>BATCH_BYTES_MAX:
        raise ValueError(f"a batch of {total} bytes; at most {BATCH_BYTES_MAX} are possible")
    return total


def packed_bytes_max(entries):
    return measure(tuple(entries))


@cython.final
@cython.auto_pickle(False)
cdef class Packed:
    cdef uint8_t *data
    cdef readonly size_t size
    cdef readonly uint32_t count
    cdef readonly uint32_t compressed
    cdef readonly size_t saved_bytes

    def __dealloc__(self):
        free(self.data)

    cdef uint8_t *put(self, uint8_t *cursor, bytes entry, uint8_t flags):
        cdef size_t length = <size_t>PyBytes_GET_SIZE(entry)
        cdef uint32_t length32 = <uint32_t>length
        cdef const char *source = PyBytes_AS_STRING(entry)
        memcpy(cursor, &length32, sizeof(length32))
        cursor[sizeof(length32)] = flags
        cursor += JOURNAL_ENTRY_HEAD_BYTES
        if length < COPY_HOLD_BYTES_MAX:
            memcpy(cursor, source, length)
        else:
            with nogil:
                memcpy(cursor, source, length)
        return cursor + length


def pack(entries, size_t compress_bytes_min, compress):
    cdef tuple payloads = tuple(entries)
    cdef Packed packed = Packed.__new__(Packed)
    cdef size_t bound = measure(payloads)
    cdef uint8_t *cursor
    cdef size_t payload_bytes
    cdef bytes entry, shorter
    cdef journal_batch_header *header
    packed.data = <uint8_t *>malloc(bound)
    if packed.data == NULL:
        raise MemoryError(f"no memory for a journal batch of {bound} bytes")
    cursor = packed.data + JOURNAL_BATCH_HEADER_BYTES
    for entry in payloads:
        if compress_bytes_min and <size_t>PyBytes_GET_SIZE(entry) >= compress_bytes_min:
            shorter = compress(entry)
            if PyBytes_GET_SIZE(shorter) < PyBytes_GET_SIZE(entry):
                packed.compressed += 1
                packed.saved_bytes += <size_t>(PyBytes_GET_SIZE(entry) - PyBytes_GET_SIZE(shorter))
                cursor = packed.put(cursor, shorter, JOURNAL_ENTRY_ZSTD)
                continue
        cursor = packed.put(cursor, entry, 0)

    payload_bytes = <size_t>(cursor - packed.data) - JOURNAL_BATCH_HEADER_BYTES
    packed.size = journal_align(JOURNAL_BATCH_HEADER_BYTES + payload_bytes)
    packed.count = <uint32_t>len(payloads)
    memset(cursor, 0, <size_t>(packed.data + packed.size - cursor))
    memset(packed.data, 0, JOURNAL_BATCH_HEADER_BYTES)
    header = <journal_batch_header *>packed.data
    memcpy(header.magic, JOURNAL_BATCH_MAGIC, sizeof(header.magic))
    header.format = JOURNAL_FORMAT
    header.payload_bytes = <uint32_t>payload_bytes
    header.count = packed.count
    return packed


# -- the writer --------------------------------------------------------------------------------------------------------

@cython.final
@cython.auto_pickle(False)
cdef class Writer:
    cdef journal_writer *writer

    def __cinit__(self, int fd, int directory_fd, *, uint64_t secret, uint64_t checksum, uint64_t synced_seq):
        self.writer = journal_writer_start(fd, directory_fd, secret, checksum, synced_seq)
        if self.writer == NULL:
            PyErr_SetFromErrno(OSError)

    def __dealloc__(self):
        # Joining with the GIL held is safe: the thread never takes it.
        if self.writer != NULL:
            journal_writer_free(self.writer)

    cdef submit(self, journal_job job):
        # Letting go of the GIL would cost more than the few instructions under the writer's mutex.
        cdef int error = journal_writer_submit(self.writer, job, False)
        if error == EAGAIN:
            with nogil:
                error = journal_writer_submit(self.writer, job, True)
        if error:
            raise OSError(error, os.strerror(error))

    def append(self, Packed batch not None, *, uint64_t offset, uint64_t epoch, uint64_t first_seq, uint64_t time_us,
               bint tell_written=True):
        cdef journal_job job
        if batch.data == NULL:
            raise ValueError("this batch was handed over before")
        memset(&job, 0, sizeof(job))
        job.kind = JOURNAL_APPEND if batch.count else JOURNAL_SEAL
        header = <journal_batch_header *>batch.data
        header.flags = 0 if batch.count else JOURNAL_BATCH_SEALING
        header.epoch = epoch
        header.first_seq = first_seq
        header.time_us = time_us
        job.batch = batch.data
        job.batch_bytes = batch.size
        job.offset = offset
        job.last_seq = first_seq + batch.count - 1
        job.tell_written = tell_written
        batch.data = NULL
        self.submit(job)

    def rotate(self, int fd, *, bytes header not None, bytes spare_name not None, bytes name not None):
        cdef journal_job job
        if <size_t>len(header) != JOURNAL_SEGMENT_HEADER_BYTES:
            raise ValueError("a segment header of the wrong size")
        if max(len(spare_name), len(name)) >= JOURNAL_NAME_BYTES:
            raise ValueError("a segment name that is too long")
        memset(&job, 0, sizeof(job))
        job.kind = JOURNAL_ROTATE
        job.next = <journal_next_segment *>malloc(sizeof(journal_next_segment))
        if job.next == NULL:
            raise MemoryError("no memory for a rotation")
        job.next.fd = fd
        memcpy(&job.next.header, PyBytes_AS_STRING(header), sizeof(journal_segment_header))
        memcpy(job.next.spare_name, PyBytes_AS_STRING(spare_name), <size_t>len(spare_name) + 1)
        memcpy(job.next.name, PyBytes_AS_STRING(name), <size_t>len(name) + 1)
        self.submit(job)

    def fail(self, int error):
        journal_writer_fail(self.writer, JOURNAL_STEP_PACK, error)

    def fileno(self):
        return self.writer.event_fd

    def progress(self):
        cdef journal_writer_progress progress = journal_writer_look(self.writer, True)
        return progress.written_seq, progress.synced_seq

    @property
    def written_seq(self):
        return journal_writer_look(self.writer, False).written_seq

    @property
    def synced_seq(self):
        return journal_writer_look(self.writer, False).synced_seq

    @property
    def failure(self):
        cdef journal_writer_progress progress = journal_writer_look(self.writer, False)
        if progress.error:
            return progress.error, STEPS[<int>progress.error_step]
        return None

    def drain(self):
        with nogil:
            journal_writer_drain(self.writer)

    def stop(self):
        with nogil:
            journal_writer_stop(self.writer)

    def statistics(self):
        cdef journal_writer_statistics counted = journal_writer_count(self.writer)
        return {
            "written_bytes": counted.written_bytes,
            "batches": counted.batches,
            "syncs": counted.syncs,
            "sync_us_last": counted.sync_us_last,
            "sync_us_total": counted.sync_us_total,
            "sync_us_histogram": tuple([counted.sync_us_histogram[i] for i in range(JOURNAL_SYNC_BUCKETS)]),
        }
