#include "fake_kernel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <netinet/in.h>
#include <time.h>

#define FIRST 1000 /* descriptors: no real one is that high */
#define START_NS 1000000000000u

enum kind { SOCKET, LISTENER, PLAIN_FILE, EPOLL, TIMER, WATCHABLE };

struct descriptor {
    enum kind kind;
    bool open;
    struct fake_socket *socket;
    uint64_t size; /* PLAIN_FILE */
    uint32_t ready;
    bool watched;
    uint32_t interest;
    uint64_t data;
};

struct plan {
    unsigned after, times;
    int error;
};

static struct descriptor *descriptors;
static unsigned count, room, opened;
static unsigned backlog_first; /* connections from here on wait to be accepted */
static struct plan plans[FAKE_CALLS];
static unsigned calls[FAKE_CALLS];
static uint64_t now_ns = START_NS, timer_ns, progress;
static unsigned turn; /* where epoll begins to look, so that nobody is always last */
static int last_wait, last_ready;

static _Noreturn void bug(const char *what, int fd) {
    fprintf(stderr, "fake kernel: %s: descriptor %d\n", what, fd);
    abort();
}

static int new_descriptor(enum kind kind) {
    if (count == room) {
        room = room ? room * 2 : 16;
        descriptors = realloc(descriptors, room * sizeof *descriptors);
        if (!descriptors) {
            abort();
        }
    }
    descriptors[count] = (struct descriptor){.kind = kind, .open = true};
    opened++;
    progress++;
    return FIRST + (int)count++;
}

static struct descriptor *at(int fd, const char *call) {
    unsigned index = (unsigned)(fd - FIRST);

    if (fd < FIRST || index >= count) {
        bug(call, fd);
    }
    if (!descriptors[index].open) {
        bug(call, fd);
    }
    return &descriptors[index];
}

static struct fake_socket *socket_at(int fd, const char *call) {
    struct descriptor *found = at(fd, call);

    if (found->kind != SOCKET) {
        bug(call, fd);
    }
    return found->socket;
}

/* Counts the call; false: it fails, errno is set. */
static bool goes_well(enum fake_call call) {
    struct plan *plan = &plans[call];

    calls[call]++;
    if (plan->times == 0) {
        return true;
    }
    if (plan->after) {
        plan->after--;
        return true;
    }
    plan->times--;
    errno = plan->error;
    return false;
}

/* ---- what the test says ------------------------------------------------------------------- */

void fake_reset(void) {
    for (unsigned i = 0; i < count; i++) {
        if (descriptors[i].socket) {
            free(descriptors[i].socket->in);
            free(descriptors[i].socket->out);
            free(descriptors[i].socket);
        }
    }
    count = opened = backlog_first = turn = 0;
    memset(plans, 0, sizeof plans);
    memset(calls, 0, sizeof calls);
    now_ns = START_NS;
    timer_ns = progress = 0;
    last_wait = last_ready = 0;
}

int fake_listener(void) {
    return new_descriptor(LISTENER);
}

struct fake_socket *fake_connect(void) {
    struct fake_socket *peer = calloc(1, sizeof *peer);
    int fd = new_descriptor(SOCKET);

    if (!peer) {
        abort();
    }
    opened--; /* the server has it when it is accepted */
    descriptors[fd - FIRST].socket = peer;
    peer->fd = fd;
    peer->window = peer->recv_most = peer->send_most = FAKE_UNLIMITED;
    return peer;
}

struct fake_socket *fake_socket_of(int fd) {
    unsigned index = (unsigned)(fd - FIRST);

    return fd >= FIRST && index < count ? descriptors[index].socket : NULL;
}

void fake_peer_will_send(struct fake_socket *peer, const void *bytes, size_t length) {
    if (!length) {
        return;
    }
    if (peer->in_room - peer->in_length < length) {
        peer->in_room = 2 * (peer->in_length + length);
        peer->in = realloc(peer->in, peer->in_room);
        if (!peer->in) {
            abort();
        }
    }
    memcpy(peer->in + peer->in_length, bytes, length);
    peer->in_length += length;
}

void fake_arrive(struct fake_socket *peer, size_t length) {
    size_t left = peer->in_length - peer->arrived;

    if (!peer->fin) {
        peer->arrived += length < left ? length : left;
    }
}

void fake_peer_sends(struct fake_socket *peer, const void *bytes, size_t length) {
    fake_peer_will_send(peer, bytes, length);
    fake_arrive(peer, FAKE_UNLIMITED);
}

void fake_peer_fin(struct fake_socket *peer) {
    peer->fin = true;
}

void fake_peer_resets(struct fake_socket *peer, int error) {
    peer->error = error;
    peer->hung_up = true;
    peer->taken = peer->arrived; /* what was not read is lost */
}

