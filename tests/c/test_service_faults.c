/* When calls fail: no crash, no leak, nothing stuck, and the others do not notice. */
#include "served.h"

#include "service/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- a connection that dies while room is made for its last words --------------------------- */

/*
 * Clients' pings whose answers fill the arena that output is gathered in but for the last few
 * bytes; the last client's own are among them, so that making room for its next frame sends to it.
 */
static struct fake_socket *fill_gather(unsigned clients, struct fake_socket **peers) {
    static const uint8_t ping[125] = {0};
    uint32_t used = 0, chunk = 0;

    for (unsigned i = 0; i < clients; i++) {
        used = (used + 7u) & ~7u;
        chunk = (uint32_t)(2 * sizeof(uint32_t));
        /* One share of input each: 131 bytes give 127 of output. */
        for (unsigned n = 0; n < LWS_SHARE_BYTES / 131 - 1; n++) {
            uint32_t left = LWS_GATHER_SIZE - used - chunk;
            uint32_t length = left >= 2 * 127 ? 125 : left >= 127 + 3 ? 60 : left - 2 - 3;

            if (left <= 5) {
                break;
            }
            served_frame(peers[i], 0x89, ping, length);
            chunk += 2 + length;
        }
        used += chunk;
        if (LWS_GATHER_SIZE - used <= 5) {
            return peers[i];
        }
    }
    abort();
}

static void test_death_in_flush(int what) {
    struct lws_options options = served_options();
    struct fake_socket *peers[8], *last;
    uint32_t slots[8];
    unsigned ends = 0;

    options.ping_interval = what == 2 ? 50 : 0;
    served_begin(&options);
    for (unsigned i = 0; i < 8; i++) {
        peers[i] = served_upgrade(LWS_VERSION_RFC6455, &slots[i]);
    }
    last = fill_gather(8, peers);
    if (what == 0) {
        served_frame(last, 0x83, "", 0); /* a fault: Close 1002 is due */
    } else if (what == 1) {
        served_frame(last, 0x88, "\x03\xe8", 2); /* the peer's Close: its echo is due */
    } else {
        fake_pass_ms(60); /* silence over there: our ping is due */
    }
    /* It has gone meanwhile. Those before it in the list of sends are well. */
    last->error = 0;
    for (unsigned i = 0; i < 8; i++) {
        if (peers[i] == last) {
            fake_fail(FAKE_SEND, i, ECONNRESET);
        }
    }
    for (unsigned rounds = 0; rounds < 6; rounds++) {
        served_round(0);
        ends += served_events(LWS_EVENT_CLOSED);
        if (rounds == 0) {
            CHECK(!fake_fail_pending(FAKE_SEND));
        }
    }
    CHECK(ends == 1);
    CHECK(last->closed);
    CHECK(lws_connections(served.context) == 7);
    /* The slot is free for another one, once. */
    served_upgrade(LWS_VERSION_RFC6455, NULL);
    served_upgrade(LWS_VERSION_RFC6455, NULL);
    CHECK(lws_connections(served.context) == 9);
    served_end();
}

/* ---- what could never end ---------------------------------------------------------------------
 */

