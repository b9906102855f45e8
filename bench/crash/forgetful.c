/* A file layer that remembers what was not synced, so that a power cut can be played afterwards.
 *
 * Preloaded beneath a process (LD_PRELOAD), it passes every call on to the file system and, for files below
 * FORGETFUL_ROOT, first notes in FORGETFUL_LOG what the call destroys: the bytes a write covers, the name a rename
 * replaces. A completed fsync or fdatasync notes what it made durable. Nothing is delayed or kept back, so a SIGKILL
 * at any moment leaves a log from which `bench.crash.powercut` undoes any choice of what no sync ever covered: lost
 * and reordered sectors, sizes, names. A file's name is durable only after its folder was synced, as POSIX has it.
 *
 * FORGETFUL_CONTROL is a file of `struct control`, mapped and changed from outside while the process runs: it makes
 * syncs fail (what a failed sync should have covered then never becomes durable, as on Linux), take long, and fills
 * the disk. The disk itself need not be synced: what a power cut would take is taken by the notes.
 *
 * Not seen: writes through shared mappings, copy_file_range, io_uring. RocksDB and the journal use none of them.
 * One lock orders notes and changes, also with processes that a process starts: they take notes in the same log. It is
 * held over a write, never over a sync.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* Kinds of notes; the same numbers stand in powercut.py. */
enum { WRITE = 1, RESIZE, SYNCED, SYNC_FAILED, CREATE, RENAME, UNLINK, FOLDER_SYNCED };

struct note {       /* little-endian; powercut.py reads "<IIQQQQ" */
    uint32_t kind;
    uint32_t bytes;  /* of what follows: old contents, or names ending in NUL */
    uint64_t inode;
    uint64_t offset; /* of the old contents; SYNCED, SYNC_FAILED, FOLDER_SYNCED: bytes of the log whose notes are covered */
    uint64_t length; /* of the write */
    uint64_t size;   /* of the file before */
};

struct control {
    volatile int64_t syncs_until_failure; /* counts down to 0, then every sync of the target fails; negative: never */
    volatile int64_t target;              /* 1 the journal's files, 2 RocksDB's, 3 both */
    volatile int64_t disk_full;           /* 1: nothing that needs room succeeds */
    volatile int64_t sync_us;             /* instead of the disk's sync: a pause of so long; negative: the disk's own */
    volatile int64_t failed;              /* out: how many syncs failed */
};

static char root[PATH_MAX], trash[PATH_MAX];
static size_t root_length;
static int log_fd = -1;
static uint64_t trashed;
static struct control *control;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name, type, ...) \
    static type (*real_##name)(__VA_ARGS__); \
    if (!real_##name) real_##name = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static ssize_t raw_write(int fd, const void *data, size_t bytes) {
    REAL(write, ssize_t, int, const void *, size_t);
    return real_write(fd, data, bytes);
}

static ssize_t raw_pread(int fd, void *data, size_t bytes, off_t offset) {
    REAL(pread64, ssize_t, int, void *, size_t, off_t);
    return real_pread64(fd, data, bytes, offset);
}

static int raw_open(const char *path, int flags, mode_t mode) {
    REAL(open64, int, const char *, int, ...);
    return real_open64(path, flags, mode);
}

static void give_up(const char *what) {
    char text[256];
    int length = snprintf(text, sizeof text, "forgetful: %s: %s\n", what, strerror(errno));
    if (raw_write(2, text, (size_t)length) < 0) _exit(71);
    _exit(70);
}

__attribute__((constructor)) static void start(void) {
    const char *root_env = getenv("FORGETFUL_ROOT"), *log_env = getenv("FORGETFUL_LOG");
    const char *control_env = getenv("FORGETFUL_CONTROL");
    if (!root_env || !log_env || !control_env) return;
    snprintf(root, sizeof root, "%s/", root_env);
    snprintf(trash, sizeof trash, "%s.trash", log_env);
    root_length = strlen(root);
    int control_fd = raw_open(control_env, O_RDWR | O_CLOEXEC, 0);
    if (control_fd < 0) give_up("control file");
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, control_fd, 0);
    if (control == MAP_FAILED) give_up("mapping the control file");
    close(control_fd);
    log_fd = raw_open(log_env, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log_fd < 0) give_up("log");
    /* A high number: programs that close "all" low descriptors leave it alone. */
    int high = fcntl(log_fd, F_DUPFD_CLOEXEC, 1000);
    if (high >= 0) { close(log_fd); log_fd = high; }
}