int fake_file(uint64_t size) {
    int fd = new_descriptor(PLAIN_FILE);

    descriptors[fd - FIRST].size = size;
    return fd;
}

uint8_t fake_file_byte(uint64_t offset) {
    return (uint8_t)(offset * 7 + (offset >> 8) * 31 + 1);
}

void fake_file_done(int fd) {
    at(fd, "fake_file_done")->open = false;
    opened--;
}

int fake_watchable(void) {
    return new_descriptor(WATCHABLE);
}

void fake_make_ready(int fd, uint32_t events) {
    at(fd, "fake_make_ready")->ready = events;
}

void fake_fail_many(enum fake_call call, unsigned after, unsigned times, int error) {
    plans[call] = (struct plan){after, times, error};
}

void fake_fail(enum fake_call call, unsigned after, int error) {
    fake_fail_many(call, after, 1, error);
}

bool fake_fail_pending(enum fake_call call) {
    return plans[call].times != 0;
}

void fake_fail_none(void) {
    memset(plans, 0, sizeof plans);
}

unsigned fake_calls(enum fake_call call) {
    return calls[call];
}

unsigned fake_open(void) {
    return opened;
}

bool fake_is_open(int fd) {
    unsigned index = (unsigned)(fd - FIRST);

    return fd >= FIRST && index < count && descriptors[index].open;
}

uint64_t fake_timer_ns(void) {
    return timer_ns;
}

void fake_pass_ms(uint64_t ms) {
    now_ns += ms * 1000000u;
    progress++;
}

uint64_t fake_now_ms(void) {
    return now_ns / 1000000u;
}

uint64_t fake_progress(void) {
    return progress;
}

int fake_last_wait(void) {
    return last_wait;
}

int fake_last_ready(void) {
    return last_ready;
}

/* ---- what the core calls ------------------------------------------------------------------ */

int fake_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
ssize_t fake_recv(int fd, void *to, size_t size, int flags);
ssize_t fake_send(int fd, const void *bytes, size_t size, int flags);
ssize_t fake_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t fake_sendfile(int fd, int from, off_t *offset, size_t size);
ssize_t fake_pread(int fd, void *to, size_t size, off_t offset);
ssize_t fake_read(int fd, void *to, size_t size);
int fake_close(int fd);
int fake_shutdown(int fd, int how);
int fake_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
int fake_epoll_create1(int flags);
int fake_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int fake_epoll_wait(int epoll, struct epoll_event *events, int most, int timeout);
int fake_timerfd_create(int clock, int flags);
int fake_timerfd_settime(int fd, int flags, const struct itimerspec *to, struct itimerspec *was);
int fake_clock_gettime(clockid_t clock, struct timespec *time);
void *fake_malloc(size_t size);
void *fake_calloc(size_t number, size_t size);
void *fake_realloc(void *memory, size_t size);

int fake_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags) {
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons(40000)};

    if (at(fd, "accept4")->kind != LISTENER || !(flags & SOCK_NONBLOCK) ||
        !(flags & SOCK_CLOEXEC)) {
        bug("accept4", fd);
    }
    if (!goes_well(FAKE_ACCEPT)) {
        return -1;
    }
    for (; backlog_first < count; backlog_first++) {
        struct fake_socket *peer = descriptors[backlog_first].socket;

        if (!peer) {
            continue;
        }
        backlog_first++;
        peer->accepted = true;
        opened++;
        progress++;
        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        memcpy(address, &from, *size < sizeof from ? *size : sizeof from);
        *size = sizeof from;
        return peer->fd;
    }
    errno = EAGAIN;
    return -1;
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* The error of a connection that was reset, once. */
static bool was_reset(struct fake_socket *peer) {
    if (!peer->error) {
        return false;
    }
    errno = peer->error;
    peer->error = 0;
    progress++;
    return true;
}

ssize_t fake_recv(int fd, void *to, size_t size, int flags) {
    struct fake_socket *peer = socket_at(fd, "recv");
    size_t got = least(least(size, peer->arrived - peer->taken), peer->recv_most);

    if (!goes_well(FAKE_RECV) || was_reset(peer)) {
        return -1;
    }
    if (got == 0) {
        if (size == 0 || peer->fin || peer->hung_up || peer->shut_all) {
            return 0;
        }
        errno = EAGAIN;
        return -1;
    }
    if (flags & MSG_TRUNC) {
        memset(to, 0xdd,
               least(size, 64)); /* tcp(7): discarded, the buffer's content is undefined */
    } else {
        memcpy(to, peer->in + peer->taken, got);
    }
    peer->taken += got;
    progress++;
    return (ssize_t)got;
}

