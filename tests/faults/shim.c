/*
 * Preloaded into a server: makes the n-th of one kind of call fail, or fall short. What and when is
 * in a file that the test maps and changes while the server runs (struct control, faults.py).
 *
 * Of malloc and the calls of the round only those count that the extension module makes: the
 * interpreter's own are not what is tested.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum call {
    NONE,
    ACCEPT4,
    RECV,
    SEND,
    SENDMSG,
    SENDFILE,
    EPOLL_WAIT,
    EPOLL_CTL,
    MALLOC,
    REALLOC,
    SETUID,
    SETGID,
    SETGROUPS,
    FORK,
    LISTEN,
    CALLS
};

struct control {
    volatile uint32_t call;  /* enum call */
    volatile uint32_t after; /* how many go well before */
    volatile uint32_t times; /* how many fail then */
    volatile int32_t error;  /* errno; 0: falls short, of bytes, by all but one */
    volatile uint32_t fired;
    volatile uint32_t counts[CALLS];
};

static struct control *control;
static uintptr_t module_begin, module_end;

__attribute__((constructor)) static void map_control(void) {
    const char *path = getenv("LWS_FAULT_CONTROL");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *memory;

    if (fd < 0) {
        return;
    }
    memory = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (memory != MAP_FAILED) {
        control = memory;
    }
}

static int find_module(struct dl_phdr_info *info, size_t size, void *unused) {
    (void)size;
    (void)unused;
    if (!strstr(info->dlpi_name, "libwebsockets/_core")) {
        return 0;
    }
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];

        if (part->p_type == PT_LOAD && part->p_flags & PF_X) {
            module_begin = info->dlpi_addr + part->p_vaddr;
            module_end = module_begin + part->p_memsz;
        }
    }
    return 1;
}

static bool is_module(const void *caller) {
    if (!module_end) {
        dl_iterate_phdr(find_module, NULL);
    }
    return (uintptr_t)caller >= module_begin && (uintptr_t)caller < module_end;
}

/* Whether this call is to fail: errno is set, or *is_short. */
static bool fails(enum call call, const void *caller, bool *is_short) {
    if (!control || control->call != call || (caller && !is_module(caller))) {
        return false;
    }
    control->counts[call]++;
    if (control->times == 0) {
        return false;
    }
    if (control->after) {
        control->after--;
        return false;
    }
    control->times--;
    control->fired++;
    if (control->error == 0 && is_short) {
        *is_short = true;
        return false;
    }
    errno = control->error;
    return true;
}

#define CALLER __builtin_return_address(0)
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags) {
    return fails(ACCEPT4, CALLER, NULL) ? -1 : REAL(accept4)(fd, address, size, flags);
}

ssize_t recv(int fd, void *to, size_t size, int flags) {
    bool is_short = false;

    if (fails(RECV, CALLER, &is_short)) {
        return -1;
    }
    return REAL(recv)(fd, to, is_short && size ? 1 : size, flags);
}

ssize_t send(int fd, const void *bytes, size_t size, int flags) {
    bool is_short = false;

    if (fails(SEND, CALLER, &is_short)) {
        return -1;
    }
    return REAL(send)(fd, bytes, is_short && size ? 1 : size, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    bool is_short = false;

    if (fails(SENDMSG, CALLER, &is_short)) {
        return -1;
    }
    if (is_short && message->msg_iovlen && message->msg_iov[0].iov_len) {
        return REAL(send)(fd, message->msg_iov[0].iov_base, 1, flags);
    }
    return REAL(sendmsg)(fd, message, flags);
}

ssize_t sendfile(int fd, int from, off_t *offset, size_t size) {
    bool is_short = false;

    if (fails(SENDFILE, CALLER, &is_short)) {
        return -1;
    }
    return REAL(sendfile)(fd, from, offset, is_short && size ? 1 : size);
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout) {
    bool is_short = false;

    if (fails(EPOLL_WAIT, CALLER, &is_short)) {
        return -1;
    }
    return REAL(epoll_wait)(epoll, events, is_short ? 1 : most, timeout);
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
    return fails(EPOLL_CTL, CALLER, NULL) ? -1 : REAL(epoll_ctl)(epoll, operation, fd, event);
}

/* By their inner names: dlsym itself may allocate. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t number, size_t size);
void *__libc_realloc(void *memory, size_t size);

void *malloc(size_t size) {
    return fails(MALLOC, CALLER, NULL) ? NULL : __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    return fails(MALLOC, CALLER, NULL) ? NULL : __libc_calloc(number, size);
}

void *realloc(void *memory, size_t size) {
    return fails(REALLOC, CALLER, NULL) ? NULL : __libc_realloc(memory, size);
}

int setuid(uid_t uid) {
    return fails(SETUID, NULL, NULL) ? -1 : REAL(setuid)(uid);
}

int setgid(gid_t gid) {
    return fails(SETGID, NULL, NULL) ? -1 : REAL(setgid)(gid);
}

int setgroups(size_t size, const gid_t *groups) {
    return fails(SETGROUPS, NULL, NULL)
               ? -1
               : ((int (*)(size_t, const gid_t *))dlsym(RTLD_NEXT, "setgroups"))(size, groups);
}

int listen(int fd, int backlog) {
    return fails(LISTEN, NULL, NULL) ? -1 : REAL(listen)(fd, backlog);
}

pid_t fork(void) {
    return fails(FORK, NULL, NULL) ? -1 : REAL(fork)();
}
