/*
 * The kernel as the core sees it, played by the program that tests it: sockets are byte strings,
 * the clock stands still until it is moved, and any call can be made to fail. The core's objects
 * are linked against it by renaming their undefined symbols (fake_kernel.syms), so that the test's
 * own calls, the sanitizers' and libFuzzer's go to the real one.
 *
 * A descriptor is never used twice, and a call on one that is closed or was never given out ends
 * the program: it is a bug in every program that makes it.
 */
#ifndef FAKE_KERNEL_H
#define FAKE_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_UNLIMITED SIZE_MAX

struct fake_socket {
    int fd;
    bool accepted;
    bool closed; /* by the server */
    bool reset;  /* with SO_LINGER 0 */
    bool shut;   /* no more output */
    bool shut_all;

    uint8_t *in; /* all that the peer sends in its life */
    size_t in_length, in_room;
    size_t arrived; /* of it, so far */
    size_t taken;   /* received by the server */
    bool fin;       /* the peer sends nothing after what has arrived */
    int error;      /* what recv and send say, once; the connection hangs up */
    bool hung_up;

    uint8_t *out; /* all that the server sent */
    size_t out_length, out_room;
    size_t window;    /* bytes that the kernel still takes */
    size_t recv_most; /* in one call */
    size_t send_most;
    bool more; /* the last send said that more would follow */

    bool watched;
    uint32_t interest;
    uint64_t data;
};

/* Calls that can be made to fail. */
enum fake_call {
    FAKE_ACCEPT,
    FAKE_RECV,
    FAKE_SEND, /* sendmsg too */
    FAKE_SENDFILE,
    FAKE_PREAD,
    FAKE_EPOLL_CREATE,
    FAKE_EPOLL_CTL,
    FAKE_EPOLL_WAIT,
    FAKE_TIMERFD,
    FAKE_SHUTDOWN,
    FAKE_ALLOCATE, /* malloc, calloc, realloc */
    FAKE_CALLS
};

/* Forgets everything: no descriptor, no failure planned, the clock at its start. */
void fake_reset(void);

/* A listening socket; connections come to it by fake_connect. */
int fake_listener(void);

/*
 * A peer that has connected and waits to be accepted, with an unlimited window. Valid until
 * fake_reset.
 */
struct fake_socket *fake_connect(void);
struct fake_socket *fake_socket_of(int fd); /* NULL: not a socket */

/* The peer will send these bytes; they arrive with fake_arrive, or at once. */
void fake_peer_will_send(struct fake_socket *peer, const void *bytes, size_t length);
void fake_arrive(struct fake_socket *peer, size_t length);
void fake_peer_sends(struct fake_socket *peer, const void *bytes, size_t length);
void fake_peer_fin(struct fake_socket *peer);
void fake_peer_resets(struct fake_socket *peer, int error);

/* A regular file of size bytes; byte i is fake_file_byte(i). */
int fake_file(uint64_t size);
uint8_t fake_file_byte(uint64_t offset);
/* The test closes a file that the core did not take over. */
void fake_file_done(int fd);

/* A descriptor that the core can only watch. */
int fake_watchable(void);
void fake_make_ready(int fd, uint32_t events);

/* The after-th next call (0: the next) fails, once, with error. Each kind of call has one plan. */
void fake_fail(enum fake_call call, unsigned after, int error);
/* That many calls fail from there on. */
void fake_fail_many(enum fake_call call, unsigned after, unsigned times, int error);
bool fake_fail_pending(enum fake_call call);
void fake_fail_none(void);

/* How often the core made the call. */
unsigned fake_calls(enum fake_call call);

/* Descriptors given out and not closed, the listener's too. */
unsigned fake_open(void);
bool fake_is_open(int fd);

/* What the timer that lws_fileno hands out was last set to, in ns; 0: not set. */
uint64_t fake_timer_ns(void);

void fake_pass_ms(uint64_t ms);
uint64_t fake_now_ms(void);

/* A number that grows with all that happens: bytes moved, descriptors opened or closed, time. */
uint64_t fake_progress(void);

/* The timeout of the last epoll_wait, and how many descriptors it found ready. */
int fake_last_wait(void);
int fake_last_ready(void);

#endif
