/* The application of the target `server`. */
#include "server_run.h"

struct run run;

uint8_t decide(void) {
    return run.policy[run.answers++ % POLICIES];
}

struct peer *peer_of(uint32_t slot) {
    for (unsigned i = 0; i < run.peer_count; i++) {
        if (run.peers[i].handle && run.peers[i].slot == slot) {
            return &run.peers[i];
        }
    }
    return NULL;
}

/* ---- the application: writing --------------------------------------------------------------- */

/* A write was taken: it is due in the output. A refused one must have left no trace. */
static void note_write(struct peer *peer, int result, int protocol, const uint8_t *payload,
                       size_t length) {
    static const uint8_t opcodes[] = {1, 2, 0, 0, 0, 9, 10};
    int kind = protocol & 0x3f;
    unsigned first = (protocol & LWS_WRITE_NO_FIN ? 0u : 0x80u) |
                     (protocol & LWS_WRITE_COMPRESSED ? 0x40u : 0u) | opcodes[kind];

    REQUIRE(result <= 0 && result >= LWS_ERROR_DEFLATE);
    REQUIRE(result != LWS_ERROR_THREAD && result != LWS_ERROR_PROCESS);
    if (result != 0) {
        return;
    }
    if (kind == LWS_WRITE_HTTP) {
        items_add(&peer->out, ITEM_BYTES, 0, payload, length);
    } else if (kind < LWS_WRITE_PING) {
        items_add(&peer->out, ITEM_MESSAGE, first, payload, length);
    }
}

enum way { WAY_PADDED, WAY_COPY, WAY_ARENA };

static int app_write(struct peer *peer, enum way way, const uint8_t *payload, size_t length,
                     int protocol) {
    uint8_t *copy = exact_copy(payload, length);
    int result;

    if (way == WAY_ARENA) {
        result = lws_write_arena(run.context, peer->slot, (uint32_t)(payload - run_arena()), length,
                                 protocol);
        REQUIRE(memcmp(payload, copy, length) == 0);
    } else if (way == WAY_COPY) {
        result = lws_write_copy(run.context, peer->slot, copy, length, protocol);
    } else {
        /* Exactly the padding that is asked for. */
        uint8_t *room = malloc(LWS_SEND_BUFFER_PRE_PADDING + length + LWS_SEND_BUFFER_POST_PADDING);

        REQUIRE(room != NULL);
        memcpy(room + LWS_SEND_BUFFER_PRE_PADDING, copy, length);
        result = lws_write(run.context, peer->slot, (uintptr_t)room + LWS_SEND_BUFFER_PRE_PADDING,
                           length, protocol);
        REQUIRE(memcmp(room + LWS_SEND_BUFFER_PRE_PADDING, copy, length) == 0);
        memset(room, 0xee, LWS_SEND_BUFFER_PRE_PADDING + length);
        free(room); /* it is the caller's again */
    }
    note_write(peer, result, protocol, copy, length);
    if (peer->closing || peer->aborted || peer->ended) {
        REQUIRE(result != 0);
    }
    free(copy);
    return result;
}

void app_write_made(struct peer *peer, unsigned how, size_t length, int protocol) {
    uint8_t *payload = malloc(length + 1);

    REQUIRE(payload != NULL);
    fill(payload, length, how, (protocol & 0x3f) != LWS_WRITE_BINARY);
    app_write(peer, how & 1 ? WAY_PADDED : WAY_COPY, payload, length, protocol);
    free(payload);
}

void app_broadcast(unsigned how) {
    size_t length = (how & 3) * 3000u + 5;
    int protocol = how & 4 ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
    uint8_t *room = malloc(LWS_SEND_BUFFER_PRE_PADDING + length + LWS_SEND_BUFFER_POST_PADDING);
    uint8_t *payload = room + LWS_SEND_BUFFER_PRE_PADDING;
    uint64_t before[PEERS];
    int skipped, expected = 0;

    REQUIRE(room != NULL);
    fill(payload, length, how, protocol == LWS_WRITE_TEXT);
    for (unsigned i = 0; i < run.peer_count; i++) {
        struct peer *peer = &run.peers[i];
        const struct libwebsocket *wsi = peer->handle ? lws_at(run.context, peer->slot) : NULL;
        bool open = wsi && peer->established && !peer->ended && wsi->state == LWS_STATE_OPEN;
        bool takes = open && !wsi->out_open && (peer->version != 76 || protocol == 0) &&
                     wsi->queued + length <= run.options.max_send_buffer;

        before[i] = takes;
        expected += open && !takes;
    }
    skipped = lws_broadcast(run.context, (uintptr_t)payload, length, protocol);
    REQUIRE(skipped == expected);
    for (unsigned i = 0; i < run.peer_count; i++) {
        if (before[i]) {
            items_add(&run.peers[i].out, ITEM_MESSAGE, protocol ? 0x82 : 0x81, payload, length);
        }
    }
    memset(room, 0xee, LWS_SEND_BUFFER_PRE_PADDING + length);
    free(room);
}

