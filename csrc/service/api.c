/* What the application asks of one connection, named by its slot. */
#include "private.h"

#include <stdlib.h>
#include <string.h>

/* The connection that the application names, or NULL with the error. */
static struct libwebsocket *named(struct lws_context *context, uint32_t slot, int *error) {
    struct libwebsocket *wsi = NULL;

    *error = lws_foreign(context);
    if (!*error) {
        wsi = lws_find(context, slot);
        if (!wsi || !wsi->handle || wsi->late) {
            wsi = NULL;
            *error = LWS_ERROR_CLOSED;
        }
    }
    return wsi;
}

static struct lws_handed_request *handed(struct lws_context *context, uint32_t slot) {
    int error;
    struct libwebsocket *wsi = named(context, slot, &error);

    return wsi && wsi->state == LWS_STATE_REPLY && wsi->in.http.request
               ? &context->requests[wsi->in.http.request - 1]
               : NULL;
}

const struct lws_request *lws_request(struct lws_context *context, uint32_t slot) {
    struct lws_handed_request *request = handed(context, slot);

    return request ? &request->request : NULL;
}

const uint8_t *lws_request_head(struct lws_context *context, uint32_t slot) {
    struct lws_handed_request *request = handed(context, slot);

    return request ? request->head : NULL;
}

/* A connection that has died in this round keeps its opening request for its CLOSED. */
static const struct lws_opening *opening_of(const struct lws_context *context, uint32_t slot) {
    return lws_foreign(context) || slot >= context->slots ? NULL : lws_at(context, slot)->opening;
}

const uint8_t *lws_uri(struct lws_context *context, uint32_t slot, size_t *length) {
    struct lws_handed_request *request = handed(context, slot);

    *length = 0;
    if (request) {
        const struct lws_slice *uri = &request->request.uri;
        uint8_t *copy;

        *length = uri->length;
        if (!request->request.empty_path) {
            return request->head + uri->offset;
        }
        copy = lws_scratch(context, uri->length + 1);
        if (copy) {
            ++*length;
            copy[0] = '/';
            memcpy(copy + 1, request->head + uri->offset, uri->length);
        }
        return copy;
    }

    const struct lws_opening *opening = opening_of(context, slot);

    if (!opening) {
        return NULL;
    }
    *length = opening->uri_length;
    return opening->bytes;
}

const uint8_t *lws_fields(struct lws_context *context, uint32_t slot, size_t *length) {
    struct lws_handed_request *request = handed(context, slot);

    *length = 0;
    if (request) {
        *length = request->request.headers.length;
        return request->head + request->request.headers.offset;
    }

    const struct lws_opening *opening = opening_of(context, slot);

    if (!opening || !context->options.keep_headers) {
        return NULL;
    }
    return lws_opening_fields(context, opening, length);
}

int64_t lws_sent(struct lws_context *context, uint32_t slot) {
    int error = lws_foreign(context);

    if (error) {
        return error;
    }
    return slot < context->slots ? (int64_t)lws_at(context, slot)->sent : LWS_ERROR_CLOSED;
}

int lws_version(struct lws_context *context, uint32_t slot) {
    int error;
    struct libwebsocket *wsi = named(context, slot, &error);

    return wsi ? wsi->version : error;
}

int lws_upgrade(struct lws_context *context, uint32_t slot, const char *protocol,
                size_t protocol_length, const char *extensions, size_t extensions_length,
                bool compressed) {
    int error;
    struct libwebsocket *wsi = named(context, slot, &error);

    if (!wsi) {
        return error;
    }

    struct lws_handed_request *handed_request = handed(context, slot);

    if (!handed_request || handed_request->request.version == LWS_VERSION_HTTP) {
        return LWS_ERROR_STATE;
    }

    const struct lws_request *request = &handed_request->request;
    const uint8_t *head = handed_request->head;
    struct lws_handshake_extra extra = {protocol, protocol_length, extensions, extensions_length,
                                        wsi->secure || wsi->forwarded_secure};

    if (protocol_length > 4096 || extensions_length > 4096) {
        return LWS_ERROR_ARGUMENT;
    }

    uint32_t most = 512 + request->field[LWS_FIELD_HOST].length +
                    request->field[LWS_FIELD_ORIGIN].length + request->uri.length +
                    (uint32_t)(protocol_length + extensions_length);
    struct lws_opening *opening = lws_opening_new(context, head, request);

    if (!opening) {
        return LWS_ERROR_MEMORY;
    }

    uint8_t *room = lws_output_room(context, wsi, most);

    if (!room) {
        free(opening);
        return LWS_ERROR_MEMORY;
    }

    ptrdiff_t size = lws_handshake_reply(
        head, request, request->version == LWS_VERSION_HIXIE76 ? head + request->key3 : NULL,
        &extra, room, most);

    lws_output_trim(context, wsi, size < 0 ? most : most - (uint32_t)size);
    if (size < 0) {
        free(opening);
        return LWS_ERROR_ARGUMENT;
    }
    wsi->version = request->version;
    lws_release_request(wsi);
    wsi->opening = opening;
    wsi->state = LWS_STATE_OPEN;
    wsi->session = 1;
    wsi->deflate = compressed && wsi->version != LWS_VERSION_HIXIE76;
    context->established++;
    memset(&wsi->in, 0, sizeof wsi->in);
    if (context->options.ping_interval && wsi->version != LWS_VERSION_HIXIE76) {
        lws_deadline_set(context, wsi, LWS_DEADLINE_PING);
    }
    if (wsi->stash) {
        lws_pend(context, wsi);
    }
    return 0;
}

