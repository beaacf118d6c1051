/*
 * The whole round over the fake kernel. The input is a program: clients connect, send what is right
 * or what is not, in any cuts; windows close, calls fail, time passes; the application answers each
 * event in one of its ways. Asserted: events come in pairs and in order, messages are what was
 * sent, output is what was written, queues keep their bounds, nothing spins, nothing is left over.
 *
 * Input: four bytes of options, then operations (see operate); the application's answers are
 * policy[0..15], which operations change.
 */
#include "server_run.h"

#include <errno.h>
#include <sys/epoll.h>

static uint8_t arenas[2][LWS_ARENA_SIZE];
/* ---- events --------------------------------------------------------------------------------- */

static void take_end(struct peer *peer, const struct lws_event *event) {
    REQUIRE((event->kind == LWS_EVENT_CLOSED) == peer->established);
    if (event->kind == LWS_EVENT_CLOSED) {
        REQUIRE(event->code == 1006 || peer->sent_close || peer->wild);
        REQUIRE(event->code == 1005 || event->code == 1006 || lws_close_code_valid(event->code));
        REQUIRE(event->length <= 123);
        if (event->length) {
            REQUIRE(lws_utf8_plain(0, run_arena() + event->offset, event->length) ==
                    LWS_UTF8_COMPLETE);
        }
        if (event->code != 1006 && !peer->wild) {
            REQUIRE(event->code == peer->code);
        }
    }
    peer->ended = true;
    peer->handle = false;
}

static void take_event(const struct lws_event *event, bool *was_closing) {
    struct peer *peer = event->slot == LWS_NO_SLOT ? NULL : peer_of(event->slot);
    unsigned kind = event->kind & ~(unsigned)LWS_EVENT_COMPRESSED;
    bool in_arena = kind < LWS_EVENT_TEXT_BUFFER;
    uint8_t *payload;
    uint64_t most = run.options.max_message;

    switch (event->kind) {
    case LWS_EVENT_FAULT:
        REQUIRE(strcmp(lws_fault_event((int)event->offset), "unknown") != 0 && event->offset);
        REQUIRE(event->length <= LWS_ARENA_SIZE - event->code);
        if (peer) {
            peer->rude = true;
        }
        return;
    case LWS_EVENT_WATCH:
        REQUIRE(event->slot == 77 && event->offset == EPOLLIN);
        return;
    case LWS_EVENT_SECURE:
        take_records(event);
        return;
    case LWS_EVENT_SECURE_END:
        REQUIRE(event->slot < sizeof run.secured && run.secured[event->slot] && !peer);
        run.secured[event->slot] = false;
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
        if (decide() & 1) {
            app_write_made(peer, 3, 30, LWS_WRITE_TEXT);
        }
        return;
    case LWS_EVENT_WRITABLE:
        app_write_made(peer, 2, 2000, LWS_WRITE_BINARY);
        return;
    default:
        break;
    }
    REQUIRE(kind <= LWS_EVENT_BINARY_BUFFER);
    payload = in_arena ? run_arena() + event->offset : lws_message(run.context, event->offset);
    if (event->kind >= LWS_EVENT_COMPRESSED) {
        most += most / 16 + 64;
    }
    REQUIRE(payload != NULL && event->length <= most);
    if (in_arena) {
        REQUIRE(event->offset >= LWS_SEND_BUFFER_PRE_PADDING &&
                event->offset + event->length < LWS_ARENA_SIZE);
    }
    check_message(peer, (kind & 1u) + (event->kind & 16u), event->code, payload, event->length);
    if (event->kind < LWS_EVENT_COMPRESSED && !(kind & 1) && !event->code) {
        REQUIRE(lws_utf8_plain(0, payload, event->length) == LWS_UTF8_COMPLETE);
    }
    answer_message(peer, (kind & 1u) + (event->kind & 16u), payload, event->length, event->offset,
                   in_arena);
}

/* ---- the round ------------------------------------------------------------------------------ */

