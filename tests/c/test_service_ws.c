/* Established connections: messages in any form, pieces, control frames, closing. */
#include "served.h"

#include <errno.h>
#include <stdlib.h>

/* The next message, over as many rounds as it takes; compared, counted. */
static bool next_message(unsigned kind, const void *bytes, size_t length) {
    for (unsigned i = 0; i < 3000; i++) {
        for (int n = 0; n < served.count; n++) {
            const struct lws_event *event = &served.events[n];
            unsigned base = event->kind & 15u;

            if (base < LWS_EVENT_SEND) {
                bool same = (event->kind & ~2u) == kind && event->code == 0 &&
                            served_is(event, bytes, length);

                served.count = 0;
                return same;
            }
        }
        served_round(0);
    }
    return false;
}

static void test_lengths(int version, size_t recv_most) {
    static const size_t lengths[] = {0,     1,     125,   126,   127,    128,
                                     65400, 65535, 65536, 65537, 131072, 200000};
    struct fake_socket *peer;
    uint32_t slot;

    served_begin(NULL);
    peer = served_upgrade(version, &slot);
    peer->recv_most = recv_most;
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint8_t *bytes = served_bytes(lengths[i] + 2);

        if (recv_most < 100 && lengths[i] > 1000) {
            free(bytes);
            break;
        }
        if (version == 76) {
            memset(bytes, 'x', lengths[i] + 2);
            bytes[0] = 0;
            bytes[lengths[i] + 1] = 0xff;
            fake_peer_sends(peer, bytes, lengths[i] + 2);
            served_round(0);
            CHECK(next_message(LWS_EVENT_TEXT, bytes + 1, lengths[i]));
        } else {
            served_frame(peer, 0x82, bytes, lengths[i]);
            served_round(0);
            CHECK(next_message(LWS_EVENT_BINARY, bytes, lengths[i]));
        }
        free(bytes);
    }
    CHECK(peer->out_length == 0 && !peer->closed);
    served_end();
}

/* Several frames at every cut: the same messages. */
static void test_cuts(void) {
    uint8_t stream[200];
    size_t length;

    {
        struct fake_socket *peer;

        served_begin(NULL);
        peer = served_upgrade(13, NULL);
        length = peer->in_length;
        served_frame(peer, 0x81, "first", 5);
        served_frame(peer, 0x01, "\xe2\x82", 2);
        served_frame(peer, 0x89, "ping", 4);
        served_frame(peer, 0x80, "\xac!", 2);
        served_frame(peer, 0x82, "last", 4);
        length = peer->in_length - length;
        memcpy(stream, peer->in + peer->in_length - length, length);
        served_end();
    }
    for (size_t at = 1; at < length; at++) {
        struct fake_socket *peer;

        served_begin(NULL);
        peer = served_upgrade(13, NULL);
        fake_peer_sends(peer, stream, at);
        served_round(0);
        /* The events of a round end with it: collect them before the next bytes. */
        {
            static const char *const wanted[] = {"first", "\xe2\x82\xac!", "last"};
            unsigned found = 0;

            for (unsigned rounds = 0; rounds < 5; rounds++) {
                for (int n = 0; n < served.count; n++) {
                    if (served.events[n].kind <= LWS_EVENT_BINARY_BUFFER) {
                        CHECK(found < 3 &&
                              served_is(&served.events[n], wanted[found], strlen(wanted[found])));
                        found++;
                    }
                }
                if (rounds == 0) {
                    fake_peer_sends(peer, stream + at, length - at);
                }
                served_round(0);
            }
            CHECK(found == 3);
        }
        CHECK(served_out(peer, "\x8a\x04ping", 6));
        served_end();
    }
}

