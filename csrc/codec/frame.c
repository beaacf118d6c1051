/* Frames: headers decoded and encoded, hixie-76 lengths, and the payload of a Close. */
#include "codec.h"

#include <string.h>

/* A bit for each opcode that RFC 6455 defines; then, for those that begin a data message. */
#define OPCODES 0x0707u
#define DATA_BEGINS ((1u << LWS_OPCODE_TEXT) | (1u << LWS_OPCODE_BINARY))

#define LENGTH_16 126u
#define LENGTH_64 127u

static uint64_t load_big(const uint8_t *from, size_t size) {
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++) {
        value = value << 8 | from[i];
    }
    return value;
}

/* ---- RFC 6455: client to server ------------------------------------------------------------- */

/* What is wrong with the first byte, or 0. */
static inline int check_first(unsigned first, unsigned allowed_rsv) {
    unsigned opcode = first & 0x0f, rsv = first & 0x70;

    if (rsv && ((rsv & ~allowed_rsv) || !(DATA_BEGINS >> opcode & 1))) {
        return LWS_FAULT_WS_RSV;
    }
    if (!(OPCODES >> opcode & 1)) {
        return LWS_FAULT_WS_OPCODE;
    }
    return opcode >= LWS_OPCODE_CLOSE && !(first & LWS_FRAME_FIN) ? LWS_FAULT_WS_CONTROL : 0;
}

/*
 * Whether a 64-bit length, of which have (0 to 8) bytes are there, is malformed. Both faults show
 * early: a set top bit in the first byte, a length that fits in 16 bits in the sixth.
 */
static inline bool length64_wrong(const uint8_t *from, size_t have) {
    if (have > 0 && (from[0] & 0x80)) {
        return true;
    }
    return have >= 6 && load_big(from, 6) == 0;
}

/*
 * Replaces *length, the seven bits that a header begins with, by the extended length if there is
 * one and all of it is there. Returns the size of the header, or a negated fault.
 */
static inline int extend_length(const uint8_t *data, size_t len, uint64_t *length) {
    if (*length == LENGTH_16) {
        if (len >= 4) {
            *length = load_big(data + 2, 2);
            if (*length < LENGTH_16) {
                return -LWS_FAULT_WS_LENGTH;
            }
        }
        return 8;
    }
    if (*length == LENGTH_64) {
        size_t have = len - 2 < 8 ? len - 2 : 8;

        if (length64_wrong(data + 2, have)) {
            return -LWS_FAULT_WS_LENGTH;
        }
        if (have == 8) {
            *length = load_big(data + 2, 8);
        }
        return LWS_FRAME_HEADER_MAX;
    }
    return 6;
}

int lws_frame_decode(const uint8_t *data, size_t len, unsigned allowed_rsv,
                     struct lws_frame *frame) {
    unsigned first;
    uint64_t length;
    int fault, header;

    if (len == 0) {
        return 0;
    }
    first = data[0];
    fault = check_first(first, allowed_rsv);
    if (fault) {
        return -fault;
    }
    if (len == 1) {
        return 0;
    }

    length = data[1] & 0x7f;
    if ((first & 0x0f) >= LWS_OPCODE_CLOSE && length > LWS_CONTROL_PAYLOAD_MAX) {
        return -LWS_FAULT_WS_CONTROL;
    }
    if (!(data[1] & 0x80)) {
        return -LWS_FAULT_WS_UNMASKED;
    }
    header = extend_length(data, len, &length);
    if (header < 0) {
        return header;
    }
    if (len < (size_t)header) {
        return 0;
    }

    frame->length = length;
    memcpy(frame->mask, data + header - 4, sizeof frame->mask);
    frame->header = (uint8_t)header;
    frame->opcode = (uint8_t)(first & 0x0f);
    frame->fin = (uint8_t)(first >> 7);
    frame->rsv1 = (uint8_t)(first >> 6 & 1);
    return header;
}

/* ---- RFC 6455: server to client ------------------------------------------------------------- */

static size_t header_size(uint64_t length) {
    return length < LENGTH_16 ? 2 : length <= 0xffff ? 4 : 10;
}

static void write_header(uint8_t *out, size_t size, uint64_t length, unsigned first) {
    out[0] = (uint8_t)first;
    if (size == 2) {
        out[1] = (uint8_t)length;
    } else if (size == 4) {
        out[1] = LENGTH_16;
        out[2] = (uint8_t)(length >> 8);
        out[3] = (uint8_t)length;
    } else {
        out[1] = LENGTH_64;
        for (unsigned i = 0; i < 8; i++) {
            out[2 + i] = (uint8_t)(length >> (56 - 8 * i));
        }
    }
}

size_t lws_frame_encode(uint8_t *payload, uint64_t length, unsigned first) {
    size_t size = header_size(length);

    write_header(payload - size, size, length, first);
    return size;
}

size_t lws_frame_header(uint8_t *out, uint64_t length, unsigned first) {
    size_t size = header_size(length);

    write_header(out, size, length, first);
    return size;
}

/* ---- hixie-76 ------------------------------------------------------------------------------- */

int lws_frame76_length(const uint8_t *data, size_t len, uint64_t *length) {
    uint64_t value = 0;

    for (int i = 0; i < 5; i++) {
        if ((size_t)i == len) {
            return 0;
        }
        value = value << 7 | (data[i] & 0x7fu);
        if (!(data[i] & 0x80)) {
            *length = value;
            return i + 1;
        }
    }
    return -LWS_FAULT_WS_PROTOCOL_ERROR;
}

/* ---- Close ---------------------------------------------------------------------------------- */

bool lws_close_code_valid(unsigned code) {
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

int lws_close_decode(const uint8_t *payload, size_t len, struct lws_close *close) {
    unsigned code;

    if (len == 0) {
        *close = (struct lws_close){.code = 1005};
        return 0;
    }
    if (len == 1 || len > LWS_CONTROL_PAYLOAD_MAX) {
        return -LWS_FAULT_WS_CLOSE_CODE;
    }
    code = (unsigned)payload[0] << 8 | payload[1];
    if (!lws_close_code_valid(code)) {
        return -LWS_FAULT_WS_CLOSE_CODE;
    }
    if (lws_utf8(LWS_UTF8_COMPLETE, payload + 2, len - 2) != LWS_UTF8_COMPLETE) {
        return -LWS_FAULT_WS_UTF8;
    }
    *close = (struct lws_close){
        .code = (uint16_t)code, .reason_offset = 2, .reason_length = (uint8_t)(len - 2)};
    return 0;
}

int lws_close_encode(uint8_t *out, unsigned code, const uint8_t *reason, size_t length) {
    if (!lws_close_code_valid(code)) {
        return -LWS_FAULT_WS_CLOSE_CODE;
    }
    if (length && lws_utf8(LWS_UTF8_COMPLETE, reason, length) != LWS_UTF8_COMPLETE) {
        return -LWS_FAULT_WS_UTF8;
    }
    if (length > LWS_CONTROL_PAYLOAD_MAX - 2) {
        length = LWS_CONTROL_PAYLOAD_MAX - 2;
        /* A continuation byte after the cut means that the cut is inside a code point. */
        while (length > 0 && (reason[length] & 0xc0) == 0x80) {
            length--;
        }
    }
    out[0] = (uint8_t)(code >> 8);
    out[1] = (uint8_t)code;
    if (length) {
        memcpy(out + 2, reason, length);
    }
    return (int)(length + 2);
}
