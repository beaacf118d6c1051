/*
 * The stream of an established connection into messages. A message that lies whole in the arena is
 * unmasked, validated and handed over where it lies. One that is cut or fragmented is put together
 * in a buffer of its own.
 */
#include "private.h"

#include <string.h>

/* The kind of event for the message begun, in the arena or (2) in a buffer. */
static unsigned kind_of(const struct libwebsocket *wsi, unsigned place) {
    return place + (wsi->opcode == LWS_OPCODE_BINARY) +
           (wsi->compressed ? (unsigned)LWS_EVENT_COMPRESSED : 0);
}

static void hand_over(struct lws_context *context, struct libwebsocket *wsi, unsigned kind,
                      const uint8_t *payload, uint32_t length) {
    lws_event(context, kind, wsi->slot, (uint32_t)(payload - context->arena), length);
}

/*
 * The message in wsi->message, or the present piece of it, is whole; final: it is the last. place
 * is where an empty one may be said to lie.
 */
static void hand_over_buffer(struct lws_context *context, struct libwebsocket *wsi,
                             const uint8_t *place, bool final) {
    struct lws_buffer *message = wsi->message;

    wsi->message = NULL;
    if (wsi->state != LWS_STATE_OPEN || wsi->skipping) {
        lws_buffer_put(context, message);
    } else {
        if (message) {
            lws_event(context, kind_of(wsi, LWS_EVENT_TEXT_BUFFER), wsi->slot,
                      context->message_count, (uint32_t)message->length);
            context->messages[context->message_count++] = message;
        } else {
            hand_over(context, wsi, kind_of(wsi, LWS_EVENT_TEXT), place, 0);
        }
        context->events[context->event_count - 1].code =
            (uint16_t)((wsi->pieced ? LWS_PIECE_NOT_FIRST : 0u) |
                       (final ? 0u : LWS_PIECE_NOT_FINAL));
    }
    wsi->pieced = !final;
    if (final) {
        wsi->opcode = 0;
        wsi->compressed = 0;
        wsi->skipping = 0;
    }
}

/* Fails a connection for want of memory. */
static void fail_memory(struct lws_context *context, struct libwebsocket *wsi) {
    lws_fail(context, wsi, LWS_FAULT_ALLOC_FAILED);
}

/* Room in the message's buffer for more bytes; false: the connection was failed. */
static bool reserve(struct lws_context *context, struct libwebsocket *wsi, size_t more) {
    struct lws_buffer *buffer =
        wsi->message ? lws_buffer_grow(context, wsi->message, wsi->message->length + more)
                     : lws_buffer_get(context, more);

    if (!buffer) {
        fail_memory(context, wsi);
        return false;
    }
    wsi->message = buffer;
    return true;
}

/* Room for what is next of the present frame: all of it, or the next piece. */
static bool reserve_frame(struct lws_context *context, struct libwebsocket *wsi) {
    uint64_t left = wsi->in.ws.frame_left;

    if (wsi->skipping || left == 0) {
        return true;
    }
    if (context->options.rx_fragments && left > LWS_PIECE) {
        left = LWS_PIECE;
    }
    return reserve(context, wsi, (size_t)left);
}

/* size more bytes of text: false if they cannot be UTF-8, and the connection was failed. */
static bool check_text(struct lws_context *context, struct libwebsocket *wsi, const uint8_t *bytes,
                       size_t size) {
    if (wsi->opcode != LWS_OPCODE_TEXT || wsi->compressed) {
        return true;
    }
    wsi->in.ws.utf8 = lws_utf8(wsi->in.ws.utf8, bytes, size);
    if (wsi->in.ws.utf8 == LWS_UTF8_INVALID) {
        lws_fail(context, wsi, LWS_FAULT_WS_UTF8);
        return false;
    }
    return true;
}

/* The present frame has all its bytes. */
static bool end_frame(struct lws_context *context, struct libwebsocket *wsi, const uint8_t *place) {
    wsi->in_frame = 0;
    if (!wsi->in_fin) {
        if (context->options.rx_fragments) {
            hand_over_buffer(context, wsi, place, false);
        }
        return true;
    }
    if (wsi->opcode == LWS_OPCODE_TEXT && !wsi->compressed && !wsi->skipping &&
        wsi->in.ws.utf8 != LWS_UTF8_COMPLETE) {
        lws_fail(context, wsi, LWS_FAULT_WS_UTF8);
        return false;
    }
    hand_over_buffer(context, wsi, place, true);
    return true;
}