static void test_pieces(void) {
    struct lws_options options = served_options();
    struct fake_socket *peer;
    uint8_t *bytes = served_bytes(200000);
    size_t got = 0;
    unsigned pieces = 0;

    options.rx_fragments = 1;
    served_begin(&options);
    peer = served_upgrade(13, NULL);
    served_frame(peer, 0x02, bytes, 150000);
    served_frame(peer, 0x00, "", 0);
    served_frame(peer, 0x80, bytes + 150000, 50000);
    served_frame(peer, 0x81, "whole", 5);
    for (unsigned rounds = 0; rounds < 20; rounds++) {
        served_round(0);
        for (int n = 0; n < served.count; n++) {
            const struct lws_event *event = &served.events[n];

            if (event->kind > LWS_EVENT_BINARY_BUFFER) {
                continue;
            }
            if (event->kind == LWS_EVENT_TEXT) {
                CHECK(event->code == 0 && served_is(event, "whole", 5));
                continue;
            }
            CHECK(event->length <= 65536 && served_is(event, bytes + got, event->length));
            CHECK((event->code & LWS_PIECE_NOT_FIRST) == (pieces ? LWS_PIECE_NOT_FIRST : 0u));
            got += event->length;
            CHECK(((event->code & LWS_PIECE_NOT_FINAL) == 0) == (got == 200000));
            pieces++;
        }
    }
    CHECK(got == 200000 && pieces >= 4);
    served_end();
    free(bytes);
}

/* A message taken out of the context lives on; the others are taken back. */
static void test_keep(void) {
    struct fake_socket *peer;
    uint8_t *bytes = served_bytes(3000), *kept;
    const struct lws_event *event;

    served_begin(NULL);
    peer = served_upgrade(13, NULL);
    served_frame(peer, 0x02, bytes, 1000);
    served_frame(peer, 0x80, bytes + 1000, 2000);
    served_round(0);
    event = served_event(LWS_EVENT_BINARY_BUFFER, 0);
    CHECK(event && served_is(event, bytes, 3000));
    kept = lws_message_keep(served.context, event->offset);
    CHECK(kept && lws_message(served.context, event->offset) == NULL);
    CHECK(lws_message_keep(served.context, event->offset) == NULL);
    CHECK(lws_message(served.context, 99) == NULL);
    served_end();
    CHECK(memcmp(kept, bytes, 3000) == 0);
    lws_message_free(kept);
    lws_message_free(NULL);
    free(bytes);
}

static void test_faults(void) {
    static const struct {
        const char *stream;
        size_t length;
        int fault;
    } rows[] = {
        {"\x81\x05hello", 7, LWS_FAULT_WS_UNMASKED},
        {"\xc1\x80\0\0\0\0", 6, LWS_FAULT_WS_RSV},
        {"\x83", 1, LWS_FAULT_WS_OPCODE},
        {"\x80\x80\0\0\0\0", 6, LWS_FAULT_WS_FRAGMENT},
        {"\x01\x80\0\0\0\0\x81\x80\0\0\0\0", 12, LWS_FAULT_WS_FRAGMENT},
        {"\x09\x80", 2, LWS_FAULT_WS_CONTROL},
        {"\x89\xfe", 2, LWS_FAULT_WS_CONTROL},
        {"\x81\xfe\0\x05", 4, LWS_FAULT_WS_LENGTH},
        {"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14, LWS_FAULT_WS_TOO_BIG},
        {"\x82\xff\0\0\0\0\0\x10\0\x01\0\0\0\0", 14, LWS_FAULT_WS_TOO_BIG},
        {"\x81\x82\0\0\0\0\xc3\x28", 8, LWS_FAULT_WS_UTF8},
        {"\x81\x81\0\0\0\0\xc3", 7, LWS_FAULT_WS_UTF8},
        {"\x81\x90\0\0\0\0\xff", 7, LWS_FAULT_WS_UTF8}, /* without waiting for the rest */
        {"\x01\x81\0\0\0\0\xc3\x80\x80\0\0\0\0", 13, LWS_FAULT_WS_UTF8},
        {"\x88\x81\0\0\0\0\x03", 7, LWS_FAULT_WS_CLOSE_CODE},
        {"\x88\x82\0\0\0\0\x03\xed", 8, LWS_FAULT_WS_CLOSE_CODE},
        {"\x88\x83\0\0\0\0\x03\xe8\xff", 9, LWS_FAULT_WS_UTF8},
    };

    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *word = lws_fault_event(rows[i].fault);
        unsigned code = (unsigned)lws_fault_close_code(rows[i].fault);
        struct fake_socket *peer;
        uint8_t close[40];

        served_begin(NULL);
        peer = served_upgrade(13, NULL);
        fake_peer_sends(peer, rows[i].stream, rows[i].length);
        served_round(0);
        CHECK(served_event(LWS_EVENT_FAULT, 0)->offset == (uint32_t)rows[i].fault);
        CHECK(served_event(LWS_EVENT_CLOSED, 0)->code == 1006);
        served_frame(peer, 0x81, "late", 4);
        served_round(0);
        close[0] = (uint8_t)(code >> 8);
        close[1] = (uint8_t)code;
        memcpy(close + 2, word, strlen(word));
        CHECK_NAMED(served_out_frame(peer, 0x88, close, 2 + strlen(word)), word);
        CHECK(peer->shut && served.count == 0);
        served_frame(peer, 0x88, "\x03\xe8", 2);
        fake_peer_fin(peer);
        served_round(0);
        CHECK(served.count == 0);
        served_round(0);
        CHECK(served.count == 0 && peer->closed && peer->out_length == 0);
        served_end();
    }
}

