/* Faults between any two system calls, for a process started with this library in LD_PRELOAD.

   faults_arm(folder, n, mode, seed) lets the n-th change below a folder go wrong:
     KILL    the process dies before it
     TORN    a write is half done, anything else is done, and the process dies
     ENOSPC  it fails, and so does all later growth: the disk is full
     EIO     it fails, once
     EACCES  it fails, and so does all later making, renaming and removing: permission is lost
     POWER   the process dies, and what was not synced is lost: the ends of files, and the latest changes of names

   With n = 0 nothing goes wrong and changes are counted: faults_count(). */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NONE, KILL, TORN, FULL, ERROR, DENIED, POWER };
enum { GROW, NAME, REMOVE, SYNC };

static char root[PATH_MAX], spool[PATH_MAX];
static int armed, mode, gone_wrong;
static long target, count;
static unsigned long random_state;

static struct { char path[PATH_MAX]; off_t synced; } dirty[256];
static int dirty_count;
enum { MADE, RENAMED, REMOVED };
static struct { int what; char from[PATH_MAX], to[PATH_MAX], kept[PATH_MAX]; } names[512];
static int name_count, kept_count;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static unsigned long draw(unsigned long below) {
    random_state ^= random_state << 13; random_state ^= random_state >> 7; random_state ^= random_state << 17;
    return below ? random_state % below : 0;
}

void faults_arm(const char *folder, long n, int how, unsigned long seed) {
    snprintf(root, sizeof root, "%s/", folder);
    snprintf(spool, sizeof spool, "%s.spool", folder);
    REAL(mkdir)(spool, 0755);
    target = n; mode = how; count = 0; gone_wrong = 0; dirty_count = name_count = kept_count = 0;
    random_state = seed * 2654435761UL + 88172645463325252UL;
    armed = 1;
}

long faults_count(void) { return count; }

static int path_of(int folder, const char *name, char *out) {
    if (name && name[0] == '/') snprintf(out, PATH_MAX, "%s", name);
    else {
        char link[64], base[PATH_MAX];
        if (folder == AT_FDCWD) { if (!getcwd(base, sizeof base)) return 0; }
        else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            ssize_t length = readlink(link, base, sizeof base - 1);
            if (length < 0) return 0;
            base[length] = 0;
        }
        if (name) snprintf(out, PATH_MAX, "%.2000s/%.2000s", base, name);
        else snprintf(out, PATH_MAX, "%s", base);
    }
    return strncmp(out, root, strlen(root)) == 0;
}

static void power_cut(void) {
    for (int j = 0; j < dirty_count; j++) {
        struct stat now;
        if (stat(dirty[j].path, &now) || now.st_size <= dirty[j].synced) continue;
        if (REAL(truncate)(dirty[j].path, dirty[j].synced + draw(now.st_size - dirty[j].synced + 1))) continue;
    }
    int lost = draw(name_count + 1);
    for (int j = name_count - 1; j >= name_count - lost; j--) {
        char away[PATH_MAX];
        switch (names[j].what) {
        case MADE:
            snprintf(away, sizeof away, "%.2000s/made%d", spool, j);
            REAL(rename)(names[j].to, away);
            break;
        case RENAMED:
            REAL(rename)(names[j].to, names[j].from);
            if (names[j].kept[0]) REAL(rename)(names[j].kept, names[j].to);
            break;
        case REMOVED:
            if (names[j].kept[0]) REAL(rename)(names[j].kept, names[j].to);
            else REAL(mkdir)(names[j].to, 0755);
        }
    }
}

/* Say whether a change may go on; errno is set if not. A write may be told to tear: 2. */
static int allowed(int kind, const char *path) {
    (void)path;
    if (gone_wrong && mode == FULL && kind == GROW) { errno = ENOSPC; return 0; }
    if (gone_wrong && mode == DENIED && (kind == NAME || kind == REMOVE)) { errno = EACCES; return 0; }
    if (++count != target) return 1;
    switch (mode) {
    case KILL: _exit(137);
    case TORN: return 2;
    case FULL: if (kind == GROW) { gone_wrong = 1; errno = ENOSPC; return 0; } target++; return 1;
    case ERROR: errno = EIO; return 0;
    case DENIED: if (kind == NAME || kind == REMOVE) { gone_wrong = 1; errno = EACCES; return 0; } target++; return 1;
    case POWER: power_cut(); _exit(137);
    }
    return 1;
}

