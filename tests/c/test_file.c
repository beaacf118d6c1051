/* Files below a folder, on a real file system: what leads out of it, kinds, forms, old kernels. */
#include "check.h"
#include "service/service.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_openat2
#define SYS_openat2 437
#endif

static char base[] = "/tmp/libwebsockets-file-XXXXXX";
static char root[PATH_MAX];

/* The path of a name beside or below the root, valid until the next call. */
static const char *at(const char *name) {
    static char path[2 * PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", base, name);
    return path;
}

static void put(const char *name, const char *text, int64_t seconds) {
    struct timespec times[2] = {{seconds, 5}, {seconds, 7}};
    int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    CHECK(futimens(fd, times) == 0 && close(fd) == 0);
}

static void build(void) {
    CHECK(mkdtemp(base) != NULL);
    snprintf(root, sizeof root, "%s", at("root"));
    CHECK(mkdir(root, 0777) == 0 && mkdir(at("root/a"), 0777) == 0);
    CHECK(mkdir(at("root/a/b"), 0777) == 0 && mkfifo(at("root/fifo"), 0666) == 0);
    put("out", "out", 1000);
    put("root/a/b/file", "inside", 1000);
    CHECK(symlink("a", at("root/link")) == 0 && symlink("../out", at("root/away")) == 0);
    CHECK(symlink("/etc", at("root/far")) == 0 && symlink("loop", at("root/loop")) == 0);
}

static bool reads(int fd, const char *text) {
    char room[16];
    ssize_t got = fd >= 0 ? read(fd, room, sizeof room) : -1;
    bool same = got == (ssize_t)strlen(text) && memcmp(room, text, strlen(text)) == 0 &&
                fcntl(fd, F_GETFD) == FD_CLOEXEC;

    if (fd >= 0) {
        close(fd);
    }
    return same;
}

/* Everything that both ways have alike; a link inside is followed by one of them only. */
static void check_opening(int (*opened)(int, const char *, int), bool follows) {
    static const struct {
        const char *path;
        int error, other;
    } rows[] = {
        {"..", EXDEV, EXDEV},
        {"../out", EXDEV, EXDEV},
        {"a/../../out", EXDEV, EXDEV},
        {"/etc/passwd", EXDEV, EXDEV},
        {"away", EXDEV, ELOOP},
        {"far/passwd", EXDEV, ENOTDIR},
        {"loop", ELOOP, ELOOP},
        {"missing", ENOENT, ENOENT},
        {"missing/file", ENOENT, ENOENT},
        {"a/b/file/more", ENOTDIR, ENOTDIR},
    };
    static char long_name[PATH_MAX + 10];
    int folder = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC), before = dup(0), after;

    close(before);
    CHECK(reads(opened(folder, "a/b/file", O_RDONLY), "inside"));
    CHECK(reads(opened(folder, "./a/./b/file", O_RDONLY), "inside"));
    after = opened(folder, ".", O_RDONLY);
    CHECK(after >= 0 && close(after) == 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int result = opened(folder, rows[i].path, O_RDONLY);

        CHECK_NAMED(result == -(follows ? rows[i].error : rows[i].other), rows[i].path);
    }
    if (follows) {
        CHECK(reads(opened(folder, "link/b/file", O_RDONLY), "inside"));
    } else {
        CHECK(opened(folder, "link/b/file", O_RDONLY) == -ENOTDIR);
    }
    memset(long_name, 'n', NAME_MAX + 1);
    CHECK(opened(folder, long_name, O_RDONLY) == -ENAMETOOLONG);
    for (size_t i = 0; i < PATH_MAX; i++) {
        long_name[i] = i % 2 ? '/' : '.';
    }
    CHECK(opened(folder, long_name, O_RDONLY) == -ENAMETOOLONG);
    after = dup(0); /* no descriptor is left behind */
    CHECK(after == before);
    close(after);
    close(folder);
}

