/* The journal's writer, the caller's side: starting, feeding, watching and stopping the thread.
 *
 * recollectd_journal_thread.h says who owns what, and which of these wait.
 */
#ifndef RECOLLECTD_JOURNAL_WRITER_H
#define RECOLLECTD_JOURNAL_WRITER_H

#include "recollectd_journal_thread.h"

/* Start the thread on an open segment. Returns NULL with errno set when that is impossible; the descriptor is then
 * still the caller's. */
static inline journal_writer *journal_writer_start(int fd, int directory_fd, uint64_t secret, uint64_t checksum,
                                                   uint64_t synced_seq) {
    journal_writer *writer = (journal_writer *)calloc(1, sizeof *writer);
    if (!writer) {
        errno = ENOMEM;
        return NULL;
    }
    writer->fd = fd;
    writer->directory_fd = directory_fd;
    writer->secret = secret;
    writer->checksum = checksum;
    writer->unsynced_seq = writer->written_seq = writer->synced_seq = synced_seq;
    writer->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (writer->event_fd < 0) {
        free(writer);
        return NULL;
    }
    pthread_mutex_init(&writer->mutex, NULL);
    pthread_cond_init(&writer->work, NULL);
    pthread_cond_init(&writer->advance, NULL);

    /* Signals are for the interpreter's threads; here one would only interrupt a write. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&writer->thread, NULL, journal_writer__main, writer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        close(writer->event_fd);
        free(writer);
        errno = error;
        return NULL;
    }
    writer->running = 1;
    return writer;
}

/* Queue a job. With the ring full, wait for room, or without `wait` return EAGAIN and leave the job the caller's.
 * Otherwise returns 0, or the errno of the failure that ended the writer (ESHUTDOWN after journal_writer_stop). */
static inline int journal_writer_submit(journal_writer *writer, journal_job job, int wait) {
    pthread_mutex_lock(&writer->mutex);
    while (wait && writer->queued == JOURNAL_RING_JOBS && !writer->error && !writer->stopping) {
        pthread_cond_wait(&writer->advance, &writer->mutex);
    }
    int error = writer->error ? writer->error : writer->stopping ? ESHUTDOWN : 0;
    if (!error && writer->queued == JOURNAL_RING_JOBS) {
        error = EAGAIN;
    }
    if (!error) {
        writer->ring[(writer->head + writer->queued) % JOURNAL_RING_JOBS] = job;
        writer->queued++;
        pthread_cond_signal(&writer->work);
    }
    pthread_mutex_unlock(&writer->mutex);
    if (error && error != EAGAIN) {
        journal_job_release(&job);
    }
    return error;
}

/* Wait until everything queued is written and synced, or the writer has failed. */
static inline void journal_writer_drain(journal_writer *writer) {
    pthread_mutex_lock(&writer->mutex);
    while (writer->running && (writer->queued || writer->busy)) {
        pthread_cond_wait(&writer->advance, &writer->mutex);
    }
    pthread_mutex_unlock(&writer->mutex);
}

/* Finish what is queued and end the thread; the numbers stay readable. Harmless when repeated by the same caller. */
static inline void journal_writer_stop(journal_writer *writer) {
    if (!writer->running) {
        return;
    }
    pthread_mutex_lock(&writer->mutex);
    writer->stopping = 1;
    pthread_cond_broadcast(&writer->work);
    pthread_cond_broadcast(&writer->advance);
    pthread_mutex_unlock(&writer->mutex);
    pthread_join(writer->thread, NULL);
    writer->running = 0;
    close(writer->fd);
    close(writer->event_fd);
    writer->fd = writer->event_fd = -1;
}

static inline void journal_writer_free(journal_writer *writer) {
    journal_writer_stop(writer);
    pthread_cond_destroy(&writer->advance);
    pthread_cond_destroy(&writer->work);
    pthread_mutex_destroy(&writer->mutex);
    free(writer);
}

typedef struct {
    uint64_t written_seq;
    uint64_t synced_seq;
    int error;
    journal_step error_step;
} journal_writer_progress;

/* The numbers as they are now. With `clear` the eventfd is emptied first: what is published after that makes it
 * readable again, so no progress goes unseen. */
static inline journal_writer_progress journal_writer_look(journal_writer *writer, int clear) {
    if (clear && writer->running) {
        uint64_t count;
        ssize_t ignored = read(writer->event_fd, &count, sizeof count);
        (void)ignored;
    }
    pthread_mutex_lock(&writer->mutex);
    journal_writer_progress progress = {writer->written_seq, writer->synced_seq, writer->error, writer->error_step};
    pthread_mutex_unlock(&writer->mutex);
    return progress;
}

static inline journal_writer_statistics journal_writer_count(journal_writer *writer) {
    pthread_mutex_lock(&writer->mutex);
    journal_writer_statistics statistics = writer->statistics;
    pthread_mutex_unlock(&writer->mutex);
    return statistics;
}

#endif
