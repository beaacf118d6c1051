/* Secure connections where something is wrong, cut, late or too much. */
#include "secured.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

static void *from_another_thread(void *found) {
    const uint8_t *bytes;
    uint32_t length;
    int *results = found;

    results[0] = lws_feed(served.context, 0, 16, 0, false);
    results[1] = lws_secure_send(served.context, 0, NULL, 0);
    results[2] = lws_secure_fail(served.context, 0);
    results[3] = lws_secure_next(served.context, &bytes, &length) == LWS_NO_SLOT;
    return NULL;
}

/* Calls that are no good change nothing. */
static void test_wrong_calls(void) {
    uint32_t slot, plain_slot;
    struct fake_socket *peer = secured_begin(&slot);
    int found[4];
    pthread_t thread;

    CHECK(lws_feed(served.context, slot, 15, 0, false) == LWS_ERROR_ARGUMENT);
    CHECK(lws_feed(served.context, slot, LWS_ARENA_SIZE, 0, false) == LWS_ERROR_ARGUMENT);
    CHECK(lws_feed(served.context, slot, LWS_ARENA_SIZE - 8, 9, false) == LWS_ERROR_ARGUMENT);
    CHECK(lws_secure_send(served.context, 99, NULL, 0) == LWS_ERROR_CLOSED);
    CHECK(lws_secure_send(served.context, slot, NULL, (size_t)INT32_MAX + 1) == LWS_ERROR_ARGUMENT);
    pthread_create(&thread, NULL, from_another_thread, found);
    pthread_join(thread, NULL);
    CHECK(found[0] == LWS_ERROR_THREAD && found[1] == LWS_ERROR_THREAD);
    CHECK(found[2] == LWS_ERROR_THREAD && found[3]);
    CHECK(served_say(slot, "well", LWS_WRITE_TEXT) == 0);
    secured_encrypt();
    CHECK(served_out(peer, "\x17\x03\x03\0\x06\x81\x04well", 11));
    served_end();

    served_begin(NULL);
    served_upgrade(13, &plain_slot);
    CHECK(lws_feed(served.context, plain_slot, 16, 0, false) == LWS_ERROR_ARGUMENT);
    CHECK(lws_secure_send(served.context, plain_slot, NULL, 0) == LWS_ERROR_ARGUMENT);
    served_end();
}

/* Bytes that cannot begin a record are not waited for; those that can, are. */
static void test_what_is_a_record(void) {
    static const struct {
        const char *bytes;
        uint32_t length;
        bool whole;
    } rows[] = {
        {"\x13", 1, true},
        {"\x19", 1, true},
        {"\x14", 1, false},
        {"\x18\x03", 2, false},
        {"\x16\x02", 2, true},
        {"\x17\x03\x03\x48", 4, false},
        {"\x17\x03\x03\x48\x00", 5, false},
        {"\x17\x03\x03\x48\x01", 5, true},
        {"\x15\x03\x03\0\0", 5, true},
        {"\x15\x03\x03\0\0\x15", 6, true}, /* the first one is */
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fake_socket *peer = secured_connect(NULL);

        fake_peer_sends(peer, rows[i].bytes, rows[i].length);
        served_round(0);
        CHECK_NAMED(!!served_event(LWS_EVENT_SECURE, 0) == rows[i].whole, rows[i].bytes);
        served_end();
    }
}

