/* What the server may send, read back. */
#include "server.h"

struct reader {
    struct peer *peer;
    const uint8_t *at;
    size_t left;
    bool whole;
    bool frames;     /* after the 101 */
    bool closed;     /* a Close was read */
    bool fragmented; /* a message of the application's is open */
};

static void skip(struct reader *reader, size_t length) {
    REQUIRE(length <= reader->left);
    reader->at += length;
    reader->left -= length;
}

/* The output ends here although more is due: right only if not all of it has to be there. */
static void cut(struct reader *reader) {
    REQUIRE(!reader->whole);
    reader->left = 0;
}

static struct item *due(struct reader *reader) {
    struct items *out = &reader->peer->out;

    return out->next < out->count ? &out->all[out->next] : NULL;
}

/* A head: its length, 0 if its end is not there. */
static size_t head_length(const struct reader *reader) {
    const uint8_t *end = memmem(reader->at, reader->left, "\r\n\r\n", 4);

    return end ? (size_t)(end - reader->at) + 4 : 0;
}

/* One of the fixed refusals, with its body or, to HEAD, without. Returns whether it says close. */
static bool read_refusal(struct reader *reader) {
    size_t head = head_length(reader), body;
    const char *length;
    char text[512];

    if (!head) {
        REQUIRE(memcmp(reader->at, "HTTP/1.1 ", reader->left < 9 ? reader->left : 9) == 0);
        cut(reader);
        return true;
    }
    REQUIRE(head < sizeof text);
    memcpy(text, reader->at, head);
    text[head] = 0;
    REQUIRE(memcmp(text, "HTTP/1.1 4", 10) == 0 || memcmp(text, "HTTP/1.1 5", 10) == 0);
    length = strstr(text, "Content-Length: ");
    REQUIRE(length != NULL);
    body = (size_t)atoi(length + 16);
    REQUIRE(body > 4 && body < 64);
    skip(reader, head);
    /* The body begins with the status, no reply does. */
    if (reader->left >= 4 && memcmp(reader->at, text + 9, 4) == 0) {
        if (reader->left < body) {
            cut(reader);
            return true;
        }
        REQUIRE(reader->at[body - 1] == '\n');
        skip(reader, body);
    } else if (reader->left && reader->left < 4 &&
               memcmp(reader->at, text + 9, reader->left) == 0) {
        cut(reader);
    }
    return strstr(text, "Connection: close\r\n") != NULL;
}

static void read_upgrade(struct reader *reader) {
    size_t head = head_length(reader);
    bool hixie = reader->peer->version == 76;

    REQUIRE(memcmp(reader->at, "HTTP/1.1 101 ", reader->left < 13 ? reader->left : 13) == 0);
    if (!head || reader->left - head < (hixie ? 16u : 0u)) {
        cut(reader);
        return;
    }
    if (!reader->peer->wild) {
        if (hixie) {
            REQUIRE(memcmp(reader->at + head, "8jKS'y:G*Co,Wxa-", 16) == 0);
        } else {
            REQUIRE(memmem(reader->at, head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28) != NULL);
        }
    }
    skip(reader, head + (hixie ? 16 : 0));
    reader->frames = true;
}

static void read_bytes(struct reader *reader, const struct item *item) {
    size_t there = item->length < reader->left ? item->length : reader->left;

    if (item->kind == ITEM_FILE) {
        for (size_t i = 0; i < there; i++) {
            REQUIRE(reader->at[i] == fake_file_byte(i));
        }
    } else {
        REQUIRE(memcmp(reader->at, item->bytes, there) == 0);
    }
    if (there < item->length) {
        cut(reader);
    } else {
        skip(reader, there);
    }
}

static void read_reply(struct reader *reader) {
    struct item *item = due(reader);
    size_t some = reader->left < 9 ? reader->left : 9;

    /* What the core says by itself ends the connection, so it is the last. */
    if (!item || (item->kind != ITEM_REFUSAL && item->kind != ITEM_FILE && item->length &&
                  item->kind == ITEM_BYTES &&
                  memcmp(reader->at, item->bytes,
                         item->length < reader->left ? item->length : reader->left) != 0)) {
        REQUIRE(memcmp(reader->at, "HTTP/1.1 ", some) == 0);
        REQUIRE(read_refusal(reader));
        REQUIRE(reader->left == 0);
        return;
    }
    reader->peer->out.next++;
    switch (item->kind) {
    case ITEM_UPGRADE:
        read_upgrade(reader);
        break;
    case ITEM_REFUSAL:
        read_refusal(reader);
        break;
    case ITEM_BYTES:
    case ITEM_FILE:
        read_bytes(reader, item);
        break;
    case ITEM_MESSAGE:
        REQUIRE(item->kind != ITEM_MESSAGE);
    }
}

