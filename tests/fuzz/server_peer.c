#include "server.h"

void items_add(struct items *items, enum item_kind kind, unsigned what, const void *bytes,
               size_t length) {
    if (items->count == items->room) {
        items->room = items->room ? items->room * 2 : 8;
        items->all = realloc(items->all, items->room * sizeof *items->all);
        REQUIRE(items->all != NULL);
    }
    items->all[items->count++] =
        (struct item){kind, what, bytes ? exact_copy(bytes, length) : NULL, length};
}

void items_free(struct items *items) {
    for (unsigned i = 0; i < items->count; i++) {
        free(items->all[i].bytes);
    }
    free(items->all);
    *items = (struct items){0};
}

void fill(uint8_t *bytes, size_t length, unsigned seed, bool text) {
    for (size_t i = 0; i < length; i++) {
        bytes[i] = text ? (uint8_t)('a' + (seed + i * 7) % 26) : (uint8_t)(seed + i * 131);
    }
    /* Some of it in more than one byte, so that cuts fall inside code points. */
    for (size_t i = seed % 5; text && i + 3 < length; i += 11) {
        memcpy(bytes + i, i & 1 ? "\xe2\x82\xac" : "\xc3\xa9!", 3);
    }
}

/* In TLS records, if need be; sizes that do not go with the frames'. */
static void sends(struct peer *peer, const void *bytes, size_t length) {
    const uint8_t *at = bytes;

    if (!peer->secure) {
        fake_peer_will_send(peer->socket, bytes, length);
        return;
    }
    while (length) {
        size_t size = 1 + peer->socket->in_length * 31 % 16384;
        uint8_t header[5] = {23, 3, 3};

        size = size < length ? size : length;
        header[3] = (uint8_t)(size >> 8);
        header[4] = (uint8_t)size;
        fake_peer_will_send(peer->socket, header, 5);
        fake_peer_will_send(peer->socket, at, size);
        at += size;
        length -= size;
    }
}

void peer_sends_raw(struct peer *peer, const uint8_t *bytes, size_t length, bool bare) {
    peer->wild = true;
    if (bare) {
        fake_peer_will_send(peer->socket, bytes, length);
    } else {
        sends(peer, bytes, length);
    }
}

void peer_sends_upgrade(struct peer *peer, unsigned version, bool deflate) {
    static const unsigned versions[] = {13, 8, 7, 76};
    char head[600];
    int length;

    if (peer->version || peer->wild) {
        return;
    }
    peer->version = versions[version & 3];
    peer->deflate = deflate && peer->version != 76;
    if (peer->version == 76) {
        length = snprintf(head, sizeof head,
                          "GET /demo HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\nUpgrade: WebSocket\r\n"
                          "Sec-WebSocket-Key1: 4 @1  46546xW%%0l 1 5\r\n"
                          "Origin: http://example.com\r\n\r\n^n:ds[4U");
    } else {
        length = snprintf(head, sizeof head,
                          "GET /chat?x=1 HTTP/1.1\r\nHost: server.example.com\r\n"
                          "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s"
                          "Sec-WebSocket-Version: %u\r\n\r\n",
                          deflate ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "",
                          peer->version);
    }
    sends(peer, head, (size_t)length);
}

void peer_sends_request(struct peer *peer, unsigned how) {
    static const char *const requests[] = {
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /z HTTP/1.0\r\n\r\n",
    };

    if (peer->version || peer->wild) {
        return;
    }
    sends(peer, requests[how & 3], strlen(requests[how & 3]));
}

static void send_frame(struct peer *peer, unsigned first, const uint8_t *payload, size_t length) {
    uint8_t *frame = malloc(length + 14);
    size_t header = 2;

    REQUIRE(frame != NULL);
    frame[0] = (uint8_t)first;
    if (length < 126) {
        frame[1] = (uint8_t)(0x80 | length);
    } else if (length < 65536) {
        frame[1] = 0x80 | 126;
        frame[2] = (uint8_t)(length >> 8);
        frame[3] = (uint8_t)length;
        header = 4;
    } else {
        frame[1] = 0x80 | 127;
        for (unsigned i = 0; i < 8; i++) {
            frame[2 + i] = (uint8_t)((uint64_t)length >> (56 - 8 * i));
        }
        header = 10;
    }
    for (unsigned i = 0; i < 4; i++) {
        frame[header + i] = (uint8_t)(0x35 + 0x47 * i + length);
    }
    for (size_t i = 0; i < length; i++) {
        frame[header + 4 + i] = payload[i] ^ frame[header + i % 4];
    }
    sends(peer, frame, header + 4 + length);
    free(frame);
}

void peer_sends_message(struct peer *peer, unsigned how, uint32_t length, unsigned fragments,
                        uint32_t most) {
    bool text = how & 1 || peer->version == 76;
    bool compressed = how & 2 && peer->deflate;
    unsigned first = (text ? 1u : 2u) | (compressed ? 0x40u : 0u);
    uint8_t *payload;
    size_t at = 0;

    if (!peer->version || peer->wild || peer->sent_close) {
        return;
    }
    length = length < most ? length : most;
    payload = malloc(length + 2u);
    REQUIRE(payload != NULL);
    fill(payload + 1, length, how + length, text);
    items_add(&peer->in, ITEM_MESSAGE, (text ? 0u : 1u) + (compressed ? 16u : 0u), payload + 1,
              length);
    if (peer->version == 76) {
        payload[0] = 0x00;
        payload[length + 1] = 0xff;
        sends(peer, payload, length + 2u);
    } else {
        for (fragments &= 7; fragments; fragments--) {
            size_t size = (length - at) / (fragments + 1);

            send_frame(peer, first, payload + 1 + at, size);
            at += size;
            first = 0;
            if (fragments == 3) {
                items_add(&peer->pings, ITEM_MESSAGE, 9, "between", 7);
                send_frame(peer, 0x89, (const uint8_t *)"between", 7);
            }
        }
        send_frame(peer, first | 0x80, payload + 1 + at, length - at);
    }
    free(payload);
}

void peer_sends_control(struct peer *peer, unsigned how, unsigned amount) {
    uint8_t payload[125];

    if (!peer->version || peer->wild || peer->sent_close) {
        return;
    }
    if (peer->version == 76) {
        if (how == 2) {
            sends(peer, "\xff\x00", 2);
            peer->sent_close = true;
            peer->code = 1005;
        }
        return;
    }
    amount %= 126;
    fill(payload, amount, amount + how, true);
    if (how < 2) {
        if (how == 0) {
            items_add(&peer->pings, ITEM_MESSAGE, 9, payload, amount);
        }
        send_frame(peer, how == 0 ? 0x89 : 0x8a, payload, amount);
        return;
    }
    peer->sent_close = true;
    if (amount == 0) {
        peer->code = 1005;
    } else {
        amount = amount < 2 ? 2 : amount;
        fill(payload + 2, amount - 2, 0, true);
        peer->code = 1000 + (amount & 1);
        payload[0] = (uint8_t)(peer->code >> 8);
        payload[1] = (uint8_t)peer->code;
    }
    send_frame(peer, 0x88, payload, amount);
}