static void test_receiving_fails(void) {
    uint32_t slot;
    struct fake_socket *peer = secured_begin(&slot);

    /* Not yet: the next round brings it. */
    secured_sends(peer, "\x81\x82\0\0\0\0hi", 8, 100);
    fake_fail(FAKE_RECV, 0, EAGAIN);
    served_round(0);
    CHECK(!served_event(LWS_EVENT_SECURE, 0) && !peer->closed);
    served_round(0);
    CHECK(secured_decrypt() == 1 && served_is(served_event(LWS_EVENT_TEXT, 0), "hi", 2));

    /* The stream breaks off within a record. */
    fake_peer_sends(peer, "\x17\x03\x03\0\x05he", 7);
    served_round(0);
    fake_peer_resets(peer, ECONNRESET);
    served_round(0);
    CHECK(served_event(LWS_EVENT_CLOSED, 0) && served_event(LWS_EVENT_CLOSED, 0)->code == 1006);
    CHECK(!served_event(LWS_EVENT_SECURE, 0));
    served_end();

    /* No memory to keep the beginning of a record, alone or behind one that is whole. */
    for (unsigned behind = 0; behind < 2; behind++) {
        peer = secured_begin(&slot);
        if (behind) {
            secured_sends(peer, "\x81\x82\0\0\0\0hi", 8, 100);
        }
        fake_peer_sends(peer, "\x17\x03\x03\0\x05he", 7);
        fake_fail(FAKE_ALLOCATE, 0, ENOMEM);
        served_round(0);
        CHECK(served_event(LWS_EVENT_FAULT, 0) &&
              served_event(LWS_EVENT_FAULT, 0)->offset == LWS_FAULT_ALLOC_FAILED);
        CHECK(served_event(LWS_EVENT_CLOSED, 0) != NULL && !served_event(LWS_EVENT_SECURE, 0));
        served_round(0);
        CHECK(peer->closed && peer->reset);
        served_end();
    }
}

/* The end of the stream is told with the plaintext before it. */
static void test_end_with_plaintext(void) {
    static const char *const heads[] = {"", "GET / HTTP/1.1\r\nHo",
                                        "GET / HTTP/1.1\r\nHost: a\r\n\r\n"};

    for (unsigned i = 0; i < 3; i++) {
        struct fake_socket *peer = secured_connect(NULL);
        const struct lws_event *event;
        uint32_t slot;

        secured_sends(peer, "x", 1, 1);
        served_round(0);
        event = served_event(LWS_EVENT_SECURE, 0);
        slot = event->slot;
        memcpy(served.arena + event->offset, heads[i], strlen(heads[i]));
        CHECK(lws_feed(served.context, slot, event->offset, (uint32_t)strlen(heads[i]), true) == 0);
        served.count = (int)lws_event_count(served.context);
        CHECK(!!served_event(LWS_EVENT_REQUEST, 0) == (i == 2));
        if (i == 2) {
            CHECK(served_say(slot, "said", LWS_WRITE_HTTP) == 0);
            CHECK(lws_reply_end(served.context, slot, true) == 0);
        }
        for (unsigned n = 0; n < 4 && !peer->shut && !peer->closed; n++) {
            secured_encrypt();
            served_round(0);
        }
        CHECK(peer->shut || peer->closed);
        CHECK((i == 2) == (memmem(peer->out, peer->out_length, "said", 4) != NULL));
        served_end();
    }
}

/* What the application decrypts for a connection that it has ended meanwhile is not looked at. */
static void test_feed_after_the_end(void) {
    uint32_t slot;
    struct fake_socket *peer = secured_begin(&slot);
    const struct lws_event *event;

    secured_sends(peer, "\x81\x82\0\0\0\0hi", 8, 100);
    served_round(0);
    event = served_event(LWS_EVENT_SECURE, 0);
    CHECK(lws_secure_fail(served.context, slot) == 0);
    CHECK(lws_feed(served.context, slot, event->offset, 8, false) == 0);
    served.count = (int)lws_event_count(served.context);
    CHECK(!served_event(LWS_EVENT_TEXT, 0));
    CHECK(lws_secure_fail(served.context, slot) == 0); /* again: nothing more */
    served_end();
}

