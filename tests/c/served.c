#include "served.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct served served;

struct lws_options served_options(void) {
    return (struct lws_options){
        .head = {8192, 8192, 100, 16384},
        .max_message = 1 << 20,
        .max_send_buffer = 1 << 20,
        .max_connections = 1000,
        .keepalive_requests = 100,
        .handshake_timeout = 1000,
        .keepalive_timeout = 500,
        .send_timeout = 3000,
        .close_timeout = 1500,
        .linger_timeout = 100,
        .pong_timeout = 200,
        .oldest = 76,
    };
}

bool served_try(const struct lws_options *options) {
    struct lws_options usual = served_options();

    fake_reset();
    served.arena = malloc(LWS_ARENA_SIZE);
    served.context = lws_context_create(options ? options : &usual, served.arena);
    if (!served.context) {
        CHECK(errno == ENOMEM || errno == EMFILE);
        CHECK(fake_open() == 0);
        free(served.arena);
        return false;
    }
    served.listener = fake_listener();
    served.count = 0;
    served.events = lws_events(served.context);
    return true;
}

void served_begin(const struct lws_options *options) {
    if (!served_try(options) || lws_listen(served.context, served.listener, false) != 0) {
        abort();
    }
}

void served_end(void) {
    fake_fail_none();
    lws_context_destroy(served.context);
    CHECK(fake_open() == 0);
    free(served.arena);
    served.context = NULL;
}

int served_round(int timeout_ms) {
    served.count = lws_service(served.context, timeout_ms);
    CHECK(served.count >= 0 && served.count <= (int)lws_events_room(served.context));
    return served.count;
}

const struct lws_event *served_event(unsigned kind, unsigned n) {
    for (int i = 0; i < served.count; i++) {
        if (served.events[i].kind == kind && n-- == 0) {
            return &served.events[i];
        }
    }
    return NULL;
}

unsigned served_events(unsigned kind) {
    unsigned n = 0;

    while (served_event(kind, n)) {
        n++;
    }
    return n;
}

bool served_is(const struct lws_event *event, const void *bytes, size_t length) {
    const uint8_t *payload;
    unsigned kind;

    if (!event || event->length != length) {
        return false;
    }
    kind = event->kind & 15u;
    if (kind == LWS_EVENT_TEXT_BUFFER || kind == LWS_EVENT_BINARY_BUFFER) {
        payload = lws_message(served.context, event->offset);
    } else {
        payload = served.arena + event->offset;
    }
    return payload && (length == 0 || memcmp(payload, bytes, length) == 0);
}

struct fake_socket *served_connect(void) {
    uint32_t before = lws_connections(served.context);
    struct fake_socket *peer = fake_connect();

    served_round(0);
    CHECK(peer->accepted && lws_connections(served.context) == before + 1);
    return peer;
}

const char *served_handshake(int version) {
    static char text[512];

    if (version == LWS_VERSION_HIXIE76) {
        return "GET /demo HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\nUpgrade: WebSocket\r\n"
               "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nOrigin: http://example.com\r\n\r\n"
               "^n:ds[4U";
    }
    snprintf(text, sizeof text,
             "GET /chat?x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: %d\r\n\r\n",
             version);
    return text;
}

void served_sends(struct fake_socket *peer, const char *text) {
    fake_peer_sends(peer, text, strlen(text));
}

struct fake_socket *served_upgrade(int version, uint32_t *slot) {
    struct fake_socket *peer = served_connect();
    const struct lws_event *request;
    uint32_t number;

    served_sends(peer, served_handshake(version));
    served_round(0);
    request = served_event(LWS_EVENT_REQUEST, 0);
    CHECK(request && request->offset == (uint32_t)version);
    if (!request) {
        abort();
    }
    number = request->slot;
    CHECK(lws_upgrade(served.context, number, NULL, 0, NULL, 0, false) == 0);
    served_round(0);
    CHECK(peer->out_length > 13 && memcmp(peer->out, "HTTP/1.1 101 ", 13) == 0);
    served_forget(peer);
    if (slot) {
        *slot = number;
    }
    return peer;
}

void served_frame(struct fake_socket *peer, unsigned first, const void *payload, size_t length) {
    uint8_t *frame = malloc(length + 14);
    size_t header = 2;

    frame[0] = (uint8_t)first;
    frame[1] = (uint8_t)(0x80 | (length < 126 ? length : length < 65536 ? 126 : 127));
    if (length > 125) {
        for (unsigned bytes = length < 65536 ? 2 : 8; bytes; bytes--) {
            frame[header++] = (uint8_t)(bytes > 4 ? 0 : length >> (8 * bytes - 8));
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        frame[header + i] = (uint8_t)(0x91 + 0x5b * i + length);
    }
    for (size_t i = 0; i < length; i++) {
        frame[header + 4 + i] = ((const uint8_t *)payload)[i] ^ frame[header + i % 4];
    }
    fake_peer_sends(peer, frame, header + 4 + length);
    free(frame);
}

void served_forget(struct fake_socket *peer) {
    peer->out_length = 0;
}

bool served_out(struct fake_socket *peer, const void *bytes, size_t length) {
    bool same =
        peer->out_length == length && (length == 0 || memcmp(peer->out, bytes, length) == 0);

    if (!same) {
        fprintf(stderr, "%zu bytes wanted, %zu sent: %.*s\n", length, peer->out_length,
                (int)(peer->out_length < 300 ? peer->out_length : 300), (const char *)peer->out);
    }
    served_forget(peer);
    return same;
}

bool served_out_text(struct fake_socket *peer, const char *text) {
    return served_out(peer, text, strlen(text));
}

bool served_out_frame(struct fake_socket *peer, unsigned first, const void *payload,
                      size_t length) {
    uint8_t header[10];
    size_t size = lws_frame_header(header, length, first);

    if (peer->out_length < size + length || memcmp(peer->out, header, size) != 0 ||
        (length && memcmp(peer->out + size, payload, length) != 0)) {
        return false;
    }
    peer->out_length -= size + length;
    memmove(peer->out, peer->out + size + length, peer->out_length);
    return true;
}

uint8_t *served_bytes(size_t length) {
    uint64_t seed = length;
    uint8_t *bytes = malloc(length + 1);

    for (size_t i = 0; i < length; i++) {
        bytes[i] = (uint8_t)check_random(&seed);
    }
    return bytes;
}

int served_write(uint32_t slot, const void *payload, size_t length, int protocol) {
    size_t room = LWS_SEND_BUFFER_PRE_PADDING + length + LWS_SEND_BUFFER_POST_PADDING;
    uint8_t *memory = malloc(room);
    int result;

    if (length) {
        memcpy(memory + LWS_SEND_BUFFER_PRE_PADDING, payload, length);
    }
    result = lws_write(served.context, slot, (uintptr_t)memory + LWS_SEND_BUFFER_PRE_PADDING,
                       length, protocol);
    CHECK(length == 0 || memcmp(memory + LWS_SEND_BUFFER_PRE_PADDING, payload, length) == 0);
    memset(memory, 0xee, room);
    free(memory);
    return result;
}

int served_say(uint32_t slot, const char *text, int protocol) {
    return lws_write_copy(served.context, slot, (const uint8_t *)text, strlen(text), protocol);
}