int lws_refuse(struct lws_context *context, uint32_t slot, int status, bool keep_alive) {
    int error;
    struct libwebsocket *wsi = named(context, slot, &error);

    if (!wsi) {
        return error;
    }
    if (wsi->state != LWS_STATE_REPLY) {
        return LWS_ERROR_STATE;
    }
    lws_refuse_request(context, wsi, status, keep_alive);
    return 0;
}

int lws_reply_end(struct lws_context *context, uint32_t slot, bool keep_alive) {
    int error;
    struct libwebsocket *wsi = named(context, slot, &error);

    if (!wsi) {
        return error;
    }
    if (wsi->state != LWS_STATE_REPLY) {
        return LWS_ERROR_STATE;
    }
    lws_end_reply(context, wsi, keep_alive);
    return 0;
}

int lws_close(struct lws_context *context, uint32_t slot, unsigned code, const uint8_t *reason,
              size_t length) {
    int error;
    struct libwebsocket *wsi = named(context, slot, &error);

    if (!wsi) {
        return error;
    }
    switch ((enum lws_state)wsi->state) {
    case LWS_STATE_OPEN:
        error = lws_output_close(context, wsi, code, reason, length);
        if (!error) {
            wsi->state = LWS_STATE_CLOSING;
            wsi->rx_off = 0;
            lws_deadline_clear(context, wsi, 0);
        }
        return error;
    case LWS_STATE_REPLY:
        lws_end_reply(context, wsi, false);
        return 0;
    case LWS_STATE_DRAIN:
        wsi->keep = 0;
        return 0;
    case LWS_STATE_HEAD:
        lws_finish(context, wsi, LWS_DEADLINE_LINGER);
        return 0;
    case LWS_STATE_CLOSING:
    case LWS_STATE_FINISH:
    case LWS_STATE_LINGER:
    case LWS_STATE_FREE:
    case LWS_STATE_DEAD:
        break;
    }
    return 0;
}

int lws_fail_message(struct lws_context *context, uint32_t slot, int fault) {
    int error;
    struct libwebsocket *wsi = named(context, slot, &error);

    if (!wsi) {
        return error;
    }
    if (wsi->state != LWS_STATE_OPEN) {
        return LWS_ERROR_STATE;
    }
    lws_fail(context, wsi, fault);
    return 0;
}

int lws_abort(struct lws_context *context, uint32_t slot) {
    int error;
    struct libwebsocket *wsi = named(context, slot, &error);

    if (!wsi) {
        return error;
    }
    lws_die(context, wsi, true);
    return 0;
}

int64_t lws_queued(struct lws_context *context, uint32_t slot) {
    int error;
    struct libwebsocket *wsi = named(context, slot, &error);

    return wsi ? (int64_t)wsi->queued : error;
}

int lws_want_writable(struct lws_context *context, uint32_t slot) {
    int error;
    struct libwebsocket *wsi = named(context, slot, &error);

    if (!wsi) {
        return error;
    }
    if (wsi->state != LWS_STATE_OPEN) {
        return LWS_ERROR_STATE;
    }
    wsi->want_writable = 1;
    if (!lws_blocked(wsi)) {
        lws_tell_writable(context, wsi);
        lws_arm_timer(context);
    }
    return 0;
}

int lws_rx_flow_control(struct lws_context *context, uint32_t slot, bool enable) {
    int error;
    struct libwebsocket *wsi = named(context, slot, &error);

    if (!wsi) {
        return error;
    }
    if (wsi->state != LWS_STATE_OPEN) {
        return LWS_ERROR_STATE;
    }
    wsi->rx_off = !enable;
    if (!lws_blocked(wsi)) {
        lws_interest(context, wsi, enable ? 1 : 0);
        lws_go_on_reading(context, wsi);
        lws_arm_timer(context);
    }
    return 0;
}

int64_t lws_latency(struct lws_context *context, uint32_t slot) {
    int error;
    struct libwebsocket *wsi = named(context, slot, &error);

    return wsi ? (int64_t)wsi->latency - 1 : error;
}

uint32_t lws_connections(const struct lws_context *context) {
    return context->live;
}
