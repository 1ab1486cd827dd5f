/*
 * A disk that fails, a process that dies, and a witness: loaded with LD_PRELOAD in front of the C library.
 *
 * Only calls on paths below one folder are counted. The n-th of them fails with a given error, is cut short, or is the
 * last thing that the process does; or all of them are written down, with what they wrote, in the order in which they
 * happened. Which file a number means is asked of /proc and not kept in a table, so that a renamed file has its new
 * name.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* The numbers of stage.py. */
enum { OFF, COUNT, FAIL, FULL, SHORT, KILL_BEFORE, KILL_AFTER, RECORD };
enum { OPEN = 1, WRITE = 2, SYNC = 4, NAME = 8, SIZE = 16, READ = 32, LOOK = 64 };

static struct {
    int mode, error, kinds, log;
    long nth;
    size_t length;
    char root[PATH_MAX];
    char hit[PATH_MAX + 64];
} armed = {.log = -1};

static atomic_long seen;
static atomic_long room; /* bytes that are left on the disk, once it is full */
static pthread_mutex_t turns = PTHREAD_MUTEX_INITIALIZER;
static __thread bool inner; /* calls of our own are not counted */

struct call {
    const char *name;
    int kind;
    bool inside, mine, locked;
    char path[PATH_MAX];
};

/* The C library's own function of this name. */
#define REAL(result, name, ...)                                     \
    static result (*real)(__VA_ARGS__);                             \
    if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static bool below(const char *path)
{
    return !strncmp(path, armed.root, armed.length) && (path[armed.length] == '/' || !path[armed.length]);
}

static bool linked(int number, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", number);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
    return length > 0;
}

