/* faults.c - the calls that can be made to fail. The rest is in faults_torture.c. */
#include "faults.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* --- what is armed --- */

static struct {
    atomic_int fault; /* FAULT__COUNT: none */
    atomic_int mode;
    atomic_long nth, calls, struck;
} armed = {.fault = FAULT__COUNT};

/* A thread's calls count from the first line of its own code on: a sanitizer that prepares it
 * survives no fault. */
static _Thread_local bool is_spared, has_begun;
static atomic_long live;

enum { RANGES_MAX = 16 };
static struct {
    enum fault fault;
    uintptr_t from, to;
} spared[RANGES_MAX];
static atomic_int spared_count;

static const int errnums[FAULT__COUNT] = {
    [FAULT_MEMORY] = ENOMEM,   [FAULT_WRITE] = ENOSPC,    [FAULT_SYNC] = EIO,
    [FAULT_RENAME] = EIO,      [FAULT_CLOSE] = EIO,       [FAULT_OPEN] = EMFILE,
    [FAULT_ACCEPT] = EMFILE,   [FAULT_READ] = EIO,        [FAULT_CONNECT] = ECONNREFUSED,
    [FAULT_RECV] = ECONNRESET, [FAULT_SEND] = ECONNRESET, [FAULT_THREAD] = EAGAIN,
    [FAULT_SPAWN] = EAGAIN,
};

static const char *const names[FAULT__COUNT] = {
    [FAULT_MEMORY] = "memory", [FAULT_WRITE] = "write", [FAULT_SYNC] = "sync",
    [FAULT_RENAME] = "rename", [FAULT_CLOSE] = "close", [FAULT_OPEN] = "open",
    [FAULT_ACCEPT] = "accept", [FAULT_READ] = "read",   [FAULT_CONNECT] = "connect",
    [FAULT_RECV] = "recv",     [FAULT_SEND] = "send",   [FAULT_THREAD] = "thread",
    [FAULT_SPAWN] = "spawn",
};

const char *faults_name(enum fault fault)
{
    return names[fault];
}

static bool comes_from_spared(enum fault fault, const void *caller)
{
    int count = atomic_load(&spared_count);

    for (int i = 0; i < count; i++) {
        if (spared[i].fault == fault && (uintptr_t)caller >= spared[i].from &&
            (uintptr_t)caller < spared[i].to)
            return true;
    }
    return false;
}

static const char *mark; /* SEGUE_FAULTS_MARK */

static bool is_armed(enum fault fault)
{
    return atomic_load(&armed.fault) == (int)fault;
}

/* Leaves the file that says who was struck; false when it is there already. */
static bool leave_mark(void)
{
    bool before = is_spared;
    char text[24];

    is_spared = true; /* we may be inside any call */
    int fd = open(mark, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool left = fd >= 0;
    if (left) {
        int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
        left = write(fd, text, (size_t)len) == len;
        close(fd);
    }
    is_spared = before;
    return left;
}

static bool strikes(enum fault fault, const void *caller)
{
    if (!is_armed(fault) || is_spared || !has_begun || comes_from_spared(fault, caller))
        return false;
    long call = atomic_fetch_add(&armed.calls, 1) + 1, nth = atomic_load(&armed.nth);
    if (nth == 0 || (atomic_load(&armed.mode) == FAULT_ONCE ? call != nth : call < nth))
        return false;
    if (mark && !leave_mark())
        return false;
    atomic_fetch_add(&armed.struck, 1);
    errno = errnums[fault];
    return true;
}

/* A whole program with faults in it: armed from its first call on. */
static void __attribute__((constructor)) arm_by_environment(void)
{
    const char *at = getenv("SEGUE_FAULTS_ARM");
    size_t len = at ? strcspn(at, ":") : 0;

    has_begun = true; /* the first thread */
    mark = getenv("SEGUE_FAULTS_MARK");
    for (int i = 0; at && at[len] == ':' && i < FAULT__COUNT; i++) {
        if (strlen(names[i]) == len && memcmp(names[i], at, len) == 0)
            faults_arm((enum fault)i, FAULT_ONCE, strtol(at + len + 1, NULL, 10));
    }
}

void faults_arm(enum fault fault, enum fault_mode mode, long nth)
{
    atomic_store(&armed.calls, 0);
    atomic_store(&armed.struck, 0);
    atomic_store(&armed.mode, (int)mode);
    atomic_store(&armed.nth, nth);
    atomic_store(&armed.fault, (int)fault);
}

long faults_disarm(void)
{
    atomic_store(&armed.fault, FAULT__COUNT);
    return atomic_load(&armed.struck);
}

long faults_calls(void)
{
    return atomic_load(&armed.calls);
}

void faults_spare_thread(bool spare)
{
    is_spared = spare;
}

struct library {
    const char *prefix;
    enum fault fault;
};

static int note_ranges(struct dl_phdr_info *info, size_t size, void *arg)
{
    const struct library *l = arg;
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *name = slash ? slash + 1 : info->dlpi_name;

    (void)size;
    if (strncmp(name, l->prefix, strlen(l->prefix)) != 0)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        int at = atomic_load(&spared_count);
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X) || at == RANGES_MAX)
            continue;
        spared[at].fault = l->fault;
        spared[at].from = info->dlpi_addr + p->p_vaddr;
        spared[at].to = spared[at].from + p->p_memsz;
        atomic_store(&spared_count, at + 1);
    }
    return 0;
}

