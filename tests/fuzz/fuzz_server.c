/*
 * The whole round over the fake kernel. The input is a program: clients connect, send what is right
 * or what is not, in any cuts; windows close, calls fail, time passes; the application answers each
 * event in one of its ways. Asserted: events come in pairs and in order, messages are what was sent,
 * output is what was written, queues keep their bounds, nothing spins, nothing is left over.
 *
 * Input: four bytes of options, then operations (see operate); the application's answers are
 * policy[0..15], which operations change.
 */
#include "server.h"

#include "private-libwebsockets.h"

#include <errno.h>
#include <sys/epoll.h>

#define POLICIES 16

struct run {
    struct lws_context *context;
    struct lws_options options;
    struct peer peers[PEERS];
    unsigned peer_count;
    uint8_t policy[POLICIES];
    unsigned answers;
    bool rude; /* calls failed, time ran out, the server was stopped: not all has to arrive */
    bool stopped;
    uint8_t *kept[8]; /* messages taken out of the context */
    unsigned kept_count;
    int listener, watchable;
};

static uint8_t arenas[2][LWS_ARENA_SIZE];
static struct run run;

static uint8_t *arena(void) {
    return run.context->arena;
}

static uint8_t decide(void) {
    return run.policy[run.answers++ % POLICIES];
}

static struct peer *peer_of(uint32_t slot) {
    for (unsigned i = 0; i < run.peer_count; i++)
        if (run.peers[i].handle && run.peers[i].slot == slot)
            return &run.peers[i];
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

    REQUIRE(result <= 0 && result >= LWS_ERROR_CLOSE_CODE);
    REQUIRE(result != LWS_ERROR_THREAD && result != LWS_ERROR_PROCESS);
    if (result != 0)
        return;
    if (kind == LWS_WRITE_HTTP)
        items_add(&peer->out, ITEM_BYTES, 0, payload, length);
    else if (kind < LWS_WRITE_PING)
        items_add(&peer->out, ITEM_MESSAGE, first, payload, length);
}

enum way { WAY_PADDED, WAY_COPY, WAY_ARENA };

static int app_write(struct peer *peer, enum way way, const uint8_t *payload, size_t length,
                     int protocol) {
    uint8_t *copy = exact_copy(payload, length);
    int result;

    if (way == WAY_ARENA) {
        result = lws_write_arena(run.context, peer->slot, (uint32_t)(payload - arena()), length,
                                 protocol);
        REQUIRE(memcmp(payload, copy, length) == 0);
    } else if (way == WAY_COPY) {
        result = lws_write_copy(run.context, peer->slot, copy, length, protocol);
    } else {
        /* Exactly the padding that is asked for. */
        uint8_t *room = malloc(LWS_SEND_BUFFER_PRE_PADDING + length + LWS_SEND_BUFFER_POST_PADDING);

        REQUIRE(room != NULL);
        memcpy(room + LWS_SEND_BUFFER_PRE_PADDING, copy, length);
        result = lws_write(run.context, peer->slot,
                           (uintptr_t)room + LWS_SEND_BUFFER_PRE_PADDING, length, protocol);
        REQUIRE(memcmp(room + LWS_SEND_BUFFER_PRE_PADDING, copy, length) == 0);
        memset(room, 0xee, LWS_SEND_BUFFER_PRE_PADDING + length);
        free(room); /* it is the caller's again */
    }
    note_write(peer, result, protocol, copy, length);
    if (peer->closing || peer->aborted || peer->ended)
        REQUIRE(result != 0);
    free(copy);
    return result;
}

static void app_write_made(struct peer *peer, unsigned how, size_t length, int protocol) {
    uint8_t *payload = malloc(length + 1);

    REQUIRE(payload != NULL);
    fill(payload, length, how, (protocol & 0x3f) != LWS_WRITE_BINARY);
    app_write(peer, how & 1 ? WAY_PADDED : WAY_COPY, payload, length, protocol);
    free(payload);
}

