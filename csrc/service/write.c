/* What the application writes, and the control frames: encoded in place, handed to the queue. */
#include "private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What a write is, taken from its protocol argument. */
struct write {
    unsigned first; /* byte of the frame */
    uint32_t utf8;  /* state of the text after it */
    bool http;
};

/* Whether the payload may stand in a message of text that is in a state; sets the state after it.
 */
static bool is_text(uint32_t *state, const uint8_t *payload, size_t length, bool final) {
    *state = lws_utf8(*state, payload, length);
    return final ? *state == LWS_UTF8_COMPLETE : *state != LWS_UTF8_INVALID;
}

/* The rules of RFC 6455, sections 5.4 and 5.5, for what we send. Returns 0 or an error. */
static int check_frame(const struct lws_context *context, const struct libwebsocket *wsi,
                       const uint8_t *payload, size_t length, int protocol, struct write *write) {
    bool final = !(protocol & LWS_WRITE_NO_FIN);
    bool compressed = (protocol & LWS_WRITE_COMPRESSED) != 0;
    bool as_is = (protocol & LWS_WRITE_UNCOMPRESSED) != 0;
    int kind = protocol & ~(LWS_WRITE_NO_FIN | LWS_WRITE_COMPRESSED | LWS_WRITE_UNCOMPRESSED);
    bool hixie = wsi->version == LWS_VERSION_HIXIE76;

    write->utf8 = wsi->in.ws.out_utf8;
    write->first = (final ? LWS_FRAME_FIN : 0) | (compressed ? LWS_FRAME_RSV1 : 0);
    switch (kind) {
    case LWS_WRITE_TEXT:
    case LWS_WRITE_BINARY:
        if (hixie && (kind == LWS_WRITE_BINARY || !final)) {
            return LWS_ERROR_BINARY76;
        }
        if (wsi->out_open || (compressed && (!wsi->deflate || !final))) {
            return LWS_ERROR_STATE;
        }
        write->first |= kind == LWS_WRITE_TEXT ? LWS_OPCODE_TEXT : LWS_OPCODE_BINARY;
        write->utf8 = LWS_UTF8_COMPLETE;
        if (kind == LWS_WRITE_TEXT && !compressed &&
            !is_text(&write->utf8, payload, length, final)) {
            return LWS_ERROR_UTF8;
        }
        if (wsi->deflate && !compressed && !as_is && final &&
            length >= context->options.deflate_threshold) {
            return LWS_ERROR_DEFLATE;
        }
        return 0;
    case LWS_WRITE_CONTINUATION:
        if (!wsi->out_open || compressed) {
            return hixie ? LWS_ERROR_BINARY76 : LWS_ERROR_STATE;
        }
        if (wsi->out_text && !is_text(&write->utf8, payload, length, final)) {
            return LWS_ERROR_UTF8;
        }
        return 0;
    case LWS_WRITE_PING:
    case LWS_WRITE_PONG:
        if (hixie) {
            return LWS_ERROR_BINARY76;
        }
        write->first |= kind == LWS_WRITE_PING ? LWS_OPCODE_PING : LWS_OPCODE_PONG;
        return !final || compressed || length > LWS_CONTROL_PAYLOAD_MAX ? LWS_ERROR_ARGUMENT : 0;
    default:
        return LWS_ERROR_ARGUMENT;
    }
}

/* What a data frame of ours, queued by now, leaves open. */
static void note_frame(struct libwebsocket *wsi, const struct write *write) {
    unsigned opcode = write->first & 0x0fu;

    if (opcode & 0x8u) {
        return;
    }
    wsi->out_open = !(write->first & LWS_FRAME_FIN);
    if (opcode != LWS_OPCODE_CONTINUATION) {
        wsi->out_text = opcode == LWS_OPCODE_TEXT && !(write->first & LWS_FRAME_RSV1);
    }
    wsi->in.ws.out_utf8 = write->utf8;
}