void app_close(struct peer *peer, unsigned how) {
    static const unsigned codes[] = {1000, 1001, 3000, 4999, 1006, 0, 70000, 1011};
    unsigned code = codes[how & 7];
    uint8_t reason[200];
    int result;

    fill(reason, sizeof reason, how, true);
    if ((how & 0x18) == 0x18) {
        reason[3] = 0xff;
    }
    result = lws_close(run.context, peer->slot, code, reason, how & 0x10 ? sizeof reason : 9);
    if (!peer->established || peer->ended || peer->closing) {
        return;
    }
    if (peer->version != 76 && !lws_close_code_valid(code)) {
        REQUIRE(result == LWS_ERROR_CLOSE_CODE || result == LWS_ERROR_CLOSED);
    }
    if (result == 0 || result == LWS_ERROR_MEMORY) {
        peer->rude = true;
    }
    peer->closing = result == 0;
}

static void app_abort(struct peer *peer) {
    if (lws_abort(run.context, peer->slot) == 0) {
        peer->rude = peer->aborted = true;
    }
}

/* ---- the application: requests -------------------------------------------------------------- */

static void app_file(struct peer *peer, uint64_t length, uint64_t really, bool keep) {
    int fd = fake_file(really), result;
    char head[128];

    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n",
             (unsigned long long)length);
    app_write(peer, WAY_COPY, (uint8_t *)head, strlen(head), LWS_WRITE_HTTP);
    result = lws_send_file(run.context, peer->slot, fd, 0, length);
    if (result == 0) {
        items_add(&peer->out, ITEM_FILE, 0, NULL, length);
    } else {
        fake_file_done(fd); /* still the caller's */
    }
    if (length != really) {
        peer->rude = true;
    }
    if (keep & 1) {
        app_write(peer, WAY_COPY, (const uint8_t *)"", 0, LWS_WRITE_HTTP);
    }
    lws_reply_end(run.context, peer->slot, keep);
}

static void app_http(struct peer *peer, unsigned how) {
    static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

    switch (how & 15) {
    case 1:
        app_file(peer, 300, 300, how & 16);
        break;
    case 2:
        app_file(peer, 100000, 100000, how & 16);
        break;
    case 3:
        app_file(peer, 70000, how & 16 ? 0 : 50000, true);
        break;
    case 4:
        app_file(peer, 200, how & 16 ? 100 : 0, true);
        break;
    case 5:
        if (lws_refuse(run.context, peer->slot, 404, how & 16) == 0) {
            items_add(&peer->out, ITEM_REFUSAL, 404, NULL, 0);
        }
        break;
    case 6:
        app_write(peer, WAY_PADDED, (const uint8_t *)"", 0, LWS_WRITE_HTTP);
        lws_reply_end(run.context, peer->slot, how & 16);
        break;
    case 7:
        app_close(peer, how >> 4);
        break;
    case 8:
        app_abort(peer);
        break;
    case 9:
        for (unsigned i = 0; i < 40; i++) {
            app_write_made(peer, i & 1, 700 * (i % 16), LWS_WRITE_HTTP);
        }
        lws_reply_end(run.context, peer->slot, how & 16);
        break;
    default:
        app_write(peer, WAY_COPY, (const uint8_t *)reply, strlen(reply), LWS_WRITE_HTTP);
        lws_reply_end(run.context, peer->slot, true);
        break;
    }
}

static void app_upgrade(struct peer *peer, unsigned version, unsigned how) {
    bool named = how & 16;
    int result;

    if ((how & 15) == 5) {
        if (lws_refuse(run.context, peer->slot, 403, how & 16) == 0) {
            items_add(&peer->out, ITEM_REFUSAL, 403, NULL, 0);
        }
        return;
    }
    if ((how & 15) == 8) {
        app_abort(peer);
        return;
    }
    if ((how & 15) == 9) {
        REQUIRE(lws_upgrade(run.context, peer->slot, "a\r\nb", 4, NULL, 0, false) != 0);
    }
    result = lws_upgrade(run.context, peer->slot, named ? "chat" : NULL, named ? 4 : 0, NULL, 0,
                         peer->deflate);
    if (result == 0) {
        size_t length;

        REQUIRE(lws_version(run.context, peer->slot) == (int)version);
        REQUIRE(lws_uri(run.context, peer->slot, &length) && length > 0);
        peer->version = version;
        peer->established = true;
        items_add(&peer->out, ITEM_UPGRADE, version, NULL, 0);
    }
}