static void take_note(uint32_t kind, uint64_t inode, uint64_t offset, uint64_t length, uint64_t size,
                      const void *payload, uint32_t bytes) {
    struct note head = {kind, bytes, inode, offset, length, size};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)payload, bytes}};
    REAL(writev, ssize_t, int, const struct iovec *, int);
    if (real_writev(log_fd, parts, bytes ? 2 : 1) != (ssize_t)(sizeof head + bytes)) give_up("writing the log");
}

/* -- The lock: a mutex among threads, the log's own among processes. That goes with a process that dies. ------------ */

static void lock(void) {
    pthread_mutex_lock(&mutex);
    while (flock(log_fd, LOCK_EX)) {
        if (errno != EINTR) give_up("locking the log");
    }
}

static void unlock(void) {
    flock(log_fd, LOCK_UN);
    pthread_mutex_unlock(&mutex);
}

/* How many bytes the notes so far take. */
static uint64_t noted(void) {
    struct stat status;
    if (fstat(log_fd, &status)) give_up("the log's size");
    return (uint64_t)status.st_size;
}

/* -- Which descriptors matter. ------------------------------------------------------------------------------------ */

/* The path of a descriptor if it is a file or folder below the root; 0 if not. A descriptor's number may have been
 * given again behind our back, so what is remembered is checked against the inode each time. */
#define REMEMBERED 4096
static struct { uint64_t inode, device; int below; } remembered[REMEMBERED];

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 2);
    if (length < 0) return 0;
    path[length] = '\0';
    return 1;
}

static int below_root(const char *path) {
    size_t length = strlen(path);
    return !strncmp(path, root, root_length) || (length == root_length - 1 && !strncmp(path, root, length));
}

static int watched(int fd, struct stat *status) {
    if (log_fd < 0 || fd < 0 || fstat(fd, status) || !(S_ISREG(status->st_mode) || S_ISDIR(status->st_mode))) return 0;
    if (fd < REMEMBERED && remembered[fd].inode == status->st_ino && remembered[fd].device == status->st_dev)
        return remembered[fd].below;
    char path[PATH_MAX];
    int below = path_of(fd, path) && below_root(path);
    if (fd < REMEMBERED) {
        remembered[fd].below = below;
        remembered[fd].device = status->st_dev;
        remembered[fd].inode = status->st_ino;
    }
    return below;
}

/* Make a path absolute; returns whether it is below the root. */
static int resolve(int folder_fd, const char *path, char *whole) {
    if (log_fd < 0) return 0;
    if (path[0] == '/') {
        snprintf(whole, PATH_MAX, "%s", path);
    } else {
        char folder[PATH_MAX];
        if (folder_fd == AT_FDCWD ? !getcwd(folder, sizeof folder) : !path_of(folder_fd, folder)) return 0;
        if (snprintf(whole, PATH_MAX, "%s/%s", folder, path) >= PATH_MAX) return 0;
    }
    return below_root(whole);
}

/* -- Writes. ------------------------------------------------------------------------------------------------------ */

static int disk_is_full(void) { return control && control->disk_full; }

