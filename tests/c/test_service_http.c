/* Requests and their answers: cuts, pipelines, files, limits, refusals. */
#include "served.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define REPLY "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* Answers the request of this round, if there is one; keeps the connection if it may. */
static bool answer_one(void) {
    const struct lws_event *event = served_event(LWS_EVENT_REQUEST, 0);

    if (!event) {
        return false;
    }
    CHECK(served_say(event->slot, REPLY, LWS_WRITE_HTTP) == 0);
    CHECK(lws_reply_end(served.context, event->slot, true) == 0);
    return true;
}

static void test_cuts(void) {
    static const char text[] = "\r\nGET /a?b HTTP/1.1\r\nHost: example\r\nX: y\r\n\r\n";

    for (size_t at = 0; at < sizeof text; at++) {
        struct fake_socket *peer;
        const struct lws_event *event;
        size_t length;

        served_begin(NULL);
        peer = served_connect();
        fake_peer_sends(peer, text, at);
        served_round(0);
        fake_peer_sends(peer, text + at, sizeof text - 1 - at);
        if (!served_event(LWS_EVENT_REQUEST, 0)) {
            served_round(0);
        }
        event = served_event(LWS_EVENT_REQUEST, 0);
        CHECK(event && event->offset == LWS_VERSION_HTTP);
        if (event) {
            const uint8_t *uri = lws_uri(served.context, event->slot, &length);

            CHECK(length == 4 && memcmp(uri, "/a?b", 4) == 0);
            CHECK(lws_version(served.context, event->slot) == LWS_VERSION_HTTP);
            CHECK(lws_request(served.context, event->slot)->count[LWS_FIELD_HOST] == 1);
            answer_one();
            CHECK(lws_request(served.context, event->slot) == NULL);
            CHECK(lws_request_head(served.context, event->slot) == NULL);
            CHECK(served_say(event->slot, REPLY, LWS_WRITE_HTTP) == LWS_ERROR_CLOSED);
        }
        served_round(0);
        CHECK(served_out_text(peer, REPLY));
        served_end();
    }
}

static void test_pipeline(void) {
    struct fake_socket *peer;
    unsigned answered = 0;

    served_begin(NULL);
    peer = served_connect();
    for (unsigned i = 0; i < 150; i++) {
        served_sends(peer, GET);
    }
    for (unsigned i = 0; i < 400; i++) {
        served_round(0);
        CHECK(served_events(LWS_EVENT_REQUEST) <= 1);
        answered += answer_one();
    }
    /* keepalive_requests; the rest is dropped. */
    CHECK(answered == 100 && peer->out_length == 100 * strlen(REPLY));
    CHECK(peer->shut && peer->taken == peer->arrived);
    fake_peer_fin(peer);
    served_round(0);
    CHECK(served_events(LWS_EVENT_GONE) + served_events(LWS_EVENT_CLOSED) == 1);
    CHECK(served_event(LWS_EVENT_GONE, 0) != NULL);
    CHECK(lws_connections(served.context) == 0);
    served_end();
}

static void test_keep_alive(void) {
    static const struct {
        const char *request;
        bool keeps;
    } rows[] = {
        {GET, true},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
    };

    for (unsigned i = 0; i < 4; i++) {
        for (unsigned how = 0; how < 3; how++) {
            struct fake_socket *peer;
            uint32_t slot;

            served_begin(NULL);
            peer = served_connect();
            served_sends(peer, rows[i].request);
            served_round(0);
            slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
            if (how == 0) {
                answer_one();
            } else if (how == 1) {
                CHECK(lws_refuse(served.context, slot, 404, true) == 0);
                CHECK(lws_refuse(served.context, slot, 404, true) == LWS_ERROR_STATE);
            } else {
                served_say(slot, REPLY, LWS_WRITE_HTTP);
                CHECK(lws_reply_end(served.context, slot, false) == 0);
                CHECK(lws_reply_end(served.context, slot, false) == LWS_ERROR_STATE);
            }
            served_round(0);
            CHECK(peer->out_length > 0);
            CHECK(peer->shut == (how == 2 || !rows[i].keeps));
            if (!peer->shut) {
                served_sends(peer, GET);
                served_round(0);
                CHECK(answer_one());
            }
            served_end();
        }
    }
}

