/* One connection's share of a round: receive, and decode into events. */
#include "private.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define LWS_LINGER_BYTES (64u * 1024u)

ssize_t lws_receive_bytes(struct libwebsocket *wsi, uint8_t *to, size_t size, int flags) {
    ssize_t got = recv(wsi->fd, to, size, flags);

    if (got > 0) {
        return got;
    }
    if (got == 0) {
        return LWS_RECEIVED_END;
    }
    return errno == EAGAIN || errno == EINTR || errno == ENOMEM ? LWS_RECEIVED_NOTHING
                                                                : LWS_RECEIVED_ERROR;
}

void lws_out_of_memory(struct lws_context *context, struct libwebsocket *wsi) {
    lws_report(context, wsi->slot, LWS_FAULT_ALLOC_FAILED);
    lws_die(context, wsi, true);
}

/* ---- HTTP ----------------------------------------------------------------------------------- */

/* Bytes of a refused request's method and target that are kept for the log. */
#define LWS_REFUSED_MAX 1100u

void lws_report_request(struct lws_context *context, struct libwebsocket *wsi, int fault,
                        const uint8_t *head, const struct lws_request *request) {
    uint32_t events = context->event_count;
    uint32_t start = request->method.offset;
    uint32_t end = request->target.offset ? request->target.offset + request->target.length
                                          : start + request->method.length;
    uint32_t size = end - start < LWS_REFUSED_MAX ? end - start : LWS_REFUSED_MAX;
    uint8_t *to = lws_window(context);

    lws_report(context, wsi->slot, fault);
    if (context->event_count == events || size == 0 ||
        context->arena_used + size + 64 > LWS_ARENA_SIZE) {
        return;
    }
    /* They are one after the other in the head, which may be in this same window. */
    memmove(to, head + start, size);
    lws_use_window(context, size);
    context->events[events].code = (uint16_t)size;
    context->events[events].length = (uint32_t)(to - context->arena);
}

void lws_report_head(struct lws_context *context, struct libwebsocket *wsi, int fault,
                     const uint8_t *data, uint32_t there) {
    struct lws_request request;

    (void)lws_head_parse(data, there, &context->options.head, &request);
    wsi->head_only = request.kind == LWS_METHOD_HEAD;
    lws_report_request(context, wsi, fault, data, &request);
}

static void refuse_fault(struct lws_context *context, struct libwebsocket *wsi, int fault) {
    int status = lws_fault_status(fault);

    lws_refuse_request(context, wsi, status ? status : 400, false);
}

/*
 * Takes apart the head of size bytes at data, of which there bytes are there. Returns the bytes
 * that the request takes, 0 if more are needed, or a negated fault.
 */
static ptrdiff_t take_head(struct lws_context *context, struct libwebsocket *wsi,
                           const uint8_t *data, uint32_t there, uint32_t size) {
    struct lws_handed_request *handed = &context->requests[context->request_count];
    int fault = lws_head_parse(data, size, &context->options.head, &handed->request);

    wsi->head_only = handed->request.kind == LWS_METHOD_HEAD;
    if (!fault) {
        fault = lws_handshake_check(data, context->options.oldest, &handed->request);
    }
    if (fault) {
        lws_report_request(context, wsi, -fault, data, &handed->request);
        return fault;
    }
    handed->head = data;
    handed->request.key3 = 0;
    if (handed->request.version == LWS_VERSION_HIXIE76) {
        if (there < size + 8) {
            return 0;
        }
        handed->request.key3 = size;
        size += 8;
    }
    return size;
}

/* A whole request: with the application from now on. */
static void hand_out(struct lws_context *context, struct libwebsocket *wsi) {
    struct lws_handed_request *handed = &context->requests[context->request_count++];

    wsi->in.http.request = context->request_count;
    wsi->state = LWS_STATE_REPLY;
    wsi->handle = 1;
    wsi->in.http.requests++;
    wsi->keep = handed->request.keep_alive && !context->stopping &&
                wsi->in.http.requests < context->options.keepalive_requests;
    handed->request.keep_alive = wsi->keep;
    handed->request.plain = wsi->keep && handed->request.kind == LWS_METHOD_GET &&
                            handed->request.minor > 0 && !handed->request.conditional;
    lws_deadline_clear(context, wsi, 0);
    lws_event(context, LWS_EVENT_REQUEST, wsi->slot, handed->request.version, 0);
}