/* Note what a write at an offset will destroy. The caller holds the lock. */
static void note_write(int fd, uint64_t inode, uint64_t size, off_t offset, size_t length) {
    uint64_t end = (uint64_t)offset + length;
    size_t old = (uint64_t)offset >= size ? 0 : (size_t)((end < size ? end : size) - (uint64_t)offset);
    char *before = old ? malloc(old) : NULL;
    if (old && !before) give_up("memory");
    size_t have = 0;
    char own[64];
    int reader = -1;
    if (old) { /* the descriptor may be write-only */
        snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
        reader = raw_open(own, O_RDONLY | O_CLOEXEC, 0);
        if (reader < 0) give_up("reopening a file");
    }
    while (have < old) {
        ssize_t got = raw_pread(reader, before + have, old - have, offset + (off_t)have);
        if (got <= 0) break;
        have += (size_t)got;
    }
    if (reader >= 0) close(reader);
    take_note(WRITE, inode, (uint64_t)offset, length, size, before, (uint32_t)have);
    free(before);
}

/* Returns 1 and holds the lock if the write is watched, 0 if it is none of ours, -1 if the disk is full. */
static int before_write(int fd, off_t offset, size_t length) {
    struct stat status;
    if (!watched(fd, &status) || S_ISDIR(status.st_mode)) return 0;
    lock();
    fstat(fd, &status);
    if (offset < 0) offset = fcntl(fd, F_GETFL) & O_APPEND ? status.st_size : lseek(fd, 0, SEEK_CUR);
    /* What lies within the blocks a file has needs no room. */
    if (disk_is_full() && offset + (off_t)length > (off_t)status.st_blocks * 512) {
        unlock();
        errno = ENOSPC;
        return -1;
    }
    note_write(fd, status.st_ino, (uint64_t)status.st_size, offset, length);
    return 1;
}

static void after(int held) {
    if (held == 1) {
        int kept = errno;
        unlock();
        errno = kept;
    }
}

#define AROUND_WRITE(offset, length, call) \
    int held = before_write(fd, offset, length); \
    if (held < 0) return -1; \
    ssize_t result = call; \
    after(held); \
    return result

ssize_t write(int fd, const void *data, size_t bytes) { AROUND_WRITE(-1, bytes, raw_write(fd, data, bytes)); }

ssize_t pwrite64(int fd, const void *data, size_t bytes, off_t offset) {
    REAL(pwrite64, ssize_t, int, const void *, size_t, off_t);
    AROUND_WRITE(offset, bytes, real_pwrite64(fd, data, bytes, offset));
}
ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) { return pwrite64(fd, data, bytes, offset); }

static size_t total(const struct iovec *parts, int count) {
    size_t bytes = 0;
    for (int i = 0; i < count; i++) bytes += parts[i].iov_len;
    return bytes;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev, ssize_t, int, const struct iovec *, int);
    AROUND_WRITE(-1, total(parts, count), real_writev(fd, parts, count));
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) {
    REAL(pwritev64, ssize_t, int, const struct iovec *, int, off_t);
    AROUND_WRITE(offset, total(parts, count), real_pwritev64(fd, parts, count, offset));
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return pwritev64(fd, parts, count, offset);
}

/* -- Sizes. ------------------------------------------------------------------------------------------------------- */

/* A size that shrinks is noted as a write over what is cut off, then as a change of the size. Holds the lock. */
static void note_resize(int fd, const struct stat *status, off_t to) {
    if (to < status->st_size)
        note_write(fd, status->st_ino, (uint64_t)status->st_size, to, (size_t)(status->st_size - to));
    take_note(RESIZE, status->st_ino, 0, (uint64_t)to, (uint64_t)status->st_size, NULL, 0);
}

int ftruncate64(int fd, off_t to) {
    REAL(ftruncate64, int, int, off_t);
    struct stat status;
    if (!watched(fd, &status)) return real_ftruncate64(fd, to);
    lock();
    fstat(fd, &status);
    note_resize(fd, &status, to);
    int result = real_ftruncate64(fd, to);
    after(1);
    return result;
}
int ftruncate(int fd, off_t to) { return ftruncate64(fd, to); }