/* Head and file, by two calls or by one; the descriptor is gone then. */
static int reply_with(uint32_t slot, const char *head, int fd, uint64_t offset, uint64_t length,
                      bool at_once) {
    struct lws_file file = {.fd = fd};
    int error;

    if (at_once) {
        error = lws_reply_file(served.context, slot, (const uint8_t *)head, strlen(head), &file,
                               offset, length);
        CHECK(file.fd == (error ? fd : -1));
    } else {
        CHECK(served_say(slot, head, LWS_WRITE_HTTP) == 0);
        error = lws_send_file(served.context, slot, fd, offset, length);
    }
    return error;
}

/* A file that leaves in pieces, with an answer behind it. */
static void test_file(uint64_t length, size_t window, bool at_once) {
    struct fake_socket *peer;
    char head[100];
    uint32_t slot;
    size_t size;
    int fd;

    served_begin(NULL);
    peer = served_connect();
    peer->window = window;
    served_sends(peer, GET GET);
    served_round(0);
    slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
    size = (size_t)snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n",
                            (unsigned long long)length);
    fd = fake_file(length + 10);
    CHECK(reply_with(slot, head, fd, 10, length, at_once) == 0);
    CHECK(lws_reply_end(served.context, slot, true) == 0);
    for (unsigned i = 0; i < 2000 && peer->out_length < size + length; i++) {
        served_round(0);
        CHECK(!served_event(LWS_EVENT_REQUEST, 0) || peer->out_length == size + length);
        if (window != FAKE_UNLIMITED) {
            peer->window += window;
        }
    }
    CHECK(peer->out_length == size + length && memcmp(peer->out, head, size) == 0);
    for (uint64_t i = 0; i < length; i++) {
        if (peer->out[size + i] != fake_file_byte(10 + i)) {
            CHECK(peer->out[size + i] == fake_file_byte(10 + i));
            break;
        }
    }
    CHECK(!fake_is_open(fd));
    if (!served_event(LWS_EVENT_REQUEST, 0)) {
        served_round(0);
    }
    peer->window = FAKE_UNLIMITED;
    served_forget(peer);
    CHECK(answer_one());
    served_round(0);
    CHECK(served_out_text(peer, REPLY));
    served_end();
}

/* A file that is shorter than was said: the connection ends, without a byte too many. */
static void test_file_truncated(uint64_t length, uint64_t there, bool at_once) {
    struct fake_socket *peer;
    uint32_t slot;
    int fd;

    served_begin(NULL);
    peer = served_connect();
    served_sends(peer, GET);
    served_round(0);
    slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
    fd = fake_file(there);
    CHECK(reply_with(slot, "head", fd, 0, length, at_once) == 0);
    lws_reply_end(served.context, slot, true);
    for (unsigned i = 0; i < 3 && !peer->closed; i++) {
        served_round(0);
    }
    served_round(0);
    CHECK(peer->closed && peer->out_length <= 4 + there && !fake_is_open(fd));
    CHECK(lws_connections(served.context) == 0);
    served_end();
}