/* The connection that may take a write of this kind, or NULL with the error. */
static struct libwebsocket *admit(struct lws_context *context, uint32_t slot,
                                  const uint8_t *payload, size_t length, int protocol,
                                  struct write *write, int *error) {
    *error = lws_foreign(context);
    if (*error) {
        return NULL;
    }

    struct libwebsocket *wsi = lws_find(context, slot);
    bool http = protocol == LWS_WRITE_HTTP;
    enum lws_state wanted = http ? LWS_STATE_REPLY : LWS_STATE_OPEN;

    *error = LWS_ERROR_CLOSED;
    if (!wsi || !wsi->handle || wsi->late) {
        return NULL;
    }
    if (wsi->state != wanted) {
        if (wsi->state == (http ? LWS_STATE_OPEN : LWS_STATE_REPLY)) {
            *error = LWS_ERROR_STATE;
        }
        return NULL;
    }
    write->http = http;
    *error = LWS_ERROR_FULL;
    if (wsi->queued > context->options.max_send_buffer ||
        length > context->options.max_send_buffer - wsi->queued) {
        return NULL;
    }
    *error = http ? 0 : check_frame(context, wsi, payload, length, protocol, write);
    return *error ? NULL : wsi;
}

static int write_padded(struct lws_context *context, uint32_t slot, uint8_t *payload, size_t length,
                        int protocol) {
    int error;
    struct write write;
    struct libwebsocket *wsi = admit(context, slot, payload, length, protocol, &write, &error);

    if (!wsi) {
        return error;
    }
    if (write.http) {
        return lws_output_put(context, wsi, payload, (uint32_t)length);
    }
    if (wsi->version == LWS_VERSION_HIXIE76) {
        payload[-1] = 0x00;
        payload[length] = 0xff;
        return lws_output_put(context, wsi, payload - 1, (uint32_t)length + 2);
    }

    size_t header = lws_frame_encode(payload, length, write.first);

    error = lws_output_put(context, wsi, payload - header, (uint32_t)(length + header));
    if (!error) {
        note_frame(wsi, &write);
    }
    return error;
}

int lws_write(struct lws_context *context, uint32_t slot, uintptr_t payload, size_t length,
              int protocol) {
    return write_padded(context, slot, (uint8_t *)payload, length, protocol);
}

int lws_write_arena(struct lws_context *context, uint32_t slot, uint32_t offset, size_t length,
                    int protocol) {
    uint8_t *payload = NULL;

    if (offset < LWS_ARENA_SIZE) {
        if (offset >= LWS_SEND_BUFFER_PRE_PADDING &&
            length <= LWS_ARENA_SIZE - LWS_SEND_BUFFER_POST_PADDING - offset) {
            payload = context->arena + offset;
        }
    } else if (offset - LWS_ARENA_SIZE < context->message_count) {
        struct lws_buffer *message = context->messages[offset - LWS_ARENA_SIZE];

        if (message && length <= message->length) {
            payload = message->payload;
        }
    }
    return payload ? write_padded(context, slot, payload, length, protocol) : LWS_ERROR_ARGUMENT;
}

int lws_write_copy(struct lws_context *context, uint32_t slot, const uint8_t *payload,
                   size_t length, int protocol) {
    int error;
    struct write write;
    struct libwebsocket *wsi = admit(context, slot, payload, length, protocol, &write, &error);

    if (!wsi) {
        return error;
    }
    if (write.http) {
        return lws_output_put(context, wsi, payload, (uint32_t)length);
    }

    bool hixie = wsi->version == LWS_VERSION_HIXIE76;
    uint8_t header[10] = {0};
    size_t before = hixie ? 1 : lws_frame_header(header, length, write.first);
    uint32_t size = (uint32_t)(before + length + hixie);

    if (size > LWS_GATHER_MAX) {
        /* Header and payload lie apart: one copy, once, in a buffer that has the room. */
        struct lws_buffer *buffer = lws_buffer_get(context, length);

        if (!buffer) {
            return LWS_ERROR_MEMORY;
        }
        memcpy(buffer->payload, payload, length);
        error = write_padded(context, slot, buffer->payload, length, protocol);
        lws_buffer_put(context, buffer);
        return error;
    }

    uint8_t *room = lws_output_room(context, wsi, size);

    if (!room) {
        return wsi->state == LWS_STATE_DEAD ? LWS_ERROR_CLOSED : LWS_ERROR_MEMORY;
    }
    memcpy(room, header, before);
    memcpy(room + before, payload, length);
    if (hixie) {
        room[before + length] = 0xff;
    } else {
        note_frame(wsi, &write);
    }
    return 0;
}

/* Whether a broadcast may go to a connection. */
static bool takes_broadcast(const struct lws_context *context, const struct libwebsocket *wsi,
                            size_t length, int protocol) {
    return !wsi->out_open && wsi->queued <= context->options.max_send_buffer &&
           length <= context->options.max_send_buffer - wsi->queued &&
           (wsi->version != LWS_VERSION_HIXIE76 || protocol == LWS_WRITE_TEXT);
}

