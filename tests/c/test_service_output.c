/* The way out: gathered, queued, in pieces, by reference; flow control; who may use a context. */
#include "served.h"

#include "service/private.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Rounds in which the peer's window opens by some bytes each, until there is nothing to send. */
static void trickle(struct fake_socket *peer, uint32_t slot, size_t window) {
    for (unsigned i = 0; i < 100000 && lws_queued(served.context, slot) > 0; i++) {
        peer->window = window;
        served_round(0);
    }
    peer->window = FAKE_UNLIMITED;
    served_round(0);
}

/* Messages of all sizes and kinds, whatever the kernel takes at a time: byte by byte the same. */
static void test_partial(size_t window, size_t send_most) {
    static const size_t lengths[] = {0, 1, 125, 126, 5000, 8190, 8191, 8192, 8193, 65535, 65536};
    struct fake_socket *peer;
    uint8_t *bytes = served_bytes(65536);
    uint32_t slot;

    served_begin(NULL);
    peer = served_upgrade(13, &slot);
    peer->window = window;
    peer->send_most = send_most;
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        CHECK(served_write(slot, bytes, lengths[i], LWS_WRITE_BINARY) == 0);
        CHECK(lws_write_copy(served.context, slot, bytes, lengths[i], LWS_WRITE_BINARY) == 0);
    }
    CHECK(served_say(slot, "ping", LWS_WRITE_PING) == 0);
    served_round(0);
    if (window != FAKE_UNLIMITED) {
        trickle(peer, slot, window);
    }
    for (unsigned i = 0; i < 5; i++) {
        served_round(0);
    }
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        CHECK(served_out_frame(peer, 0x82, bytes, lengths[i]));
        CHECK(served_out_frame(peer, 0x82, bytes, lengths[i]));
    }
    CHECK(served_out_frame(peer, 0x89, "ping", 4));
    CHECK(peer->out_length == 0 && lws_queued(served.context, slot) == 0);
    served_round(0);
    CHECK(fake_last_ready() == 0);
    served_end();
    free(bytes);
}

/* More in a round than the gathering arena holds, by several connections in turn. */
static void test_gather_overflow(void) {
    struct fake_socket *peers[3];
    uint32_t slots[3];
    uint8_t *bytes = served_bytes(8000);
    unsigned sent = 0;

    served_begin(NULL);
    for (unsigned i = 0; i < 3; i++) {
        peers[i] = served_upgrade(13, &slots[i]);
    }
    peers[1]->window = 50000;
    for (unsigned n = 0; n < 100; n++) {
        for (unsigned i = 0; i < 3; i++) {
            size_t length = (n * 37 + i * 101) % 8000;

            CHECK(lws_write_copy(served.context, slots[i], bytes, length, LWS_WRITE_BINARY) == 0);
            sent++;
        }
    }
    served_round(0);
    trickle(peers[1], slots[1], 30000);
    for (unsigned n = 0; n < 100; n++) {
        for (unsigned i = 0; i < 3; i++) {
            CHECK(served_out_frame(peers[i], 0x82, bytes, (n * 37 + i * 101) % 8000));
            sent--;
        }
    }
    CHECK(sent == 0 && peers[0]->out_length + peers[1]->out_length + peers[2]->out_length == 0);
    served_end();
    free(bytes);
}

/* Many small writes that interleave with another connection's: more chunks than one sendmsg has
 * vectors, cut in the first of them and in a later one. */
static void test_vectors(size_t window) {
    struct fake_socket *a, *b;
    uint32_t slot_a, slot_b;
    uint8_t *large = served_bytes(20000);
    char text[8];

    served_begin(NULL);
    a = served_upgrade(13, &slot_a);
    b = served_upgrade(13, &slot_b);
    a->window = window;
    for (unsigned i = 0; i < 200; i++) {
        snprintf(text, sizeof text, "a%u", i);
        CHECK(served_say(slot_a, text, LWS_WRITE_TEXT) == 0);
        CHECK(served_say(slot_b, "b", LWS_WRITE_TEXT) == 0);
    }
    CHECK(served_write(slot_a, large, 20000, LWS_WRITE_BINARY) == 0);
    served_round(0);
    trickle(a, slot_a, window);
    for (unsigned i = 0; i < 200; i++) {
        snprintf(text, sizeof text, "a%u", i);
        CHECK(served_out_frame(a, 0x81, text, strlen(text)));
        CHECK(served_out_frame(b, 0x81, "b", 1));
    }
    CHECK(served_out_frame(a, 0x82, large, 20000));
    CHECK(a->out_length == 0 && b->out_length == 0);
    served_end();
    free(large);
}