static void keep(const char *path, char *kept) {
    kept[0] = 0;
    struct stat now;
    if (mode != POWER || lstat(path, &now) || S_ISDIR(now.st_mode)) return;
    snprintf(kept, PATH_MAX, "%.2000s/kept%d", spool, kept_count++);
    if (link(path, kept)) kept[0] = 0;
}

static void note(int what, const char *from, const char *to, const char *kept) {
    if (mode != POWER || name_count == 512) return;
    names[name_count].what = what;
    strcpy(names[name_count].from, from); strcpy(names[name_count].to, to); strcpy(names[name_count].kept, kept);
    name_count++;
}

static void wrote(int fd, const char *path) {
    if (mode != POWER || dirty_count == 256) return;
    for (int j = 0; j < dirty_count; j++) if (!strcmp(dirty[j].path, path)) return;
    struct stat now;
    if (fstat(fd, &now)) return;
    strcpy(dirty[dirty_count].path, path);
    dirty[dirty_count++].synced = now.st_size;
}

static void synced(const char *path) {
    for (int j = 0; j < dirty_count; j++)
        if (!strcmp(dirty[j].path, path)) dirty[j--] = dirty[--dirty_count];
    size_t length = strlen(path);
    for (int j = 0; j < name_count; j++) {
        const char *name = names[j].to;
        if (!strncmp(name, path, length) && name[length] == '/' && !strchr(name + length + 1, '/')) {
            memmove(&names[j], &names[j + 1], (name_count - j - 1) * sizeof names[0]);
            name_count--; j--;
        }
    }
}

static void moved(const char *from, const char *to) {
    size_t length = strlen(from);
    for (int j = 0; j < dirty_count; j++)
        if (!strncmp(dirty[j].path, from, length) && (!dirty[j].path[length] || dirty[j].path[length] == '/')) {
            char rest[PATH_MAX];
            strcpy(rest, dirty[j].path + length);
            snprintf(dirty[j].path, PATH_MAX, "%.2000s%.2000s", to, rest);
        }
}

#define DIE_IF_TORN(verdict) do { if ((verdict) == 2) _exit(137); } while (0)

ssize_t write(int fd, const void *data, size_t size) {
    char path[PATH_MAX];
    if (!armed || !path_of(fd, NULL, path)) return REAL(write)(fd, data, size);
    int verdict = allowed(GROW, path);
    if (!verdict) return -1;
    wrote(fd, path);
    ssize_t done = REAL(write)(fd, data, verdict == 2 ? size / 2 : size);
    DIE_IF_TORN(verdict);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    char path[PATH_MAX];
    if (!armed || !path_of(fd, NULL, path)) return REAL(pwrite64)(fd, data, size, at);
    int verdict = allowed(GROW, path);
    if (!verdict) return -1;
    wrote(fd, path);
    ssize_t done = REAL(pwrite64)(fd, data, verdict == 2 ? size / 2 : size, at);
    DIE_IF_TORN(verdict);
    return done;
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t size) {
    static ssize_t (*real)(int, int, off64_t *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "sendfile64");
    char path[PATH_MAX];
    if (!armed || !path_of(out, NULL, path)) return real(out, in, offset, size);
    int verdict = allowed(GROW, path);
    if (!verdict) return -1;
    wrote(out, path);
    ssize_t done = real(out, in, offset, verdict == 2 && size > 1 ? size / 2 : size);
    DIE_IF_TORN(verdict);
    return done;
}

int ftruncate64(int fd, off64_t size) {
    char path[PATH_MAX];
    if (!armed || !path_of(fd, NULL, path)) return REAL(ftruncate64)(fd, size);
    int verdict = allowed(SYNC, path);
    if (!verdict) return -1;
    int done = REAL(ftruncate64)(fd, size);
    DIE_IF_TORN(verdict);
    return done;
}

