/* Requests, frames and what must come back. */
#include "wire.h"

#include "codec/codec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

bool wire_random(void *bytes, size_t size) {
    uint8_t *to = bytes;

    while (size) {
        ssize_t got = getrandom(to, size, 0);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        to += got;
        size -= (size_t)got;
    }
    return true;
}

static const char DIGITS[] = "0123456789abcdef";

/* The last digits of a message's number. */
static void write_stamp(uint8_t *to, uint32_t count, uint64_t number) {
    for (uint32_t i = count; i-- > 0; number >>= 4) {
        to[i] = (uint8_t)DIGITS[number & 15];
    }
}

bool wire_make(struct wire *wire, uint32_t size, uint32_t frames, bool text) {
    uint32_t header = size < 126 ? 6 : size < 65536 ? 8 : 14;

    memset(wire, 0, sizeof *wire);
    wire->size = size;
    wire->frames = frames;
    wire->outgoing = header + size;
    wire->stamp = size < WIRE_STAMP ? size : WIRE_STAMP;
    wire->header_size = (uint8_t)lws_frame_header(wire->header, size, text ? 0x81u : 0x82u);
    wire->incoming = wire->header_size + size;
    wire->ring = malloc((size_t)frames * wire->outgoing);
    wire->payload = malloc(size ? size : 1);
    if (!wire->ring || !wire->payload || !wire_random(wire->payload, size) ||
        !wire_random(wire->mask, sizeof wire->mask)) {
        wire_free(wire);
        return false;
    }
    for (uint32_t i = 0; text && i < size; i++) {
        wire->payload[i] = (uint8_t)(' ' + wire->payload[i] % 95);
    }
    for (uint32_t i = 0; i < frames; i++) {
        uint8_t *frame = wire->ring + (size_t)i * wire->outgoing;

        memcpy(frame, wire->header, wire->header_size);
        frame[1] |= 0x80;
        memcpy(frame + wire->header_size, wire->mask, sizeof wire->mask);
        memcpy(frame + header, wire->payload, size);
        lws_mask(frame + header, size, wire->mask, 0);
    }
    return true;
}

void wire_free(struct wire *wire) {
    free(wire->ring);
    free(wire->payload);
    wire->ring = NULL;
    wire->payload = NULL;
}

void wire_stamp(struct wire *wire, uint64_t number) {
    uint8_t *frame = wire->ring + (size_t)(number % wire->frames) * wire->outgoing;
    uint8_t *payload = frame + wire->header_size + sizeof wire->mask;

    write_stamp(payload, wire->stamp, number);
    for (uint32_t i = 0; i < wire->stamp; i++) {
        payload[i] ^= wire->mask[i & 3];
    }
}

/* The first byte that differs, or size. */
static size_t difference(const uint8_t *data, const uint8_t *want, size_t size) {
    size_t at = 0;

    if (memcmp(data, want, size) == 0) {
        return size;
    }
    while (data[at] == want[at]) {
        at++;
    }
    return at;
}

ptrdiff_t wire_check(const struct wire *wire, const uint8_t *data, size_t size, uint32_t *position,
                     uint64_t number) {
    uint8_t front[sizeof wire->header + WIRE_STAMP];
    uint32_t front_size = wire->header_size + wire->stamp;
    size_t used = 0;

    if (size > wire->incoming - *position) {
        size = wire->incoming - *position;
    }
    if (*position < front_size) {
        size_t here = front_size - *position < size ? front_size - *position : size;

        memcpy(front, wire->header, wire->header_size);
        write_stamp(front + wire->header_size, wire->stamp, number);
        used = difference(data, front + *position, here);
        if (used < here) {
            return -(ptrdiff_t)used - 1;
        }
    }
    if (used < size) {
        uint32_t from = *position + (uint32_t)used - wire->header_size;
        size_t here = size - used;
        size_t same = difference(data + used, wire->payload + from, here);

        if (same < here) {
            return -(ptrdiff_t)(used + same) - 1;
        }
    }
    *position += (uint32_t)size;
    return (ptrdiff_t)size;
}

/* ---- handshakes ----------------------------------------------------------------------------- */

bool wire_key(char key[WIRE_KEY]) {
    uint8_t nonce[16];

    return wire_random(nonce, sizeof nonce) &&
           lws_base64_encode(nonce, sizeof nonce, key, WIRE_KEY) == WIRE_KEY;
}

size_t wire_upgrade(char request[WIRE_REQUEST], const char *path, uint16_t port,
                    const char key[WIRE_KEY]) {
    int size = snprintf(request, WIRE_REQUEST,
                        "GET %s HTTP/1.1\r\n"
                        "Host: 127.0.0.1:%u\r\n"
                        "Upgrade: websocket\r\n"
                        "Connection: Upgrade\r\n"
                        "Sec-WebSocket-Key: %.*s\r\n"
                        "Sec-WebSocket-Version: 13\r\n"
                        "\r\n",
                        path, (unsigned)port, WIRE_KEY, key);

    return size > 0 && size < WIRE_REQUEST ? (size_t)size : 0;
}

size_t wire_get(char request[WIRE_REQUEST], const char *path, uint16_t port) {
    int size = snprintf(request, WIRE_REQUEST,
                        "GET %s HTTP/1.1\r\n"
                        "Host: 127.0.0.1:%u\r\n"
                        "\r\n",
                        path, (unsigned)port);

    return size > 0 && size < WIRE_REQUEST ? (size_t)size : 0;
}

const char *wire_field(const char *head, size_t size, const char *name) {
    size_t length = strlen(name);
    const char *end = head + size;

    for (const char *line = head; line < end;) {
        const char *feed = memchr(line, '\n', (size_t)(end - line));

        if (!feed) {
            return NULL;
        }
        line = feed + 1;
        if ((size_t)(end - line) > length && strncasecmp(line, name, length) == 0) {
            line += length;
            while (line < end && *line == ' ') {
                line++;
            }
            return line;
        }
    }
    return NULL;
}

bool wire_accepts(const char *head, size_t size, const char key[WIRE_KEY]) {
    static const char status[] = "HTTP/1.1 101 ";
    const char *accept = wire_field(head, size, "Sec-WebSocket-Accept:");
    char want[LWS_ACCEPT_LENGTH];

    return size > sizeof status - 1 && memcmp(head, status, sizeof status - 1) == 0 && accept &&
           (size_t)(head + size - accept) >= sizeof want &&
           lws_accept_key((const uint8_t *)key, WIRE_KEY, want) == 0 &&
           memcmp(accept, want, sizeof want) == 0;
}