/* A kernel, or a container, that answers openat2 with an error: in a process of its own. */
static void test_without_openat2(int error) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    pid_t child = fork();
    int status = -1;

    if (child == 0) {
        CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
        CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
        check_opening(lws_open_beneath, false);
        _exit(check_report());
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* Whether a file is opened as expected; its descriptor is closed. */
static bool opens(const char *folder, const char *path, const char *suffixes, unsigned kind,
                  unsigned form, const char *text) {
    struct lws_file file;
    bool good = lws_file_open(folder, path, suffixes, &file) == 0 && file.kind == kind &&
                file.form == form && file.fd >= 0;
    int fd = file.fd;

    if (text) {
        good = good && file.size == strlen(text) && file.inode != 0;
        good = reads(fcntl(fd, F_DUPFD_CLOEXEC, 0), text) && good;
    }
    good = fcntl(fd, F_GETFD) == FD_CLOEXEC && good;
    lws_file_close(&file);
    lws_file_close(&file); /* twice is no error */
    return good && file.fd == -1 && fcntl(fd, F_GETFD) == -1;
}

static void test_kinds(void) {
    struct lws_file file, again;

    CHECK(opens(root, "a/b/file", NULL, LWS_FILE_REGULAR, 0, "inside"));
    CHECK(opens(NULL, at("out"), NULL, LWS_FILE_REGULAR, 0, "out"));
    CHECK(opens(root, ".", ".gz\0", LWS_FILE_FOLDER, 0, NULL));
    CHECK(opens(NULL, root, NULL, LWS_FILE_FOLDER, 0, NULL));
    CHECK(opens(root, "fifo", NULL, LWS_FILE_OTHER, 0, NULL)); /* and does not wait */
    CHECK(opens(NULL, "/dev/null", NULL, LWS_FILE_OTHER, 0, NULL));

    CHECK(lws_file_open(root, "away", NULL, &file) == -EXDEV && file.fd == -1);
    CHECK(file.kind == LWS_FILE_OTHER);
    CHECK(lws_file_open(NULL, at("missing"), NULL, &file) == -ENOENT && file.fd == -1);
    CHECK(lws_file_open(at("missing"), "a", NULL, &file) == -ENOENT && file.fd == -1);
    CHECK(file.kind == LWS_FILE_FOLDER);
    CHECK(lws_file_open(at("out"), "a", NULL, &file) == -ENOTDIR);

    /* The identity is of the content, and of nothing else. */
    CHECK(lws_file_open(root, "a/b/file", NULL, &file) == 0);
    CHECK(lws_file_open(NULL, at("root/link/b/file"), NULL, &again) == 0);
    CHECK(memcmp(&file, &again, LWS_FILE_IDENTITY) == 0 && file.fd != again.fd);
    CHECK(file.mtime_ns == 1000 * (int64_t)1000000000 + 7);
    lws_file_close(&file);
    lws_file_close(&again);
    put("root/a/b/file", "INSIDE", 1001);
    CHECK(lws_file_open(root, "a/b/file", NULL, &again) == 0);
    CHECK(memcmp(&file, &again, LWS_FILE_IDENTITY) != 0);
    lws_file_close(&again);
}

static void test_forms(void) {
    static const char both[] = ".br\0.gz\0";
    static char path[PATH_MAX];

    put("root/page", "page", 1000);
    CHECK(opens(root, "page", both, LWS_FILE_REGULAR, 0, "page"));
    CHECK(opens(root, "page", "", LWS_FILE_REGULAR, 0, "page"));
    put("root/page.gz", "zipped", 999); /* older */
    CHECK(opens(root, "page", both, LWS_FILE_REGULAR, 0, "page"));
    put("root/page.gz", "zipped", 1000);
    CHECK(opens(root, "page", both, LWS_FILE_REGULAR, 2, "zipped"));
    CHECK(opens(NULL, at("root/page"), both, LWS_FILE_REGULAR, 2, "zipped"));
    CHECK(mkdir(at("root/page.br"), 0777) == 0);
    CHECK(opens(root, "page", both, LWS_FILE_REGULAR, 2, "zipped"));
    CHECK(rmdir(at("root/page.br")) == 0 && symlink("../out", at("root/page.br")) == 0);
    CHECK(opens(root, "page", both, LWS_FILE_REGULAR, 2, "zipped"));
    CHECK(unlink(at("root/page.br")) == 0);
    put("root/page.br", "brotli", 1001);
    CHECK(opens(root, "page", both, LWS_FILE_REGULAR, 1, "brotli"));
    CHECK(opens(root, "page", ".gz\0.br\0", LWS_FILE_REGULAR, 1, "zipped"));

    /* A path with which the suffix would be longer than any path. */
    for (size_t i = 0; i < PATH_MAX - 6; i++) {
        path[i] = i % 2 ? '/' : '.';
    }
    strcpy(path + PATH_MAX - 6, "page");
    CHECK(opens(root, path, both, LWS_FILE_REGULAR, 0, "page"));
}

int main(void) {
    char command[sizeof base + 16];

    build();
    check_opening(lws_open_by_steps, false);
    check_opening(lws_open_beneath, true);
    test_without_openat2(ENOSYS);
    test_without_openat2(EPERM);
    test_kinds();
    test_forms();
    snprintf(command, sizeof command, "rm -r %s", base);
    CHECK(system(command) == 0);
    return check_report();
}