/* Any number of messages in few records, frames cut between them: each once, in order. */
static void test_many_messages(unsigned count, size_t record) {
    uint32_t slot;
    struct fake_socket *peer = secured_begin(&slot);
    uint8_t *bytes = malloc(count * 10);
    unsigned seen = 0, idle = 0;

    for (unsigned i = 0; i < count; i++) {
        uint8_t frame[10] = {0x81, 0x84, 0, 0, 0, 0};

        frame[6] = (uint8_t)('a' + i % 26);
        frame[7] = (uint8_t)('a' + i / 26 % 26);
        frame[8] = (uint8_t)('a' + i / 676 % 26);
        frame[9] = '.';
        memcpy(bytes + 10 * i, frame, 10);
    }
    secured_sends(peer, bytes, count * 10, record);
    while (idle++ < 50 && seen < count) {
        served_round(0);
        /* Those from before, kept, and those of this round's records. */
        secured_decrypt();
        for (unsigned n = 0; served_event(LWS_EVENT_TEXT, n) && seen < count;
             n++, seen++, idle = 0) {
            if (!served_is(served_event(LWS_EVENT_TEXT, n), bytes + 10 * seen + 6, 4)) {
                CHECK(served_is(served_event(LWS_EVENT_TEXT, n), bytes + 10 * seen + 6, 4));
                seen = count;
            }
        }
    }
    CHECK(seen == count);
    served_end();
    free(bytes);
}

/* A frame whose header comes in one record and the rest in the next, a round between them. */
static void test_cut_frame(void) {
    static const char frame[] = "\x81\x85\0\0\0\0hello";

    for (size_t cut = 1; cut < 11; cut++) {
        uint32_t slot;
        struct fake_socket *peer = secured_begin(&slot);
        unsigned texts = 0;

        secured_sends(peer, frame, cut, 100);
        served_round(0);
        secured_decrypt();
        CHECK(!served_event(LWS_EVENT_TEXT, 0));
        secured_sends(peer, frame + cut, 11 - cut, 100);
        served_round(0);
        secured_decrypt();
        texts += served_events(LWS_EVENT_TEXT) + served_events(LWS_EVENT_TEXT_BUFFER);
        CHECK(texts == 1);
        served_end();
    }
}

/* What comes from a peer puts off the ping that silence would bring. */
static void test_pings(void) {
    struct lws_options options = served_options();
    struct fake_socket *peer;
    uint32_t slot;
    uint8_t out[100], type;

    options.ping_interval = 100;
    fake_peer_fin(secured_connect(&options));
    served_round(0);
    peer = secured_session(&slot);
    for (unsigned i = 0; i < 5; i++) {
        fake_pass_ms(60);
        secured_sends(peer, "\x8a\x80\0\0\0\0", 6, 100);
        served_round(0);
        secured_decrypt();
        secured_encrypt();
        CHECK(peer->out_length == 0);
    }
    for (unsigned i = 0; i < 12 && !peer->out_length; i++) {
        served_round(20);
        secured_encrypt();
    }
    CHECK(secured_plain(peer, out, &type) > 2 && out[0] == 0x89);
    served_end();
}

/* One broadcast, small or large, to readers and to one who does not read. */
static void test_broadcast(size_t size) {
    struct fake_socket *peers[3];
    uint32_t slots[3];
    uint8_t *bytes = malloc(size + 64), *out = malloc(size + 1000), type;

    memset(bytes, 'b', size + 64);
    fake_peer_fin(secured_connect(NULL));
    served_round(0);
    for (unsigned i = 0; i < 3; i++) {
        peers[i] = secured_session(&slots[i]);
    }
    peers[1]->window = 3;
    CHECK(served_say(slots[1], "before", LWS_WRITE_TEXT) == 0);
    secured_encrypt();
    CHECK(lws_broadcast(served.context, (uintptr_t)bytes + 32, size, LWS_WRITE_TEXT) == 0);
    secured_encrypt();
    peers[1]->window = FAKE_UNLIMITED;
    for (unsigned i = 0; i < 5; i++) {
        served_round(0);
        secured_encrypt();
    }
    for (unsigned i = 0; i < 3; i++) {
        size_t length = secured_plain(peers[i], out, &type), header = size < 65536 ? 4 : 10;
        size_t before = i == 1 ? 8 : 0;
        uint8_t *message = out + before;

        CHECK(length == size + header + before);
        CHECK(message[0] == 0x81 && memcmp(message + header, bytes + 32, size) == 0);
    }
    served_end();
    free(bytes);
    free(out);
}

