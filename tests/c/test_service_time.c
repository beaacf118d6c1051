/* Deadlines: each list of them, pings and pongs, the application's own clock. */
#include "served.h"

#include <stdio.h>
#include <stdlib.h>

/* Rounds for ms, in steps; returns when the connection was closed, counted from now, or -1. */
static int closed_after(const struct fake_socket *peer, unsigned ms, unsigned *closed) {
    uint64_t from = fake_now_ms();

    while (fake_now_ms() - from < ms) {
        served_round(10);
        if (closed) {
            *closed += served_events(LWS_EVENT_CLOSED);
        }
        if (peer->closed) {
            return (int)(fake_now_ms() - from);
        }
    }
    return -1;
}

/* Time passes; after a long absence deadlines are looked at in the second round. */
static void pass(unsigned ms) {
    fake_pass_ms(ms);
    served_round(0);
    if (ms > 100) {
        served_round(0);
    }
}

static bool near(int found, int wanted) {
    return found >= wanted && found <= wanted + 20;
}

static void test_handshake(void) {
    struct fake_socket *silent, *begun;

    served_begin(NULL);
    silent = served_connect();
    begun = served_connect();
    served_sends(begun, "GET / HT");
    served_round(0);
    fake_pass_ms(500);
    served_sends(begun, "TP/1.1\r\n"); /* progress does not begin it anew */
    served_round(0);
    served_round(0);
    CHECK(near(closed_after(silent, 2000, NULL), 500));
    served_round(0);
    CHECK(silent->out_length == 0);
    CHECK(begun->out_length > 12 && memcmp(begun->out, "HTTP/1.1 408", 12) == 0);
    CHECK(begun->shut && !begun->closed);
    CHECK(near(closed_after(begun, 2000, NULL), 90)); /* linger_timeout */
    served_end();
}