static void test_empty_segment(void) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
    struct fake_socket *peer;
    uint32_t slot;

    served_begin(NULL);
    peer = served_connect();
    served_sends(peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    served_round(0);
    slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
    CHECK(served_say(slot, head, LWS_WRITE_HTTP) == 0);
    CHECK(lws_send_file(served.context, slot, fake_file(100000), 0, 100000) == 0);
    /* A body whose last part is empty. */
    CHECK(served_say(slot, "", LWS_WRITE_HTTP) == 0);
    CHECK(served_write(slot, "", 0, LWS_WRITE_HTTP) == 0);
    CHECK(lws_reply_end(served.context, slot, true) == 0);
    served_round(0);
    served_round(0);
    CHECK(peer->out_length == strlen(head) + 100000);
    served_round(0);
    CHECK(fake_last_ready() == 0);
    served_sends(peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    served_round(0);
    CHECK(served_event(LWS_EVENT_REQUEST, 0) != NULL);
    lws_refuse(served.context, slot, 404, true);
    served_end();
}

/* A handshake that is refused for what the application adds gives its room back, in the queue too.
 */
static void test_empty_trim(void) {
    struct fake_socket *peer;
    uint32_t slot;

    served_begin(NULL);
    peer = served_connect();
    served_sends(peer, served_handshake(13));
    served_round(0);
    slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
    peer->window = 0;
    CHECK(lws_send_file(served.context, slot, fake_file(20000), 0, 20000) == 0);
    CHECK(lws_upgrade(served.context, slot, "a\nb", 3, NULL, 0, false) == LWS_ERROR_ARGUMENT);
    CHECK(lws_reply_end(served.context, slot, false) == 0);
    served_round(0);
    peer->window = FAKE_UNLIMITED;
    served_round(0);
    CHECK(peer->out_length == 20000 && peer->shut);
    CHECK(lws_queued(served.context, slot) == 0);
    served_end();
}

/* Without a watch that fits a connection would wait for ever; it ends instead. */
static void test_interest_fails(void) {
    struct fake_socket *peer, *other;
    uint32_t slot;
    uint8_t *bytes = served_bytes(100000);
    unsigned ends = 0;

    served_begin(NULL);
    other = served_upgrade(13, NULL);
    peer = served_upgrade(13, &slot);
    peer->window = 1000;
    fake_fail(FAKE_EPOLL_CTL, 0, ENOMEM);
    CHECK(served_write(slot, bytes, 100000, LWS_WRITE_BINARY) == 0);
    CHECK(!fake_fail_pending(FAKE_EPOLL_CTL));
    for (unsigned i = 0; i < 4; i++) {
        served_round(0);
        ends += served_events(LWS_EVENT_CLOSED);
    }
    CHECK(ends == 1 && peer->closed && !other->closed);
    served_end();
    free(bytes);
}

/* EMFILE: accepting rests for 100 ms, and a watch that cannot be set then is set later. */
static void test_emfile(void) {
    struct fake_socket *peer;

    served_begin(NULL);
    fake_fail(FAKE_ACCEPT, 0, EMFILE);
    peer = fake_connect();
    served_round(0);
    CHECK(served_event(LWS_EVENT_FAULT, 0)->offset == LWS_FAULT_ACCEPT_EMFILE && !peer->accepted);
    served_round(0);
    CHECK(served.count == 0 && fake_last_ready() == 0); /* no spinning on the listener */
    fake_fail(FAKE_EPOLL_CTL, 0, ENOMEM);
    served_round(-1);
    CHECK(fake_last_wait() > 0 && fake_last_wait() <= 100);
    for (unsigned i = 0; i < 4 && !peer->accepted; i++) {
        served_round(-1);
    }
    CHECK(peer->accepted);
    served_end();
}

static void test_accept_errors(void) {
    static const int passing[] = {EINTR, ECONNABORTED, EPROTO, EPERM};
    static const int pausing[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};

    for (unsigned i = 0; i < 4; i++) {
        struct fake_socket *peer;

        served_begin(NULL);
        peer = fake_connect();
        fake_fail(FAKE_ACCEPT, 0, passing[i]);
        served_round(0);
        CHECK(peer->accepted && served_events(LWS_EVENT_FAULT) == 0);
        fake_fail_many(FAKE_ACCEPT, 0, 3, pausing[i]);
        peer = fake_connect();
        served_round(0);
        CHECK(served_events(LWS_EVENT_FAULT) == 1 && !peer->accepted);
        for (unsigned rounds = 0; rounds < 10; rounds++) {
            served_round(-1);
        }
        CHECK(peer->accepted);
        served_end();
    }
}

static void test_interrupted(void) {
    struct fake_socket *peer;
    uint32_t slot;

    served_begin(NULL);
    peer = served_upgrade(13, &slot);
    served_frame(peer, 0x81, "hello", 5);
    fake_fail(FAKE_EPOLL_WAIT, 0, EINTR);
    CHECK(served_round(0) == 0);
    fake_fail(FAKE_RECV, 0, EINTR);
    CHECK(served_round(0) == 0);
    served_round(0);
    CHECK(served_is(served_event(LWS_EVENT_TEXT, 0), "hello", 5));
    fake_fail_many(FAKE_SEND, 0, 2, EINTR);
    CHECK(served_say(slot, "hello", LWS_WRITE_TEXT) == 0);
    for (unsigned i = 0; i < 3; i++) {
        served_round(0);
    }
    CHECK(served_out_text(peer, "\x81\x05hello"));
    served_end();
}

/* A graceful stop that cannot write its Close does not leave the connection behind. */
static void test_stop_without_memory(void) {
    struct fake_socket *peer;
    uint32_t slot;
    uint8_t *bytes = served_bytes(20000);

    served_begin(NULL);
    peer = served_upgrade(13, &slot);
    peer->window = 0;
    CHECK(served_write(slot, bytes, 20000, LWS_WRITE_BINARY) == 0);
    fake_fail_many(FAKE_ALLOCATE, 0, 1, ENOMEM);
    CHECK(lws_stop(served.context) == 0);
    for (unsigned i = 0; i < 40 && lws_connections(served.context); i++) {
        served_round(500);
    }
    CHECK(lws_connections(served.context) == 0 && peer->closed);
    served_end();
    free(bytes);
}

/* ---- each call, one after the other ---------------------------------------------------------- */

static void answer(const struct lws_event *event, unsigned *established, unsigned *closed) {
    static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n";
    uint32_t slot = event->slot;

    switch (event->kind) {
    case LWS_EVENT_REQUEST:
        if (event->offset == LWS_VERSION_HTTP) {
            int fd = fake_file(30000);

            served_say(slot, reply, LWS_WRITE_HTTP);
            if (lws_send_file(served.context, slot, fd, 0, 30000) != 0) {
                fake_file_done(fd);
            }
            lws_reply_end(served.context, slot, true);
        } else if (lws_upgrade(served.context, slot, "chat", 4, NULL, 0, false) == 0) {
            ++*established;
        } else {
            lws_refuse(served.context, slot, 500, false);
        }
        break;
    case LWS_EVENT_TEXT:
    case LWS_EVENT_BINARY:
        lws_write_arena(served.context, slot, event->offset, event->length, event->kind);
        break;
    case LWS_EVENT_TEXT_BUFFER:
    case LWS_EVENT_BINARY_BUFFER: {
        uint8_t *payload = lws_message(served.context, event->offset);

        lws_write(served.context, slot, (uintptr_t)payload, event->length, event->kind - 2);
        lws_broadcast(served.context, (uintptr_t)payload, event->length, event->kind - 2);
        lws_want_writable(served.context, slot);
        break;
    }
    case LWS_EVENT_CLOSED:
        ++*closed;
        break;
    default:
        break;
    }
}

static void rounds(unsigned number, unsigned *established, unsigned *closed) {
    while (number--) {
        int count = served_round(20);

        for (int i = 0; i < count; i++) {
            answer(&served.events[i], established, closed);
        }
    }
}

/*
 * Clients of each kind connect, echo, take a file, close, in a server in which one call fails.
 * Returns whether all went well: then there was no such call.
 */
static bool run_with(enum fake_call call, unsigned nth, int error) {
    struct lws_options options = served_options();
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    static const char last[] = "GET / HTTP/1.0\r\n\r\n";
    struct fake_socket *peers[4];
    unsigned established = 0, closed = 0;
    uint8_t *bytes = served_bytes(70000);
    bool untouched;

    options.send_interval = 50;
    options.ping_interval = 70;
    options.pong_timeout = 60000;
    fake_reset();
    fake_fail(call, nth, error);
    served.arena = malloc(LWS_ARENA_SIZE);
    served.context = lws_context_create(&options, served.arena);
    if (!served.context) {
        CHECK(errno == error && fake_open() == 0);
        free(served.arena);
        free(bytes);
        return false;
    }
    served.events = lws_events(served.context);
    served.listener = fake_listener();
    if (lws_listen(served.context, served.listener, false) != 0) {
        fake_file_done(served.listener);
        lws_context_destroy(served.context);
        CHECK(fake_open() == 0);
        free(served.arena);
        free(bytes);
        return false;
    }
    (void)lws_fileno(served.context);
    for (unsigned i = 0; i < 4; i++) {
        peers[i] = fake_connect();
    }
    rounds(6, &established, &closed);
    served_sends(peers[0], served_handshake(13));
    served_sends(peers[1], served_handshake(76));
    served_sends(peers[2], request);
    fake_peer_sends(peers[3], last, 10); /* cut: the rest is kept aside */
    rounds(2, &established, &closed);
    served_sends(peers[3], last + 10);
    rounds(2, &established, &closed);
    served_frame(peers[0], 0x81, "hello", 5);
    served_frame(peers[0], 0x89, "ping", 4);
    served_frame(peers[0], 0x02, bytes, 30000);
    fake_peer_sends(peers[1], "\x00half", 5);
    rounds(2, &established, &closed);
    served_frame(peers[0], 0x80, bytes, 70000);
    fake_peer_sends(peers[1], "\xff", 1);
    peers[0]->window = 5000;
    rounds(3, &established, &closed);
    peers[0]->window = FAKE_UNLIMITED;
    served_sends(peers[2], request);
    rounds(8, &established, &closed);
    /* Whatever failed, a fresh connection is served. */
    untouched = fake_fail_pending(call);
    fake_fail_none();
    rounds(10, &established, &closed);
    {
        struct fake_socket *fresh = fake_connect();

        served_sends(fresh, request);
        rounds(4, &established, &closed);
        CHECK(fresh->out_length > 30000);
    }
    if (untouched) {
        CHECK(established == 2 && closed == 0);
        CHECK(peers[2]->out_length > 60000 && peers[3]->out_length > 30000);
    }
    served_frame(peers[0], 0x88, "\x03\xe8", 2);
    fake_peer_sends(peers[1], "\xff\x00", 2);
    rounds(3, &established, &closed);
    for (unsigned i = 0; i < 4; i++) {
        fake_peer_fin(peers[i]);
    }
    for (unsigned i = 0; i < 100 && lws_connections(served.context); i++) {
        rounds(1, &established, &closed);
    }
    CHECK(lws_connections(served.context) == 0);
    rounds(2, &established, &closed);
    CHECK(established == closed);
    lws_context_destroy(served.context);
    CHECK(fake_open() == 0);
    free(served.arena);
    free(bytes);
    return untouched;
}

static void test_each_call(void) {
    static const struct {
        enum fake_call call;
        int error;
        const char *name;
    } plans[] = {
        {FAKE_ALLOCATE, ENOMEM, "malloc"},
        {FAKE_ACCEPT, EMFILE, "accept4 EMFILE"},
        {FAKE_ACCEPT, EINTR, "accept4 EINTR"},
        {FAKE_RECV, EINTR, "recv EINTR"},
        {FAKE_RECV, ECONNRESET, "recv reset"},
        {FAKE_SEND, EAGAIN, "send EAGAIN"},
        {FAKE_SEND, ENOBUFS, "send ENOBUFS"},
        {FAKE_SEND, EPIPE, "send EPIPE"},
        {FAKE_SENDFILE, EIO, "sendfile EIO"},
        {FAKE_SENDFILE, EAGAIN, "sendfile EAGAIN"},
        {FAKE_EPOLL_WAIT, EINTR, "epoll_wait"},
        {FAKE_EPOLL_CTL, ENOMEM, "epoll_ctl"},
        {FAKE_EPOLL_CREATE, EMFILE, "epoll_create1"},
        {FAKE_SHUTDOWN, ENOTCONN, "shutdown"},
    };

    for (unsigned i = 0; i < sizeof plans / sizeof *plans; i++) {
        unsigned nth = 0;

        while (!run_with(plans[i].call, nth, plans[i].error) && nth < 2000) {
            nth++;
        }
        CHECK_NAMED(nth > 0 && nth < 2000, plans[i].name);
        if (getenv("VERBOSE")) {
            printf("%s: %u calls\n", plans[i].name, nth);
        }
    }
}

int main(void) {
    for (int what = 0; what < 3; what++) {
        test_death_in_flush(what);
    }
    test_empty_segment();
    test_empty_trim();
    test_interest_fails();
    test_emfile();
    test_accept_errors();
    test_interrupted();
    test_stop_without_memory();
    test_each_call();
    return check_report();
}