void faults_spare_library(const char *prefix, enum fault fault)
{
    struct library l = {prefix, fault};

    dl_iterate_phdr(note_ranges, &l);
}

long faults_live_allocations(void)
{
    return atomic_load(&live);
}

int faults_open_files(void)
{
    bool before = is_spared;
    int count = 0;

    is_spared = true;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    is_spared = before;
    return count - 3; /* "." and ".." and its own */
}

/* --- the next in line: libc, or a sanitizer in front of it --- */

static void *next(void **cache, const char *name)
{
    if (!*cache)
        *cache = dlsym(RTLD_NEXT, name);
    return *cache;
}

#define CALLER __builtin_return_address(0)
#define NEXT(name)                                                                             \
    static void *cache_##name;                                                                 \
    __typeof__(&name) real_##name;                                                             \
    {                                                                                          \
        void *found = next(&cache_##name, #name);                                              \
        memcpy(&real_##name, &found, sizeof real_##name);                                      \
    }
#define FAILS(fault, value)                                                                    \
    if (strikes(fault, CALLER))                                                                \
        return value;

/* --- memory --- */

/* Not looked up: dlsym needs memory itself. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *p);
void *__interceptor_malloc(size_t size) __attribute__((weak));
void *__interceptor_calloc(size_t count, size_t size) __attribute__((weak));
void *__interceptor_realloc(void *old, size_t size) __attribute__((weak));
void *__interceptor_memalign(size_t alignment, size_t size) __attribute__((weak));
void __interceptor_free(void *p) __attribute__((weak));

#define REAL(name) (__interceptor_##name ? __interceptor_##name : __libc_##name)

static void *counted(void *p)
{
    if (p)
        atomic_fetch_add(&live, 1);
    return p;
}

void *malloc(size_t size)
{
    FAILS(FAULT_MEMORY, NULL)
    return counted(REAL(malloc)(size));
}

void *calloc(size_t count, size_t size)
{
    FAILS(FAULT_MEMORY, NULL)
    return counted(REAL(calloc)(count, size));
}

static void *real_realloc(void *old, size_t size)
{
    void *p = REAL(realloc)(old, size);

    if (!old)
        return counted(p);
    if (!p && size == 0)
        atomic_fetch_sub(&live, 1);
    return p;
}

void *realloc(void *old, size_t size)
{
    FAILS(FAULT_MEMORY, NULL)
    return real_realloc(old, size);
}

void *reallocarray(void *old, size_t count, size_t size)
{
    size_t bytes;

    FAILS(FAULT_MEMORY, NULL)
    if (!__builtin_mul_overflow(count, size, &bytes))
        return real_realloc(old, bytes);
    errno = ENOMEM;
    return NULL;
}

void *memalign(size_t alignment, size_t size)
{
    FAILS(FAULT_MEMORY, NULL)
    return counted(REAL(memalign)(alignment, size));
}

void *aligned_alloc(size_t alignment, size_t size)
{
    FAILS(FAULT_MEMORY, NULL)
    return counted(REAL(memalign)(alignment, size));
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
    FAILS(FAULT_MEMORY, ENOMEM)
    void *p = counted(REAL(memalign)(alignment, size));
    if (p)
        *ret = p;
    return p ? 0 : ENOMEM;
}

char *strndup(const char *text, size_t max)
{
    size_t len = strnlen(text, max);

    FAILS(FAULT_MEMORY, NULL)
    char *copy = counted(REAL(malloc)(len + 1));
    if (copy) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

char *strdup(const char *text)
{
    size_t size = strlen(text) + 1;

    FAILS(FAULT_MEMORY, NULL)
    char *copy = counted(REAL(malloc)(size));
    return copy ? memcpy(copy, text, size) : NULL;
}

void free(void *p)
{
    if (!p)
        return;
    atomic_fetch_sub(&live, 1);
    REAL(free)(p);
}

/* --- files --- */

/* A pipe or an eventfd has no disk behind it; and of the log, tests wait for every line. */
static bool is_file(int fd)
{
    struct stat st;

    return fd > STDERR_FILENO && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

#define ON_FILE(fault, failed, result, name, params, args)                                     \
    result name params                                                                         \
    {                                                                                          \
        if (is_armed(fault) && is_file(fd))                                                    \
            FAILS(fault, failed)                                                               \
        NEXT(name) return real_##name args;                                                    \
    }
#define SIMPLE(fault, failed, result, name, params, args)                                      \
    result name params                                                                         \
    {                                                                                          \
        FAILS(fault, failed)                                                                   \
        NEXT(name) return real_##name args;                                                    \
    }

/* clang-format off */
ON_FILE(FAULT_WRITE, -1, ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n))
ON_FILE(FAULT_WRITE, -1, ssize_t, pwrite, (int fd, const void *b, size_t n, off_t at), (fd, b, n, at))
ON_FILE(FAULT_WRITE, -1, ssize_t, pwrite64, (int fd, const void *b, size_t n, off64_t at), (fd, b, n, at))
SIMPLE(FAULT_WRITE, -1, int, ftruncate, (int fd, off_t size), (fd, size))
SIMPLE(FAULT_WRITE, -1, int, ftruncate64, (int fd, off64_t size), (fd, size))
SIMPLE(FAULT_WRITE, -1, int, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode))
SIMPLE(FAULT_SYNC, -1, int, fsync, (int fd), (fd))
SIMPLE(FAULT_SYNC, -1, int, fdatasync, (int fd), (fd))
SIMPLE(FAULT_RENAME, -1, int, rename, (const char *from, const char *to), (from, to))
SIMPLE(FAULT_RENAME, -1, int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
SIMPLE(FAULT_RENAME, -1, int, renameat2, (int a, const char *from, int b, const char *to, unsigned flags), (a, from, b, to, flags))
SIMPLE(FAULT_RENAME, -1, int, link, (const char *from, const char *to), (from, to))
SIMPLE(FAULT_RENAME, -1, int, linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags))
ON_FILE(FAULT_READ, -1, ssize_t, read, (int fd, void *b, size_t n), (fd, b, n))
ON_FILE(FAULT_READ, -1, ssize_t, pread, (int fd, void *b, size_t n, off_t at), (fd, b, n, at))
ON_FILE(FAULT_READ, -1, ssize_t, pread64, (int fd, void *b, size_t n, off64_t at), (fd, b, n, at))
SIMPLE(FAULT_READ, NULL, struct dirent *, readdir, (DIR *dir), (dir))

/* --- descriptors --- */

SIMPLE(FAULT_OPEN, NULL, DIR *, opendir, (const char *path), (path))
SIMPLE(FAULT_OPEN, NULL, DIR *, fdopendir, (int fd), (fd))
SIMPLE(FAULT_OPEN, -1, int, socket, (int domain, int type, int protocol), (domain, type, protocol))
SIMPLE(FAULT_OPEN, -1, int, socketpair, (int domain, int type, int protocol, int fds[2]), (domain, type, protocol, fds))
SIMPLE(FAULT_ACCEPT, -1, int, accept4, (int fd, struct sockaddr *a, socklen_t *len, int flags), (fd, a, len, flags))
SIMPLE(FAULT_ACCEPT, -1, int, accept, (int fd, struct sockaddr *a, socklen_t *len), (fd, a, len))
SIMPLE(FAULT_OPEN, -1, int, pipe2, (int fds[2], int flags), (fds, flags))
SIMPLE(FAULT_OPEN, -1, int, pipe, (int fds[2]), (fds))
SIMPLE(FAULT_OPEN, -1, int, eventfd, (unsigned count, int flags), (count, flags))
SIMPLE(FAULT_OPEN, -1, int, epoll_create1, (int flags), (flags))
SIMPLE(FAULT_OPEN, -1, int, dup, (int fd), (fd))
SIMPLE(FAULT_OPEN, -1, int, memfd_create, (const char *name, unsigned flags), (name, flags))

/* --- links --- */

SIMPLE(FAULT_CONNECT, -1, int, connect, (int fd, const struct sockaddr *a, socklen_t len), (fd, a, len))
SIMPLE(FAULT_RECV, -1, ssize_t, recv, (int fd, void *b, size_t n, int flags), (fd, b, n, flags))
SIMPLE(FAULT_RECV, -1, ssize_t, recvfrom, (int fd, void *b, size_t n, int flags, struct sockaddr *a, socklen_t *len), (fd, b, n, flags, a, len))
SIMPLE(FAULT_RECV, -1, ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags))
SIMPLE(FAULT_SEND, -1, ssize_t, send, (int fd, const void *b, size_t n, int flags), (fd, b, n, flags))
SIMPLE(FAULT_SEND, -1, ssize_t, sendto, (int fd, const void *b, size_t n, int flags, const struct sockaddr *a, socklen_t len), (fd, b, n, flags, a, len))
SIMPLE(FAULT_SEND, -1, ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags))
SIMPLE(FAULT_SEND, -1, ssize_t, writev, (int fd, const struct iovec *v, int count), (fd, v, count))
SIMPLE(FAULT_SEND, -1, ssize_t, sendfile, (int out, int in, off_t *at, size_t n), (out, in, at, n))
SIMPLE(FAULT_SEND, -1, ssize_t, sendfile64, (int out, int in, off64_t *at, size_t n), (out, in, at, n))