/* What the core believes of its queues is what is in them. */
static void check_queues(void) {
    for (uint32_t slot = 0; slot < run.context->slots; slot++) {
        const struct libwebsocket *wsi = lws_at(run.context, slot);
        uint64_t bytes = 0;

        if (wsi->state == LWS_STATE_FREE) {
            continue;
        }
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
        /* One share of pings may have been answered on top, and a frame's header, a Close, a 101.
         */
        REQUIRE(bytes <= run.options.max_send_buffer + 2 * LWS_SHARE_BYTES + 4096);
        REQUIRE(wsi->state != LWS_STATE_DEAD || (wsi->fd < 0 && !wsi->lists[0] && !wsi->lists[1]));
        REQUIRE(wsi->state == LWS_STATE_DEAD || fake_is_open(wsi->fd));
    }
}

static int serve(int timeout) {
    bool was_closing[PEERS];
    int count;

    for (unsigned i = 0; i < PEERS; i++) {
        was_closing[i] = run.peers[i].closing || run.peers[i].aborted;
    }
    send_records(); /* of what was written between two rounds */
    count = lws_service(run.context, timeout);
    REQUIRE(count >= 0 && (uint32_t)count <= lws_events_room(run.context));
    check_queues();
    /* What is fed appends to them. */
    for (uint32_t i = 0; i < lws_event_count(run.context); i++) {
        take_event(&lws_events(run.context)[i], was_closing);
    }
    send_records();
    check_queues();
    return count;
}