void take_request(uint32_t slot, unsigned version) {
    struct libwebsocket *wsi = lws_at(run.context, slot);
    struct peer *peer = peer_of(slot);
    unsigned how = decide();

    if (wsi->state != LWS_STATE_REPLY) {
        REQUIRE(lws_request(run.context, slot) == NULL);
        return; /* ended or closed in the same round, by another callback */
    }
    for (unsigned i = 0; !peer && i < run.peer_count; i++) {
        if (run.peers[i].socket->fd == wsi->fd) {
            peer = &run.peers[i];
        }
    }
    REQUIRE(peer && !peer->established && !peer->ended);
    REQUIRE(peer->handle ? peer->slot == slot : true);
    peer->handle = true;
    peer->slot = slot;
    REQUIRE(lws_request(run.context, slot) && lws_request_head(run.context, slot));
    REQUIRE(lws_request(run.context, slot)->version == version);
    if (version == LWS_VERSION_HTTP) {
        app_http(peer, how);
    } else {
        app_upgrade(peer, version, how);
    }
    /* The contract: it is answered in its round. */
    if (lws_request(run.context, slot) && lws_refuse(run.context, slot, 500, false) == 0) {
        items_add(&peer->out, ITEM_REFUSAL, 500, NULL, 0);
    }
    REQUIRE(lws_request(run.context, slot) == NULL);
}

/* ---- the application: messages ----------------------------------------------------------------
 */

/* The message, or a piece of one, is what the peer sent. */
void check_message(struct peer *peer, unsigned kind, unsigned code, const uint8_t *payload,
                   size_t length) {
    const struct item *item;

    REQUIRE(peer->in_pieces == ((code & LWS_PIECE_NOT_FIRST) != 0));
    REQUIRE(code == 0 || run.options.rx_fragments);
    if (!peer->in_pieces) {
        peer->piece_at = 0;
    }
    peer->in_pieces = (code & LWS_PIECE_NOT_FINAL) != 0;
    if (peer->wild && peer->in.next == peer->in.count) {
        return;
    }
    REQUIRE(peer->in.next < peer->in.count);
    item = &peer->in.all[peer->in.next];
    REQUIRE(item->what == kind);
    REQUIRE(length <= item->length - peer->piece_at);
    REQUIRE(memcmp(item->bytes + peer->piece_at, payload, length) == 0);
    peer->piece_at += length;
    if (!peer->in_pieces) {
        REQUIRE(peer->piece_at == item->length);
        peer->in.next++;
    }
}