/* --- threads and processes --- */

SIMPLE(FAULT_SPAWN, -1, pid_t, fork, (void), ())
SIMPLE(FAULT_SPAWN, EAGAIN, int, posix_spawn, (pid_t *pid, const char *path, const posix_spawn_file_actions_t *files, const posix_spawnattr_t *attr, char *const argv[], char *const env[]), (pid, path, files, attr, argv, env))
/* clang-format on */

struct start {
    void *(*run)(void *arg);
    void *arg;
};

static void *begin(void *arg)
{
    struct start start = *(struct start *)arg;

    REAL(free)(arg);
    has_begun = true;
    void *result = start.run(start.arg);
    has_begun = false;
    return result;
}

int pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*run)(void *arg),
                   void *arg)
{
    FAILS(FAULT_THREAD, EAGAIN)
    NEXT(pthread_create)
    struct start *start = REAL(malloc)(sizeof *start);
    if (!start)
        return EAGAIN;
    *start = (struct start){run, arg};
    int rc = real_pthread_create(ret, attr, begin, start);
    if (rc)
        REAL(free)(start);
    return rc;
}

int close(int fd)
{
    NEXT(close)
    bool failing = strikes(FAULT_CLOSE, CALLER);
    int errnum = errno, rc = real_close(fd);

    if (!failing)
        return rc;
    errno = errnum;
    return -1;
}

/* The third argument is there only with O_CREAT; reading it always does no harm here. */
#define OPENS(name, params, args)                                                              \
    int name params                                                                            \
    {                                                                                          \
        va_list rest;                                                                          \
        va_start(rest, flags);                                                                 \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;              \
        va_end(rest);                                                                          \
        FAILS(FAULT_OPEN, -1)                                                                  \
        NEXT(name) return real_##name args;                                                    \
    }

OPENS(open, (const char *path, int flags, ...), (path, flags, mode))
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode))
OPENS(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode))
OPENS(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode))

/* openat2 has no function of its own. */
long syscall(long number, ...)
{
    long a[6];
    va_list rest;

    va_start(rest, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(rest, long);
    va_end(rest);
    if (number == SYS_openat2)
        FAILS(FAULT_OPEN, -1)
    NEXT(syscall)
    return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
