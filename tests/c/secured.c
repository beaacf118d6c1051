#include "secured.h"

#include <stdlib.h>

struct fake_socket *secured_connect(const struct lws_options *options) {
    struct fake_socket *peer;

    served_try(options);
    if (lws_listen(served.context, served.listener, true) != 0) {
        abort();
    }
    peer = served_connect();
    return peer;
}

void secured_sends(struct fake_socket *peer, const void *text, size_t length, size_t size) {
    const uint8_t *at = text;

    while (length) {
        size_t piece = length < size ? length : size;
        uint8_t header[5] = {23, 3, 3, (uint8_t)(piece >> 8), (uint8_t)piece};

        fake_peer_sends(peer, header, 5);
        fake_peer_sends(peer, at, piece);
        at += piece;
        length -= piece;
    }
}

unsigned secured_decrypt(void) {
    unsigned records = 0;

    for (unsigned n = 0; served_event(LWS_EVENT_SECURE, n); n++) {
        const struct lws_event *event = served_event(LWS_EVENT_SECURE, n);
        uint8_t *data = served.arena + event->offset;
        uint32_t length = 0;

        for (uint32_t at = 0; at < event->length;) {
            uint32_t size = (uint32_t)data[at + 3] << 8 | data[at + 4];

            CHECK(data[at] == 23 && at + 5 + size <= event->length);
            memmove(data + length, data + at + 5, size);
            length += size;
            at += 5 + size;
            records++;
        }
        CHECK(lws_feed(served.context, event->slot, event->offset, length, false) == 0);
        served.count = (int)lws_event_count(served.context);
    }
    return records;
}

bool secured_encrypt(void) {
    static uint8_t records[2 * 70000];
    const uint8_t *bytes;
    uint32_t slot, length;
    bool ended = false;

    while ((slot = lws_secure_next(served.context, &bytes, &length)) != LWS_NO_SLOT) {
        uint32_t size = 0, at = 0;

        do {
            uint32_t piece = length - at < 16384 ? length - at : 16384;

            records[size++] = length ? 23 : 21;
            records[size++] = 3;
            records[size++] = 3;
            records[size++] = (uint8_t)(piece >> 8);
            records[size++] = (uint8_t)piece;
            memcpy(records + size, bytes + at, piece);
            size += piece;
            at += piece;
        } while (at < length);
        lws_secure_send(served.context, slot, records, size);
        ended = ended || length == 0;
    }
    return ended;
}

size_t secured_plain(struct fake_socket *peer, uint8_t *to, uint8_t *type) {
    size_t length = 0;

    for (size_t at = 0; at < peer->out_length;) {
        size_t size = (size_t)peer->out[at + 3] << 8 | peer->out[at + 4];

        *type = peer->out[at];
        memcpy(to + length, peer->out + at + 5, size);
        length += size;
        at += 5 + size;
    }
    return length;
}

struct fake_socket *secured_session(uint32_t *slot) {
    struct fake_socket *peer = served_connect();
    const char *head = served_handshake(13);

    secured_sends(peer, head, strlen(head), 1000);
    served_round(0);
    secured_decrypt();
    if (!served_event(LWS_EVENT_REQUEST, 0)) {
        abort();
    }
    *slot = served_event(LWS_EVENT_REQUEST, 0)->slot;
    CHECK(lws_upgrade(served.context, *slot, NULL, 0, NULL, 0, false) == 0);
    secured_encrypt();
    served_forget(peer);
    return peer;
}

struct fake_socket *secured_begin(uint32_t *slot) {
    fake_peer_fin(secured_connect(NULL));
    served_round(0);
    return secured_session(slot);
}