static void app_broadcast(unsigned how) {
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
    for (unsigned i = 0; i < run.peer_count; i++)
        if (before[i])
            items_add(&run.peers[i].out, ITEM_MESSAGE, protocol ? 0x82 : 0x81, payload, length);
    memset(room, 0xee, LWS_SEND_BUFFER_PRE_PADDING + length);
    free(room);
}

static void app_close(struct peer *peer, unsigned how) {
    static const unsigned codes[] = {1000, 1001, 3000, 4999, 1006, 0, 70000, 1011};
    unsigned code = codes[how & 7];
    uint8_t reason[200];
    int result;

    fill(reason, sizeof reason, how, true);
    if ((how & 0x18) == 0x18)
        reason[3] = 0xff;
    result = lws_close(run.context, peer->slot, code, reason, how & 0x10 ? sizeof reason : 9);
    if (!peer->established || peer->ended || peer->closing)
        return;
    if (peer->version != 76 && !lws_close_code_valid(code))
        REQUIRE(result == LWS_ERROR_CLOSE_CODE || result == LWS_ERROR_CLOSED);
    if (result == 0 || result == LWS_ERROR_MEMORY)
        peer->rude = true;
    peer->closing = result == 0;
}

static void app_abort(struct peer *peer) {
    if (lws_abort(run.context, peer->slot) == 0)
        peer->rude = peer->aborted = true;
}

/* ---- the application: requests -------------------------------------------------------------- */

static void app_file(struct peer *peer, uint64_t length, uint64_t really, bool keep) {
    int fd = fake_file(really), result;
    char head[128];

    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n",
             (unsigned long long)length);
    app_write(peer, WAY_COPY, (uint8_t *)head, strlen(head), LWS_WRITE_HTTP);
    result = lws_send_file(run.context, peer->slot, fd, 0, length);
    if (result == 0)
        items_add(&peer->out, ITEM_FILE, 0, NULL, length);
    else
        fake_file_done(fd); /* still the caller's */
    if (length != really)
        peer->rude = true;
    if (keep & 1)
        app_write(peer, WAY_COPY, (const uint8_t *)"", 0, LWS_WRITE_HTTP);
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
        if (lws_refuse(run.context, peer->slot, 404, how & 16) == 0)
            items_add(&peer->out, ITEM_REFUSAL, 404, NULL, 0);
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
        for (unsigned i = 0; i < 40; i++)
            app_write_made(peer, i & 1, 700 * (i % 16), LWS_WRITE_HTTP);
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
        if (lws_refuse(run.context, peer->slot, 403, how & 16) == 0)
            items_add(&peer->out, ITEM_REFUSAL, 403, NULL, 0);
        return;
    }
    if ((how & 15) == 8) {
        app_abort(peer);
        return;
    }
    if ((how & 15) == 9)
        REQUIRE(lws_upgrade(run.context, peer->slot, "a\r\nb", 4, NULL, 0, false) != 0);
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

static void take_request(uint32_t slot, unsigned version) {
    struct libwebsocket *wsi = lws_at(run.context, slot);
    struct peer *peer = peer_of(slot);
    unsigned how = decide();

    if (wsi->state == LWS_STATE_DEAD) {
        REQUIRE(lws_request(run.context, slot) == NULL);
        return; /* ended in the same round, by another callback */
    }
    for (unsigned i = 0; !peer && i < run.peer_count; i++)
        if (run.peers[i].socket->fd == wsi->fd)
            peer = &run.peers[i];
    REQUIRE(peer && !peer->established && !peer->ended);
    REQUIRE(peer->handle ? peer->slot == slot : true);
    peer->handle = true;
    peer->slot = slot;
    REQUIRE(lws_request(run.context, slot) && lws_request_head(run.context, slot));
    REQUIRE(lws_request(run.context, slot)->version == version);
    if (version == LWS_VERSION_HTTP)
        app_http(peer, how);
    else
        app_upgrade(peer, version, how);
    /* The contract: it is answered in its round. */
    if (lws_request(run.context, slot) && lws_refuse(run.context, slot, 500, false) == 0)
        items_add(&peer->out, ITEM_REFUSAL, 500, NULL, 0);
    REQUIRE(lws_request(run.context, slot) == NULL);
}