static void test_file_errors(void) {
    struct fake_socket *peer;
    uint32_t slot;
    int fd;

    served_begin(NULL);
    fd = fake_file(100000);
    CHECK(lws_send_file(served.context, 7, fd, 0, 1) == LWS_ERROR_CLOSED);
    peer = served_connect();
    CHECK(lws_send_file(served.context, 0, fd, 0, 1) == LWS_ERROR_CLOSED);
    served_sends(peer, GET);
    served_round(0);
    slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
    CHECK(lws_send_file(served.context, slot, fd, 1, INT64_MAX) == LWS_ERROR_ARGUMENT);
    CHECK(lws_send_file(served.context, slot, fd, (uint64_t)1 << 63, 0) == LWS_ERROR_ARGUMENT);
    fake_fail(FAKE_ALLOCATE, 0, ENOMEM);
    CHECK(lws_send_file(served.context, slot, fd, 0, 50000) == LWS_ERROR_MEMORY);
    CHECK(fake_is_open(fd)); /* still the caller's */
    CHECK(lws_send_file(served.context, slot, fd, 0, 0) == 0 && !fake_is_open(fd));
    lws_reply_end(served.context, slot, false);
    served_round(0);

    /* The client leaves in the middle of it. */
    peer = served_connect();
    served_sends(peer, GET);
    served_round(0);
    slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
    peer->window = 1000;
    fd = fake_file(100000);
    CHECK(lws_send_file(served.context, slot, fd, 0, 100000) == 0);
    lws_reply_end(served.context, slot, true);
    served_round(0);
    CHECK(fake_is_open(fd));
    fake_peer_resets(peer, ECONNRESET);
    served_round(0);
    CHECK(!fake_is_open(fd) && peer->closed);
    served_end();
}

/* Both small: one call of the kernel; the head of a file that is not, or of none, goes as well. */
static void test_file_at_once(void) {
    struct lws_file file = {.fd = -1};
    const uint8_t *head = (const uint8_t *)REPLY;
    static uint8_t long_head[8 * 1024 + 1];
    struct fake_socket *peer;
    unsigned sends;
    uint32_t slot;
    int fd;

    served_begin(NULL);
    file.fd = fd = fake_file(5);
    peer = served_connect();
    CHECK(lws_reply_file(served.context, 0, head, 4, &file, 0, 5) == LWS_ERROR_CLOSED);
    served_sends(peer, GET);
    served_round(0);
    slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
    CHECK(lws_reply_file(served.context, slot, head, 4, &file, 1, INT64_MAX) == LWS_ERROR_ARGUMENT);
    CHECK(lws_reply_file(served.context, slot, head, 4, &file, (uint64_t)1 << 63, 0) ==
          LWS_ERROR_ARGUMENT);
    CHECK(lws_reply_file(served.context, slot, head, (size_t)1 << 30, &file, 0, 5) ==
          LWS_ERROR_FULL);
    CHECK(file.fd == fd && fake_is_open(fd) && peer->out_length == 0);
    sends = fake_calls(FAKE_SEND);
    CHECK(lws_reply_file(served.context, slot, head, 4, &file, 0, 5) == 0);
    CHECK(file.fd == -1 && !fake_is_open(fd));
    lws_reply_end(served.context, slot, true);
    served_round(0);
    CHECK(peer->out_length == 9 && fake_calls(FAKE_SEND) == sends + 1);

    /* No bytes of the file, as to HEAD: behind a head that leaves at once, and one that waits. */
    for (size_t size = sizeof long_head; size; size = size > 4 ? 4 : 0) {
        served_forget(peer);
        served_sends(peer, GET);
        served_round(0);
        file.fd = fd = fake_file(100);
        CHECK(lws_reply_file(served.context, slot, long_head, size, &file, 0, 0) == 0);
        CHECK(file.fd == -1 && !fake_is_open(fd));
        lws_reply_end(served.context, slot, true);
        served_round(0);
        CHECK(peer->out_length == size);
    }

    /* No memory for the rest, behind a head that has promised it: the connection ends. */
    served_sends(peer, GET);
    served_round(0);
    file.fd = fd = fake_file(50000);
    fake_fail(FAKE_ALLOCATE, 0, ENOMEM);
    CHECK(lws_reply_file(served.context, slot, head, 4, &file, 0, 50000) == LWS_ERROR_CLOSED);
    CHECK(file.fd == fd && fake_is_open(fd) && peer->closed);
    fake_file_done(fd);
    served_round(0);
    CHECK(served_event(LWS_EVENT_FAULT, 0)->offset == LWS_FAULT_ALLOC_FAILED);
    served_end();
}