/* Looks for a request in the bytes that are there. Returns as take_head. */
static ptrdiff_t find_request(struct lws_context *context, struct libwebsocket *wsi,
                              const uint8_t *data, uint32_t there) {
    ptrdiff_t size = lws_head_scan(data, there, &context->options.head, &wsi->in.http.scan);

    if (size < 0) {
        lws_report_head(context, wsi, (int)-size, data, there);
    }
    if (size > 0) {
        size = take_head(context, wsi, data, there, (uint32_t)size);
        if (size == 0) {
            /* Waiting for the eight bytes of hixie-76: the head is found anew when they come. */
            memset(&wsi->in.http.scan, 0, sizeof wsi->in.http.scan);
        }
    }
    return size;
}

uint32_t lws_decode_head(struct lws_context *context, struct libwebsocket *wsi, uint8_t *data,
                         uint32_t there) {
    if (there && wsi->lists[0] == LWS_DEADLINE_KEEPALIVE + 1) {
        lws_deadline_set(context, wsi, LWS_DEADLINE_HANDSHAKE);
    }

    bool stashed = wsi->stash != NULL;

    if (stashed) {
        if (!lws_stash_append(&wsi->stash, data, there)) {
            lws_out_of_memory(context, wsi);
            return 0;
        }
        data = wsi->stash->bytes + wsi->stash->offset;
        there = lws_stashed(wsi);
    }
    if (there == 0) {
        return 0;
    }

    ptrdiff_t size = find_request(context, wsi, data, there);

    if (size < 0) {
        refuse_fault(context, wsi, (int)-size);
        return 0;
    }
    if (stashed) {
        /* The head stays where it is until it is answered. */
        if (size) {
            wsi->in.http.head_size = (uint32_t)size;
            hand_out(context, wsi);
        }
        return 0;
    }
    if (!lws_stash_append(&wsi->stash, data + size, there - (uint32_t)size)) {
        lws_out_of_memory(context, wsi);
        return 0;
    }
    if (size) {
        hand_out(context, wsi);
    }
    return (uint32_t)size;
}

static void receive_head(struct lws_context *context, struct libwebsocket *wsi, bool fresh) {
    uint8_t *data = lws_window(context);
    ssize_t got = fresh ? lws_receive_bytes(wsi, data, LWS_SHARE_BYTES, 0) : LWS_RECEIVED_NOTHING;

    if (got == LWS_RECEIVED_END || got == LWS_RECEIVED_ERROR) {
        lws_end_of_input(context, wsi);
        return;
    }

    uint32_t used = lws_decode_head(context, wsi, data, got > 0 ? (uint32_t)got : 0);

    if (used) {
        lws_use_window(context, used);
    }
}

/* ---- WebSocket ------------------------------------------------------------------------------ */

void lws_end_of_input(struct lws_context *context, struct libwebsocket *wsi) {
    if (wsi->state != LWS_STATE_HEAD && wsi->handle) {
        lws_report(context, wsi->slot, LWS_FAULT_WS_ABNORMAL);
    } else if (wsi->state == LWS_STATE_HEAD && wsi->stash) {
        lws_report(context, wsi->slot, LWS_FAULT_HTTP_EOF_IN_HEAD);
    }
    if (wsi->ended) {
        /* A close_notify is answered with ours (RFC 8446, section 6.1). */
        lws_end(context, wsi, 1006, 0, 0);
        lws_finish(context, wsi, LWS_DEADLINE_LINGER);
        return;
    }
    lws_die(context, wsi, false);
}

/* Silence is counted from now on. A ping that waits for its pong goes on waiting. */
static void peer_heard(struct lws_context *context, struct libwebsocket *wsi) {
    if (wsi->lists[0] == LWS_DEADLINE_PING + 1) {
        lws_deadline_set(context, wsi, LWS_DEADLINE_PING);
    }
}

static void receive_direct(struct lws_context *context, struct libwebsocket *wsi) {
    struct lws_buffer *message = wsi->message;
    uint64_t left = wsi->in.ws.frame_left;
    size_t room = (context->options.rx_fragments ? LWS_PIECE : message->room) - message->length;
    size_t size = left < room ? (size_t)left : room;

    size = size < LWS_SHARE_SEND ? size : LWS_SHARE_SEND;

    ssize_t got = lws_receive_bytes(wsi, message->payload + message->length, size, 0);

    if (got > 0) {
        lws_decode_direct(context, wsi, (uint32_t)got);
    } else if (got != LWS_RECEIVED_NOTHING) {
        lws_end_of_input(context, wsi);
    }
}