/* ---- the application: messages ---------------------------------------------------------------- */

/* The message, or a piece of one, is what the peer sent. */
static void check_message(struct peer *peer, unsigned kind, unsigned code, const uint8_t *payload,
                          size_t length) {
    const struct item *item;

    REQUIRE(peer->in_pieces == ((code & LWS_PIECE_NOT_FIRST) != 0));
    REQUIRE(code == 0 || run.options.rx_fragments);
    if (!peer->in_pieces)
        peer->piece_at = 0;
    peer->in_pieces = (code & LWS_PIECE_NOT_FINAL) != 0;
    if (peer->wild && peer->in.next == peer->in.count)
        return;
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

static void answer_message(struct peer *peer, unsigned kind, uint8_t *payload, size_t length,
                           uint32_t number, bool in_arena) {
    int protocol = (kind & 1 ? LWS_WRITE_BINARY : LWS_WRITE_TEXT) |
                   (kind & 16 ? LWS_WRITE_COMPRESSED : 0);
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
        if (how & 16)
            app_write_made(peer, how, 0, LWS_WRITE_CONTINUATION);
        break;
    case 7:
        app_broadcast(how >> 4);
        break;
    case 8:
        if (lws_rx_flow_control(run.context, peer->slot, false) == 0)
            peer->rx_off = true;
        break;
    case 9:
        lws_want_writable(run.context, peer->slot);
        break;
    case 10:
        for (unsigned i = 0; i < run.peer_count; i++)
            if (run.peers[i].handle && run.peers[i].established && !run.peers[i].ended)
                app_write(&run.peers[i], way, payload, length, protocol & 3);
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
        for (unsigned i = 0; i < run.peer_count; i++)
            if (run.peers[i].handle && !run.peers[i].ended)
                app_close(&run.peers[i], 0);
        break;
    default:
        break;
    }
}

/* ---- events --------------------------------------------------------------------------------- */

static void take_end(struct peer *peer, const struct lws_event *event) {
    REQUIRE((event->kind == LWS_EVENT_CLOSED) == peer->established);
    if (event->kind == LWS_EVENT_CLOSED) {
        REQUIRE(event->code == 1006 || peer->sent_close || peer->wild);
        REQUIRE(event->code == 1005 || event->code == 1006 || lws_close_code_valid(event->code));
        REQUIRE(event->length <= 123);
        if (event->length)
            REQUIRE(lws_utf8_plain(0, arena() + event->offset, event->length) == LWS_UTF8_COMPLETE);
        if (event->code != 1006 && !peer->wild)
            REQUIRE(event->code == peer->code);
    }
    peer->ended = true;
    peer->handle = false;
}

