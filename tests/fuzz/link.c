#include "link.h"
#include "fuzz.h"

#include "service/private.h"

uint64_t link_hash(uint64_t hash, const void *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
    }
    return hash;
}

void link_clear(struct link_outcome *outcome) {
    memset(outcome, 0, offsetof(struct link_outcome, messages));
    outcome->out = outcome->reason = LINK_HASH;
}

void link_add(struct link_outcome *outcome, unsigned kind, const void *bytes, size_t length) {
    REQUIRE(outcome->count < LINK_MESSAGES);
    outcome->messages[outcome->count++] =
        (struct link_message){kind, length, link_hash(LINK_HASH, bytes, length)};
}

/* The pieces of one message are put together; that they are in order is checked. */
static void take_message(struct link_outcome *outcome, const struct lws_event *event, unsigned kind,
                         const uint8_t *payload) {
    struct link_message *last;

    REQUIRE(outcome->open == ((event->code & LWS_PIECE_NOT_FIRST) != 0));
    if (!outcome->open) {
        link_add(outcome, kind, NULL, 0);
    }
    last = &outcome->messages[outcome->count - 1];
    REQUIRE(last->kind == kind);
    last->hash = link_hash(last->hash, payload, event->length);
    last->length += event->length;
    outcome->open = (event->code & LWS_PIECE_NOT_FINAL) != 0;
}

static void take_event(struct lws_context *context, const struct lws_event *event,
                       const uint8_t *arena, struct link_outcome *outcome) {
    unsigned kind = event->kind;

    switch (kind & ~(unsigned)LWS_EVENT_COMPRESSED) {
    case LWS_EVENT_TEXT:
    case LWS_EVENT_BINARY:
        REQUIRE(outcome->close_code == 0);
        REQUIRE(event->offset >= 16 && event->offset + event->length < LWS_ARENA_SIZE);
        take_message(outcome, event, kind, arena + event->offset);
        return;
    case LWS_EVENT_TEXT_BUFFER:
    case LWS_EVENT_BINARY_BUFFER: {
        uint8_t *payload = lws_message(context, event->offset);

        REQUIRE(payload && outcome->close_code == 0);
        take_message(outcome, event, kind - 2u, payload);
        return;
    }
    default:
        break;
    }
    switch (kind) {
    case LWS_EVENT_PONG:
        REQUIRE(outcome->close_code == 0);
        return; /* between the pieces of a message: the reference does not order them */
    case LWS_EVENT_CLOSED:
        REQUIRE(outcome->close_code == 0);
        outcome->close_code = event->code;
        outcome->reason = link_hash(LINK_HASH, arena + event->offset, event->length);
        return;
    case LWS_EVENT_FAULT:
        if (outcome->fault == 0) {
            outcome->fault = event->offset;
        }
        return;
    default:
        REQUIRE(kind == LWS_EVENT_CLOSED); /* nothing else was asked for */
    }
}

void link_run(const struct link_options *options, const uint8_t *stream, size_t length,
              struct link_outcome *outcome) {
    static uint8_t arena[LWS_ARENA_SIZE];
    struct lws_options service = {
        .head = {8192, 8192, 100, 16384},
        .max_message = options->max_message,
        .max_send_buffer = 1 << 20,
        .max_connections = 10,
        .keepalive_requests = 10,
        .handshake_timeout = 1000,
        .keepalive_timeout = 1000,
        .send_timeout = 1000,
        .close_timeout = 1000,
        .linger_timeout = 100,
        .rx_fragments = options->pieces,
        .oldest = 76,
    };
    struct lws_context *context;
    struct libwebsocket *wsi;
    struct fake_socket *peer;
    unsigned rounds = 0;

    fake_reset();
    link_clear(outcome);
    context = lws_context_create(&service, arena);
    REQUIRE(context && lws_listen(context, fake_listener(), false) == 0);
    peer = fake_connect();
    REQUIRE(lws_service(context, 0) == 0);
    /* As lws_upgrade leaves it. */
    wsi = lws_at(context, 0);
    wsi->state = LWS_STATE_OPEN;
    wsi->version = (uint8_t)options->version;
    wsi->handle = wsi->session = 1;
    wsi->deflate = options->deflate;
    context->established++;
    lws_deadline_clear(context, wsi, 0);

    fake_peer_will_send(peer, stream, length);
    while (lws_connections(context)) {
        int count;

        if (peer->arrived < peer->in_length) {
            size_t step = FAKE_UNLIMITED; /* a long stream only begins in small steps */

            if (options->cuts && rounds < 400) {
                step = 1 + (rounds + 1) * 2654435761u % options->cuts;
            }
            fake_arrive(peer, step);
        } else {
            fake_peer_fin(peer);
        }
        count = lws_service(context, 100);
        REQUIRE(count >= 0 && (uint32_t)count <= LWS_EVENTS);
        for (int i = 0; i < count; i++) {
            take_event(context, &lws_events(context)[i], arena, outcome);
        }
        REQUIRE(rounds++ < 10000);
    }
    REQUIRE(outcome->close_code != 0);
    REQUIRE(peer->closed);
    outcome->count -= outcome->open; /* what is not whole is no message */
    outcome->out_length = peer->out_length;
    outcome->out = link_hash(LINK_HASH, peer->out, peer->out_length);
    lws_context_destroy(context);
    REQUIRE(fake_open() == 0);
}

uint8_t *link_expand(const uint8_t *bytes, size_t length, size_t *expanded) {
    size_t room = 300000, used = 0;
    uint8_t *out = malloc(room);

    REQUIRE(out != NULL);
    for (size_t i = 0; i < length && used < room; i++) {
        size_t times = 1;
        uint8_t byte = bytes[i];

        if (byte == 0xeb && length - i > 2) {
            times = (size_t)bytes[i + 1] * bytes[i + 1];
            byte = bytes[i + 2];
            i += 2;
        }
        times = times < room - used ? times : room - used;
        memset(out + used, byte, times);
        used += times;
    }
    *expanded = used;
    return out;
}

static void print(const char *whose, const struct link_outcome *outcome) {
    fprintf(stderr, "%s: fault %s, closed %u, %zu bytes out, %u messages\n", whose,
            lws_fault_event((int)outcome->fault), outcome->close_code, outcome->out_length,
            outcome->count);
    for (unsigned i = 0; i < outcome->count && i < 50; i++) {
        fprintf(stderr, "  kind %u length %zu hash %016llx\n", outcome->messages[i].kind,
                outcome->messages[i].length, (unsigned long long)outcome->messages[i].hash);
    }
}

void link_require_same(const struct link_outcome *wanted, const struct link_outcome *found) {
    bool same = wanted->count == found->count && wanted->fault == found->fault &&
                wanted->close_code == found->close_code && wanted->reason == found->reason &&
                wanted->out_length >= found->out_length;

    /* To a peer that leaves without a Close the last pongs may be lost. */
    if (wanted->fault != LWS_FAULT_WS_ABNORMAL) {
        same = same && wanted->out_length == found->out_length && wanted->out == found->out;
    }

    for (unsigned i = 0; same && i < wanted->count; i++) {
        same = wanted->messages[i].kind == found->messages[i].kind &&
               wanted->messages[i].length == found->messages[i].length &&
               wanted->messages[i].hash == found->messages[i].hash;
    }
    if (!same) {
        print("wanted", wanted);
        print("found", found);
        abort();
    }
}