static void test_limit(void) {
    struct lws_options options = served_options();
    struct fake_socket *peer;
    uint32_t slot;
    uint8_t *bytes = served_bytes(10001);
    int64_t queued;

    options.max_send_buffer = 10000;
    served_begin(&options);
    peer = served_upgrade(13, &slot);
    peer->window = 0;
    CHECK(served_write(slot, bytes, 10001, LWS_WRITE_BINARY) == LWS_ERROR_FULL);
    CHECK(lws_queued(served.context, slot) == 0);
    CHECK(served_write(slot, bytes, 6000, LWS_WRITE_BINARY) == 0);
    queued = lws_queued(served.context, slot);
    CHECK(queued == 6004);
    CHECK(served_write(slot, bytes, 4000, LWS_WRITE_BINARY) == LWS_ERROR_FULL);
    CHECK(lws_write_copy(served.context, slot, bytes, 4000, LWS_WRITE_BINARY) == LWS_ERROR_FULL);
    CHECK(lws_queued(served.context, slot) == queued);
    served_round(0);
    peer->window = FAKE_UNLIMITED;
    served_round(0);
    CHECK(served_out_frame(peer, 0x82, bytes, 6000) && peer->out_length == 0);
    CHECK(served_write(slot, bytes, 10000, LWS_WRITE_BINARY) == 0);
    served_end();
    free(bytes);
}

static void test_writes(void) {
    struct fake_socket *peer, *old;
    uint32_t slot, slot76, deflated;

    served_begin(NULL);
    peer = served_upgrade(13, &slot);
    old = served_upgrade(76, &slot76);
    CHECK(served_say(slot, "\xff", LWS_WRITE_TEXT) == LWS_ERROR_UTF8);
    CHECK(served_say(slot, "x", 4) == LWS_ERROR_ARGUMENT);
    CHECK(served_say(slot, "x", LWS_WRITE_HTTP) == LWS_ERROR_STATE);
    CHECK(served_say(slot, "x", LWS_WRITE_CONTINUATION) == LWS_ERROR_STATE);
    CHECK(served_say(slot, "x", LWS_WRITE_TEXT | LWS_WRITE_COMPRESSED) == LWS_ERROR_STATE);
    CHECK(served_say(slot, "x", LWS_WRITE_PING | LWS_WRITE_NO_FIN) == LWS_ERROR_ARGUMENT);
    CHECK(served_write(slot, served.arena, 126, LWS_WRITE_PONG) == LWS_ERROR_ARGUMENT);
    CHECK(served_say(99, "x", LWS_WRITE_TEXT) == LWS_ERROR_CLOSED);
    CHECK(served_say(slot76, "x", LWS_WRITE_BINARY) == LWS_ERROR_BINARY76);
    CHECK(served_say(slot76, "x", LWS_WRITE_PING) == LWS_ERROR_BINARY76);
    CHECK(served_say(slot76, "x", LWS_WRITE_TEXT | LWS_WRITE_NO_FIN) == LWS_ERROR_BINARY76);
    CHECK(served_say(slot76, "x", LWS_WRITE_CONTINUATION) == LWS_ERROR_BINARY76);
    CHECK(lws_write_arena(served.context, slot, 11, 1, LWS_WRITE_TEXT) == LWS_ERROR_ARGUMENT);
    CHECK(lws_write_arena(served.context, slot, 12, LWS_ARENA_SIZE - 12, LWS_WRITE_BINARY) ==
          LWS_ERROR_ARGUMENT);
    CHECK(lws_write_arena(served.context, slot, UINT32_MAX, 1, LWS_WRITE_TEXT) ==
          LWS_ERROR_ARGUMENT);
    served_round(0);
    CHECK(peer->out_length == 0 && old->out_length == 0);

    /* A message in fragments: a code point may be cut, a control frame come between, no message. */
    CHECK(served_say(slot, "\xe2\x82", LWS_WRITE_TEXT | LWS_WRITE_NO_FIN) == 0);
    CHECK(served_say(slot, "x", LWS_WRITE_TEXT) == LWS_ERROR_STATE);
    CHECK(served_say(slot, "p", LWS_WRITE_PONG) == 0);
    CHECK(served_say(slot, "x", LWS_WRITE_CONTINUATION) == LWS_ERROR_UTF8);
    CHECK(served_say(slot, "\xac", LWS_WRITE_CONTINUATION) == 0);
    CHECK(served_say(slot, "x", LWS_WRITE_TEXT) == 0);
    served_round(0);
    CHECK(served_out(peer, "\x01\x02\xe2\x82\x8a\x01p\x80\x01\xac\x81\x01x", 13));
    CHECK(served_say(slot76, "x", LWS_WRITE_TEXT) == 0);
    CHECK(served_write(slot76, "y", 1, LWS_WRITE_TEXT) == 0);
    served_round(0);
    CHECK(served_out(old, "\0x\xff\0y\xff", 6));

    /* Compressed, where that was agreed: any bytes, with RSV1. */
    peer = served_connect();
    served_sends(peer, served_handshake(13));
    served_round(0);
    deflated = served_event(LWS_EVENT_REQUEST, 0)->slot;
    CHECK(lws_upgrade(served.context, deflated, NULL, 0, NULL, 0, true) == 0);
    served_round(0);
    served_forget(peer);
    CHECK(served_say(deflated, "\xff", LWS_WRITE_TEXT | LWS_WRITE_COMPRESSED) == 0);
    served_frame(peer, 0xc1, "\xfe", 1);
    served_frame(peer, 0xc2, "\xfd", 1);
    served_round(0);
    CHECK(served_out(peer, "\xc1\x01\xff", 3));
    CHECK(served_is(served_event(LWS_EVENT_COMPRESSED + LWS_EVENT_TEXT, 0), "\xfe", 1));
    CHECK(served_is(served_event(LWS_EVENT_COMPRESSED + LWS_EVENT_BINARY, 0), "\xfd", 1));
    served_end();
}