static void take_event(const struct lws_event *event, bool *was_closing) {
    struct peer *peer = event->slot == LWS_NO_SLOT ? NULL : peer_of(event->slot);
    unsigned kind = event->kind & ~(unsigned)LWS_EVENT_COMPRESSED;
    bool in_arena = kind < LWS_EVENT_TEXT_BUFFER;
    uint8_t *payload;

    switch (event->kind) {
    case LWS_EVENT_FAULT:
        REQUIRE(strcmp(lws_fault_event((int)event->offset), "unknown") != 0 && event->offset);
        if (peer)
            peer->rude = true;
        return;
    case LWS_EVENT_WATCH:
        REQUIRE(event->slot == 77 && event->offset == EPOLLIN);
        return;
    case LWS_EVENT_REQUEST:
        take_request(event->slot, event->offset);
        return;
    default:
        break;
    }
    REQUIRE(peer && !peer->ended);
    if (event->kind == LWS_EVENT_CLOSED || event->kind == LWS_EVENT_GONE) {
        take_end(peer, event);
        return;
    }
    REQUIRE(peer->established);
    /* What was decoded before the application closed may come, in that round. */
    if (peer->closing || peer->aborted) {
        REQUIRE(!was_closing[peer - run.peers]);
        return;
    }
    switch (event->kind) {
    case LWS_EVENT_PONG:
        REQUIRE(event->length <= 125 && event->code <= 1);
        return;
    case LWS_EVENT_SEND:
        REQUIRE(run.options.send_interval);
        if (decide() & 1)
            app_write_made(peer, 3, 30, LWS_WRITE_TEXT);
        return;
    case LWS_EVENT_WRITABLE:
        REQUIRE(lws_at(run.context, event->slot)->queue == NULL ||
                lws_at(run.context, event->slot)->lists[1] == 0 || run.rude || true);
        app_write_made(peer, 2, 2000, LWS_WRITE_BINARY);
        return;
    default:
        break;
    }
    REQUIRE(kind <= LWS_EVENT_BINARY_BUFFER);
    payload = in_arena ? arena() + event->offset : lws_message(run.context, event->offset);
    REQUIRE(payload != NULL && event->length <= run.options.max_message);
    if (in_arena)
        REQUIRE(event->offset >= LWS_SEND_BUFFER_PRE_PADDING &&
                event->offset + event->length < LWS_ARENA_SIZE);
    check_message(peer, (kind & 1u) + (event->kind & 16u), event->code, payload, event->length);
    if (event->kind < LWS_EVENT_COMPRESSED && !(kind & 1) && !event->code)
        REQUIRE(lws_utf8_plain(0, payload, event->length) == LWS_UTF8_COMPLETE);
    answer_message(peer, (kind & 1u) + (event->kind & 16u), payload, event->length, event->offset,
                   in_arena);
}

/* ---- the round ------------------------------------------------------------------------------ */

/* What the core believes of its queues is what is in them. */
static void check_queues(void) {
    for (uint32_t slot = 0; slot < run.context->slots; slot++) {
        const struct libwebsocket *wsi = lws_at(run.context, slot);
        uint64_t bytes = 0;

        if (wsi->state == LWS_STATE_FREE)
            continue;
        for (uint32_t r = wsi->gather_first; r;) {
            uint32_t chunk[2]; /* the next one, and the length */

            memcpy(chunk, run.context->gather + r - 1, sizeof chunk);
            bytes += chunk[1];
            r = chunk[0];
        }
        for (const struct lws_segment *s = wsi->queue; s; s = s->next) {
            REQUIRE(s->offset <= s->end);
            bytes += s->fd < 0 ? s->end - s->offset : 0;
        }
        REQUIRE(bytes == wsi->queued);
        /* One share of pings may have been answered on top, and a frame's header, a Close, a 101. */
        REQUIRE(bytes <= run.options.max_send_buffer + 2 * LWS_SHARE_BYTES + 4096);
        REQUIRE(wsi->state != LWS_STATE_DEAD || (wsi->fd < 0 && !wsi->lists[0] && !wsi->lists[1]));
        REQUIRE(wsi->state == LWS_STATE_DEAD || fake_is_open(wsi->fd));
    }
}

static int serve(int timeout) {
    bool was_closing[PEERS];
    int count;

    for (unsigned i = 0; i < PEERS; i++)
        was_closing[i] = run.peers[i].closing || run.peers[i].aborted;
    count = lws_service(run.context, timeout);
    REQUIRE(count >= 0 && (uint32_t)count <= lws_events_room(run.context));
    check_queues();
    for (int i = 0; i < count; i++)
        take_event(&lws_events(run.context)[i], was_closing);
    check_queues();
    return count;
}