static void test_keepalive(void) {
    struct fake_socket *peer;

    served_begin(NULL);
    peer = served_connect();
    served_sends(peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    served_round(0);
    lws_refuse(served.context, served_event(LWS_EVENT_REQUEST, 0)->slot, 404, true);
    served_round(0);
    CHECK(peer->out_length > 0);
    served_forget(peer);
    CHECK(near(closed_after(peer, 2000, NULL), 500));
    CHECK(peer->out_length == 0);
    served_round(0);
    served_end();
}

static void test_close(int version) {
    struct fake_socket *peer;
    uint32_t slot;
    unsigned closed = 0;

    served_begin(NULL);
    peer = served_upgrade(version, &slot);
    CHECK(lws_close(served.context, slot, 1000, NULL, 0) == 0);
    CHECK(lws_close(served.context, slot, 1000, NULL, 0) == 0);
    served_round(0);
    CHECK(version == 76 ? served_out(peer, "\xff\x00", 2)
                        : served_out(peer, "\x88\x02\x03\xe8", 4));
    CHECK(near(closed_after(peer, 3000, &closed), 1500));
    CHECK(peer->reset && closed == 1);
    CHECK(served_event(LWS_EVENT_FAULT, 0)->offset == LWS_FAULT_CLOSE_TIMEOUT);

    /* The peer answers, but keeps the connection: we close first, without a fault. */
    peer = served_upgrade(version, &slot);
    CHECK(lws_close(served.context, slot, 1000, (const uint8_t *)"bye", 3) == 0);
    served_round(0);
    if (version == 76) {
        fake_peer_sends(peer, "\xff\x00", 2);
    } else {
        served_frame(peer, 0x88, "\x03\xe9", 2);
    }
    served_round(0);
    CHECK(served_event(LWS_EVENT_CLOSED, 0)->code == (version == 76 ? 1005 : 1001));
    CHECK(peer->shut && !peer->closed);
    CHECK(near(closed_after(peer, 3000, NULL), 1500));
    CHECK(served_events(LWS_EVENT_FAULT) == 0);
    served_end();
}

static void test_send(void) {
    struct fake_socket *peer;
    uint32_t slot;
    uint8_t *bytes = served_bytes(50000);
    unsigned closed = 0;

    served_begin(NULL);
    peer = served_upgrade(13, &slot);
    peer->window = 100;
    CHECK(served_write(slot, bytes, 50000, LWS_WRITE_BINARY) == 0);
    /* Any progress begins it anew. */
    for (unsigned i = 0; i < 5; i++) {
        CHECK(closed_after(peer, 2900, &closed) == -1);
        peer->window = 1;
        served_round(0);
    }
    CHECK(near(closed_after(peer, 4000, &closed), 3000));
    CHECK(closed == 1 && peer->reset && peer->out_length == 105);
    served_end();
    free(bytes);
}

static void test_pings(void) {
    struct lws_options options = served_options();
    struct fake_socket *peer, *old;
    uint8_t payload[4];
    uint32_t slot;
    unsigned closed = 0;

    options.ping_interval = 300;
    served_begin(&options);
    peer = served_upgrade(13, &slot);
    old = served_upgrade(76, NULL);
    CHECK(lws_latency(served.context, slot) == -1);
    /* Whatever it sends is a sign of life. */
    for (unsigned i = 0; i < 4; i++) {
        fake_pass_ms(200);
        served_frame(peer, 0x8a, "unasked", 7);
        served_round(0);
        CHECK(served_is(served_event(LWS_EVENT_PONG, 0), "unasked", 7));
        CHECK(served_event(LWS_EVENT_PONG, 0)->code == 0);
    }
    CHECK(peer->out_length == 0);
    pass(300);
    served_round(0);
    CHECK(peer->out_length == 6 && memcmp(peer->out, "\x89\x04", 2) == 0);
    memcpy(payload, peer->out + 2, 4);
    served_forget(peer);
    fake_pass_ms(50);
    served_frame(peer, 0x8a, "wrong", 5);
    served_round(0);
    CHECK(served_event(LWS_EVENT_PONG, 0)->code == 0);
    served_frame(peer, 0x8a, payload, 4);
    served_round(0);
    CHECK(served_event(LWS_EVENT_PONG, 0)->code == 1);
    CHECK(lws_latency(served.context, slot) == 50000);
    served_frame(peer, 0x8a, payload, 4); /* once is enough */
    served_round(0);
    CHECK(served_event(LWS_EVENT_PONG, 0)->code == 0);

    /* Data is no answer to a ping. */
    pass(310);
    pass(100);
    served_frame(peer, 0x81, "still here", 10);
    served_round(0);
    pass(110);
    CHECK(served_event(LWS_EVENT_CLOSED, 0)->code == 1006);
    CHECK(served_event(LWS_EVENT_FAULT, 0)->offset == LWS_FAULT_PING_TIMEOUT);
    served_round(0);
    CHECK(peer->out_length > 6 && memcmp(peer->out + 6, "\x88\x0e\x03\xf3ping-timeout", 16) == 0);
    CHECK(closed_after(peer, 3000, &closed) > 0 && closed == 0);
    CHECK(!old->closed && old->out_length == 0); /* hixie-76 has no pings */
    served_end();
}

/* A peer that we do not read from is not to blame for its silence. */
static void test_pings_unread(void) {
    struct lws_options options = served_options();
    struct fake_socket *peer;
    uint8_t *bytes = served_bytes(50000);
    uint32_t slot;

    options.ping_interval = 300;
    served_begin(&options);
    peer = served_upgrade(13, &slot);
    CHECK(lws_rx_flow_control(served.context, slot, false) == 0);
    CHECK(closed_after(peer, 5000, NULL) == -1);
    CHECK(peer->out_length == 0);
    CHECK(lws_rx_flow_control(served.context, slot, true) == 0);
    served_frame(peer, 0x81, "x", 1);
    served_round(0);
    CHECK(served_events(LWS_EVENT_TEXT) == 1);

    /* A slow reader: always blocked, always getting on. */
    peer->window = 0;
    CHECK(served_write(slot, bytes, 50000, LWS_WRITE_BINARY) == 0);
    for (unsigned i = 0; i < 40; i++) {
        peer->window += 1000;
        CHECK(closed_after(peer, 100, NULL) == -1);
    }
    CHECK(peer->out_length >= 39000);
    served_end();
    free(bytes);
}

static void test_send_events(void) {
    struct lws_options options = served_options();
    struct fake_socket *peer, *blocked;
    uint8_t *bytes = served_bytes(50000);
    uint32_t slot;
    unsigned events = 0;

    options.send_interval = 50;
    served_begin(&options);
    peer = served_upgrade(13, NULL);
    blocked = served_upgrade(13, &slot);
    blocked->window = 0;
    CHECK(served_write(slot, bytes, 50000, LWS_WRITE_BINARY) == 0);
    for (unsigned i = 0; i < 20; i++) {
        CHECK(served_round(-1) == 1 && fake_last_wait() <= 50);
        CHECK(served_event(LWS_EVENT_SEND, 0) && served_event(LWS_EVENT_SEND, 0)->slot != slot);
    }
    /* A long absence is one period, not twenty. */
    fake_pass_ms(1000);
    for (unsigned i = 0; i < 3; i++) {
        served_round(0);
        events += served_events(LWS_EVENT_SEND);
    }
    CHECK(events == 1 && !peer->closed);
    served_end();
    free(bytes);
}

/* After a long absence of the application the peers' bytes are looked at before deadlines. */
static void test_absence(void) {
    struct fake_socket *peer;

    served_begin(NULL);
    peer = served_connect();
    fake_pass_ms(60000);
    served_sends(peer, served_handshake(13));
    served_round(0);
    CHECK(served_event(LWS_EVENT_REQUEST, 0) != NULL);
    lws_refuse(served.context, served_event(LWS_EVENT_REQUEST, 0)->slot, 403, false);
    served_end();
}

static void test_wake(void) {
    served_begin(NULL);
    CHECK(lws_wake_in(served.context, 30) == 0);
    served_round(1000);
    CHECK(fake_last_wait() == 30);
    served_round(1000);
    CHECK(fake_last_wait() == 1000);
    CHECK(lws_wake_in(served.context, 30) == 0 && lws_wake_in(served.context, -1) == 0);
    served_round(-1);
    CHECK(fake_last_wait() == -1);
    /* In another loop: the timer is set to the next thing to do. */
    CHECK(lws_fileno(served.context) >= 0 && fake_timer_ns() == 0);
    served_connect();
    CHECK(lws_flush(served.context) == 0 && fake_timer_ns() == 1000000000u);
    served_end();
}

int main(void) {
    test_handshake();
    test_keepalive();
    test_close(13);
    test_close(76);
    test_send();
    test_pings();
    test_pings_unread();
    test_send_events();
    test_absence();
    test_wake();
    return check_report();
}
