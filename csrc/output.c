/* What the application writes, and the control frames: encoded in place, handed to the queue. */
#include "private-libwebsockets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The connection that may take a message of this kind, or NULL with the error. */
static struct libwebsocket *admit(struct lws_context *context, uint32_t slot,
                                  const uint8_t *payload, size_t length, int protocol, int *error) {
    *error = lws_foreign(context);
    if (*error) {
        return NULL;
    }

    struct libwebsocket *wsi = lws_find(context, slot);

    *error = LWS_ERROR_CLOSED;
    if (!wsi || !wsi->handle || wsi->late) {
        return NULL;
    }
    if (protocol == LWS_WRITE_HTTP) {
        if (wsi->state != LWS_STATE_REPLY) {
            *error = wsi->state == LWS_STATE_OPEN ? LWS_ERROR_STATE : LWS_ERROR_CLOSED;
            return NULL;
        }
    } else if (wsi->state != LWS_STATE_OPEN) {
        *error = wsi->state == LWS_STATE_REPLY ? LWS_ERROR_STATE : LWS_ERROR_CLOSED;
        return NULL;
    }
    *error = LWS_ERROR_FULL;
    if (wsi->queued > context->options.max_send_buffer ||
        length > context->options.max_send_buffer - wsi->queued) {
        return NULL;
    }
    if (protocol == LWS_WRITE_TEXT) {
        *error = LWS_ERROR_UTF8;
        if (lws_utf8(LWS_UTF8_COMPLETE, payload, length) != LWS_UTF8_COMPLETE) {
            return NULL;
        }
    } else if (protocol == LWS_WRITE_BINARY) {
        *error = LWS_ERROR_BINARY76;
        if (wsi->version == LWS_VERSION_HIXIE76) {
            return NULL;
        }
    } else if (protocol != LWS_WRITE_HTTP) {
        *error = LWS_ERROR_ARGUMENT;
        return NULL;
    }
    *error = 0;
    return wsi;
}

static int write_padded(struct lws_context *context, uint32_t slot, uint8_t *payload, size_t length,
                        int protocol) {
    int error;
    struct libwebsocket *wsi = admit(context, slot, payload, length, protocol, &error);

    if (!wsi) {
        return error;
    }
    if (protocol == LWS_WRITE_HTTP) {
        return lws_output_put(context, wsi, payload, (uint32_t)length);
    }
    if (wsi->version == LWS_VERSION_HIXIE76) {
        payload[-1] = 0x00;
        payload[length] = 0xff;
        return lws_output_put(context, wsi, payload - 1, (uint32_t)length + 2);
    }

    size_t header = lws_frame_encode(payload, length, LWS_FRAME_FIN | (unsigned)(protocol + 1));

    return lws_output_put(context, wsi, payload - header, (uint32_t)(length + header));
}

int lws_write(struct lws_context *context, uint32_t slot, uintptr_t payload, size_t length,
              int protocol) {
    return write_padded(context, slot, (uint8_t *)payload, length, protocol);
}

int lws_write_arena(struct lws_context *context, uint32_t slot, uint32_t offset, size_t length,
                    int protocol) {
    if (offset < LWS_SEND_BUFFER_PRE_PADDING || offset >= LWS_ARENA_SIZE ||
        length > LWS_ARENA_SIZE - LWS_SEND_BUFFER_POST_PADDING - offset) {
        return LWS_ERROR_ARGUMENT;
    }
    return write_padded(context, slot, context->arena + offset, length, protocol);
}

int lws_write_copy(struct lws_context *context, uint32_t slot, const uint8_t *payload,
                   size_t length, int protocol) {
    int error;
    struct libwebsocket *wsi = admit(context, slot, payload, length, protocol, &error);

    if (!wsi) {
        return error;
    }
    if (protocol == LWS_WRITE_HTTP) {
        return lws_output_put(context, wsi, payload, (uint32_t)length);
    }

    bool hixie = wsi->version == LWS_VERSION_HIXIE76;
    uint8_t header[10] = {0};
    size_t before =
        hixie ? 1 : lws_frame_header(header, length, LWS_FRAME_FIN | (unsigned)(protocol + 1));
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
    }
    return 0;
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
        uint8_t *room = lws_output_room(context, wsi, (uint32_t)length);

        if (!room) {
            return wsi->state == LWS_STATE_DEAD ? LWS_ERROR_CLOSED : LWS_ERROR_MEMORY;
        }
        if (!read_file(fd, offset, room, (size_t)length)) {
            lws_report(context, slot, LWS_FAULT_FILE_TRUNCATED);
            lws_die(context, wsi, false);
        }
        close(fd);
        return 0;
    }

    return lws_output_file(context, wsi, fd, offset, length) ? 0 : LWS_ERROR_MEMORY;
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

void lws_output_waiting_pong(struct lws_context *context, struct libwebsocket *wsi) {
    uint8_t *waiting = wsi->pong_waiting;

    if (waiting) {
        wsi->pong_waiting = NULL;
        lws_output_pong(context, wsi, waiting + 1, waiting[0]);
        free(waiting);
    }
}