/* For whoever reads a failure. */
static bool spins(const char *why) {
    fprintf(stderr, "%s: ready %d, waited %d\n", why, fake_last_ready(), fake_last_wait());
    for (uint32_t slot = 0; slot < run.context->slots; slot++) {
        const struct libwebsocket *wsi = lws_at(run.context, slot);

        fprintf(stderr, "slot %u fd %d state %u interest %u queued %u%s%s lists %u %u pending %u rx_off %u stash %u\n", slot,
                wsi->fd, wsi->state, wsi->interest, wsi->queued, wsi->queue ? " queue" : "",
                wsi->gather_first ? " gather" : "", wsi->lists[0], wsi->lists[1], wsi->pending, wsi->rx_off, wsi->stash ? wsi->stash->length - wsi->stash->offset : 0);
    }
    for (unsigned i = 0; i < run.peer_count; i++) {
        const struct fake_socket *peer = run.peers[i].socket;

        fprintf(stderr, "fd %d taken %zu of %zu%s%s%s window %zu interest %x%s\n", peer->fd,
                peer->taken, peer->arrived, peer->fin ? " fin" : "", peer->shut ? " shut" : "",
                peer->hung_up ? " hung up" : "", peer->window, peer->interest,
                run.peers[i].rx_off ? " rx off" : "");
    }
    return true;
}

/* Rounds until nothing happens but the clock: something that spins never gets there. */
static void settle(unsigned timeout) {
    unsigned still = 0;

    /* Kept input that means nothing is worked off in as many rounds without a trace. */
    for (unsigned rounds = 0; still < 24; rounds++) {
        uint64_t before = fake_progress();
        int count = serve((int)timeout);

        still = count == 0 && fake_progress() == before ? still + 1 : 0;
        REQUIRE(rounds < 20000 || !spins("does not settle"));
    }
    REQUIRE(fake_last_ready() == 0 || !spins("what is ready is not served"));
    REQUIRE(timeout == 0 || fake_last_wait() != 0 || !spins("does not wait"));
}

static void connect_peer(void) {
    if (run.peer_count < PEERS && !run.stopped)
        run.peers[run.peer_count++] = (struct peer){.socket = fake_connect()};
}

static void fail_call(unsigned which, unsigned after, unsigned error) {
    static const struct {
        enum fake_call call;
        int error;
    } plans[] = {
        {FAKE_ACCEPT, EMFILE},      {FAKE_ACCEPT, ECONNABORTED}, {FAKE_ACCEPT, ENOBUFS},
        {FAKE_RECV, EINTR},         {FAKE_RECV, ECONNRESET},     {FAKE_SEND, EAGAIN},
        {FAKE_SEND, ENOBUFS},       {FAKE_SEND, EPIPE},          {FAKE_SENDFILE, EIO},
        {FAKE_SENDFILE, EAGAIN},    {FAKE_PREAD, EINTR},         {FAKE_EPOLL_WAIT, EINTR},
        {FAKE_EPOLL_CTL, ENOMEM},   {FAKE_ALLOCATE, ENOMEM},     {FAKE_SHUTDOWN, ENOTCONN},
        {FAKE_ALLOCATE, ENOMEM},
    };

    run.rude = true;
    fake_fail_many(plans[which & 15].call, after & 31, 1 + (error & 3), plans[which & 15].error);
}