static void test_refusals(void) {
    static const struct {
        const char *request, *status;
        int fault;
    } rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", "400", LWS_FAULT_HTTP_BAD_HOST},
        {"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", "501", LWS_FAULT_HTTP_METHOD_UNKNOWN},
        {"POST / HTTP/1.1\r\nHost: a\r\n\r\n", "405", LWS_FAULT_HTTP_METHOD},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505", LWS_FAULT_HTTP_VERSION},
        {"\x16\x03\x01", "400", LWS_FAULT_HTTP_BAD_REQUEST_LINE},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" GET, "413",
         LWS_FAULT_HTTP_BODY_REFUSED},
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "426",
         LWS_FAULT_WS_VERSION},
    };

    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fake_socket *peer;
        char start[20];

        served_begin(NULL);
        peer = served_connect();
        served_sends(peer, rows[i].request);
        served_round(0);
        CHECK(served_event(LWS_EVENT_FAULT, 0)->offset == (uint32_t)rows[i].fault);
        served_round(0);
        snprintf(start, sizeof start, "HTTP/1.1 %s ", rows[i].status);
        CHECK_NAMED(peer->out_length > 13 && memcmp(peer->out, start, 13) == 0, rows[i].request);
        CHECK(peer->shut && !peer->closed && !peer->reset);
        /* It lingers, so that the answer is not lost to a RST, but not for ever. */
        fake_peer_sends(peer, served_handshake(13), 40);
        served_round(0);
        CHECK(!peer->closed && peer->taken == peer->arrived);
        fake_peer_fin(peer);
        served_round(0);
        CHECK(peer->closed && served_events(LWS_EVENT_GONE) == 0);
        served_end();
    }
}

static void test_linger_limit(void) {
    struct fake_socket *peer;
    uint8_t *bytes = served_bytes(100000);

    served_begin(NULL);
    peer = served_connect();
    served_sends(peer, "nonsense\r\n");
    served_round(0);
    served_round(0);
    fake_peer_sends(peer, bytes, 100000);
    for (unsigned i = 0; i < 3; i++) {
        served_round(0);
    }
    /* Enough was dropped; the refusal may be read until the deadline. */
    CHECK(!peer->closed && peer->taken < 70000 && fake_last_ready() == 0);
    served_round(1000);
    served_round(0);
    CHECK(peer->closed && peer->taken < 70000);
    served_end();
    free(bytes);
}

static void test_limits(void) {
    struct lws_options options = served_options();
    struct fake_socket *peers[4];

    options.max_connections = 2;
    served_begin(&options);
    for (unsigned i = 0; i < 4; i++) {
        peers[i] = fake_connect();
    }
    served_round(0);
    CHECK(served_events(LWS_EVENT_FAULT) == 2);
    CHECK(served_event(LWS_EVENT_FAULT, 0)->offset == LWS_FAULT_CONN_LIMIT);
    CHECK(served_event(LWS_EVENT_FAULT, 0)->slot == LWS_NO_SLOT);
    CHECK(peers[3]->closed && memcmp(peers[3]->out, "HTTP/1.1 503", 12) == 0);
    CHECK(lws_connections(served.context) == 2);
    fake_peer_fin(peers[0]);
    served_round(0);
    peers[0] = fake_connect();
    served_round(0);
    CHECK(!peers[0]->closed && lws_connections(served.context) == 2);
    served_end();
}