static void test_faults76(void) {
    static const struct {
        const char *stream;
        size_t length;
        int fault;
    } rows[] = {
        {"\xff\x01", 2, LWS_FAULT_WS_PROTOCOL_ERROR},
        {"\x80\x80\x80\x80\x80\x80", 6, LWS_FAULT_WS_PROTOCOL_ERROR},
        {"\x80\xff\xff\xff\x7f", 5, LWS_FAULT_WS_TOO_BIG},
        {"\x00\xc3\x28\xff", 4, LWS_FAULT_WS_UTF8},
        {"\x00\xc3\xff", 3, LWS_FAULT_WS_UTF8},
    };

    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fake_socket *peer;

        served_begin(NULL);
        peer = served_upgrade(76, NULL);
        fake_peer_sends(peer, rows[i].stream, rows[i].length);
        served_round(0);
        CHECK(served_event(LWS_EVENT_FAULT, 0)->offset == (uint32_t)rows[i].fault);
        CHECK(served_event(LWS_EVENT_CLOSED, 0)->code == 1006);
        served_round(0);
        CHECK(served_out(peer, "\xff\x00", 2) && peer->shut);
        served_end();
    }
}

/* What a peer asks for once it does not read: only the newest ping is answered. */
static void test_pongs(void) {
    struct fake_socket *peer;
    uint32_t slot;
    uint8_t *bytes = served_bytes(30000);

    served_begin(NULL);
    peer = served_upgrade(13, &slot);
    served_frame(peer, 0x89, "one", 3);
    served_frame(peer, 0x89, "two", 3);
    served_round(0);
    served_round(0);
    CHECK(served_out(peer, "\x8a\x03one\x8a\x03two", 10));

    peer->window = 0;
    CHECK(served_write(slot, bytes, 30000, LWS_WRITE_BINARY) == 0);
    served_frame(peer, 0x89, "three", 5);
    served_frame(peer, 0x89, "four", 4);
    served_round(0);
    CHECK(peer->taken < peer->arrived); /* it is not read from meanwhile */
    peer->window = FAKE_UNLIMITED;
    for (unsigned i = 0; i < 3; i++) {
        served_round(0);
    }
    CHECK(served_out_frame(peer, 0x82, bytes, 30000));
    CHECK(served_out(peer,
                     "\x8a\x05three\x8a\x04"
                     "four",
                     13));

    /* Blocked in the middle of a share of input: what was read before is answered once. */
    served_frame(peer, 0x89, "five", 4);
    served_round(0);
    peer->window = 0;
    served_round(0);
    for (unsigned i = 0; i < 50; i++) {
        served_frame(peer, 0x89, "more", 4);
    }
    served_frame(peer, 0x89, "newest", 6);
    served_round(0);
    peer->window = FAKE_UNLIMITED;
    for (unsigned i = 0; i < 4; i++) {
        served_round(0);
    }
    CHECK(served_out_frame(peer, 0x8a, "five", 4));
    while (served_out_frame(peer, 0x8a, "more", 4)) {
    }
    CHECK(served_out(peer, "\x8a\x06newest", 8));
    served_end();
    free(bytes);
}