static void operate(struct input *input) {
    static const uint16_t times[] = {1, 20, 50, 100, 150, 500, 1100, 6000};
    unsigned op = take8(input), which = op >> 4;
    struct peer *peer = run.peer_count ? &run.peers[which % run.peer_count] : NULL;
    unsigned a, b;

    op &= 15;
    if (op == 0) {
        connect_peer();
        return;
    }
    a = take8(input);
    b = take8(input);
    switch (op) {
    case 1:
        serve((int)(a & 7));
        return;
    case 2:
        run.policy[which] = (uint8_t)a;
        if (run.answers % POLICIES && !b)
            run.answers = 0;
        return;
    case 3:
        run.rude = true;
        fake_pass_ms(times[a & 7]);
        return;
    case 4:
        fail_call(which, a, b);
        return;
    case 5:
        switch (a & 7) {
        case 0:
            app_broadcast(b);
            break;
        case 1:
            lws_flush(run.context);
            break;
        case 2:
            REQUIRE(lws_set_arena(run.context, arenas[b & 1]) == 0);
            break;
        case 3:
            lws_wake_in(run.context, (int)b - 1);
            break;
        case 4:
            (void)lws_fileno(run.context);
            break;
        case 5:
            fake_make_ready(run.watchable, b & 1 ? EPOLLIN : 0);
            break;
        case 6:
            if (b == 0xff) {
                run.rude = run.stopped = true;
                lws_stop(run.context);
                for (unsigned i = 0; i < run.peer_count; i++)
                    run.peers[i].closing = run.peers[i].closing || run.peers[i].established;
            }
            break;
        default:
            break;
        }
        return;
    default:
        break;
    }
    if (!peer)
        return;
    switch (op) {
    case 6:
        peer_sends_upgrade(peer, a, b & 1);
        break;
    case 7:
        peer_sends_request(peer, a);
        break;
    case 8:
        peer_sends_message(peer, a & 3, b * (a & 0x80 ? 1000u : a & 0x40 ? 37u : 1u), a >> 2,
                           run.options.max_message);
        break;
    case 9:
        /* Or as many pings as fill what the answers are gathered in. */
        for (unsigned i = 0; i < (a > 192 ? b * 4u : 1); i++)
            peer_sends_control(peer, a > 192 ? 0 : a % 3, a > 192 ? 125 : b);
        break;
    case 10:
        a = a < input->left ? a : (unsigned)input->left;
        peer_sends_raw(peer, input->at, a);
        input->at += a;
        input->left -= a;
        break;
    case 11:
        fake_arrive(peer->socket, a == 255 ? FAKE_UNLIMITED : a * (1u + b));
        return;
    case 12:
        peer->socket->window = a == 255 ? FAKE_UNLIMITED : a * (size_t)b;
        return;
    case 13:
        peer->socket->recv_most = a ? a : FAKE_UNLIMITED;
        peer->socket->send_most = b ? b : FAKE_UNLIMITED;
        return;
    case 14:
        peer->rude = true;
        if (a < 128)
            fake_peer_fin(peer->socket);
        else
            fake_peer_resets(peer->socket, a & 1 ? ECONNRESET : EPIPE);
        return;
    default:
        if (peer->handle && !peer->ended && a & 1)
            app_write_made(peer, a, b * 100u, LWS_WRITE_BINARY);
        else if (peer->handle && !peer->ended && (a & 6) == 6)
            app_close(peer, b);
        else if (peer->handle && !peer->ended && lws_rx_flow_control(run.context, peer->slot, b & 1) == 0)
            peer->rx_off = !(b & 1);
        return;
    }
    /* Most of the time what is sent arrives. */
    if (run.policy[0] < 0xc0)
        fake_arrive(peer->socket, FAKE_UNLIMITED);
}

/* ---- the ends ------------------------------------------------------------------------------- */

/* Everything flows: what well-behaved clients and the application sent must all have arrived. */
static void drain(void) {
    fake_fail_none();
    fake_make_ready(run.watchable, 0);
    memset(run.policy, 0x0f, sizeof run.policy);
    for (unsigned i = 0; i < run.peer_count; i++) {
        struct peer *peer = &run.peers[i];

        fake_arrive(peer->socket, FAKE_UNLIMITED);
        peer->socket->window = peer->socket->recv_most = peer->socket->send_most = FAKE_UNLIMITED;
        if (peer->rx_off && !peer->ended)
            lws_rx_flow_control(run.context, peer->slot, true);
    }
    settle(0);
    for (unsigned i = 0; i < run.peer_count; i++) {
        struct peer *peer = &run.peers[i];
        bool whole = !run.rude && !peer->rude && !peer->wild && peer->established;

        if (whole) {
            REQUIRE(peer->in.next == peer->in.count);
            REQUIRE(!peer->sent_close || peer->ended);
        }
        check_output(peer, whole);
    }
}