/* size bytes of the present frame lie behind the message so far: unmasked and checked there. */
static bool take_in(struct lws_context *context, struct libwebsocket *wsi, uint32_t size) {
    uint8_t *bytes = wsi->message->payload + wsi->message->length;

    lws_mask(bytes, size, wsi->in.ws.mask, wsi->mask_phase);
    wsi->mask_phase = (uint8_t)((wsi->mask_phase + size) & 3u);
    wsi->message->length += size;
    return check_text(context, wsi, bytes, size);
}

/* After bytes of the present frame were taken: ends it, or its present piece. */
static bool after_bytes(struct lws_context *context, struct libwebsocket *wsi,
                        const uint8_t *place) {
    if (wsi->in.ws.frame_left == 0) {
        return end_frame(context, wsi, place);
    }
    if (context->options.rx_fragments && wsi->message && wsi->message->length == LWS_PIECE) {
        hand_over_buffer(context, wsi, place, false);
        return reserve_frame(context, wsi);
    }
    return true;
}

void lws_decode_direct(struct lws_context *context, struct libwebsocket *wsi, uint32_t size) {
    wsi->in.ws.frame_left -= size;
    if (take_in(context, wsi, size)) {
        after_bytes(context, wsi, NULL);
    }
}

/* Up to size bytes of the present frame, from the arena. Returns how many, 0: connection failed. */
static uint32_t go_on_with_frame(struct lws_context *context, struct libwebsocket *wsi,
                                 const uint8_t *data, uint32_t size) {
    uint32_t used = wsi->in.ws.frame_left < size ? (uint32_t)wsi->in.ws.frame_left : size;

    if (!wsi->skipping) {
        size_t room = wsi->message->room - wsi->message->length;

        if (context->options.rx_fragments && LWS_PIECE - wsi->message->length < room) {
            room = LWS_PIECE - wsi->message->length;
        }
        used = used < room ? used : (uint32_t)room;
        memcpy(wsi->message->payload + wsi->message->length, data, used);
    }
    wsi->in.ws.frame_left -= used;
    if (!wsi->skipping && !take_in(context, wsi, used)) {
        return 0;
    }
    return after_bytes(context, wsi, data + used) ? used : 0;
}

/* A data frame that is not a whole message in one piece: what follows goes into a buffer. */
static bool begin_frame(struct lws_context *context, struct libwebsocket *wsi,
                        const struct lws_frame *frame, const uint8_t *place) {
    if (frame->opcode != LWS_OPCODE_CONTINUATION) {
        wsi->opcode = frame->opcode;
        wsi->compressed = frame->rsv1 & 1u;
        wsi->in.ws.utf8 = LWS_UTF8_COMPLETE;
        wsi->in.ws.total = 0;
    }
    wsi->in_frame = 1;
    wsi->in_fin = frame->fin & 1u;
    wsi->in.ws.frame_left = frame->length;
    wsi->in.ws.total += (uint32_t)frame->length;
    memcpy(wsi->in.ws.mask, frame->mask, sizeof frame->mask);
    wsi->mask_phase = 0;
    if (wsi->state != LWS_STATE_OPEN) {
        wsi->skipping = 1;
    }
    if (frame->length == 0) {
        return end_frame(context, wsi, place);
    }
    return reserve_frame(context, wsi);
}

/* The fault of a data frame's header after what came before it, or 0. */
static int check_data(const struct lws_context *context, const struct libwebsocket *wsi,
                      const struct lws_frame *frame) {
    uint32_t before = wsi->opcode ? wsi->in.ws.total : 0;

    if ((frame->opcode == LWS_OPCODE_CONTINUATION) != (wsi->opcode != 0)) {
        return LWS_FAULT_WS_FRAGMENT;
    }

    uint64_t most = context->options.max_message;

    /* Data that does not compress grows a little. What it inflates to, the application bounds. */
    if (wsi->opcode ? wsi->compressed : frame->rsv1) {
        most += most / 16 + 64;
    }
    return before > most || frame->length > most - before ? LWS_FAULT_WS_TOO_BIG : 0;
}

/* The peer's Close, unmasked, whole. Nothing after it is looked at. */
static void take_close(struct lws_context *context, struct libwebsocket *wsi,
                       const uint8_t *payload, uint32_t length) {
    struct lws_close close = {.code = 1005};
    int fault = lws_close_decode(payload, length, &close);

    if (fault) {
        lws_fail(context, wsi, -fault);
        return;
    }
    if (wsi->state == LWS_STATE_OPEN) {
        lws_output_close(context, wsi, close.code, payload + close.reason_offset,
                         close.reason_length);
    }
    lws_end(context, wsi, close.code, (uint32_t)(payload + close.reason_offset - context->arena),
            close.reason_length);
    lws_finish(context, wsi, LWS_DEADLINE_CLOSE);
}