int lws_broadcast(struct lws_context *context, uintptr_t address, size_t length, int protocol) {
    uint8_t *payload = (uint8_t *)address;
    struct lws_shared *shared[2] = {NULL, NULL}; /* RFC 6455, hixie-76 */
    int skipped = 0;
    int error = lws_foreign(context);

    if (error) {
        return error;
    }
    if ((protocol != LWS_WRITE_TEXT && protocol != LWS_WRITE_BINARY) || length > INT32_MAX - 16) {
        return LWS_ERROR_ARGUMENT;
    }
    if (protocol == LWS_WRITE_TEXT &&
        lws_utf8(LWS_UTF8_COMPLETE, payload, length) != LWS_UTF8_COMPLETE) {
        return LWS_ERROR_UTF8;
    }

    /* Those of one kind of frame, then those of the other: both headers lie in the same place. */
    for (unsigned hixie = 0; hixie < 2; hixie++) {
        size_t before = 1;

        if (hixie) {
            payload[-1] = 0x00;
            payload[length] = 0xff;
        } else {
            before = lws_frame_encode(payload, length, LWS_FRAME_FIN | (unsigned)(protocol + 1));
        }
        for (uint32_t slot = 0; slot < context->slots; slot++) {
            struct libwebsocket *wsi = lws_at(context, slot);

            if (wsi->state != LWS_STATE_OPEN || wsi->late ||
                (wsi->version == LWS_VERSION_HIXIE76) != hixie) {
                continue;
            }
            if (!takes_broadcast(context, wsi, length, protocol)) {
                skipped++;
            } else {
                lws_output_shared(context, wsi, payload - before,
                                  (uint32_t)(length + before + hixie), &shared[hixie]);
            }
        }
        lws_shared_release(shared[hixie]);
    }
    return skipped;
}

/* Whether a small file could be read whole into room. */
static bool read_file(int fd, uint64_t offset, uint8_t *room, size_t length) {
    while (length) {
        ssize_t got = pread(fd, room, length, (off_t)offset);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        room += got;
        offset += (uint64_t)got;
        length -= (size_t)got;
    }
    return true;
}

/*
 * A head, perhaps of no bytes, with a small file behind it, as one piece of output. Takes the
 * descriptor over if it returns 0.
 */
static int send_small(struct lws_context *context, struct libwebsocket *wsi, const uint8_t *head,
                      uint32_t length, int fd, uint64_t offset, uint32_t size) {
    uint8_t *room = lws_output_room(context, wsi, length + size);

    if (!room) {
        return wsi->state == LWS_STATE_DEAD ? LWS_ERROR_CLOSED : LWS_ERROR_MEMORY;
    }
    if (length) {
        memcpy(room, head, length);
    }
    if (!read_file(fd, offset, room + length, size)) {
        lws_report(context, wsi->slot, LWS_FAULT_FILE_TRUNCATED);
        lws_die(context, wsi, false);
    }
    close(fd);
    return 0;
}

int lws_send_file(struct lws_context *context, uint32_t slot, int fd, uint64_t offset,
                  uint64_t length) {
    int error = lws_foreign(context);
    struct libwebsocket *wsi = error ? NULL : lws_find(context, slot);

    if (error) {
        return error;
    }
    if (!wsi || wsi->state != LWS_STATE_REPLY || !wsi->handle || wsi->late) {
        return LWS_ERROR_CLOSED;
    }
    if (offset > INT64_MAX || length > INT64_MAX - offset) {
        return LWS_ERROR_ARGUMENT;
    }
    if (length == 0) {
        close(fd);
        return 0;
    }
    if (length <= LWS_FILE_COPY_MAX && !wsi->queue) {
        return send_small(context, wsi, NULL, 0, fd, offset, (uint32_t)length);
    }
    return lws_output_file(context, wsi, fd, offset, length) ? 0 : LWS_ERROR_MEMORY;
}