/* What a send may take now, or -1 with errno. */
static ssize_t admit(struct fake_socket *peer, size_t size) {
    if (was_reset(peer)) {
        return -1;
    }
    if (peer->shut || peer->hung_up) {
        errno = EPIPE;
        return -1;
    }
    if (peer->window == 0 && size) {
        errno = EAGAIN;
        return -1;
    }
    return (ssize_t)least(least(size, peer->window), peer->send_most);
}

static uint8_t *sent(struct fake_socket *peer, size_t size) {
    if (peer->out_room - peer->out_length < size) {
        peer->out_room = 2 * (peer->out_length + size);
        peer->out = realloc(peer->out, peer->out_room);
        if (!peer->out) {
            abort();
        }
    }
    peer->out_length += size;
    if (peer->window != FAKE_UNLIMITED) {
        peer->window -= size;
    }
    progress += size != 0;
    return peer->out + peer->out_length - size;
}

ssize_t fake_sendmsg(int fd, const struct msghdr *message, int flags) {
    struct fake_socket *peer = socket_at(fd, "sendmsg");
    size_t total = 0, left;
    ssize_t took;

    if (!(flags & MSG_NOSIGNAL)) {
        bug("sendmsg without MSG_NOSIGNAL", fd);
    }
    if (message->msg_iovlen > 1024) {
        bug("sendmsg with too many vectors", fd);
    }
    for (size_t i = 0; i < message->msg_iovlen; i++) {
        total += message->msg_iov[i].iov_len;
    }
    if (!goes_well(FAKE_SEND)) {
        return -1;
    }
    took = admit(peer, total);
    if (took <= 0) {
        return took;
    }
    left = (size_t)took;
    peer->more = (flags & MSG_MORE) != 0;
    for (size_t i = 0; left; i++) {
        size_t size = least(message->msg_iov[i].iov_len, left);

        if (size) {
            memcpy(sent(peer, size), message->msg_iov[i].iov_base, size);
        }
        left -= size;
    }
    return took;
}

ssize_t fake_send(int fd, const void *bytes, size_t size, int flags) {
    struct iovec vector = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};

    return fake_sendmsg(fd, &message, flags);
}

ssize_t fake_sendfile(int fd, int from, off_t *offset, size_t size) {
    struct fake_socket *peer = socket_at(fd, "sendfile");
    struct descriptor *file = at(from, "sendfile");
    uint64_t first = (uint64_t)*offset;
    uint64_t there = first < file->size ? file->size - first : 0;
    uint8_t *to;
    ssize_t took;

    if (file->kind != PLAIN_FILE) {
        bug("sendfile from no file", from);
    }
    if (!goes_well(FAKE_SENDFILE)) {
        return -1;
    }
    took = admit(peer, size < there ? size : (size_t)there);
    if (took <= 0) {
        return took;
    }
    to = sent(peer, (size_t)took);
    peer->more = false;
    for (ssize_t i = 0; i < took; i++) {
        to[i] = fake_file_byte(first + (uint64_t)i);
    }
    *offset += took;
    return took;
}

ssize_t fake_pread(int fd, void *to, size_t size, off_t offset) {
    struct descriptor *file = at(fd, "pread");
    uint64_t first = (uint64_t)offset;
    uint64_t there = first < file->size ? file->size - first : 0;
    size_t got = size < there ? size : (size_t)there;

    if (file->kind != PLAIN_FILE) {
        bug("pread from no file", fd);
    }
    if (!goes_well(FAKE_PREAD)) {
        return -1;
    }
    got = got > 100 ? got / 2 : got;
    for (size_t i = 0; i < got; i++) {
        ((uint8_t *)to)[i] = fake_file_byte(first + i);
    }
    return (ssize_t)got;
}

ssize_t fake_read(int fd, void *to, size_t size) {
    uint64_t expired = 1;

    if (at(fd, "read")->kind != TIMER || size != sizeof expired) {
        bug("read", fd);
    }
    at(fd, "read")->ready = 0;
    memcpy(to, &expired, sizeof expired);
    return sizeof expired;
}

int fake_close(int fd) {
    struct descriptor *closed = at(fd, "close");

    closed->open = false;
    closed->watched = false;
    opened--;
    progress++;
    if (closed->socket) {
        closed->socket->closed = true;
        closed->socket->watched = false;
    }
    return 0;
}

int fake_shutdown(int fd, int how) {
    struct fake_socket *peer = socket_at(fd, "shutdown");

    if (!goes_well(FAKE_SHUTDOWN)) {
        return -1;
    }
    if (peer->hung_up) {
        errno = ENOTCONN;
        return -1;
    }
    peer->shut = true;
    peer->shut_all = peer->shut_all || how == SHUT_RDWR;
    progress++;
    return 0;
}