static bool is_active(const struct libwebsocket *wsi) {
    return wsi->state == LWS_STATE_OPEN || wsi->state == LWS_STATE_CLOSING;
}

/*
 * Whether messages of this share must be answered before the connection may end: what ends it is
 * then left undecoded, for the next round.
 */
static bool answered_first(const struct lws_context *context, uint32_t before, bool *more) {
    *more = context->event_count != before;
    return *more;
}

uint32_t lws_decode(struct lws_context *context, struct libwebsocket *wsi, uint8_t *data,
                    uint32_t size, bool *more) {
    uint32_t at = 0;
    uint32_t before = context->event_count;
    uint32_t limit = before + LWS_SHARE_EVENTS;

    *more = false;
    while (at < size) {
        if (wsi->in_frame) {
            uint32_t used = go_on_with_frame(context, wsi, data + at, size - at);

            if (!used) {
                return size;
            }
            at += used;
            continue;
        }
        if (context->event_count >= limit) {
            *more = true;
            break;
        }

        struct lws_frame frame;
        int header =
            lws_frame_decode(data + at, size - at, wsi->deflate ? LWS_FRAME_RSV1 : 0, &frame);

        if (header == 0) {
            break;
        }
        if (header < 0) {
            if (answered_first(context, before, more)) {
                break;
            }
            lws_fail(context, wsi, -header);
            return size;
        }

        uint8_t *payload = data + at + header;
        uint32_t there = size - at - (uint32_t)header;

        if (frame.opcode & 0x8u) {
            if (there < frame.length ||
                (frame.opcode == LWS_OPCODE_CLOSE && answered_first(context, before, more))) {
                break;
            }
            lws_mask(payload, (size_t)frame.length, frame.mask, 0);
            if (frame.opcode == LWS_OPCODE_CLOSE) {
                take_close(context, wsi, payload, (uint32_t)frame.length);
            } else if (frame.opcode == LWS_OPCODE_PING && wsi->state == LWS_STATE_OPEN) {
                lws_output_pong(context, wsi, payload, (uint32_t)frame.length);
            } else if (frame.opcode == LWS_OPCODE_PONG && wsi->state == LWS_STATE_OPEN) {
                bool ours = lws_match_pong(context, wsi, payload, (uint32_t)frame.length);

                hand_over(context, wsi, LWS_EVENT_PONG, payload, (uint32_t)frame.length);
                context->events[context->event_count - 1].code = ours;
            }
            at += (uint32_t)header + (uint32_t)frame.length;
            if (!is_active(wsi)) {
                return size;
            }
            continue;
        }

        int fault = check_data(context, wsi, &frame);

        if (fault) {
            if (answered_first(context, before, more)) {
                break;
            }
            lws_fail(context, wsi, fault);
            return size;
        }
        if (frame.fin && frame.length <= there && !wsi->opcode && wsi->state == LWS_STATE_OPEN) {
            uint32_t length = (uint32_t)frame.length;
            unsigned kind = frame.opcode == LWS_OPCODE_BINARY;

            lws_mask(payload, length, frame.mask, 0);
            if (frame.rsv1) {
                kind += LWS_EVENT_COMPRESSED;
            } else if (kind == LWS_EVENT_TEXT &&
                       lws_utf8(LWS_UTF8_COMPLETE, payload, length) != LWS_UTF8_COMPLETE) {
                if (answered_first(context, before, more)) {
                    lws_mask(payload, length, frame.mask, 0); /* as it came */
                    break;
                }
                lws_fail(context, wsi, LWS_FAULT_WS_UTF8);
                return size;
            }
            hand_over(context, wsi, kind, payload, length);
            at += (uint32_t)header + length;
        } else if (begin_frame(context, wsi, &frame, payload)) {
            at += (uint32_t)header;
        } else {
            return size;
        }
    }
    return at;
}

/* ---- hixie-76 ------------------------------------------------------------------------------- */

/* The peer's ff 00: no code, no reason. */
static void take_close76(struct lws_context *context, struct libwebsocket *wsi) {
    if (wsi->state == LWS_STATE_OPEN) {
        lws_output_close(context, wsi, 1005, NULL, 0);
    }
    lws_end(context, wsi, 1005, 0, 0);
    lws_finish(context, wsi, LWS_DEADLINE_CLOSE);
}

