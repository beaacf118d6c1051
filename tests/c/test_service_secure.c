/* Secure connections: records in and out. The TLS here leaves the contents of records as they are.
 */
#include "secured.h"

#include <errno.h>
#include <stdlib.h>

#define HANDSHAKE_RECORD "\x16\x03\x01\x00\x05hello"

static void test_records(size_t size, size_t recv_most) {
    struct fake_socket *peer = secured_connect(NULL);
    const char *head = served_handshake(13);
    uint8_t out[1000], type = 0;
    uint32_t slot = 0;
    bool found = false;

    peer->recv_most = recv_most;
    secured_sends(peer, head, strlen(head), size);
    for (unsigned i = 0; i < 4000 && !found; i++) {
        served_round(0);
        secured_decrypt();
        found = served_event(LWS_EVENT_REQUEST, 0) != NULL;
    }
    CHECK(found);
    slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
    CHECK(lws_upgrade(served.context, slot, NULL, 0, NULL, 0, false) == 0);
    secured_encrypt();
    CHECK(secured_plain(peer, out, &type) > 100 && memcmp(out, "HTTP/1.1 101 ", 13) == 0 &&
          type == 23);
    served_forget(peer);
    peer->recv_most = FAKE_UNLIMITED;
    secured_sends(peer, "\x81\x85\0\0\0\0hello\x89\x84\0\0\0\0ping", 21, size);
    for (unsigned i = 0; i < 30; i++) {
        served_round(0);
        secured_decrypt();
        if (served_event(LWS_EVENT_TEXT, 0)) {
            CHECK(served_is(served_event(LWS_EVENT_TEXT, 0), "hello", 5));
        }
        secured_encrypt();
    }
    CHECK(secured_plain(peer, out, &type) == 6 && memcmp(out, "\x8a\x04ping", 6) == 0);
    served_forget(peer);
    CHECK(lws_close(served.context, slot, 1000, NULL, 0) == 0);
    secured_encrypt();
    secured_sends(peer, "\x88\x82\0\0\0\0\x03\xe8", 8, 100);
    served_round(0);
    secured_decrypt();
    CHECK(served_event(LWS_EVENT_CLOSED, 0) && served_event(LWS_EVENT_CLOSED, 0)->code == 1000);
    CHECK(secured_encrypt());
    CHECK(secured_plain(peer, out, &type) == 4 && memcmp(out, "\x88\x02\x03\xe8", 4) == 0 &&
          type == 21);
    CHECK(peer->shut);
    fake_peer_fin(peer);
    for (unsigned i = 0; i < 3 && !served_event(LWS_EVENT_SECURE_END, 0); i++) {
        served_round(0);
    }
    CHECK(served_event(LWS_EVENT_SECURE_END, 0) != NULL && peer->closed);
    served_end();
}

/* Parts of a reply that are empty change nothing of those beside them. */
static void test_reply(size_t window) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 70002\r\n\r\n";
    struct fake_socket *peer = secured_connect(NULL);
    uint8_t *out = malloc(80000), type = 0;
    uint32_t slot;
    size_t length;

    secured_sends(peer, "GET / HTTP/1.0\r\n\r\n", 18, 100);
    served_round(0);
    secured_decrypt();
    slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
    peer->window = window;
    CHECK(served_say(slot, head, LWS_WRITE_HTTP) == 0);
    CHECK(served_say(slot, "", LWS_WRITE_HTTP) == 0);
    CHECK(lws_send_file(served.context, slot, fake_file(70000), 0, 70000) == 0);
    CHECK(served_say(slot, "", LWS_WRITE_HTTP) == 0);
    CHECK(lws_send_file(served.context, slot, fake_file(1), 0, 1) == 0);
    CHECK(served_say(slot, "", LWS_WRITE_HTTP) == 0);
    CHECK(served_say(slot, "\x01", LWS_WRITE_HTTP) == 0);
    CHECK(lws_reply_end(served.context, slot, true) == 0);
    for (unsigned i = 0; i < 3000 && !peer->shut; i++) {
        secured_encrypt();
        served_round(0);
        if (window != FAKE_UNLIMITED) {
            peer->window += window;
        }
    }
    CHECK(peer->shut);
    length = secured_plain(peer, out, &type);
    CHECK(length == strlen(head) + 70002 && type == 21);
    CHECK(memcmp(out, head, strlen(head)) == 0);
    for (size_t i = 0; i < 70000 && length == strlen(head) + 70002; i++) {
        if (out[strlen(head) + i] != fake_file_byte(i)) {
            CHECK(out[strlen(head) + i] == fake_file_byte(i));
            break;
        }
    }
    CHECK(lws_queued(served.context, slot) <= 0);
    served_end();
    free(out);
}