static void test_leaving(void) {
    struct fake_socket *peer;
    char text[LWS_PEER_SIZE];
    uint32_t slot;

    served_begin(NULL);
    peer = served_connect();
    CHECK(lws_peer(served.context, 0, text) == 15 && strcmp(text, "127.0.0.1:40000") == 0);
    CHECK(lws_peer(served.context, 99, text) == 1 && strcmp(text, "-") == 0);
    served_sends(peer, "GET / HT");
    served_round(0);
    fake_peer_fin(peer);
    served_round(0);
    CHECK(served_event(LWS_EVENT_FAULT, 0)->offset == LWS_FAULT_HTTP_EOF_IN_HEAD);
    CHECK(peer->closed && peer->out_length == 0);
    /* A reset while the request is being answered. */
    peer = served_connect();
    served_sends(peer, GET);
    served_round(0);
    slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
    fake_peer_resets(peer, ECONNRESET);
    answer_one();
    served_round(0);
    CHECK(served_event(LWS_EVENT_GONE, 0) && served_event(LWS_EVENT_GONE, 0)->slot == slot);
    CHECK(peer->closed);
    /* Aborted by the application. */
    peer = served_connect();
    served_sends(peer, GET);
    served_round(0);
    slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
    CHECK(lws_abort(served.context, slot) == 0 &&
          lws_abort(served.context, slot) == LWS_ERROR_CLOSED);
    CHECK(lws_refuse(served.context, slot, 500, false) == LWS_ERROR_CLOSED);
    CHECK(lws_close(served.context, slot, 1000, NULL, 0) == LWS_ERROR_CLOSED);
    served_round(0);
    CHECK(served_event(LWS_EVENT_GONE, 0) && peer->reset);
    /* Closed by it: what was written leaves first. */
    peer = served_connect();
    served_sends(peer, GET);
    served_round(0);
    slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
    served_say(slot, REPLY, LWS_WRITE_HTTP);
    CHECK(served_say(slot, "text", LWS_WRITE_TEXT) == LWS_ERROR_STATE);
    CHECK(lws_want_writable(served.context, slot) == LWS_ERROR_STATE);
    CHECK(lws_rx_flow_control(served.context, slot, false) == LWS_ERROR_STATE);
    CHECK(lws_close(served.context, slot, 1000, NULL, 0) == 0);
    served_round(0);
    CHECK(served_out_text(peer, REPLY) && peer->shut);
    served_end();
}

static void test_stop(void) {
    struct fake_socket *idle, *busy, *open, *late;
    uint32_t slot;

    served_begin(NULL);
    idle = served_connect();
    open = served_upgrade(13, NULL);
    busy = served_connect();
    served_sends(busy, GET);
    served_round(0);
    slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
    busy->window = 10;
    CHECK(lws_stop(served.context) == 0);
    CHECK(idle->closed && !fake_is_open(served.listener));
    answer_one();
    (void)slot;
    served_round(0);
    late = fake_connect();
    CHECK(served_out(open, "\x88\x02\x03\xe9", 4));
    busy->window = FAKE_UNLIMITED;
    served_round(0);
    CHECK(served_out_text(busy, REPLY) && busy->shut);
    served_frame(open, 0x88, "\x03\xe9", 2);
    fake_peer_fin(busy);
    served_round(0);
    CHECK(served_event(LWS_EVENT_CLOSED, 0)->code == 1001);
    fake_peer_fin(open);
    for (unsigned i = 0; i < 3; i++) {
        served_round(0);
    }
    CHECK(lws_connections(served.context) == 0 && !late->accepted);
    served_end();
}

int main(void) {
    test_cuts();
    test_pipeline();
    test_keep_alive();
    for (unsigned at_once = 0; at_once < 2; at_once++) {
        test_file(5, FAKE_UNLIMITED, at_once);
        test_file(16384, FAKE_UNLIMITED, at_once);
        test_file(16385, FAKE_UNLIMITED, at_once);
        test_file(100000, 777, at_once);
        test_file(10000, 100, at_once);
        test_file(3000000, FAKE_UNLIMITED, at_once);
        test_file_truncated(100, 99, at_once);
        test_file_truncated(16384, 0, at_once);
        test_file_truncated(50000, 49999, at_once);
        test_file_truncated(50000, 0, at_once);
    }
    test_file_at_once();
    test_file_errors();
    test_refusals();
    test_linger_limit();
    test_limits();
    test_leaving();
    test_stop();
    return check_report();
}