/*
 * size bytes of a frame that ends with an ff, not among them: stored, or counted and dropped if its
 * type is not text. Returns false if the connection was failed.
 */
static bool go_on_with_text76(struct lws_context *context, struct libwebsocket *wsi,
                              const uint8_t *data, uint32_t size) {
    wsi->in.ws.frame_left += size; /* counts upwards here: the length is not known before the end */
    if (wsi->in.ws.frame_left > context->options.max_message) {
        lws_fail(context, wsi, LWS_FAULT_WS_TOO_BIG);
        return false;
    }
    if (wsi->skipping || size == 0) {
        return true;
    }
    if (!reserve(context, wsi, size)) {
        return false;
    }
    memcpy(wsi->message->payload + wsi->message->length, data, size);
    wsi->message->length += size;
    return check_text(context, wsi, data, size);
}

/* A frame of type 80 to ff. Returns the bytes used, 0: more are needed, -1: no longer active. */
static int begin_counted76(struct lws_context *context, struct libwebsocket *wsi,
                           const uint8_t *data, uint32_t size) {
    uint64_t length = 0;

    if (size < 2) {
        return 0;
    }
    if (data[0] == 0xff) {
        if (data[1] == 0x00) {
            take_close76(context, wsi);
        } else {
            lws_fail(context, wsi, LWS_FAULT_WS_PROTOCOL_ERROR);
        }
        return -1;
    }

    int used = lws_frame76_length(data + 1, size - 1, &length);

    if (used < 0 || length > context->options.max_message) {
        lws_fail(context, wsi, used < 0 ? LWS_FAULT_WS_PROTOCOL_ERROR : LWS_FAULT_WS_TOO_BIG);
        return -1;
    }
    if (used == 0) {
        return 0;
    }
    wsi->in.ws.frame_left = length;
    wsi->in_frame = length != 0;
    return used + 1;
}

uint32_t lws_decode76(struct lws_context *context, struct libwebsocket *wsi, uint8_t *data,
                      uint32_t size, bool *more) {
    uint32_t at = 0;
    uint32_t before = context->event_count;
    uint32_t limit = before + LWS_SHARE_EVENTS;

    *more = false;
    while (at < size) {
        uint8_t *here = data + at;
        uint32_t there = size - at;

        if (wsi->in_frame) {
            /* A counted frame: no meaning is given to any, its bytes are passed over in place. */
            uint32_t used = wsi->in.ws.frame_left < there ? (uint32_t)wsi->in.ws.frame_left : there;

            wsi->in.ws.frame_left -= used;
            wsi->in_frame = wsi->in.ws.frame_left != 0;
            at += used;
            continue;
        }
        if (context->event_count >= limit) {
            *more = true;
            break;
        }
        if (!wsi->opcode && here[0] & 0x80u) {
            if (answered_first(context, before, more)) {
                break;
            }

            int used = begin_counted76(context, wsi, here, there);

            if (used < 0) {
                return size;
            }
            if (used == 0) {
                break;
            }
            at += (uint32_t)used;
            continue;
        }

        bool begun = wsi->opcode != 0;
        uint8_t *text = begun ? here : here + 1;
        uint32_t most = begun ? there : there - 1;
        uint8_t *end = memchr(text, 0xff, most);
        uint32_t length = end ? (uint32_t)(end - text) : most;

        if (!begun) {
            wsi->opcode = LWS_OPCODE_TEXT;
            wsi->skipping = here[0] != 0x00 || wsi->state != LWS_STATE_OPEN;
            wsi->in.ws.frame_left = 0;
            wsi->in.ws.utf8 = LWS_UTF8_COMPLETE;
            if (end && !wsi->skipping && length <= context->options.max_message) {
                wsi->opcode = 0;
                if (lws_utf8(LWS_UTF8_COMPLETE, text, length) != LWS_UTF8_COMPLETE) {
                    if (answered_first(context, before, more)) {
                        break;
                    }
                    lws_fail(context, wsi, LWS_FAULT_WS_UTF8);
                    return size;
                }
                hand_over(context, wsi, LWS_EVENT_TEXT, text, length);
                at += length + 2;
                continue;
            }
        }
        if (!go_on_with_text76(context, wsi, text, length)) {
            return size;
        }
        at = (uint32_t)(text - data) + length;
        if (end) {
            at++;
            wsi->in_fin = 1;
            if (!end_frame(context, wsi, text)) {
                return size;
            }
        }
    }
    return at;
}
