/* Mapped memory that is given back by a thread of its own.
 *
 * Taking pages out of a large mapping costs milliseconds: some 2 for 75 MB of a file. Who lets go of one last holds the
 * interpreter, or is asked a search just then; so a thread without either does it, in steps, because the process's
 * other page faults wait for each step.
 */
#ifndef RECOLLECTD_REGIONS_H
#define RECOLLECTD_REGIONS_H

#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>

namespace regions {

constexpr size_t STEP_BYTES = 4u << 20;

struct Span {
    char *start;
    size_t bytes;
};

struct Releasing {
    std::mutex lock;
    std::condition_variable changed;
    std::deque<Span> waiting;
    size_t bytes = 0;
    pid_t process = 0;  // in which there is a thread: one that was forked has none
};

// Never destroyed: the thread may use it for as long as the process lives.
inline Releasing &releasing() {
    static Releasing *one = new Releasing;
    return *one;
}

inline void unmap(Span span) {
    for (size_t at = 0; at < span.bytes; at += STEP_BYTES) {
        size_t left = span.bytes - at;
        madvise(span.start + at, left < STEP_BYTES ? left : STEP_BYTES, MADV_DONTNEED);
    }
    munmap(span.start, span.bytes);
}

inline void release_all() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);  // they are for the interpreter's threads
    Releasing &state = releasing();
    std::unique_lock<std::mutex> held(state.lock);
    for (;;) {
        state.changed.wait(held, [&] { return !state.waiting.empty(); });
        Span span = state.waiting.front();
        state.waiting.pop_front();
        held.unlock();
        unmap(span);
        held.lock();
        state.bytes -= span.bytes;
        state.changed.notify_all();
    }
}

// Take a mapping that nobody looks at any more.
inline void release(void *start, size_t bytes) {
    Span span = {static_cast<char *>(start), bytes};
    Releasing &state = releasing();
    try {
        std::lock_guard<std::mutex> held(state.lock);
        if (state.process != getpid()) {
            std::thread(release_all).detach();
            state.process = getpid();
        }
        state.waiting.push_back(span);
        state.bytes += bytes;
        state.changed.notify_all();
    } catch (const std::exception &) {  // no thread, or no memory to remember it by
        unmap(span);
    }
}

// Wait until everything is given back.
inline void settle() {
    Releasing &state = releasing();
    std::unique_lock<std::mutex> held(state.lock);
    state.changed.wait(held, [&] { return !state.bytes; });
}

inline size_t waiting_bytes() {
    Releasing &state = releasing();
    std::lock_guard<std::mutex> held(state.lock);
    return state.bytes;
}

// Return memory of zeros, or NULL. In pages of the usual size: the processor zeroes a huge one at the first touch, which
// takes it milliseconds, and who writes a row a time touches one every thousand rows.
inline void *take_zeros(size_t bytes) {
    void *start = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
        return nullptr;
    }
    madvise(start, bytes, MADV_NOHUGEPAGE);
    return start;
}

// Return a file's bytes, or NULL with errno.
inline void *take_file(int descriptor, size_t bytes) {
    void *start = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, descriptor, 0);
    return start == MAP_FAILED ? nullptr : start;
}

inline void advise(void *start, size_t bytes, int advice) { madvise(start, bytes, advice); }

}  // namespace regions

#endif