/* Reading a file fails or is interrupted while its reply is encrypted. */
static void test_file_fails(int error) {
    struct fake_socket *peer = secured_connect(NULL);
    uint32_t slot;
    bool dies = error != EINTR;

    secured_sends(peer, "GET / HTTP/1.0\r\n\r\n", 18, 100);
    served_round(0);
    secured_decrypt();
    slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
    CHECK(served_say(slot, "head", LWS_WRITE_HTTP) == 0);
    CHECK(lws_send_file(served.context, slot, fake_file(200000), 0, 200000) == 0);
    CHECK(lws_reply_end(served.context, slot, false) == 0);
    secured_encrypt();
    fake_fail(FAKE_PREAD, 0, error);
    for (unsigned i = 0; i < 10 && !peer->shut && !peer->closed; i++) {
        served_round(0);
        secured_encrypt();
    }
    CHECK(!fake_fail_pending(FAKE_PREAD));
    CHECK(peer->shut == !dies);
    served_round(0);
    CHECK(peer->closed == dies);
    CHECK((peer->out_length > 200000) == !dies);
    served_end();
}

/* No memory, or no connection any more, at each step of the way out. */
static void test_sending_fails(void) {
    uint32_t slot;
    struct fake_socket *peer = secured_begin(&slot);
    uint8_t *bytes = served_bytes(8000);
    const uint8_t *at;
    uint32_t length;

    /* More than a share is gathered: it is queued, for which there is no memory. */
    for (unsigned i = 0; i < 12; i++) {
        CHECK(served_write(slot, bytes, 8000, LWS_WRITE_BINARY) == 0);
    }
    fake_fail(FAKE_ALLOCATE, 0, ENOMEM);
    CHECK(lws_secure_next(served.context, &at, &length) == LWS_NO_SLOT);
    served_round(0);
    CHECK(served_event(LWS_EVENT_CLOSED, 0) && peer->closed);
    served_end();

    /* The same with memory. */
    peer = secured_begin(&slot);
    for (unsigned i = 0; i < 12; i++) {
        CHECK(served_write(slot, bytes, 8000, LWS_WRITE_BINARY) == 0);
    }
    for (unsigned i = 0; i < 5; i++) {
        secured_encrypt();
        served_round(0);
    }
    CHECK(peer->out_length > 12 * 8004 && lws_queued(served.context, slot) == 0);
    served_end();

    /* Dead before its turn comes. */
    secured_begin(&slot);
    CHECK(served_say(slot, "never sent", LWS_WRITE_TEXT) == 0);
    CHECK(lws_abort(served.context, slot) == 0);
    CHECK(lws_secure_next(served.context, &at, &length) == LWS_NO_SLOT);
    served_end();

    /* The kernel refuses records for good; for now; for now, and no memory to keep them. */
    peer = secured_begin(&slot);
    fake_fail(FAKE_SEND, 0, EAGAIN);
    CHECK(lws_secure_send(served.context, slot, (const uint8_t *)"first", 5) == 0);
    CHECK(lws_secure_send(served.context, slot, (const uint8_t *)"second", 6) == 0);
    CHECK(lws_secure_send(served.context, slot, NULL, 0) == 0);
    CHECK(lws_queued(served.context, slot) == 11);
    CHECK(served_say(slot, "third", LWS_WRITE_TEXT) == 0);
    secured_encrypt();
    served_round(0);
    CHECK(served_out_text(peer, "firstsecond"));
    secured_encrypt();
    CHECK(peer->out_length == 12);
    fake_fail(FAKE_SEND, 0, EAGAIN);
    fake_fail(FAKE_ALLOCATE, 0, ENOMEM);
    CHECK(lws_secure_send(served.context, slot, (const uint8_t *)"x", 1) == LWS_ERROR_MEMORY);
    CHECK(lws_secure_send(served.context, slot, (const uint8_t *)"x", 1) == LWS_ERROR_CLOSED);
    served_end();

    for (unsigned queued = 0; queued < 2; queued++) {
        peer = secured_begin(&slot);
        fake_fail_none();
        if (queued) { /* the kernel says so when there is room again */
            fake_fail(FAKE_SEND, 0, EAGAIN);
            CHECK(lws_secure_send(served.context, slot, (const uint8_t *)"x", 1) == 0);
        }
        fake_fail(FAKE_SEND, 0, EPIPE);
        if (!queued) {
            CHECK(lws_secure_send(served.context, slot, (const uint8_t *)"x", 1) ==
                  LWS_ERROR_CLOSED);
        }
        served_round(0);
        CHECK(served_event(LWS_EVENT_CLOSED, 0) != NULL);
        served_end();
    }
    free(bytes);
}