/* An echo from where the message lies, of each version, to itself and to the others. */
static void test_echo_in_place(void) {
    static const int versions[] = {13, 76};

    for (unsigned from = 0; from < 2; from++) {
        for (unsigned to = 0; to < 2; to++) {
            struct fake_socket *peers[2];
            uint32_t slots[2];
            unsigned n = 0;

            served_begin(NULL);
            for (unsigned i = 0; i < 2; i++) {
                peers[i] = served_upgrade(versions[i], &slots[i]);
            }
            for (unsigned i = 0; i < 3; i++) {
                if (versions[from] == 76) {
                    fake_peer_sends(peers[from], "\0abc\xff", 5);
                } else {
                    served_frame(peers[from], 0x81, "abc", 3);
                }
            }
            served_round(0);
            for (int i = 0; i < served.count; i++, n++) {
                CHECK(served_is(&served.events[i], "abc", 3));
                CHECK(lws_write_arena(served.context, slots[to], served.events[i].offset, 3,
                                      LWS_WRITE_TEXT) == 0);
            }
            served_round(0);
            CHECK(n == 3);
            CHECK(versions[to] == 76 ? served_out(peers[to], "\0abc\xff\0abc\xff\0abc\xff", 15)
                                     : served_out(peers[to],
                                                  "\x81\x03"
                                                  "abc\x81\x03"
                                                  "abc\x81\x03"
                                                  "abc",
                                                  15));
            served_end();
        }
    }
}