/* The pong of a ping that was sent, in their order; some may have been passed over. */
static void take_pong(struct peer *peer, const uint8_t *payload, size_t length) {
    struct items *pings = &peer->pings;

    if (peer->wild || (length == 3 && memcmp(payload, "app", 3) == 0)) {
        return;
    }
    while (pings->next < pings->count) {
        const struct item *ping = &pings->all[pings->next++];

        if (ping->length == length && memcmp(ping->bytes, payload, length) == 0) {
            return;
        }
    }
    REQUIRE(pings->next < pings->count); /* a pong that nobody asked for */
}

static void take_data(struct reader *reader, unsigned first, const uint8_t *payload,
                      size_t length) {
    struct item *item = due(reader);

    REQUIRE(item && item->kind == ITEM_MESSAGE);
    reader->peer->out.next++;
    REQUIRE(item->what == first && item->length == length);
    REQUIRE(memcmp(item->bytes, payload, length) == 0);
    REQUIRE(reader->fragmented == ((first & 15) == 0));
    reader->fragmented = !(first & 0x80);
}

static void read_frame(struct reader *reader) {
    unsigned first = reader->at[0], opcode = first & 15u;
    size_t header = 2, length;
    const uint8_t *payload;

    if (reader->left < 2) {
        cut(reader);
        return;
    }
    length = reader->at[1];
    REQUIRE(length < 128); /* a server masks nothing */
    header += length == 126 ? 2 : length == 127 ? 8 : 0;
    if (reader->left < header) {
        cut(reader);
        return;
    }
    if (length > 125) {
        size_t least = length == 126 ? 126 : 65536;

        length = 0;
        for (size_t i = 2; i < header; i++) {
            length = length << 8 | reader->at[i];
        }
        REQUIRE(length >= least && opcode < 8);
    }
    REQUIRE(!(first & 0x30) && (opcode < 3 || (opcode > 7 && opcode < 11 && first & 0x80)));
    REQUIRE(!(first & 0x40) || (reader->peer->deflate && (opcode == 1 || opcode == 2)));
    if (reader->left - header < length) {
        cut(reader);
        return;
    }
    payload = reader->at + header;
    if (opcode == 8) {
        struct lws_close close;

        REQUIRE(lws_close_decode(payload, length, &close) == 0);
        reader->closed = true;
    } else if (opcode == 10) {
        take_pong(reader->peer, payload, length);
    } else if (opcode == 9) {
        REQUIRE(length == 4 || (length == 3 && memcmp(payload, "app", 3) == 0));
    } else {
        take_data(reader, first, payload, length);
    }
    skip(reader, header + length);
}

static void read_frame76(struct reader *reader) {
    const uint8_t *end;

    if (reader->at[0] == 0xff) {
        if (reader->left < 2) {
            cut(reader);
            return;
        }
        REQUIRE(reader->at[1] == 0);
        reader->closed = true;
        skip(reader, 2);
        return;
    }
    REQUIRE(reader->at[0] == 0);
    end = memchr(reader->at, 0xff, reader->left);
    if (!end) {
        cut(reader);
        return;
    }
    take_data(reader, 0x81, reader->at + 1, (size_t)(end - reader->at) - 1);
    skip(reader, (size_t)(end - reader->at) + 1);
}

/* What is in TLS records: nothing follows a close_notify. */
static uint8_t *unwrap(const struct fake_socket *socket, bool whole, size_t *length) {
    uint8_t *plain = malloc(socket->out_length + 1);
    const uint8_t *at = socket->out;
    size_t left = socket->out_length;
    bool ended = false;

    *length = 0;
    while (left) {
        size_t size = left < 5 ? 0 : (size_t)at[3] << 8 | at[4];

        REQUIRE(!ended && (at[0] == 23 || at[0] == 21));
        if (left < 5 || left - 5 < size) {
            REQUIRE(!whole);
            break;
        }
        ended = at[0] == 21;
        if (!ended) {
            memcpy(plain + *length, at + 5, size);
            *length += size;
        }
        at += 5 + size;
        left -= 5 + size;
    }
    return plain;
}

void check_output(struct peer *peer, bool whole) {
    uint8_t *plain = NULL;
    struct reader reader = {
        .peer = peer, .at = peer->socket->out, .left = peer->socket->out_length, .whole = whole};

    if (peer->secure) {
        plain = unwrap(peer->socket, whole, &reader.left);
        reader.at = plain;
    }

    peer->out.next = peer->pings.next = 0;
    while (reader.left) {
        REQUIRE(!reader.closed);
        if (!reader.frames) {
            read_reply(&reader);
        } else if (peer->version == 76) {
            read_frame76(&reader);
        } else {
            read_frame(&reader);
        }
    }
    REQUIRE(!whole || peer->out.next == peer->out.count);
    free(plain);
}
