/* The journal's writer, the thread's side: it owns the newest segment's descriptor and never needs the GIL.
 *
 * Work reaches it as jobs in a bounded ring, in order. Per wake-up it writes every batch that is queued, then syncs
 * once. It publishes `written_seq` after each write and `synced_seq` after each sync, and makes the eventfd readable
 * both times. The first failure of a write or a sync is recorded and final: nothing is retried (the kernel may have
 * dropped the pages), every job queued then or later is refused, and the published numbers stand still.
 *
 * Memory and descriptors: submitting a job hands its buffer, or its new segment's descriptor, to the writer, also when
 * the submission is refused. The directory's descriptor stays the caller's, who closes it after journal_writer_stop.
 *
 * Threads: what stands under "the thread's own" is touched by nobody else while the thread runs; everything shared is
 * read and written under `mutex`, which is never held over a system call that waits for a disk. Therefore a caller may
 * take it while holding the GIL; only journal_writer_submit (when the ring is full), _drain and _stop wait.
 */
#ifndef RECOLLECTD_JOURNAL_THREAD_H
#define RECOLLECTD_JOURNAL_THREAD_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "recollectd_journal_format.h"

#define JOURNAL_RING_JOBS 64u
#define JOURNAL_NAME_BYTES 64u
#define JOURNAL_SYNC_BUCKETS 32u /* bucket i counts syncs of [2^i, 2^(i+1)) us; the first also those below 1 us */

typedef enum { JOURNAL_APPEND, JOURNAL_SEAL, JOURNAL_ROTATE } journal_job_kind;

/* What the writer was doing when it failed; journal_writer.pyx has the words, in this order. */
typedef enum {
    JOURNAL_STEP_NONE,
    JOURNAL_STEP_WRITE,
    JOURNAL_STEP_SYNC,
    JOURNAL_STEP_NEXT_WRITE,
    JOURNAL_STEP_NEXT_SYNC,
    JOURNAL_STEP_NEXT_RENAME,
    JOURNAL_STEP_DIRECTORY_SYNC,
    JOURNAL_STEP_PACK,
} journal_step;

typedef struct {
    int fd;
    journal_segment_header header; /* all but previous_checksum and checksum */
    char spare_name[JOURNAL_NAME_BYTES];
    char name[JOURNAL_NAME_BYTES];
} journal_next_segment;

typedef struct {
    journal_job_kind kind;
    uint8_t *batch; /* APPEND, SEAL: from malloc; header, payload, padding */
    size_t batch_bytes;
    uint64_t offset;
    uint64_t last_seq;
    int tell_written; /* APPEND: signal when it is in the file, not only when it is durable */
    journal_next_segment *next; /* ROTATE: from malloc */
} journal_job;

typedef struct {
    uint64_t written_bytes;
    uint64_t batches;
    uint64_t syncs;
    uint64_t sync_us_last;
    uint64_t sync_us_total;
    uint64_t sync_us_histogram[JOURNAL_SYNC_BUCKETS];
} journal_writer_statistics;

typedef struct {
    /* The thread's own. */
    int fd;
    uint64_t secret;
    uint64_t checksum; /* of the last batch: the chain's end */
    uint64_t unsynced_seq;
    int unsynced; /* whether anything was written since the last sync */

    /* Constant while the thread runs. */
    int directory_fd;
    int event_fd;
    pthread_t thread;
    int running;

    /* Shared, under the mutex. */
    pthread_mutex_t mutex;
    pthread_cond_t work;    /* the ring has jobs, or the thread is to stop */
    pthread_cond_t advance; /* the ring has room, or the writer became idle, or it failed */
    journal_job ring[JOURNAL_RING_JOBS];
    unsigned head;
    unsigned queued;
    int busy;
    int stopping;
    int error; /* errno of the failure that ended it all, or 0 */
    journal_step error_step;
    uint64_t written_seq;
    uint64_t synced_seq;
    journal_writer_statistics statistics;
} journal_writer;

static inline void journal_job_release(journal_job *job) {
    free(job->batch);
    if (job->next) {
        close(job->next->fd);
        free(job->next);
    }
    job->batch = NULL;
    job->next = NULL;
}

static inline void journal_writer_signal(journal_writer *writer) {
    uint64_t one = 1;
    /* EAGAIN means that the counter is at its maximum, so the descriptor is readable anyway. */
    ssize_t ignored = write(writer->event_fd, &one, sizeof one);
    (void)ignored;
}

/* Record a failure; the first one stands. May be called from any thread. */
static inline void journal_writer_fail(journal_writer *writer, journal_step step, int error) {
    pthread_mutex_lock(&writer->mutex);
    if (!writer->error) {
        writer->error = error ? error : EIO;
        writer->error_step = step;
    }
    pthread_cond_broadcast(&writer->advance);
    pthread_mutex_unlock(&writer->mutex);
    journal_writer_signal(writer);
}

static inline int journal_writer_failed(journal_writer *writer) {
    pthread_mutex_lock(&writer->mutex);
    int error = writer->error;
    pthread_mutex_unlock(&writer->mutex);
    return error != 0;
}

/* Write all of it. Returns 0, or the errno of the write that failed. */
static inline int journal_write_all(int fd, const void *data, size_t bytes, uint64_t offset) {
    const uint8_t *rest = (const uint8_t *)data;
    while (bytes > 0) {
        ssize_t written = pwrite(fd, rest, bytes, (off_t)offset);
        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            return errno;
        }
        if (written == 0) {
            return EIO;
        }
        rest += written;
        bytes -= (size_t)written;
        offset += (uint64_t)written;
    }
    return 0;
}