void answer_message(struct peer *peer, unsigned kind, uint8_t *payload, size_t length,
                    uint32_t number, bool in_arena) {
    int protocol =
        (kind & 1 ? LWS_WRITE_BINARY : LWS_WRITE_TEXT) | (kind & 16 ? LWS_WRITE_COMPRESSED : 0);
    enum way way = in_arena ? WAY_ARENA : WAY_PADDED;
    unsigned how = decide();

    if (!in_arena && (how & 15) < 3) {
        int result = lws_write(run.context, peer->slot, (uintptr_t)payload, length, protocol);

        note_write(peer, result, protocol, payload, length);
        if ((how & 15) == 2 && run.kept_count < 8) {
            REQUIRE(lws_message_keep(run.context, number) == payload);
            REQUIRE(lws_message(run.context, number) == NULL);
            run.kept[run.kept_count++] = payload;
        }
        return;
    }
    switch (how & 15) {
    case 0:
        app_write(peer, way, payload, length, protocol);
        break;
    case 1:
        app_write(peer, WAY_COPY, payload, length, protocol);
        break;
    case 2:
        app_write(peer, way, payload, length, protocol);
        app_write(peer, way, payload, length, protocol);
        break;
    case 3:
        app_write_made(peer, how >> 4, (how >> 4) * 2500u, LWS_WRITE_TEXT);
        break;
    case 4:
        app_close(peer, how >> 4);
        break;
    case 5:
        app_abort(peer);
        break;
    case 6:
        app_write_made(peer, how, 40, LWS_WRITE_TEXT | LWS_WRITE_NO_FIN);
        app_write(peer, WAY_COPY, (const uint8_t *)"app", 3, LWS_WRITE_PING);
        app_write_made(peer, how, how * 50u, LWS_WRITE_CONTINUATION | LWS_WRITE_NO_FIN);
        if (how & 16) {
            app_write_made(peer, how, 0, LWS_WRITE_CONTINUATION);
        }
        break;
    case 7:
        app_broadcast(how >> 4);
        break;
    case 8:
        if (lws_rx_flow_control(run.context, peer->slot, false) == 0) {
            peer->rx_off = true;
        }
        break;
    case 9:
        lws_want_writable(run.context, peer->slot);
        break;
    case 10:
        for (unsigned i = 0; i < run.peer_count; i++) {
            if (run.peers[i].handle && run.peers[i].established && !run.peers[i].ended) {
                app_write(&run.peers[i], way, payload, length, protocol & 3);
            }
        }
        break;
    case 11:
        REQUIRE(app_write(peer, WAY_PADDED, (const uint8_t *)"\xc3", 1, LWS_WRITE_TEXT) != 0);
        REQUIRE(app_write(peer, WAY_PADDED, (const uint8_t *)"", 0, 4) != 0);
        break;
    case 12:
        app_write(peer, WAY_COPY, (const uint8_t *)"app", 3,
                  how & 16 ? LWS_WRITE_PING : LWS_WRITE_PONG);
        break;
    case 13:
        for (unsigned i = 0; i < run.peer_count; i++) {
            if (run.peers[i].handle && !run.peers[i].ended) {
                app_close(&run.peers[i], 0);
            }
        }
        break;
    default:
        break;
    }
}

/* ---- secure connections ------------------------------------------------------------------------
 */

void take_records(const struct lws_event *event) {
    uint8_t *records = run_arena() + event->offset, *plain = records;
    uint32_t at = 0, length = 0, count = 0;
    struct peer *peer = peer_of(event->slot);
    bool ended = false, wrong = false;
    int result;

    REQUIRE(event->slot < sizeof run.secured && event->length > 0);
    run.secured[event->slot] = true;
    while (at < event->length && !wrong) {
        uint32_t size;

        wrong = event->length - at < 5 || (records[at] != 23 && records[at] != 21) ||
                records[at + 1] != 3;
        if (wrong) {
            break;
        }
        size = (uint32_t)records[at + 3] << 8 | records[at + 4];
        wrong = size > event->length - at - 5;
        if (wrong) {
            break;
        }
        ended = ended || records[at] == 21;
        if (!ended) {
            memmove(plain + length, records + at + 5, size);
            length += size;
        }
        at += 5 + size;
        count++;
    }
    if (wrong) {
        result = lws_secure_fail(run.context, event->slot);
        if (peer && result == 0) {
            peer->aborted = peer->rude = true;
        }
        return;
    }
    REQUIRE(count == event->code);
    if (peer && ended) {
        peer->rude = true;
    }
    result = lws_feed(run.context, event->slot, event->offset, length, ended);
    REQUIRE(result == 0 || result == LWS_ERROR_CLOSED);
}

void send_records(void) {
    static uint8_t records[2 * LWS_SHARE_SECURE];
    static const uint8_t close_notify[7] = {21, 3, 3, 0, 2, 1, 0};
    const uint8_t *bytes;
    uint32_t slot, length;

    for (unsigned n = 0; (slot = lws_secure_next(run.context, &bytes, &length)) != LWS_NO_SLOT;) {
        uint32_t size = 0;
        int result;

        REQUIRE(run.secure && length <= LWS_SHARE_SECURE);
        REQUIRE(n++ < 10000);
        for (uint32_t at = 0; at < length;) {
            uint32_t piece = length - at < 16384 ? length - at : 16384;

            records[size++] = 23;
            records[size++] = 3;
            records[size++] = 3;
            records[size++] = (uint8_t)(piece >> 8);
            records[size++] = (uint8_t)piece;
            memcpy(records + size, bytes + at, piece);
            size += piece;
            at += piece;
        }
        result = length ? lws_secure_send(run.context, slot, records, size)
                        : lws_secure_send(run.context, slot, close_notify, 7);
        REQUIRE(result == 0 || result == LWS_ERROR_CLOSED || result == LWS_ERROR_MEMORY);
    }
}