int lws_reply_file(struct lws_context *context, uint32_t slot, const uint8_t *head, size_t length,
                   struct lws_file *file, uint64_t offset, uint64_t size) {
    int error;
    struct write write;
    struct libwebsocket *wsi;

    if (offset > INT64_MAX || size > INT64_MAX - offset) {
        return LWS_ERROR_ARGUMENT;
    }
    wsi = admit(context, slot, head, length, LWS_WRITE_HTTP, &write, &error);
    if (!wsi) {
        return error;
    }
    if (length <= LWS_GATHER_MAX && size <= LWS_FILE_COPY_MAX && !wsi->queue) {
        error = send_small(context, wsi, head, (uint32_t)length, file->fd, offset, (uint32_t)size);
    } else {
        error = lws_output_put(context, wsi, head, (uint32_t)length);
        if (!error) {
            error = lws_send_file(context, slot, file->fd, offset, size);
            if (error == LWS_ERROR_MEMORY) {
                /* The head has promised bytes that will not come. */
                lws_report(context, slot, LWS_FAULT_ALLOC_FAILED);
                lws_die(context, wsi, true);
                error = LWS_ERROR_CLOSED;
            }
        }
    }
    if (!error) {
        file->fd = -1;
    }
    return error;
}

/* ---- control frames ------------------------------------------------------------------------- */

int lws_output_close(struct lws_context *context, struct libwebsocket *wsi, unsigned code,
                     const uint8_t *reason, size_t length) {
    uint8_t payload[LWS_CONTROL_PAYLOAD_MAX];
    uint32_t size = 2;
    int encoded = 0;

    if (wsi->version != LWS_VERSION_HIXIE76) {
        if (code != 1005) {
            encoded = lws_close_encode(payload, code, reason, length);
            if (encoded < 0) {
                return encoded == -LWS_FAULT_WS_UTF8 ? LWS_ERROR_UTF8 : LWS_ERROR_CLOSE_CODE;
            }
        }
        size = 2 + (uint32_t)encoded;
    }

    uint8_t *room = lws_output_room(context, wsi, size);

    if (!room) {
        return LWS_ERROR_MEMORY;
    }
    if (wsi->version == LWS_VERSION_HIXIE76) {
        room[0] = 0xff;
        room[1] = 0x00;
        return 0;
    }
    lws_frame_header(room, (uint64_t)encoded, LWS_FRAME_FIN | LWS_OPCODE_CLOSE);
    memcpy(room + 2, payload, (size_t)encoded);
    return 0;
}

void lws_output_pong(struct lws_context *context, struct libwebsocket *wsi, const uint8_t *payload,
                     uint32_t length) {
    if (lws_blocked(wsi)) {
        /* A peer that does not read gets one pong, the newest ping's, however many it sends. */
        if (!wsi->pong_waiting) {
            wsi->pong_waiting = malloc(1 + LWS_CONTROL_PAYLOAD_MAX);
        }
        if (wsi->pong_waiting) {
            wsi->pong_waiting[0] = (uint8_t)length;
            memcpy(wsi->pong_waiting + 1, payload, length);
        }
        return;
    }

    uint8_t *room = lws_output_room(context, wsi, 2 + length);

    if (room) {
        lws_frame_header(room, length, LWS_FRAME_FIN | LWS_OPCODE_PONG);
        memcpy(room + 2, payload, length);
    }
}

static uint64_t clock_us(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

void lws_output_ping(struct lws_context *context, struct libwebsocket *wsi) {
    uint8_t *room = lws_blocked(wsi) ? NULL : lws_output_room(context, wsi, 2 + sizeof wsi->ping);

    /* Behind a blocked queue it would measure the queue; the pong's deadline runs all the same. */
    if (room) {
        wsi->ping++;
        wsi->ping_sent = (uint32_t)clock_us();
        lws_frame_header(room, sizeof wsi->ping, LWS_FRAME_FIN | LWS_OPCODE_PING);
        memcpy(room + 2, &wsi->ping, sizeof wsi->ping);
    }
}

bool lws_match_pong(struct lws_context *context, struct libwebsocket *wsi, const uint8_t *payload,
                    uint32_t length) {
    if (wsi->lists[0] != LWS_DEADLINE_PONG + 1 || length != sizeof wsi->ping ||
        memcmp(payload, &wsi->ping, sizeof wsi->ping) != 0) {
        return false;
    }

    uint32_t passed = (uint32_t)clock_us() - wsi->ping_sent;

    wsi->latency = passed < UINT32_MAX ? passed + 1 : UINT32_MAX;
    lws_deadline_set(context, wsi, LWS_DEADLINE_PING);
    return true;
}

void lws_output_waiting_pong(struct lws_context *context, struct libwebsocket *wsi) {
    uint8_t *waiting = wsi->pong_waiting;

    if (waiting) {
        wsi->pong_waiting = NULL;
        lws_output_pong(context, wsi, waiting + 1, waiting[0]);
        free(waiting);
    }
}