static void test_closing(void) {
    struct fake_socket *peer;
    uint32_t slot;

    /* The peer's Close is echoed, nothing behind it is looked at. */
    served_begin(NULL);
    peer = served_upgrade(13, &slot);
    served_frame(peer, 0x81, "before", 6);
    served_frame(peer, 0x88, "\x0f\xa0why", 5);
    served_frame(peer, 0x81, "after", 5);
    served_round(0);
    CHECK(served_events(LWS_EVENT_TEXT) == 1);
    served_round(0); /* what was said before is answered first */
    CHECK(served_events(LWS_EVENT_TEXT) == 0);
    CHECK(served_event(LWS_EVENT_CLOSED, 0)->code == 4000);
    CHECK(served_is(served_event(LWS_EVENT_CLOSED, 0), "why", 3));
    CHECK(served_say(slot, "no", LWS_WRITE_TEXT) == LWS_ERROR_CLOSED);
    CHECK(lws_close(served.context, slot, 1000, NULL, 0) == LWS_ERROR_CLOSED);
    served_round(0);
    CHECK(served_out(peer, "\x88\x05\x0f\xa0why", 7) && peer->shut);

    /* An empty one. */
    peer = served_upgrade(13, NULL);
    served_frame(peer, 0x88, "", 0);
    served_round(0);
    CHECK(served_event(LWS_EVENT_CLOSED, 0)->code == 1005);
    served_round(0);
    CHECK(served_out(peer, "\x88\x00", 2));

    /* Both at the same moment: one each, the peer's code. */
    peer = served_upgrade(13, &slot);
    served_frame(peer, 0x88, "\x03\xe9", 2);
    CHECK(lws_close(served.context, slot, 3333, (const uint8_t *)"x", 1) == 0);
    CHECK(served_say(slot, "no", LWS_WRITE_TEXT) == LWS_ERROR_CLOSED);
    served_round(0);
    CHECK(served_event(LWS_EVENT_CLOSED, 0)->code == 1001);
    served_round(0);
    CHECK(served_out(peer, "\x88\x03\x0d\x05x", 5));

    /* Refused codes and reasons leave it as it was. */
    peer = served_upgrade(13, &slot);
    CHECK(lws_close(served.context, slot, 1006, NULL, 0) == LWS_ERROR_CLOSE_CODE);
    CHECK(lws_close(served.context, slot, 70000, NULL, 0) == LWS_ERROR_CLOSE_CODE);
    CHECK(lws_close(served.context, slot, 1000, (const uint8_t *)"\xff", 1) == LWS_ERROR_UTF8);
    CHECK(served_say(slot, "open", LWS_WRITE_TEXT) == 0);

    /* While the Close waits for an answer messages are dropped, pings too. */
    CHECK(lws_close(served.context, slot, 1000, NULL, 0) == 0);
    served_frame(peer, 0x01, "part", 4);
    served_frame(peer, 0x89, "ping", 4);
    served_frame(peer, 0x80, "rest", 4);
    served_frame(peer, 0x82, "whole", 5);
    served_round(0);
    CHECK(served.count == 0);
    served_frame(peer, 0x88, "\x03\xe8", 2);
    served_round(0);
    CHECK(served_event(LWS_EVENT_CLOSED, 0)->code == 1000);
    served_round(0);
    CHECK(served_out(peer, "\x81\x04open\x88\x02\x03\xe8", 10));

    /* Without a Close: 1006, whether it leaves or is torn away, inside a frame or between two. */
    for (unsigned how = 0; how < 4; how++) {
        peer = served_upgrade(13, NULL);
        if (how & 1) {
            fake_peer_sends(peer, "\x81\x85\0\0\0\0he", 8);
        }
        served_round(0);
        if (how & 2) {
            fake_peer_resets(peer, ECONNRESET);
        } else {
            fake_peer_fin(peer);
        }
        served_round(0);
        CHECK(served_event(LWS_EVENT_CLOSED, 0)->code == 1006);
        CHECK(served_event(LWS_EVENT_FAULT, 0)->offset == LWS_FAULT_WS_ABNORMAL);
        CHECK(peer->closed && served.count == 2);
    }
    served_end();
}