/* More than there is room for is written before any of it is encrypted: it moves to the queues. */
static void test_gathered_by_many(void) {
    enum { PEERS = 4, EACH = 12, SIZE = 8000 };
    struct fake_socket *peers[PEERS];
    uint32_t slots[PEERS];
    uint8_t *bytes = served_bytes(SIZE), *out = malloc(EACH * (SIZE + 4) + 1000), type;

    fake_peer_fin(secured_connect(NULL));
    served_round(0);
    for (unsigned i = 0; i < PEERS; i++) {
        peers[i] = secured_session(&slots[i]);
    }
    for (unsigned n = 0; n < EACH; n++) {
        for (unsigned i = 0; i < PEERS; i++) {
            bytes[0] = (uint8_t)(16 * n + i);
            CHECK(served_write(slots[i], bytes, SIZE, LWS_WRITE_BINARY) == 0);
        }
    }
    for (unsigned i = 0; i < 5; i++) {
        secured_encrypt();
        served_round(0);
    }
    for (unsigned i = 0; i < PEERS; i++) {
        CHECK(secured_plain(peers[i], out, &type) == EACH * (SIZE + 4));
        for (unsigned n = 0; n < EACH; n++) {
            const uint8_t *message = out + n * (SIZE + 4) + 4;

            CHECK(message[0] == 16 * n + i && memcmp(message + 1, bytes + 1, SIZE - 1) == 0);
        }
        CHECK(lws_queued(served.context, slots[i]) == 0);
    }
    served_end();
    free(bytes);
    free(out);
}

/* TLS fails while records and plaintext wait: the records leave, the plaintext does not. */
static void test_fail_keeps_records(void) {
    uint32_t slot;
    struct fake_socket *peer = secured_begin(&slot);

    peer->window = 0;
    CHECK(lws_secure_send(served.context, slot, (const uint8_t *)"one, ", 5) == 0);
    CHECK(served_say(slot, "plaintext", LWS_WRITE_TEXT) == 0);
    secured_encrypt(); /* it is queued behind */
    CHECK(lws_secure_send(served.context, slot, (const uint8_t *)"alert", 5) == 0);
    CHECK(lws_secure_fail(served.context, slot) == 0);
    CHECK(lws_queued(served.context, slot) <= 10);
    served_round(0);
    CHECK(served_event(LWS_EVENT_CLOSED, 0) != NULL);
    peer->window = FAKE_UNLIMITED;
    for (unsigned i = 0; i < 4 && !peer->shut; i++) {
        served_round(0);
        secured_encrypt();
    }
    CHECK(peer->shut && served_out_text(peer, "one, alert"));
    served_end();
}

int main(void) {
    test_wrong_calls();
    test_what_is_a_record();
    test_receiving_fails();
    test_end_with_plaintext();
    test_feed_after_the_end();
    test_many_messages(200, 16384);
    test_many_messages(7000, 16384);
    test_many_messages(7000, 999);
    test_cut_frame();
    test_pings();
    test_broadcast(1000);
    test_broadcast(20000);
    test_broadcast(100000);
    test_file_fails(EINTR);
    test_file_fails(EIO);
    test_sending_fails();
    test_gathered_by_many();
    test_fail_keeps_records();
    return check_report();
}