/* An absolute path without ".", ".." and doubled slashes. */
static bool absolute(int folder, const char *given, char *path)
{
    char whole[2 * PATH_MAX] = "", base[PATH_MAX] = "", *rest = NULL;
    size_t length = 0;
    if (!given || strlen(given) >= PATH_MAX) return false;
    if (*given != '/' && !(folder == AT_FDCWD ? getcwd(base, sizeof base) != NULL : linked(folder, base))) return false;
    snprintf(whole, sizeof whole, "%s/%s", base, given);
    path[0] = 0;
    for (char *part = strtok_r(whole, "/", &rest); part; part = strtok_r(NULL, "/", &rest)) {
        if (!strcmp(part, ".")) continue;
        if (!strcmp(part, "..")) {
            while (length && path[--length] != '/') continue;
            path[length] = 0;
            continue;
        }
        if (length + strlen(part) + 2 > PATH_MAX) return false;
        length += (size_t)sprintf(path + length, "/%s", part);
    }
    return true;
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void hit(const struct call *call)
{
    if (!armed.hit[0]) snprintf(armed.hit, sizeof armed.hit, "%s %s", call->name, call->path);
}

/* What stands in front of every call; false: it must fail, and errno says how. */
static bool begin(struct call *call, const char *other)
{
    call->mine = call->locked = false;
    if (!armed.mode || inner || !(call->inside = below(call->path) || (other && below(other)))) {
        call->inside = false;
        return true;
    }
    if (armed.mode == RECORD) {
        pthread_mutex_lock(&turns);
        inner = call->locked = true;
        flock(armed.log, LOCK_EX);
        return true;
    }
    if (!(call->kind & armed.kinds)) return true;
    long number = atomic_fetch_add(&seen, 1) + 1;
    call->mine = armed.mode == FULL ? number >= armed.nth : number == armed.nth;
    if (!call->mine) return true;
    if (armed.mode != FULL) hit(call);
    if (armed.mode == KILL_BEFORE) die();
    errno = armed.error;
    return armed.mode != FAIL;
}

static bool begin_path(struct call *call, const char *name, int kind, int folder, const char *path)
{
    call->name = name;
    call->kind = kind;
    call->inside = false;
    call->path[0] = 0;
    call->mine = call->locked = false;
    if (!armed.mode || inner || !absolute(folder, path, call->path)) return true;
    return begin(call, NULL);
}

static bool begin_number(struct call *call, const char *name, int kind, int number)
{
    call->name = name;
    call->kind = kind;
    call->inside = call->mine = call->locked = false;
    call->path[0] = 0;
    if (!armed.mode || inner || !linked(number, call->path)) return true;
    return begin(call, NULL);
}

static void end(struct call *call)
{
    int error = errno;
    if (call->locked) {
        flock(armed.log, LOCK_UN);
        inner = false;
        pthread_mutex_unlock(&turns);
    }
    if (call->mine && armed.mode == KILL_AFTER) die();
    errno = error;
}

static size_t shorter(const struct call *call, size_t count)
{
    return call->mine && armed.mode == SHORT && count > 1 ? count / 2 : count;
}

/* Take room for a file that is to grow; false: there is not enough, and errno says so. */
static bool grows(const struct call *call, int number, off_t end_of_write)
{
    struct stat found = {0};
    if (!call->mine || armed.mode != FULL || fstat(number, &found)) return true;
    long more = end_of_write - found.st_size;
    if (more <= 0) return true;
    if (atomic_fetch_sub(&room, more) >= more) return true;
    atomic_fetch_add(&room, more);
    hit(call);
    errno = armed.error;
    return false;
}

/* Give back the room of a file that shrinks or goes. */
static void shrinks(const struct call *call, const struct stat *before, off_t after)
{
    bool last = call->kind != NAME || before->st_nlink == 1;
    if (call->mine && armed.mode == FULL && last && before->st_size > after) {
        atomic_fetch_add(&room, before->st_size - after);
    }
}

static void say(const void *content, size_t length)
{
    REAL(ssize_t, write, int, const void *, size_t);
    while (length) {
        ssize_t done = real(armed.log, content, length);
        if (done <= 0) die();
        content = (const char *)content + done;
        length -= (size_t)done;
    }
}

struct __attribute__((packed)) head {
    char what;
    uint64_t file;
    int64_t offset;
    uint32_t path, other, data;
};

static void note(char what, uint64_t file, int64_t offset, const char *path, const char *other)
{
    struct head head = {what, file, offset, (uint32_t)strlen(path), (uint32_t)strlen(other), 0};
    say(&head, sizeof head);
    say(path, head.path);
    say(other, head.other);
}

static uint64_t file_of(int number, mode_t *mode)
{
    struct stat found = {0};
    fstat(number, &found);
    if (mode) *mode = found.st_mode;
    return found.st_ino;
}

static uint64_t file_at(const char *path)
{
    struct stat found = {0};
    return lstat(path, &found) ? 0 : found.st_ino;
}

static void note_write(const struct call *call, int number, off_t offset, const void *content, ssize_t count)
{
    if (!call->locked || count <= 0) return;
    struct head head = {'W', file_of(number, NULL), offset, (uint32_t)strlen(call->path), 0, (uint32_t)count};
    say(&head, sizeof head);
    say(call->path, head.path);
    say(content, (size_t)count);
}

/* Where the last write of so many bytes began; a file opened for appending has moved to its end by then. */
static off_t before(int number, ssize_t count)
{
    return lseek(number, 0, SEEK_CUR) - count;
}

static void note_moved(const struct call *call, int number, off_t offset, ssize_t count)
{
    if (!call->locked || count <= 0) return;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", number);
    char *content = malloc((size_t)count);
    int reader = open(link, O_RDONLY | O_CLOEXEC);
    if (reader < 0 || pread(reader, content, (size_t)count, offset) != count) die();
    close(reader);
    note_write(call, number, offset, content, count);
    free(content);
}

/* What a test says to the shim. */

void fault_disarm(void) { armed.mode = OFF; }

long fault_seen(void) { return atomic_load(&seen); }

const char *fault_hit(void) { return armed.hit; }

int fault_arm(int mode, long nth, int error, int kinds, const char *root, const char *log)
{
    armed.mode = OFF;
    atomic_store(&seen, 0);
    atomic_store(&room, 0);
    armed.hit[0] = 0;
    armed.nth = nth;
    armed.error = error;
    armed.kinds = kinds;
    armed.length = strlen(root);
    if (armed.length >= sizeof armed.root) return -1;
    strcpy(armed.root, root);
    if (mode == RECORD) {
        if (armed.log >= 0) close(armed.log);
        armed.log = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (armed.log < 0) return -1;
    }
    armed.mode = mode;
    return 0;
}

void fault_mark(const char *text)
{
    if (armed.mode != RECORD) return;
    struct call call = {.name = "mark", .inside = true};
    strcpy(call.path, armed.root);
    begin(&call, NULL);
    note('M', 0, 0, text, "");
    end(&call);
}

__attribute__((constructor)) static void from_environment(void)
{
    const char *mode = getenv("FAULT_MODE"), *root = getenv("FAULT_ROOT");
    if (!mode || !root) return;
    const char *nth = getenv("FAULT_NTH"), *error = getenv("FAULT_ERROR"), *kinds = getenv("FAULT_KINDS");
    const char *log = getenv("FAULT_LOG");
    fault_arm(atoi(mode), nth ? atol(nth) : 0, error ? atoi(error) : EIO, kinds ? atoi(kinds) : 31, root, log ? log : "");
}

/* Opening. */

static int kind_of(int flags)
{
    return (flags & (O_CREAT | O_TRUNC | O_DIRECTORY)) || (flags & O_ACCMODE) != O_RDONLY ? OPEN : LOOK;
}

static int opened(struct call *call, int number, bool there, int flags)
{
    if (call->locked && number >= 0) {
        if ((flags & O_CREAT) && !there) note('C', file_of(number, NULL), 0, call->path, "");
        else if (flags & O_TRUNC) note('T', file_of(number, NULL), 0, call->path, "");
    }
    end(call);
    return number;
}

#define OPENED(name, folder, path, flags, ...)                                       \
    struct call call;                                                                \
    mode_t mode = 0;                                                                 \
    if (flags & (O_CREAT | __O_TMPFILE)) {                                           \
        va_list rest;                                                                \
        va_start(rest, flags);                                                       \
        mode = va_arg(rest, mode_t);                                                 \
        va_end(rest);                                                                \
    }                                                                                \
    if (!begin_path(&call, name, kind_of(flags), folder, path)) return -1;           \
    bool there = call.locked && file_at(call.path);                                  \
    return opened(&call, real(__VA_ARGS__, path, flags, mode), there, flags)

int openat(int folder, const char *path, int flags, ...)
{
    REAL(int, openat, int, const char *, int, ...);
    OPENED("open", folder, path, flags, folder);
}

int open(const char *path, int flags, ...)
{
    REAL(int, openat, int, const char *, int, ...);
    OPENED("open", AT_FDCWD, path, flags, AT_FDCWD);
}

int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

/* Writing. */

static off_t length_of(const struct iovec *parts, int count)
{
    off_t length = 0;
    for (int part = 0; part < count; part++) length += (off_t)parts[part].iov_len;
    return length;
}

ssize_t write(int number, const void *content, size_t count)
{
    REAL(ssize_t, write, int, const void *, size_t);
    struct call call;
    if (!begin_number(&call, "write", WRITE, number)) return -1;
    count = shorter(&call, count);
    if (!grows(&call, number, before(number, 0) + (off_t)count)) return -1;
    ssize_t done = real(number, content, count);
    if (call.locked && done > 0) note_write(&call, number, before(number, done), content, done);
    end(&call);
    return done;
}

ssize_t pwrite(int number, const void *content, size_t count, off_t offset)
{
    REAL(ssize_t, pwrite64, int, const void *, size_t, off_t);
    struct call call;
    if (!begin_number(&call, "pwrite", WRITE, number)) return -1;
    count = shorter(&call, count);
    if (!grows(&call, number, offset + (off_t)count)) return -1;
    ssize_t done = real(number, content, count, offset);
    note_write(&call, number, offset, content, done);
    end(&call);
    return done;
}

ssize_t writev(int number, const struct iovec *parts, int count)
{
    REAL(ssize_t, writev, int, const struct iovec *, int);
    struct call call;
    if (!begin_number(&call, "writev", WRITE, number)) return -1;
    count = (int)shorter(&call, (size_t)count);
    if (!grows(&call, number, before(number, 0) + length_of(parts, count))) return -1;
    ssize_t done = real(number, parts, count);
    if (call.locked && done > 0) note_moved(&call, number, before(number, done), done);
    end(&call);
    return done;
}

ssize_t pwritev(int number, const struct iovec *parts, int count, off_t offset)
{
    REAL(ssize_t, pwritev64, int, const struct iovec *, int, off_t);
    struct call call;
    if (!begin_number(&call, "pwritev", WRITE, number)) return -1;
    count = (int)shorter(&call, (size_t)count);
    if (!grows(&call, number, offset + length_of(parts, count))) return -1;
    ssize_t done = real(number, parts, count, offset);
    note_moved(&call, number, offset, done);
    end(&call);
    return done;
}

ssize_t pwritev2(int number, const struct iovec *parts, int count, off_t offset, int flags)
{
    (void)flags;
    return offset == -1 ? writev(number, parts, count) : pwritev(number, parts, count, offset);
}

ssize_t sendfile(int number, int from, off_t *start, size_t count)
{
    REAL(ssize_t, sendfile64, int, int, off_t *, size_t);
    struct call call;
    if (!begin_number(&call, "sendfile", WRITE, number)) return -1;
    count = shorter(&call, count);
    if (!grows(&call, number, before(number, 0) + (off_t)count)) return -1;
    ssize_t done = real(number, from, start, count);
    if (call.locked && done > 0) note_moved(&call, number, before(number, done), done);
    end(&call);
    return done;
}

ssize_t copy_file_range(int from, off64_t *start, int number, off64_t *offset, size_t count, unsigned flags)
{
    REAL(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned);
    struct call call;
    if (!begin_number(&call, "copy_file_range", WRITE, number)) return -1;
    count = shorter(&call, count);
    if (!grows(&call, number, (offset ? *offset : before(number, 0)) + (off_t)count)) return -1;
    ssize_t done = real(from, start, number, offset, count, flags);
    if (call.locked && done > 0) note_moved(&call, number, offset ? *offset - done : before(number, done), done);
    end(&call);
    return done;
}

/* Sizes. */

int ftruncate(int number, off_t length)
{
    REAL(int, ftruncate64, int, off_t);
    struct call call;
    if (!begin_number(&call, "ftruncate", SIZE, number)) return -1;
    struct stat found = {0};
    if (call.mine) fstat(number, &found);
    if (!grows(&call, number, length)) return -1;
    int done = real(number, length);
    if (!done) shrinks(&call, &found, length);
    if (call.locked && !done) note('T', file_of(number, NULL), length, call.path, "");
    end(&call);
    return done;
}

int truncate(const char *path, off_t length)
{
    REAL(int, truncate64, const char *, off_t);
    struct call call;
    if (!begin_path(&call, "truncate", SIZE, AT_FDCWD, path)) return -1;
    int done = real(path, length);
    if (call.locked && !done) note('T', file_at(call.path), length, call.path, "");
    end(&call);
    return done;
}

int posix_fallocate(int number, off_t offset, off_t length)
{
    REAL(int, posix_fallocate64, int, off_t, off_t);
    struct call call;
    struct stat found = {0};
    if (!begin_number(&call, "posix_fallocate", WRITE, number)) return armed.error;
    if (call.locked) fstat(number, &found);
    if (!grows(&call, number, offset + length)) return armed.error;
    int done = real(number, offset, length);
    if (call.locked && !done && offset + length > found.st_size) note('T', found.st_ino, offset + length, call.path, "");
    end(&call);
    return done;
}

/* Making durable. */

static int synced(const char *name, int number, int (*real)(int))
{
    struct call call;
    if (!begin_number(&call, name, SYNC, number)) return -1;
    int done = real(number);
    if (call.locked && !done) {
        mode_t mode;
        uint64_t file = file_of(number, &mode);
        note('S', file, S_ISDIR(mode), call.path, "");
    }
    end(&call);
    return done;
}

int fsync(int number)
{
    REAL(int, fsync, int);
    return synced("fsync", number, real);
}

int fdatasync(int number)
{
    REAL(int, fdatasync, int);
    return synced("fdatasync", number, real);
}

/* Names. */

static int named(char what, int from, const char *old, int to, const char *new, unsigned flags)
{
    REAL(int, renameat2, int, const char *, int, const char *, unsigned);
    static int (*link)(int, const char *, int, const char *, int);
    if (!link) link = (int (*)(int, const char *, int, const char *, int))dlsym(RTLD_NEXT, "linkat");
    struct call call = {.name = what == 'R' ? "rename" : "link", .kind = NAME};
    char path[PATH_MAX] = "";
    uint64_t file = 0;
    if (armed.mode && !inner && absolute(from, old, path) && absolute(to, new, call.path)) {
        if (!begin(&call, path)) return -1;
        if (call.locked) file = file_at(path);
    }
    int done = what == 'R' ? real(from, old, to, new, flags) : link(from, old, to, new, (int)flags);
    if (call.locked && !done) note(what, file, 0, path, call.path);
    end(&call);
    return done;
}

int rename(const char *old, const char *new) { return named('R', AT_FDCWD, old, AT_FDCWD, new, 0); }

int renameat(int from, const char *old, int to, const char *new) { return named('R', from, old, to, new, 0); }

int renameat2(int from, const char *old, int to, const char *new, unsigned flags)
{
    return named('R', from, old, to, new, flags);
}

int link(const char *old, const char *new) { return named('L', AT_FDCWD, old, AT_FDCWD, new, 0); }

int linkat(int from, const char *old, int to, const char *new, int flags)
{
    return named('L', from, old, to, new, (unsigned)flags);
}

int unlinkat(int folder, const char *path, int flags)
{
    REAL(int, unlinkat, int, const char *, int);
    struct call call;
    if (!begin_path(&call, "unlink", NAME, folder, path)) return -1;
    struct stat found = {0};
    if (call.locked || call.mine) lstat(call.path, &found);
    int done = real(folder, path, flags);
    if (!done) shrinks(&call, &found, 0);
    if (call.locked && !done) note('U', found.st_ino, 0, call.path, "");
    end(&call);
    return done;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int folder, const char *path, mode_t mode)
{
    REAL(int, mkdirat, int, const char *, mode_t);
    struct call call;
    if (!begin_path(&call, "mkdir", NAME, folder, path)) return -1;
    int done = real(folder, path, mode);
    if (call.locked && !done) note('D', file_at(call.path), 0, call.path, "");
    end(&call);
    return done;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* Reading and looking, which only ever fail. */

ssize_t read(int number, void *content, size_t count)
{
    REAL(ssize_t, read, int, void *, size_t);
    struct call call;
    if (armed.mode == RECORD || !(armed.kinds & READ)) return real(number, content, count);
    if (!begin_number(&call, "read", READ, number)) return -1;
    ssize_t done = real(number, content, shorter(&call, count));
    end(&call);
    return done;
}

ssize_t pread(int number, void *content, size_t count, off_t offset)
{
    REAL(ssize_t, pread64, int, void *, size_t, off_t);
    struct call call;
    if (armed.mode == RECORD || !(armed.kinds & READ)) return real(number, content, count, offset);
    if (!begin_number(&call, "pread", READ, number)) return -1;
    ssize_t done = real(number, content, shorter(&call, count), offset);
    end(&call);
    return done;
}

void *mmap(void *where, size_t length, int rights, int flags, int number, off_t offset)
{
    REAL(void *, mmap64, void *, size_t, int, int, int, off_t);
    struct call call = {0};
    if (number < 0 || armed.mode == RECORD || !(armed.kinds & READ)) return real(where, length, rights, flags, number, offset);
    if (!begin_number(&call, "mmap", READ, number)) return MAP_FAILED;
    void *done = real(where, length, rights, flags, number, offset);
    end(&call);
    return done;
}

int stat(const char *path, struct stat *found)
{
    REAL(int, stat64, const char *, struct stat *);
    struct call call;
    if (armed.mode == RECORD || !(armed.kinds & LOOK)) return real(path, found);
    if (!begin_path(&call, "stat", LOOK, AT_FDCWD, path)) return -1;
    int done = real(path, found);
    end(&call);
    return done;
}

int fstat(int number, struct stat *found)
{
    REAL(int, fstat64, int, struct stat *);
    struct call call;
    if (armed.mode == RECORD || !(armed.kinds & LOOK)) return real(number, found);
    if (!begin_number(&call, "fstat", LOOK, number)) return -1;
    int done = real(number, found);
    end(&call);
    return done;
}

DIR *opendir(const char *path)
{
    REAL(DIR *, opendir, const char *);
    struct call call;
    if (armed.mode == RECORD || !(armed.kinds & LOOK)) return real(path);
    if (!begin_path(&call, "opendir", LOOK, AT_FDCWD, path)) return NULL;
    DIR *done = real(path);
    end(&call);
    return done;
}

/* Off_t has 64 bits here, so each function with two names is one function. */
int openat64(int, const char *, int, ...) __attribute__((alias("openat")));
int open64(const char *, int, ...) __attribute__((alias("open")));
int creat64(const char *, mode_t) __attribute__((alias("creat")));
ssize_t pwrite64(int, const void *, size_t, off64_t) __attribute__((alias("pwrite")));
ssize_t pwritev64(int, const struct iovec *, int, off64_t) __attribute__((alias("pwritev")));
ssize_t pwritev64v2(int, const struct iovec *, int, off64_t, int) __attribute__((alias("pwritev2")));
ssize_t sendfile64(int, int, off64_t *, size_t) __attribute__((alias("sendfile")));
int ftruncate64(int, off64_t) __attribute__((alias("ftruncate")));
int truncate64(const char *, off64_t) __attribute__((alias("truncate")));
int posix_fallocate64(int, off64_t, off64_t) __attribute__((alias("posix_fallocate")));
ssize_t pread64(int, void *, size_t, off64_t) __attribute__((alias("pread")));
void *mmap64(void *, size_t, int, int, int, off64_t) __attribute__((alias("mmap")));
int stat64(const char *, struct stat64 *) __attribute__((alias("stat")));
int fstat64(int, struct stat64 *) __attribute__((alias("fstat")));