static void test_broadcast(void) {
    struct fake_socket *quick, *slow, *old, *open, *full;
    uint32_t slots[5];
    uint8_t *memory = malloc(12 + 5000 + 1), *payload = memory + 12;
    struct lws_options options = served_options();

    options.max_send_buffer = 12000;
    served_begin(&options);
    quick = served_upgrade(13, &slots[0]);
    slow = served_upgrade(8, &slots[1]);
    old = served_upgrade(76, &slots[2]);
    open = served_upgrade(13, &slots[3]);
    full = served_upgrade(13, &slots[4]);
    slow->window = 100;
    full->window = 0;
    memset(payload, 'x', 5000);
    CHECK(served_say(slots[3], "open", LWS_WRITE_TEXT | LWS_WRITE_NO_FIN) == 0);
    CHECK(served_say(slots[0], "before", LWS_WRITE_TEXT) == 0);
    CHECK(served_write(slots[4], payload, 5000, LWS_WRITE_BINARY) == 0);
    CHECK(served_write(slots[4], payload, 5000, LWS_WRITE_BINARY) == 0);
    CHECK(lws_broadcast(served.context, (uintptr_t)payload, 5000, LWS_WRITE_TEXT) == 2);
    memset(payload, 'y', 5000);
    CHECK(lws_queued(served.context, slots[1]) == 4904);
    CHECK(lws_broadcast(served.context, (uintptr_t)payload, 5000, LWS_WRITE_BINARY) == 3);
    CHECK(lws_broadcast(served.context, (uintptr_t)payload, 5000, LWS_WRITE_PING) ==
          LWS_ERROR_ARGUMENT);
    payload[7] = 0xff;
    CHECK(lws_broadcast(served.context, (uintptr_t)payload, 5000, LWS_WRITE_TEXT) ==
          LWS_ERROR_UTF8);
    CHECK(served_say(slots[1], "behind", LWS_WRITE_TEXT) == 0);
    payload[7] = 'y';
    served_round(0);
    trickle(slow, slots[1], 999);
    memset(payload, 'x', 5000);
    CHECK(served_out_frame(quick, 0x81, "before", 6));
    CHECK(served_out_frame(quick, 0x81, payload, 5000));
    CHECK(served_out_frame(slow, 0x81, payload, 5000));
    CHECK(old->out_length == 5002 && old->out[0] == 0 && old->out[5001] == 0xff);
    memset(payload, 'y', 5000);
    CHECK(served_out_frame(quick, 0x82, payload, 5000) && quick->out_length == 0);
    CHECK(served_out_frame(slow, 0x82, payload, 5000));
    CHECK(served_out_frame(slow, 0x81, "behind", 6) && slow->out_length == 0);
    CHECK(served_out(open, "\x01\x04open", 6));

    /* By reference, to several that leave while it waits; one whose memory is out. */
    quick->window = slow->window = 10;
    CHECK(lws_broadcast(served.context, (uintptr_t)payload, 5000, LWS_WRITE_BINARY) == 3);
    CHECK(lws_abort(served.context, slots[0]) == 0);
    fake_fail(FAKE_ALLOCATE, 0, ENOMEM);
    CHECK(lws_broadcast(served.context, (uintptr_t)payload, 1, LWS_WRITE_TEXT) == 1);
    CHECK(slow->closed && slow->reset);
    served_round(0);
    CHECK(served_events(LWS_EVENT_CLOSED) == 2);
    served_end();
    free(memory);
}

static void test_flow(void) {
    struct fake_socket *peer;
    uint8_t *bytes = served_bytes(30000);
    uint32_t slot;

    served_begin(NULL);
    peer = served_upgrade(13, &slot);
    CHECK(lws_rx_flow_control(served.context, slot, false) == 0);
    served_frame(peer, 0x81, "wait", 4);
    served_round(0);
    CHECK(served.count == 0 && fake_last_ready() == 0 && peer->taken < peer->arrived);
    CHECK(lws_rx_flow_control(served.context, slot, true) == 0);
    served_round(0);
    CHECK(served_is(served_event(LWS_EVENT_TEXT, 0), "wait", 4));

    /* What waits undecoded waits too; so does one that is blocked and off at once. */
    for (unsigned i = 0; i < 200; i++) {
        served_frame(peer, 0x81, "m", 1);
    }
    served_round(0);
    CHECK(served_events(LWS_EVENT_TEXT) == 128);
    peer->window = 0;
    CHECK(served_write(slot, bytes, 30000, LWS_WRITE_BINARY) == 0);
    CHECK(lws_rx_flow_control(served.context, slot, false) == 0);
    served_round(0);
    CHECK(served.count == 0);
    peer->window = FAKE_UNLIMITED;
    served_round(0);
    served_round(0);
    CHECK(served.count == 0 && fake_last_ready() == 0);
    CHECK(lws_rx_flow_control(served.context, slot, true) == 0);
    served_round(0);
    CHECK(served_events(LWS_EVENT_TEXT) == 72);

    /* A peer that hangs up is noticed all the same, its last words come first. */
    CHECK(lws_rx_flow_control(served.context, slot, false) == 0);
    served_frame(peer, 0x81, "last", 4);
    fake_peer_fin(peer);
    served_round(0);
    CHECK(served.count == 0);
    fake_peer_resets(peer, ECONNRESET);
    served_round(0);
    CHECK(served_events(LWS_EVENT_CLOSED) == 1);
    CHECK(lws_rx_flow_control(served.context, slot, true) == LWS_ERROR_CLOSED);
    served_end();
    free(bytes);
}

