/*
 * A library that is preloaded into a server. It records the system calls that change the files
 * of one directory, and those that read from or write to accepted connections, in their order.
 * It also injects errors and kills the server between two calls.
 *
 * FAULT_DIRECTORY: the directory, an absolute path without symbolic links.
 * FAULT_TRACE: the file that the records are appended to; tests/fault/shim.py reads it.
 * FAULT_CONTROL: a file that holds a struct control; the test program changes it at any time.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define DESCRIPTORS 65536

enum kind {
    PROCESS = 1, CREATE, WRITE, TRUNCATE, UNLINK, RENAME, SYNC_BEGIN, SYNC_END, SYNC_FAILED,
    ACCEPT, RECEIVED, SENT,
};

struct record { uint32_t kind; uint32_t size; uint64_t id; int64_t value; };

struct control {
    int32_t kill_in;        /* SIGKILL after this many more records; 0: never */
    int32_t write_fails_in; /* the write that fails, counted from now; 0: none */
    int32_t writes_fail;    /* how many fail from that one on */
    int32_t write_error;    /* their errno */
    int32_t sync_fails_in;  /* the same for fsync and fdatasync */
    int32_t syncs_fail;
    int32_t sync_error;
    int32_t kill_after;     /* copied to kill_in when a call fails; 0: not copied */
    int32_t failed;         /* number of injected errors */
    char suffix[16];        /* errors are injected on files whose names end with it */
};

enum role { NONE, DATABASE_FILE, DIRECTORY, CONNECTION };

static struct { enum role role; uint64_t id; int fails; } descriptors[DESCRIPTORS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *directory;
static int trace = -1;
static volatile struct control *control;
static uint64_t connections;

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static void note(enum kind kind, uint64_t id, int64_t value, const void *data, size_t size)
{
    struct record record = { kind, (uint32_t)size, id, value };
    struct iovec parts[2] = { { &record, sizeof record }, { (void *)data, size } };
    static __typeof__(writev) *write_parts;
    int before = errno;
    if (!write_parts) write_parts = (__typeof__(writev) *)dlsym(RTLD_NEXT, "writev");
    if (write_parts(trace, parts, 2) != (ssize_t)(sizeof record + size)) abort();
    if (control->kill_in > 0 && --control->kill_in == 0) kill(getpid(), SIGKILL);
    errno = before;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAULT_TRACE"), *other = getenv("FAULT_CONTROL");
    directory = getenv("FAULT_DIRECTORY");
    if (!directory || !path || !other) abort();
    trace = fcntl(open(path, O_WRONLY | O_APPEND | O_CREAT, 0600), F_DUPFD_CLOEXEC, 1000);
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED,
                   open(other, O_RDWR | O_CLOEXEC), 0);
    if (trace < 0 || control == MAP_FAILED) abort();
    note(PROCESS, (uint64_t)getpid(), 0, "", 0);
}

static int tracked(int fd, enum role role)
{
    return trace >= 0 && fd >= 0 && fd < DESCRIPTORS && descriptors[fd].role == role;
}

static int ends_with(const char *name, const char *end)
{
    size_t length = strlen(name), part = strlen(end);
    return length >= part && !strcmp(name + length - part, end);
}

/* Return the name of a file in the directory, "" for the directory itself, NULL for the rest. */
static const char *name_of(const char *path)
{
    static __thread char whole[8192];
    size_t length = strlen(directory);
    if (trace < 0) return NULL;
    if (path[0] == '/') {
        snprintf(whole, sizeof whole, "%s", path);
    } else {
        char here[4096];
        if (!getcwd(here, sizeof here)) return NULL;
        snprintf(whole, sizeof whole, "%s/%s", here, path);
    }
    if (strncmp(whole, directory, length)) return NULL;
    if (!whole[length]) return whole + length;
    if (whole[length] != '/' || strchr(whole + length + 1, '/')) return NULL;
    /* Shared memory and locks do not survive a power cut. */
    if (ends_with(whole, "-shm") || ends_with(whole, "-lock")) return NULL;
    return whole + length + 1;
}

static uint64_t inode_of(int fd)
{
    struct stat status;
    return fstat(fd, &status) ? 0 : (uint64_t)status.st_ino;
}

typedef int opener(int, const char *, int, ...);