int fallocate64(int fd, int mode, off_t offset, off_t length) {
    REAL(fallocate64, int, int, int, off_t, off_t);
    struct stat status;
    if (!watched(fd, &status)) return real_fallocate64(fd, mode, offset, length);
    if (disk_is_full()) { errno = ENOSPC; return -1; }
    lock();
    fstat(fd, &status);
    if (mode & ~FALLOC_FL_KEEP_SIZE) /* punching, zeroing: the old bytes are what a write would destroy */
        note_write(fd, status.st_ino, (uint64_t)status.st_size, offset, (size_t)length);
    else if (!(mode & FALLOC_FL_KEEP_SIZE) && offset + length > status.st_size)
        note_resize(fd, &status, offset + length);
    int result = real_fallocate64(fd, mode, offset, length);
    after(1);
    return result;
}
int fallocate(int fd, int mode, off_t offset, off_t length) { return fallocate64(fd, mode, offset, length); }
int posix_fallocate64(int fd, off_t offset, off_t length) { return fallocate64(fd, 0, offset, length) ? errno : 0; }
int posix_fallocate(int fd, off_t offset, off_t length) { return posix_fallocate64(fd, offset, length); }

/* -- Syncs. ------------------------------------------------------------------------------------------------------- */

static int must_fail(const char *path) {
    if (!control || control->syncs_until_failure < 0) return 0;
    int target = strstr(path + root_length - 1, "/journal") ? 1 : strstr(path + root_length - 1, "/records") ? 2 : 0;
    if (!(target & control->target)) return 0;
    if (__atomic_sub_fetch(&control->syncs_until_failure, 1, __ATOMIC_SEQ_CST) >= 0) return 0;
    control->syncs_until_failure = 0;
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    return 1;
}

static int around_sync(int fd, int (*real)(int)) {
    struct stat status;
    char path[PATH_MAX];
    if (!watched(fd, &status) || !path_of(fd, path)) return real(fd);
    lock();
    uint64_t covered = noted(); /* changes are made under the lock: all of these are complete */
    int fails = must_fail(path);
    unlock();
    int result = fails ? -1 : 0;
    if (!fails && control->sync_us < 0) result = real(fd);
    else if (control->sync_us > 0) usleep((useconds_t)control->sync_us);
    int error = fails ? EIO : errno;
    lock();
    if (S_ISDIR(status.st_mode)) {
        if (!result) take_note(FOLDER_SYNCED, 0, covered, 0, 0, path, (uint32_t)strlen(path) + 1);
    } else {
        take_note(result ? SYNC_FAILED : SYNCED, status.st_ino, covered, 0, 0, NULL, 0);
    }
    unlock();
    errno = error;
    return result;
}

int fsync(int fd) {
    REAL(fsync, int, int);
    return around_sync(fd, real_fsync);
}
int fdatasync(int fd) {
    REAL(fdatasync, int, int);
    return around_sync(fd, real_fdatasync);
}

/* -- Names. ------------------------------------------------------------------------------------------------------- */

/* Keep a file that is about to lose its name: a second name for it beside the log. Returns the number, 0 for none. */
static uint64_t keep(const char *path) {
    char kept[PATH_MAX + 32];
    struct stat status;
    if (lstat(path, &status) || S_ISDIR(status.st_mode)) return 0;
    uint64_t number = (uint64_t)getpid() << 32 | ++trashed;
    snprintf(kept, sizeof kept, "%s/%llu", trash, (unsigned long long)number);
    REAL(link, int, const char *, const char *);
    if (real_link(path, kept)) give_up("keeping a file");
    return number;
}