static void test_writable(void) {
    struct fake_socket *peer;
    uint8_t *bytes = served_bytes(30000);
    uint32_t slot;

    served_begin(NULL);
    peer = served_upgrade(13, &slot);
    CHECK(lws_want_writable(served.context, slot) == 0);
    CHECK(lws_want_writable(served.context, slot) == 0);
    served_round(0);
    CHECK(served_events(LWS_EVENT_WRITABLE) == 1);
    served_round(0);
    CHECK(served.count == 0);
    peer->window = 1000;
    CHECK(served_write(slot, bytes, 30000, LWS_WRITE_BINARY) == 0);
    CHECK(lws_want_writable(served.context, slot) == 0);
    served_round(0);
    peer->window = 10000;
    served_round(0);
    CHECK(served.count == 0);
    peer->window = FAKE_UNLIMITED;
    served_round(0);
    served_round(0);
    CHECK(served_events(LWS_EVENT_WRITABLE) == 1);
    /* Not after its end. */
    CHECK(lws_want_writable(served.context, slot) == 0);
    CHECK(lws_close(served.context, slot, 1000, NULL, 0) == 0);
    CHECK(lws_want_writable(served.context, slot) == LWS_ERROR_STATE);
    served_round(0);
    CHECK(served.count == 0);
    served_end();
    free(bytes);
}

static void test_arena(void) {
    struct fake_socket *peer;
    uint8_t *other = malloc(LWS_ARENA_SIZE);
    const struct lws_event *event;

    served_begin(NULL);
    peer = served_upgrade(13, NULL);
    CHECK(lws_set_arena(served.context, other) == 0);
    served_frame(peer, 0x81, "moved", 5);
    served_round(0);
    event = served_event(LWS_EVENT_TEXT, 0);
    CHECK(event && memcmp(other + event->offset, "moved", 5) == 0);
    served_end();
    free(other);
}

static void *from_another_thread(void *number) {
    *(int *)number = lws_service(served.context, 0);
    CHECK(lws_listen(served.context, 0, false) == LWS_ERROR_THREAD);
    return NULL;
}

static void test_owner(void) {
    struct fake_socket *peer;
    pthread_t thread;
    uint32_t slot;
    int found = 0, status = 0;
    pid_t child;

    served_begin(NULL);
    peer = served_upgrade(13, &slot);
    pthread_create(&thread, NULL, from_another_thread, &found);
    pthread_join(thread, NULL);
    CHECK(found == LWS_ERROR_THREAD);
    child = fork();
    if (child == 0) {
        bool right = lws_service(served.context, 0) == LWS_ERROR_PROCESS &&
                     served_say(slot, "x", LWS_WRITE_TEXT) == LWS_ERROR_PROCESS &&
                     lws_abort(served.context, slot) == LWS_ERROR_PROCESS &&
                     lws_stop(served.context) == LWS_ERROR_PROCESS;

        _exit(right ? 0 : 1);
    }
    waitpid(child, &status, 0);
    CHECK(status == 0);
    /* The child had a copy of the descriptor: the connection is shut, not only closed. */
    CHECK(served_say(slot, "here", LWS_WRITE_TEXT) == 0);
    CHECK(lws_abort(served.context, slot) == 0);
    CHECK(peer->closed && peer->shut_all);
    served_end();
}

static void test_watch(void) {
    int fd;

    served_begin(NULL);
    fd = fake_watchable();
    CHECK(lws_watch(served.context, fd, EPOLLIN, 9) == 0);
    fake_make_ready(fd, EPOLLIN);
    served_round(0);
    CHECK(served_event(LWS_EVENT_WATCH, 0)->slot == 9);
    CHECK(served_event(LWS_EVENT_WATCH, 0)->offset == EPOLLIN);
    CHECK(lws_watch(served.context, fd, EPOLLOUT, 10) == 0);
    served_round(0);
    CHECK(served.count == 0);
    CHECK(lws_watch(served.context, fd, 0, 10) == 0);
    CHECK(lws_watch(served.context, fd, 0, 10) == 0);
    fake_fail(FAKE_EPOLL_CTL, 0, ENOMEM);
    CHECK(lws_watch(served.context, fd, EPOLLIN, 10) == -ENOMEM);
    for (unsigned i = 0; i < LWS_WATCHES - 1; i++) {
        CHECK(lws_watch(served.context, fake_watchable(), EPOLLIN, i) == 0);
    }
    CHECK(lws_watch(served.context, fd, EPOLLIN, 10) == -ENOSPC);
    lws_context_destroy(served.context);
    CHECK(fake_open() == LWS_WATCHES); /* they stay the caller's */
    free(served.arena);
}

int main(void) {
    test_partial(FAKE_UNLIMITED, FAKE_UNLIMITED);
    test_partial(FAKE_UNLIMITED, 1000);
    test_partial(3000, 777);
    test_partial(99, FAKE_UNLIMITED);
    test_gather_overflow();
    test_vectors(1);
    test_vectors(100);
    test_vectors(FAKE_UNLIMITED);
    test_limit();
    test_writes();
    test_echo_in_place();
    test_broadcast();
    test_flow();
    test_writable();
    test_arena();
    test_owner();
    test_watch();
    return check_report();
}