static inline uint64_t journal_clock_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static inline unsigned journal_sync_bucket(uint64_t us) {
    unsigned bucket = 0;
    while (us > 1 && bucket < JOURNAL_SYNC_BUCKETS - 1) {
        us >>= 1;
        bucket++;
    }
    return bucket;
}

/* -- the thread's steps; each returns 0 after recording a failure ------------------------------------------------- */

static inline int journal_writer__sync(journal_writer *writer) {
    if (!writer->unsynced) {
        return 1;
    }
    uint64_t started_us = journal_clock_us();
    if (fdatasync(writer->fd) != 0) {
        journal_writer_fail(writer, JOURNAL_STEP_SYNC, errno);
        return 0;
    }
    uint64_t us = journal_clock_us() - started_us;
    writer->unsynced = 0;
    pthread_mutex_lock(&writer->mutex);
    writer->synced_seq = writer->unsynced_seq;
    writer->statistics.syncs++;
    writer->statistics.sync_us_last = us;
    writer->statistics.sync_us_total += us;
    writer->statistics.sync_us_histogram[journal_sync_bucket(us)]++;
    pthread_mutex_unlock(&writer->mutex);
    journal_writer_signal(writer);
    return 1;
}

static inline int journal_writer__append(journal_writer *writer, const journal_job *job) {
    /* Only this thread changes synced_seq, so it may read it without the mutex. */
    uint64_t checksum =
        journal_finish_batch(job->batch, job->batch_bytes, writer->secret, writer->synced_seq, writer->checksum);
    int error = journal_write_all(writer->fd, job->batch, job->batch_bytes, job->offset);
    if (error) {
        journal_writer_fail(writer, JOURNAL_STEP_WRITE, error);
        return 0;
    }
    writer->checksum = checksum;
    writer->unsynced_seq = job->last_seq;
    writer->unsynced = 1;
    pthread_mutex_lock(&writer->mutex);
    writer->written_seq = job->last_seq;
    writer->statistics.written_bytes += job->batch_bytes;
    writer->statistics.batches++;
    pthread_mutex_unlock(&writer->mutex);
    if (job->tell_written) {
        journal_writer_signal(writer);
    }
    return 1;
}

/* A sealing batch vouches for everything before it, so that is synced first. It is synced itself before anything
 * follows: recovery concludes from a batch behind it that the sealing batch was whole. */
static inline int journal_writer__seal(journal_writer *writer, const journal_job *job) {
    return journal_writer__sync(writer) && journal_writer__append(writer, job) && journal_writer__sync(writer);
}

/* The old segment is durable before the new one gets its name, the new one and its name before its first batch:
 * whatever the crash, a segment that has a successor is whole, and a segment with a name has a header. */
static inline int journal_writer__rotate(journal_writer *writer, journal_job *job) {
    journal_next_segment *next = job->next;
    if (!journal_writer__sync(writer)) {
        return 0;
    }
    journal_finish_segment_header(&next->header, writer->checksum);
    journal_step step = JOURNAL_STEP_NEXT_WRITE;
    int error = journal_write_all(next->fd, &next->header, sizeof next->header, 0);
    if (!error) {
        step = JOURNAL_STEP_NEXT_SYNC;
        error = fsync(next->fd) ? errno : 0;
    }
    if (!error) {
        step = JOURNAL_STEP_NEXT_RENAME;
        error = renameat(writer->directory_fd, next->spare_name, writer->directory_fd, next->name) ? errno : 0;
    }
    if (!error) {
        step = JOURNAL_STEP_DIRECTORY_SYNC;
        error = fsync(writer->directory_fd) ? errno : 0;
    }
    if (error) {
        journal_writer_fail(writer, step, error);
        return 0;
    }
    close(writer->fd);
    writer->fd = next->fd;
    writer->secret = next->header.secret;
    free(next);
    job->next = NULL;
    return 1;
}

static inline void journal_writer__job(journal_writer *writer, journal_job *job) {
    switch (job->kind) {
    case JOURNAL_APPEND:
        journal_writer__append(writer, job);
        break;
    case JOURNAL_SEAL:
        journal_writer__seal(writer, job);
        break;
    case JOURNAL_ROTATE:
        journal_writer__rotate(writer, job);
        break;
    }
}

/* The jobs queued at this moment, then one sync. Not those that arrive meanwhile: a sync must not wait for ever. */
static inline void journal_writer__jobs(journal_writer *writer, unsigned jobs) {
    for (; jobs > 0; jobs--) {
        pthread_mutex_lock(&writer->mutex);
        journal_job job = writer->ring[writer->head];
        writer->head = (writer->head + 1) % JOURNAL_RING_JOBS;
        writer->queued--;
        int failed = writer->error != 0;
        pthread_cond_broadcast(&writer->advance);
        pthread_mutex_unlock(&writer->mutex);
        if (!failed) {
            journal_writer__job(writer, &job);
        }
        journal_job_release(&job);
    }
    if (!journal_writer_failed(writer)) {
        journal_writer__sync(writer);
    }
}

static inline void *journal_writer__main(void *argument) {
    journal_writer *writer = (journal_writer *)argument;
    pthread_mutex_lock(&writer->mutex);
    for (;;) {
        while (!writer->queued && !writer->stopping) {
            pthread_cond_wait(&writer->work, &writer->mutex);
        }
        unsigned jobs = writer->queued;
        if (!jobs) {
            break;
        }
        writer->busy = 1;
        pthread_mutex_unlock(&writer->mutex);
        journal_writer__jobs(writer, jobs);
        pthread_mutex_lock(&writer->mutex);
        writer->busy = 0;
        pthread_cond_broadcast(&writer->advance);
    }
    pthread_mutex_unlock(&writer->mutex);
    return NULL;
}

#endif