/* For whoever reads a failure. */
static bool spins(const char *why) {
    fprintf(stderr, "%s: ready %d, waited %d\n", why, fake_last_ready(), fake_last_wait());
    for (uint32_t slot = 0; slot < run.context->slots; slot++) {
        const struct libwebsocket *wsi = lws_at(run.context, slot);

        fprintf(stderr,
                "slot %u fd %d state %u interest %u queued %u%s%s lists %u %u pending %u rx_off %u "
                "stash %u\n",
                slot, wsi->fd, wsi->state, wsi->interest, wsi->queued, wsi->queue ? " queue" : "",
                wsi->gather_first ? " gather" : "", wsi->lists[0], wsi->lists[1], wsi->pending,
                wsi->rx_off, wsi->stash ? wsi->stash->length - wsi->stash->offset : 0);
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
    if (run.peer_count < PEERS && !run.stopped) {
        run.peers[run.peer_count++] = (struct peer){.socket = fake_connect(), .secure = run.secure};
    }
}

static void fail_call(unsigned which, unsigned after, unsigned error) {
    static const struct {
        enum fake_call call;
        int error;
    } plans[] = {
        {FAKE_ACCEPT, EMFILE},    {FAKE_ACCEPT, ECONNABORTED}, {FAKE_ACCEPT, ENOBUFS},
        {FAKE_RECV, EINTR},       {FAKE_RECV, ECONNRESET},     {FAKE_SEND, EAGAIN},
        {FAKE_SEND, ENOBUFS},     {FAKE_SEND, EPIPE},          {FAKE_SENDFILE, EIO},
        {FAKE_SENDFILE, EAGAIN},  {FAKE_PREAD, EINTR},         {FAKE_EPOLL_WAIT, EINTR},
        {FAKE_EPOLL_CTL, ENOMEM}, {FAKE_ALLOCATE, ENOMEM},     {FAKE_SHUTDOWN, ENOTCONN},
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
        if (run.answers % POLICIES && !b) {
            run.answers = 0;
        }
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
                for (unsigned i = 0; i < run.peer_count; i++) {
                    run.peers[i].closing = run.peers[i].closing || run.peers[i].established;
                }
            }
            break;
        default:
            break;
        }
        return;
    default:
        break;
    }
    if (!peer) {
        return;
    }
    switch (op) {
    case 6:
        peer_sends_upgrade(peer, a, b & 1);
        break;
    case 7:
        peer_sends_request(peer, a);
        break;
    case 8:
        peer_sends_message(peer, a & 3,
                           b * (a & 0x80   ? 1000u
                                : a & 0x40 ? 37u
                                           : 1u),
                           a >> 2, run.options.max_message);
        break;
    case 9:
        /* Or as many pings as fill what the answers are gathered in. */
        for (unsigned i = 0; i < (a > 192 ? b * 4u : 1); i++) {
            peer_sends_control(peer, a > 192 ? 0 : a % 3, a > 192 ? 125 : b);
        }
        break;
    case 10:
        a = a < input->left ? a : (unsigned)input->left;
        peer_sends_raw(peer, input->at, a, b & 1);
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
        if (a < 128) {
            fake_peer_fin(peer->socket);
        } else {
            fake_peer_resets(peer->socket, a & 1 ? ECONNRESET : EPIPE);
        }
        return;
    default:
        if (peer->handle && !peer->ended && a & 1) {
            app_write_made(peer, a, b * 100u, LWS_WRITE_BINARY);
        } else if (peer->handle && !peer->ended && (a & 6) == 6) {
            app_close(peer, b);
        } else if (peer->handle && !peer->ended &&
                   lws_rx_flow_control(run.context, peer->slot, b & 1) == 0) {
            peer->rx_off = !(b & 1);
        }
        return;
    }
    /* Most of the time what is sent arrives. */
    if (run.policy[0] < 0xc0) {
        fake_arrive(peer->socket, FAKE_UNLIMITED);
    }
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
        if (peer->rx_off && !peer->ended) {
            lws_rx_flow_control(run.context, peer->slot, true);
        }
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
            if (run.peers[i].version != 76) {
                peer_sends_raw(&run.peers[i], last_words, sizeof last_words, false);
            } else {
                peer_sends_raw(&run.peers[i], (const uint8_t *)"\xff\x00", 2, false);
            }
            fake_arrive(run.peers[i].socket, FAKE_UNLIMITED);
        }
        break;
    case 2:
        REQUIRE(lws_abort_all(run.context) == 0);
        for (unsigned i = 0; i < run.peer_count; i++) {
            run.peers[i].aborted = true;
        }
        break;
    case 3:
        return;
    default:
        for (unsigned i = 0; i < run.peer_count; i++) {
            fake_peer_fin(run.peers[i].socket);
        }
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
    for (unsigned i = 0; i < sizeof run.secured; i++) {
        REQUIRE(!run.secured[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint32_t buffers[] = {1 << 20, 3000, 100000, 0};
    static const uint32_t messages[] = {1 << 18, 125, 70000, 4000};
    struct input input = {data, size};
    unsigned a = take8(&input), b = take8(&input), how = take8(&input);

    fake_reset();
    run = (struct run){.secure = b & 128};
    run.options = (struct lws_options){
        .head = {8192, 8192, 100, 16384},
        .max_message = messages[a & 3],
        .max_send_buffer = buffers[a >> 2 & 3],
        .max_connections = a & 16 ? 3 : 100,
        .max_connections_per_ip = b & 64 ? 4 : 0,
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
    if (b & 4) {
        fail_call(13, b >> 3 & 15, 0); /* while the context is made, too */
    }
    run.context = lws_context_create(&run.options, arenas[0]);
    if (!run.context) {
        REQUIRE(run.rude && fake_open() == 0);
        return 0;
    }
    run.listener = fake_listener();
    run.watchable = fake_watchable();
    if (lws_listen(run.context, run.listener, run.secure) != 0) {
        REQUIRE(run.rude);
        lws_context_destroy(run.context);
        REQUIRE(fake_open() == 2); /* both are still the caller's */
        return 0;
    }
    REQUIRE(lws_watch(run.context, run.watchable, EPOLLIN, 77) == 0);
    while (input.left) {
        operate(&input);
    }
    drain();
    end(how);
    REQUIRE(lws_watch(run.context, run.watchable, 0, 77) == 0);
    lws_context_destroy(run.context);
    REQUIRE(fake_open() == (unsigned)1); /* the watched descriptor, which was never the core's */
    for (unsigned i = 0; i < run.kept_count; i++) {
        lws_message_free(run.kept[i]);
    }
    for (unsigned i = 0; i < PEERS; i++) {
        items_free(&run.peers[i].in);
        items_free(&run.peers[i].out);
        items_free(&run.peers[i].pings);
    }
    return 0;
}