static int watched_open(int folder_fd, const char *path, int flags, mode_t mode) {
    REAL(openat64, int, int, const char *, int, ...);
    char whole[PATH_MAX];
    if (!(flags & (O_CREAT | O_TRUNC)) || !resolve(folder_fd, path, whole))
        return real_openat64(folder_fd, path, flags, mode);
    lock();
    int existed = !access(whole, F_OK);
    if (!existed && disk_is_full()) {
        unlock();
        errno = ENOSPC;
        return -1;
    }
    int fd;
    if (existed && flags & O_TRUNC) {
        fd = real_openat64(folder_fd, path, flags & ~O_TRUNC, mode);
        struct stat status;
        REAL(ftruncate64, int, int, off_t);
        if (fd >= 0 && !fstat(fd, &status) && status.st_size) {
            note_resize(fd, &status, 0);
            if (real_ftruncate64(fd, 0)) give_up("truncating");
        }
    } else {
        fd = real_openat64(folder_fd, path, flags, mode);
        if (fd >= 0 && !existed) take_note(CREATE, 0, 0, 0, 0, whole, (uint32_t)strlen(whole) + 1);
    }
    after(1);
    return fd;
}

#define OPEN_MODE \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *path, int flags, ...) { OPEN_MODE return watched_open(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { OPEN_MODE return watched_open(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { OPEN_MODE return watched_open(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { OPEN_MODE return watched_open(folder, path, flags, mode); }
int creat(const char *path, mode_t mode) { return watched_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

static int watched_rename(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    REAL(renameat2, int, int, const char *, int, const char *, unsigned);
    char names[2 * PATH_MAX], target[PATH_MAX];
    if (!resolve(from_fd, from, names) || !resolve(to_fd, to, target))
        return real_renameat2(from_fd, from, to_fd, to, flags);
    lock();
    uint64_t kept = keep(target);
    size_t length = strlen(names) + 1;
    memcpy(names + length, target, strlen(target) + 1);
    int result = real_renameat2(from_fd, from, to_fd, to, flags);
    if (!result) take_note(RENAME, kept, 0, 0, 0, names, (uint32_t)(length + strlen(target) + 1));
    after(1);
    return result;
}

int rename(const char *from, const char *to) { return watched_rename(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int a, const char *from, int b, const char *to) { return watched_rename(a, from, b, to, 0); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    return watched_rename(a, from, b, to, flags);
}

int unlinkat(int folder_fd, const char *path, int flags) {
    REAL(unlinkat, int, int, const char *, int);
    char whole[PATH_MAX];
    if (flags & AT_REMOVEDIR || !resolve(folder_fd, path, whole)) return real_unlinkat(folder_fd, path, flags);
    lock();
    uint64_t kept = keep(whole);
    int result = real_unlinkat(folder_fd, path, flags);
    if (!result) take_note(UNLINK, kept, 0, 0, 0, whole, (uint32_t)strlen(whole) + 1);
    after(1);
    return result;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int link(const char *from, const char *to) {
    REAL(link, int, const char *, const char *);
    char whole[PATH_MAX];
    if (!resolve(AT_FDCWD, to, whole)) return real_link(from, to);
    lock();
    int result = real_link(from, to);
    if (!result) take_note(CREATE, 0, 0, 0, 0, whole, (uint32_t)strlen(whole) + 1);
    after(1);
    return result;
}

/* -- Room. -------------------------------------------------------------------------------------------------------- */

static void no_room(struct statvfs *status) {
    if (disk_is_full()) status->f_bavail = status->f_bfree = 0;
}

int statvfs(const char *path, struct statvfs *status) {
    REAL(statvfs, int, const char *, struct statvfs *);
    int result = real_statvfs(path, status);
    if (!result) no_room(status);
    return result;
}
int fstatvfs(int fd, struct statvfs *status) {
    REAL(fstatvfs, int, int, struct statvfs *);
    int result = real_fstatvfs(fd, status);
    if (!result) no_room(status);
    return result;
}
int statvfs64(const char *path, struct statvfs64 *status) { return statvfs(path, (struct statvfs *)status); }
int fstatvfs64(int fd, struct statvfs64 *status) { return fstatvfs(fd, (struct statvfs *)status); }