/* Nothing but an empty part, and an upgrade that gives its room back: nothing is left behind. */
static void test_empty(bool upgrade) {
    struct fake_socket *peer = secured_connect(NULL), *other;
    const char *head = upgrade ? served_handshake(13) : "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    uint32_t slot;

    secured_sends(peer, head, strlen(head), 1000);
    served_round(0);
    secured_decrypt();
    slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
    if (upgrade) {
        CHECK(lws_upgrade(served.context, slot, "a\nb", 3, NULL, 0, false) == LWS_ERROR_ARGUMENT);
    } else {
        CHECK(served_say(slot, "", LWS_WRITE_HTTP) == 0);
    }
    CHECK(lws_reply_end(served.context, slot, true) == 0);
    secured_encrypt();
    served_round(0);
    /* What another one gathers then is not this one's. */
    other = served_connect();
    secured_sends(other, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27, 100);
    served_round(0);
    secured_decrypt();
    CHECK(served_say(served_event(LWS_EVENT_REQUEST, 0)->slot, "secret", LWS_WRITE_HTTP) == 0);
    lws_reply_end(served.context, served_event(LWS_EVENT_REQUEST, 0)->slot, true);
    if (upgrade) {
        lws_close(served.context, slot, 1000, NULL, 0);
    } else {
        secured_sends(peer, "nonsense\r\n", 10, 100);
    }
    secured_encrypt();
    served_round(0);
    secured_decrypt();
    secured_encrypt();
    served_round(0);
    CHECK(memmem(other->out, other->out_length, "secret", 6) != NULL);
    CHECK(!peer->out_length || !memmem(peer->out, peer->out_length, "secret", 6));
    served_end();
}

static void test_failures(void) {
    struct fake_socket *peer = secured_connect(NULL);
    const struct lws_event *event;
    unsigned gone = 0;

    /* Plain HTTP: what is no record comes as one, TLS says so; its alert leaves. */
    served_sends(peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    served_round(0);
    event = served_event(LWS_EVENT_SECURE, 0);
    CHECK(event && event->code == 1 && event->length == 27);
    CHECK(lws_secure_send(served.context, event->slot, (const uint8_t *)"\x15\x03\x03\0\2\2\x28",
                          7) == 0);
    CHECK(lws_secure_fail(served.context, event->slot) == 0);
    CHECK(lws_secure_fail(served.context, 99) == LWS_ERROR_CLOSED);
    CHECK(lws_feed(served.context, 99, 16, 0, false) == LWS_ERROR_CLOSED);
    secured_encrypt();
    CHECK(peer->out_length == 7 && peer->shut);
    fake_peer_fin(peer);
    for (unsigned i = 0; i < 4; i++) {
        served_round(0);
        gone += served_events(LWS_EVENT_SECURE_END);
        CHECK(!served_event(LWS_EVENT_GONE, 0));
    }
    CHECK(gone == 1 && peer->closed);

    /* A handshake that does not end; its deadline says nothing on the wire. */
    peer = served_connect();
    fake_peer_sends(peer, HANDSHAKE_RECORD, 10);
    served_round(0);
    CHECK(served_event(LWS_EVENT_SECURE, 0)->code == 1);
    for (unsigned i = 0; i < 20 && !peer->closed; i++) {
        served_round(100);
    }
    CHECK(peer->closed && peer->out_length == 0);

    /* A record that is never whole keeps no more than a record. */
    peer = served_connect();
    fake_peer_sends(peer, "\x17\x03\x03\xff\xff", 5);
    served_round(0);
    CHECK(served_event(LWS_EVENT_SECURE, 0) != NULL); /* too long to be one */
    lws_secure_fail(served.context, served_event(LWS_EVENT_SECURE, 0)->slot);
    served_end();
}

/* A peer that reads nothing: encrypted once, the rest waits as it is; all of it in order. */
static void test_blocked(void) {
    struct fake_socket *peer = secured_connect(NULL);
    const char *head = served_handshake(13);
    uint8_t *bytes = served_bytes(60000), *out = malloc(500000), type = 0;
    uint32_t slot;
    size_t length = 0, at = 0;

    secured_sends(peer, head, strlen(head), 1000);
    served_round(0);
    secured_decrypt();
    slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
    CHECK(lws_upgrade(served.context, slot, NULL, 0, NULL, 0, false) == 0);
    secured_encrypt();
    served_forget(peer);
    peer->window = 1000;
    for (unsigned i = 0; i < 4; i++) {
        CHECK(served_write(slot, bytes, 60000, LWS_WRITE_BINARY) == 0);
        CHECK(served_say(slot, "small", LWS_WRITE_TEXT) == 0);
        secured_encrypt();
    }
    for (unsigned i = 0; i < 2000 && lws_queued(served.context, slot) > 0; i++) {
        peer->window += 5000;
        served_round(0);
        secured_encrypt();
    }
    length = secured_plain(peer, out, &type);
    CHECK(length == 4 * (60004 + 7));
    for (unsigned i = 0; i < 4 && length == 4 * (60004 + 7); i++) {
        CHECK(out[at] == 0x82 && memcmp(out + at + 4, bytes, 60000) == 0);
        CHECK(memcmp(out + at + 60004, "\x81\x05small", 7) == 0);
        at += 60011;
    }
    CHECK(!peer->closed);
    served_end();
    free(bytes);
    free(out);
}

int main(void) {
    test_records(16384, FAKE_UNLIMITED);
    test_records(10, FAKE_UNLIMITED);
    test_records(16384, 1);
    test_records(3, 7);
    test_reply(FAKE_UNLIMITED);
    test_reply(700);
    test_empty(false);
    test_empty(true);
    test_failures();
    test_blocked();
    return check_report();
}