/* Keeps what decoding left: of the kept bytes copied to the window, and of those received behind.
 */
static bool keep_rest(struct libwebsocket *wsi, const uint8_t *data, uint32_t kept, uint32_t there,
                      uint32_t used) {
    uint32_t taken = used < kept ? used : kept;

    if (taken) {
        lws_stash_take(&wsi->stash, taken);
    }
    return lws_stash_append(&wsi->stash, data + (used > kept ? used : kept),
                            there - (used > kept ? used : kept));
}

void lws_decode_frames(struct lws_context *context, struct libwebsocket *wsi, uint8_t *data,
                       uint32_t kept, uint32_t there, bool whole, bool ended) {
    bool more = false;
    uint32_t used = 0;

    if (there) {
        used = wsi->version == LWS_VERSION_HIXIE76 ? lws_decode76(context, wsi, data, there, &more)
                                                   : lws_decode(context, wsi, data, there, &more);
    }
    if (wsi->state != LWS_STATE_OPEN && wsi->state != LWS_STATE_CLOSING) {
        return;
    }
    if (!keep_rest(wsi, data, kept, there, used)) {
        lws_out_of_memory(context, wsi);
        return;
    }
    if (more || !whole) {
        lws_pend(context, wsi);
    } else if (ended) {
        lws_end_of_input(context, wsi);
    }
}

static void receive_frames(struct lws_context *context, struct libwebsocket *wsi, bool fresh) {
    bool hixie = wsi->version == LWS_VERSION_HIXIE76;

    if (wsi->in_frame && !wsi->stash && !wsi->skipping && !hixie) {
        if (fresh) {
            peer_heard(context, wsi);
            receive_direct(context, wsi);
        }
        return;
    }

    uint8_t *data = lws_window(context);
    uint32_t kept = lws_stashed(wsi);
    bool whole = kept <= LWS_STASH_PIECE;
    bool ended = wsi->ended;

    if (!whole) {
        kept = LWS_STASH_PIECE;
    }
    if (kept) {
        memcpy(data, wsi->stash->bytes + wsi->stash->offset, kept);
    }

    uint32_t there = kept;

    if (fresh && whole) {
        ssize_t got = lws_receive_bytes(wsi, data + kept, LWS_SHARE_BYTES - kept, 0);

        if (got > 0) {
            there += (uint32_t)got;
            peer_heard(context, wsi);
        }
        ended = got == LWS_RECEIVED_END || got == LWS_RECEIVED_ERROR;
    }
    if (there) {
        lws_use_window(context, there);
    }
    lws_decode_frames(context, wsi, data, kept, there, whole, ended);
}

/* ---- after the end -------------------------------------------------------------------------- */

/* Reads and drops, so that the kernel does not answer unread bytes with a RST over our last reply.
 */
static void receive_nothing(struct lws_context *context, struct libwebsocket *wsi) {
    uint8_t *data = lws_window(context);
    ssize_t got = lws_receive_bytes(wsi, data, LWS_SHARE_BYTES, MSG_TRUNC);

    if (got == LWS_RECEIVED_NOTHING) {
        return;
    }
    if (got > 0) {
        wsi->lingered += (uint32_t)got;
        /* Enough dropped: no more is read, but the reply has until the deadline to be read too. */
        if (wsi->linger_list == LWS_DEADLINE_LINGER && wsi->lingered >= LWS_LINGER_BYTES) {
            lws_interest(context, wsi, 0);
        }
        return;
    }
    lws_die(context, wsi, false);
}

void lws_receive(struct lws_context *context, struct libwebsocket *wsi, bool fresh) {
    switch ((enum lws_state)wsi->state) {
    case LWS_STATE_HEAD:
        receive_head(context, wsi, fresh);
        break;
    case LWS_STATE_OPEN:
    case LWS_STATE_CLOSING:
        receive_frames(context, wsi, fresh);
        break;
    case LWS_STATE_LINGER:
        receive_nothing(context, wsi);
        break;
    case LWS_STATE_REPLY:
    case LWS_STATE_DRAIN:
    case LWS_STATE_FINISH:
    case LWS_STATE_FREE:
    case LWS_STATE_DEAD:
        break;
    }
}