static void test_handshake_rest(void) {
    struct fake_socket *peer;
    uint32_t slot;

    /* Frames in the same bytes as the handshake wait for its answer. */
    served_begin(NULL);
    peer = served_connect();
    served_sends(peer, served_handshake(13));
    served_frame(peer, 0x81, "one", 3);
    served_frame(peer, 0x81, "two", 3);
    fake_peer_sends(peer, "\x81\x85\0\0", 4);
    served_round(0);
    CHECK(served.count == 1);
    slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
    CHECK(lws_upgrade(served.context, slot, "a\r\nb", 4, NULL, 0, false) == LWS_ERROR_ARGUMENT);
    CHECK(lws_upgrade(served.context, slot, "p", 5000, NULL, 0, false) == LWS_ERROR_ARGUMENT);
    CHECK(lws_upgrade(served.context, slot, "chat", 4, "x", 1, false) == 0);
    CHECK(lws_upgrade(served.context, slot, "chat", 4, "x", 1, false) == LWS_ERROR_STATE);
    served_round(0);
    CHECK(peer->out_length > 100 && memmem(peer->out, peer->out_length, "Protocol: chat\r\n", 16));
    CHECK(memmem(peer->out, peer->out_length, "Extensions: x\r\n", 15));
    CHECK(served_is(served_event(LWS_EVENT_TEXT, 0), "one", 3));
    CHECK(served_is(served_event(LWS_EVENT_TEXT, 1), "two", 3));
    fake_peer_sends(peer, "\0\0three", 7);
    served_round(0);
    CHECK(next_message(LWS_EVENT_TEXT, "three", 5));
    CHECK(lws_version(served.context, slot) == 13);
    served_end();
}

/* 1000 connections and more events than the array has room for: each message comes once. */
static void test_many(void) {
    static struct fake_socket *peers[100];
    struct lws_options options = served_options();
    unsigned messages = 0, closed = 0;

    options.send_interval = 50;
    served_begin(&options);
    for (unsigned i = 0; i < 100; i++) {
        peers[i] = served_upgrade(i & 1 ? 13 : 76, NULL);
    }
    for (unsigned i = 0; i < 100; i++) {
        for (unsigned n = 0; n < 300; n++) {
            if (i & 1) {
                served_frame(peers[i], 0x81, "m", 1);
            } else {
                fake_peer_sends(peers[i], "\0m\xff", 3);
            }
        }
    }
    for (unsigned rounds = 0; rounds < 100; rounds++) {
        served_round(10);
        for (int n = 0; n < served.count; n++) {
            messages +=
                served_is(&served.events[n], "m", 1) && served.events[n].kind == LWS_EVENT_TEXT;
        }
    }
    CHECK(messages == 30000);
    CHECK(lws_abort_all(served.context) == 0);
    for (unsigned rounds = 0; rounds < 3; rounds++) {
        served_round(0);
        closed += served_events(LWS_EVENT_CLOSED);
    }
    CHECK(closed == 100 && lws_connections(served.context) == 0);
    served_end();
}

int main(void) {
    static const int versions[] = {13, 8, 7, 76};

    for (unsigned i = 0; i < 4; i++) {
        test_lengths(versions[i], FAKE_UNLIMITED);
        test_lengths(versions[i], 4000);
        test_lengths(versions[i], 1);
    }
    test_cuts();
    test_pieces();
    test_keep();
    test_faults();
    test_faults76();
    test_pongs();
    test_closing();
    test_handshake_rest();
    test_many();
    return check_report();
}