static int open_any(opener *real, int at, const char *path, int flags, mode_t mode)
{
    const char *name = name_of(path);
    struct stat status;
    int made, fd;
    if (!name) {
        fd = real(at, path, flags, mode);
        if (fd >= 0 && fd < DESCRIPTORS) descriptors[fd].role = NONE;
        return fd;
    }
    pthread_mutex_lock(&mutex);
    made = (flags & O_CREAT) && stat(path, &status);
    fd = real(at, path, flags, mode);
    if (fd >= 0 && fd < DESCRIPTORS) {
        uint64_t id = inode_of(fd);
        descriptors[fd].role = *name ? DATABASE_FILE : DIRECTORY;
        descriptors[fd].id = *name ? id : 0;
        descriptors[fd].fails = ends_with(name, (const char *)control->suffix);
        if (made) note(CREATE, id, 0, name, strlen(name));
        else if (flags & O_TRUNC) note(TRUNCATE, id, 0, name, 0);
    }
    pthread_mutex_unlock(&mutex);
    return fd;
}

#define OPEN(name, at, parameters) \
    int name parameters \
    { \
        static opener *real; \
        va_list rest; \
        mode_t mode; \
        if (!real) real = (opener *)dlsym(RTLD_NEXT, "openat64"); \
        va_start(rest, flags); \
        mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        return open_any(real, at, path, flags, mode); \
    }

OPEN(open, AT_FDCWD, (const char *path, int flags, ...))
OPEN(open64, AT_FDCWD, (const char *path, int flags, ...))
OPEN(openat, at, (int at, const char *path, int flags, ...))
OPEN(openat64, at, (int at, const char *path, int flags, ...))

/* What open and open64 without a mode become if their caller is compiled with _FORTIFY_SOURCE. */
int __open_2(const char *path, int flags)
{
    return open(path, flags);
}

int __open64_2(const char *path, int flags)
{
    return open(path, flags);
}

int close(int fd)
{
    REAL(close);
    if (fd >= 0 && fd < DESCRIPTORS) descriptors[fd].role = NONE;
    return real(fd);
}

/* Return whether this call fails. The caller holds the mutex. */
static int fails(int fd, volatile int32_t *countdown, volatile int32_t *count, int32_t error)
{
    if (!descriptors[fd].fails || !*countdown) return 0;
    if (*countdown > 1) {
        --*countdown;
        return 0;
    }
    if (--*count <= 0) *countdown = 0;
    control->failed++;
    if (control->kill_after > 0) control->kill_in = control->kill_after;
    control->kill_after = 0;
    errno = error;
    return 1;
}

static ssize_t write_file(int fd, const void *data, size_t size, off64_t where)
{
    REAL(pwrite64);
    ssize_t done = -1;
    pthread_mutex_lock(&mutex);
    if (!fails(fd, &control->write_fails_in, &control->writes_fail, control->write_error)) {
        done = real(fd, data, size, where);
        if (done > 0) note(WRITE, descriptors[fd].id, where, data, (size_t)done);
    }
    pthread_mutex_unlock(&mutex);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t where)
{
    REAL(pwrite64);
    return tracked(fd, DATABASE_FILE) ? write_file(fd, data, size, where)
                                      : real(fd, data, size, where);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t where)
{
    return pwrite64(fd, data, size, where);
}

static ssize_t noted(int fd, enum kind kind, ssize_t done, const void *data)
{
    if (done > 0) note(kind, descriptors[fd].id, 0, data, (size_t)done);
    return done;
}

/* The server's connections do not block, so the mutex is held for a short time only. */
#define TRANSFER(name, kind, parameters, arguments) \
    ssize_t name parameters \
    { \
        REAL(name); \
        ssize_t done; \
        if (!tracked(fd, CONNECTION)) return real arguments; \
        pthread_mutex_lock(&mutex); \
        done = noted(fd, kind, real arguments, data); \
        pthread_mutex_unlock(&mutex); \
        return done; \
    }

TRANSFER(recv, RECEIVED, (int fd, void *data, size_t size, int flags), (fd, data, size, flags))
TRANSFER(read, RECEIVED, (int fd, void *data, size_t size), (fd, data, size))
TRANSFER(send, SENT, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags))

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(write);
    ssize_t done;
    if (tracked(fd, DATABASE_FILE)) {
        done = write_file(fd, data, size, lseek(fd, 0, SEEK_CUR));
        if (done > 0) lseek(fd, done, SEEK_CUR);
        return done;
    }
    if (!tracked(fd, CONNECTION)) return real(fd, data, size);
    pthread_mutex_lock(&mutex);
    done = noted(fd, SENT, real(fd, data, size), data);
    pthread_mutex_unlock(&mutex);
    return done;
}