static int sync_as(int (*real)(int), int fd) {
    char path[PATH_MAX];
    if (!armed || !path_of(fd, NULL, path)) {
        if (armed && !strncmp(path, root, strlen(root) - 1)) synced(path);  /* the folder itself */
        return real(fd);
    }
    int verdict = allowed(SYNC, path);
    if (!verdict) return -1;
    int done = real(fd);
    if (!done) synced(path);
    DIE_IF_TORN(verdict);
    return done;
}

int fsync(int fd) { return sync_as(REAL(fsync), fd); }
int fdatasync(int fd) { return sync_as(REAL(fdatasync), fd); }

static int open_as(int folder, const char *name, int flags, mode_t permissions) {
    char path[PATH_MAX];
    struct stat now;
    if (!armed || !(flags & O_CREAT) || !path_of(folder, name, path) || !stat(path, &now))
        return REAL(openat64)(folder, name, flags, permissions);
    int verdict = allowed(NAME, path);
    if (!verdict) return -1;
    int done = REAL(openat64)(folder, name, flags, permissions);
    if (done >= 0) note(MADE, "", path, "");
    DIE_IF_TORN(verdict);
    return done;
}

#define PERMISSIONS mode_t permissions = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); permissions = va_arg(rest, int); va_end(rest); }

int open(const char *name, int flags, ...) { PERMISSIONS return open_as(AT_FDCWD, name, flags, permissions); }
int open64(const char *name, int flags, ...) { PERMISSIONS return open_as(AT_FDCWD, name, flags | O_LARGEFILE, permissions); }
int openat(int folder, const char *name, int flags, ...) { PERMISSIONS return open_as(folder, name, flags, permissions); }
int openat64(int folder, const char *name, int flags, ...) {
    PERMISSIONS
    if (!armed) return REAL(openat64)(folder, name, flags, permissions);
    return open_as(folder, name, flags, permissions);
}

static int rename_as(int old_folder, const char *old, int new_folder, const char *new) {
    char from[PATH_MAX], to[PATH_MAX], kept[PATH_MAX];
    int inside = armed && path_of(old_folder, old, from);
    inside = armed && path_of(new_folder, new, to) && inside;
    if (!inside) return REAL(renameat)(old_folder, old, new_folder, new);
    int verdict = allowed(NAME, to);
    if (!verdict) return -1;
    keep(to, kept);
    int done = REAL(renameat)(old_folder, old, new_folder, new);
    if (!done) { note(RENAMED, from, to, kept); moved(from, to); }
    DIE_IF_TORN(verdict);
    return done;
}

int rename(const char *old, const char *new) { return rename_as(AT_FDCWD, old, AT_FDCWD, new); }
int renameat(int a, const char *old, int b, const char *new) {
    if (!armed) return REAL(renameat)(a, old, b, new);
    return rename_as(a, old, b, new);
}

static int remove_as(int folder, const char *name, int flags) {
    char path[PATH_MAX], kept[PATH_MAX];
    if (!armed || !path_of(folder, name, path)) return REAL(unlinkat)(folder, name, flags);
    int verdict = allowed(REMOVE, path);
    if (!verdict) return -1;
    keep(path, kept);
    int done = REAL(unlinkat)(folder, name, flags);
    if (!done) note(REMOVED, "", path, kept);
    DIE_IF_TORN(verdict);
    return done;
}

int unlink(const char *name) { return remove_as(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return remove_as(AT_FDCWD, name, AT_REMOVEDIR); }
int unlinkat(int folder, const char *name, int flags) {
    if (!armed) return REAL(unlinkat)(folder, name, flags);
    return remove_as(folder, name, flags);
}

static int mkdir_as(int folder, const char *name, mode_t permissions) {
    char path[PATH_MAX];
    if (!armed || !path_of(folder, name, path)) return REAL(mkdirat)(folder, name, permissions);
    int verdict = allowed(NAME, path);
    if (!verdict) return -1;
    int done = REAL(mkdirat)(folder, name, permissions);
    if (!done) note(MADE, "", path, "");
    DIE_IF_TORN(verdict);
    return done;
}

int mkdir(const char *name, mode_t permissions) { return mkdir_as(AT_FDCWD, name, permissions); }
int mkdirat(int folder, const char *name, mode_t permissions) {
    if (!armed) return REAL(mkdirat)(folder, name, permissions);
    return mkdir_as(folder, name, permissions);
}