int fake_setsockopt(int fd, int level, int name, const void *value, socklen_t size) {
    (void)size;
    if (level == SOL_SOCKET && name == SO_LINGER) {
        const struct linger *linger = value;

        socket_at(fd, "setsockopt")->reset = linger->l_onoff && linger->l_linger == 0;
    } else {
        at(fd, "setsockopt");
    }
    return 0;
}

int fake_epoll_create1(int flags) {
    if (!(flags & EPOLL_CLOEXEC)) {
        bug("epoll_create1 without EPOLL_CLOEXEC", 0);
    }
    return goes_well(FAKE_EPOLL_CREATE) ? new_descriptor(EPOLL) : -1;
}

int fake_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
    struct descriptor *of = at(fd, "epoll_ctl");

    if (at(epoll, "epoll_ctl")->kind != EPOLL) {
        bug("epoll_ctl", epoll);
    }
    if (of->watched == (operation == EPOLL_CTL_ADD)) {
        bug("epoll_ctl on what is watched already, or is not", fd);
    }
    if (operation != EPOLL_CTL_DEL && !goes_well(FAKE_EPOLL_CTL)) {
        return -1;
    }
    progress++;
    of->watched = operation != EPOLL_CTL_DEL;
    if (of->watched) {
        of->interest = event->events;
        of->data = event->data.u64;
    }
    if (of->socket) {
        of->socket->watched = of->watched;
        of->socket->interest = of->interest;
    }
    return 0;
}

/* epoll(7), and what tcp_poll says. */
static uint32_t ready_of(const struct descriptor *of) {
    const struct fake_socket *peer = of->socket;
    uint32_t found = of->ready;

    if (of->kind == LISTENER) {
        for (unsigned i = backlog_first; i < count; i++) {
            found |= descriptors[i].socket ? (uint32_t)EPOLLIN : 0u;
        }
    } else if (peer) {
        if (peer->taken < peer->arrived || peer->fin || peer->hung_up || peer->shut_all) {
            found |= EPOLLIN;
        }
        if (peer->window || peer->shut || peer->hung_up) {
            found |= EPOLLOUT;
        }
        if (peer->error) {
            found |= EPOLLERR;
        }
        if (peer->hung_up || peer->shut_all || (peer->shut && peer->fin)) {
            found |= EPOLLHUP;
        }
    }
    return found & (of->interest | EPOLLERR | EPOLLHUP);
}

int fake_epoll_wait(int epoll, struct epoll_event *events, int most, int timeout) {
    int found = 0;
    unsigned i;

    if (at(epoll, "epoll_wait")->kind != EPOLL || most <= 0) {
        bug("epoll_wait", epoll);
    }
    last_wait = timeout;
    last_ready = 0;
    if (!goes_well(FAKE_EPOLL_WAIT)) {
        return -1;
    }
    for (i = 0; i < count && found < most; i++) {
        struct descriptor *of = &descriptors[(turn + i) % count];
        uint32_t ready = of->open && of->watched ? ready_of(of) : 0;

        if (ready) {
            events[found].events = ready;
            events[found++].data.u64 = of->data;
        }
    }
    turn = count ? (turn + i) % count : 0;
    last_ready = found;
    if (!found && timeout > 0) {
        fake_pass_ms((uint64_t)timeout);
    }
    return found;
}

int fake_timerfd_create(int clock, int flags) {
    if (clock != CLOCK_MONOTONIC || !(flags & TFD_CLOEXEC) || !(flags & TFD_NONBLOCK)) {
        bug("timerfd_create", 0);
    }
    return goes_well(FAKE_TIMERFD) ? new_descriptor(TIMER) : -1;
}

int fake_timerfd_settime(int fd, int flags, const struct itimerspec *to, struct itimerspec *was) {
    (void)was;
    if (at(fd, "timerfd_settime")->kind != TIMER || flags) {
        bug("timerfd_settime", fd);
    }
    timer_ns = (uint64_t)to->it_value.tv_sec * 1000000000u + (uint64_t)to->it_value.tv_nsec;
    return 0;
}

int fake_clock_gettime(clockid_t clock, struct timespec *time) {
    if (clock != CLOCK_MONOTONIC) {
        bug("clock_gettime of a clock that can be set", 0);
    }
    time->tv_sec = (time_t)(now_ns / 1000000000u);
    time->tv_nsec = (long)(now_ns % 1000000000u);
    return 0;
}

void *fake_malloc(size_t size) {
    return goes_well(FAKE_ALLOCATE) ? malloc(size) : NULL;
}

void *fake_calloc(size_t number, size_t size) {
    return goes_well(FAKE_ALLOCATE) ? calloc(number, size) : NULL;
}

void *fake_realloc(void *memory, size_t size) {
    return goes_well(FAKE_ALLOCATE) ? realloc(memory, size) : NULL;
}