static void end(unsigned how) {
    static const uint8_t last_words[] = {0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe8 ^ 2};

    switch (how & 3) {
    case 1:
        REQUIRE(lws_stop(run.context) == 0);
        for (unsigned i = 0; i < run.peer_count; i++) {
            run.peers[i].closing = run.peers[i].closing || run.peers[i].established;
            run.peers[i].sent_close = run.peers[i].wild = true;
            if (run.peers[i].version != 76)
                fake_peer_sends(run.peers[i].socket, last_words, sizeof last_words);
            else
                fake_peer_sends(run.peers[i].socket, "\xff\x00", 2);
        }
        break;
    case 2:
        REQUIRE(lws_abort_all(run.context) == 0);
        for (unsigned i = 0; i < run.peer_count; i++)
            run.peers[i].aborted = true;
        break;
    case 3:
        return;
    default:
        for (unsigned i = 0; i < run.peer_count; i++)
            fake_peer_fin(run.peers[i].socket);
        break;
    }
    for (unsigned rounds = 0; lws_connections(run.context); rounds++) {
        serve(1000);
        REQUIRE(rounds < 5000);
    }
    serve(0);
    serve(0);
    for (unsigned i = 0; i < run.peer_count; i++) {
        REQUIRE(!run.peers[i].handle);
        REQUIRE(run.peers[i].ended || !run.peers[i].established);
        REQUIRE(!run.peers[i].socket->accepted || run.peers[i].socket->closed);
        check_output(&run.peers[i], false);
    }
    REQUIRE(run.context->established == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint32_t buffers[] = {1 << 20, 3000, 100000, 0};
    static const uint32_t messages[] = {1 << 18, 125, 70000, 4000};
    struct input input = {data, size};
    unsigned a = take8(&input), b = take8(&input), how = take8(&input);

    fake_reset();
    run = (struct run){0};
    run.options = (struct lws_options){
        .head = {8192, 8192, 100, 16384},
        .max_message = messages[a & 3],
        .max_send_buffer = buffers[a >> 2 & 3],
        .max_connections = a & 16 ? 3 : 100,
        .keepalive_requests = a & 32 ? 2 : 100,
        .handshake_timeout = 1000,
        .keepalive_timeout = 500,
        .send_timeout = 3000,
        .close_timeout = 1000,
        .linger_timeout = 100,
        .send_interval = a & 64 ? 50 : 0,
        .ping_interval = a & 128 ? 100 : 0,
        .pong_timeout = 100,
        .rx_fragments = b & 1,
        .oldest = b & 2 ? 13 : 76,
    };
    if (b & 4)
        fail_call(13, b >> 3, 0); /* while the context is made, too */
    run.context = lws_context_create(&run.options, arenas[0]);
    if (!run.context) {
        REQUIRE(run.rude && fake_open() == 0);
        return 0;
    }
    run.listener = fake_listener();
    run.watchable = fake_watchable();
    REQUIRE(lws_listen(run.context, run.listener) == 0);
    REQUIRE(lws_watch(run.context, run.watchable, EPOLLIN, 77) == 0);
    while (input.left)
        operate(&input);
    drain();
    end(how);
    REQUIRE(lws_watch(run.context, run.watchable, 0, 77) == 0);
    lws_context_destroy(run.context);
    REQUIRE(fake_open() == (unsigned)1); /* the watched descriptor, which was never the core's */
    for (unsigned i = 0; i < run.kept_count; i++)
        lws_message_free(run.kept[i]);
    for (unsigned i = 0; i < PEERS; i++) {
        items_free(&run.peers[i].in);
        items_free(&run.peers[i].out);
        items_free(&run.peers[i].pings);
    }
    return 0;
}
