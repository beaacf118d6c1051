/* Files as replies, up to the descriptor: opened below a folder, looked at, their form chosen. */
#define _FILE_OFFSET_BITS 64
#include "service/service.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_openat2
#define SYS_openat2 437
#endif

/* A FIFO must not block the open, nor a terminal become the server's own. */
#define FILE_FLAGS (O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)
#define FOLDER_FLAGS (O_PATH | O_DIRECTORY | O_CLOEXEC)
#define RACES 16 /* a rename happened while ".." was resolved, or a signal came */

/* openat2(2); the headers of the build may be older than the kernel. */
struct how {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};
#define NO_MAGICLINKS 0x02u /* no /proc/PID/fd/... */
#define BENEATH 0x08u

_Static_assert(offsetof(struct lws_file, form) + 1 == LWS_FILE_IDENTITY, "no padding in between");

/* openat, begun anew after a signal. Returns a descriptor or -errno. */
static int open_from(int folder, const char *path, int flags) {
    int fd;

    do {
        fd = openat(folder, path, flags | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

int lws_open_by_steps(int folder, const char *path, int flags) {
    int at = folder;

    if (strlen(path) >= PATH_MAX) {
        return -ENAMETOOLONG;
    }
    for (;;) {
        char name[NAME_MAX + 1];
        size_t length = strcspn(path, "/");
        bool last = path[length] == '\0';
        int next = -EXDEV;

        if (length > NAME_MAX) {
            next = -ENAMETOOLONG;
        } else if (length > 0 && !(length == 2 && memcmp(path, "..", 2) == 0)) {
            memcpy(name, path, length);
            name[length] = '\0';
            next = open_from(at, name, O_NOFOLLOW | (last ? flags : FOLDER_FLAGS));
        }
        if (at != folder) {
            close(at);
        }
        if (next < 0 || last) {
            return next;
        }
        at = next;
        path += length + 1;
    }
}

int lws_open_beneath(int folder, const char *path, int flags) {
    struct how how = {(uint64_t)(unsigned)(flags | O_CLOEXEC), 0, BENEATH | NO_MAGICLINKS};
    int tries = RACES;
    long fd;

    do {
        fd = syscall(SYS_openat2, folder, path, &how, sizeof how);
    } while (fd < 0 && (errno == EAGAIN || errno == EINTR) && --tries);
    if (fd >= 0) {
        return (int)fd;
    }
    /* A kernel before 5.6, or a filter of system calls that does not know it. */
    return errno == ENOSYS || errno == EPERM ? lws_open_by_steps(folder, path, flags) : -errno;
}

/* Since 1970. A file may say that it is of a year that 64 bits of them do not reach: cut there. */
static int64_t nanoseconds(struct timespec time) {
    const int64_t most = INT64_MAX / 1000000000 - 1;
    int64_t seconds = time.tv_sec < -most ? -most : time.tv_sec > most ? most : time.tv_sec;

    return seconds * 1000000000 + time.tv_nsec;
}

/* Fills in what the descriptor is of. Returns 0 or -errno. */
static int look(struct lws_file *file) {
    struct stat status;

    if (fstat(file->fd, &status) != 0) {
        return -errno;
    }
    file->inode = status.st_ino;
    file->size = (uint64_t)status.st_size;
    file->mtime_ns = nanoseconds(status.st_mtim);
    file->kind = S_ISREG(status.st_mode)   ? LWS_FILE_REGULAR
                 : S_ISDIR(status.st_mode) ? LWS_FILE_FOLDER
                                           : LWS_FILE_OTHER;
    return 0;
}

/* The first of the forms beside a file that is there and not older takes its place. */
static void choose_form(int folder, const char *path, const char *suffixes, struct lws_file *file) {
    char name[PATH_MAX];
    size_t length = strlen(path);

    for (unsigned number = 1; *suffixes; number++, suffixes += strlen(suffixes) + 1) {
        struct lws_file other = {.form = (uint8_t)number};

        if (strlen(suffixes) >= sizeof name - length) {
            continue;
        }
        memcpy(name, path, length);
        memcpy(name + length, suffixes, strlen(suffixes) + 1);
        other.fd = folder < 0 ? open_from(AT_FDCWD, name, FILE_FLAGS)
                              : lws_open_beneath(folder, name, FILE_FLAGS);
        if (other.fd < 0) {
            continue; /* there is none, or none that may be read: the file itself is the answer */
        }
        if (look(&other) == 0 && other.kind == LWS_FILE_REGULAR &&
            other.mtime_ns >= file->mtime_ns) {
            close(file->fd);
            *file = other;
            return;
        }
        close(other.fd);
    }
}

int lws_file_open(const char *root, const char *path, const char *suffixes, struct lws_file *file) {
    int folder = -1, error = 0;

    *file = (struct lws_file){.fd = -1, .kind = LWS_FILE_OTHER};
    if (root) {
        folder = open_from(AT_FDCWD, root, FOLDER_FLAGS);
        if (folder < 0) {
            file->kind = LWS_FILE_FOLDER;
            return folder;
        }
        file->fd = lws_open_beneath(folder, path, FILE_FLAGS);
    } else {
        file->fd = open_from(AT_FDCWD, path, FILE_FLAGS);
    }
    if (file->fd < 0) {
        error = file->fd;
        file->fd = -1;
    } else {
        error = look(file);
        if (error) {
            lws_file_close(file);
        } else if (suffixes && file->kind == LWS_FILE_REGULAR && strlen(path) < PATH_MAX) {
            choose_form(folder, path, suffixes, file);
        }
    }
    if (folder >= 0) {
        close(folder);
    }
    return error;
}

void lws_file_close(struct lws_file *file) {
    if (file->fd >= 0) {
        close(file->fd);
        file->fd = -1;
    }
}