/* The server does not use these calls. If that changes, the trace is incomplete: abort. */
#define REFUSED(name, role, parameters, arguments) \
    ssize_t name parameters \
    { \
        REAL(name); \
        if (tracked(fd, role)) abort(); \
        return real arguments; \
    }

REFUSED(recvfrom, CONNECTION,
        (int fd, void *data, size_t size, int flags, struct sockaddr *from, socklen_t *length),
        (fd, data, size, flags, from, length))
REFUSED(recvmsg, CONNECTION, (int fd, struct msghdr *message, int flags), (fd, message, flags))
REFUSED(readv, CONNECTION, (int fd, const struct iovec *parts, int count), (fd, parts, count))
REFUSED(sendto, CONNECTION,
        (int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
         socklen_t length),
        (fd, data, size, flags, to, length))
REFUSED(sendmsg, CONNECTION, (int fd, const struct msghdr *message, int flags),
        (fd, message, flags))

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    REAL(writev);
    if (tracked(fd, CONNECTION) || tracked(fd, DATABASE_FILE)) abort();
    return real(fd, parts, count);
}

static int accepted(int fd)
{
    if (trace >= 0 && fd >= 0 && fd < DESCRIPTORS) {
        pthread_mutex_lock(&mutex);
        descriptors[fd].role = CONNECTION;
        descriptors[fd].id = ((uint64_t)getpid() << 32) + ++connections;
        note(ACCEPT, descriptors[fd].id, 0, "", 0);
        pthread_mutex_unlock(&mutex);
    }
    return fd;
}

int accept(int fd, struct sockaddr *address, socklen_t *length)
{
    REAL(accept);
    return accepted(real(fd, address, length));
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    REAL(accept4);
    return accepted(real(fd, address, length, flags));
}

int ftruncate64(int fd, off64_t size)
{
    REAL(ftruncate64);
    int done;
    if (!tracked(fd, DATABASE_FILE)) return real(fd, size);
    pthread_mutex_lock(&mutex);
    done = real(fd, size);
    if (!done) note(TRUNCATE, descriptors[fd].id, size, "", 0);
    pthread_mutex_unlock(&mutex);
    return done;
}

int ftruncate(int fd, off_t size)
{
    return ftruncate64(fd, size);
}

int unlink(const char *path)
{
    REAL(unlink);
    const char *name = name_of(path);
    int done;
    if (!name) return real(path);
    pthread_mutex_lock(&mutex);
    done = real(path);
    if (!done) note(UNLINK, 0, 0, name, strlen(name));
    pthread_mutex_unlock(&mutex);
    return done;
}

int rename(const char *old, const char *new)
{
    REAL(rename);
    char names[1024];
    const char *name = name_of(new);
    int size, done;
    if (!name) return real(old, new);
    size = snprintf(names, sizeof names, "%s", name) + 1;
    name = name_of(old);
    if (!name) abort();
    size += snprintf(names + size, sizeof names - (size_t)size, "%s", name);
    pthread_mutex_lock(&mutex);
    done = real(old, new);
    if (!done) note(RENAME, 0, 0, names, (size_t)size);
    pthread_mutex_unlock(&mutex);
    return done;
}

/* Other threads may write during a sync. Those writes need not be on the disk at its end. */
static int synced(int fd, int (*real)(int))
{
    uint64_t id;
    int failing, done = -1;
    pthread_mutex_lock(&mutex);
    id = descriptors[fd].id;
    failing = fails(fd, &control->sync_fails_in, &control->syncs_fail, control->sync_error);
    note(failing ? SYNC_FAILED : SYNC_BEGIN, id, 0, "", 0);
    pthread_mutex_unlock(&mutex);
    if (failing) {
        errno = control->sync_error;
        return -1;
    }
    done = real(fd);
    pthread_mutex_lock(&mutex);
    note(done ? SYNC_FAILED : SYNC_END, id, 0, "", 0);
    pthread_mutex_unlock(&mutex);
    return done;
}

int fsync(int fd)
{
    REAL(fsync);
    return tracked(fd, DATABASE_FILE) || tracked(fd, DIRECTORY) ? synced(fd, real) : real(fd);
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    return tracked(fd, DATABASE_FILE) || tracked(fd, DIRECTORY) ? synced(fd, real) : real(fd);
}
