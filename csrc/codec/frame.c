/* Frames: headers in and out, the old lengths, and the payload of a Close. */
#include "codec.h"

#include <string.h>

/* A bit for each opcode that RFC 6455 defines. */
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

/*
 * The 64-bit length, of which have (0 to 8) bytes are there. Both faults show early: a set top bit
 * in the first byte, a length that 16 bits could have said in the sixth.
 */
static bool length64_wrong(const uint8_t *from, size_t have) {
    if (have > 0 && (from[0] & 0x80)) {
        return true;
    }
    return have >= 6 && load_big(from, 6) == 0;
}

int lws_frame_decode(const uint8_t *data, size_t len, unsigned allowed_rsv,
                     struct lws_frame *frame) {
    unsigned first, opcode, second, rsv;
    size_t header = 6;
    uint64_t length;

    if (len == 0) {
        return 0;
    }
    first = data[0];
    opcode = first & 0x0f;
    rsv = first & 0x70;
    if (rsv && ((rsv & ~allowed_rsv) || !(DATA_BEGINS >> opcode & 1))) {
        return -LWS_FAULT_WS_RSV;
    }
    if (!(OPCODES >> opcode & 1)) {
        return -LWS_FAULT_WS_OPCODE;
    }
    if (opcode >= LWS_OPCODE_CLOSE && !(first & LWS_FRAME_FIN)) {
        return -LWS_FAULT_WS_CONTROL;
    }
    if (len == 1) {
        return 0;
    }

    second = data[1];
    length = second & 0x7f;
    if (opcode >= LWS_OPCODE_CLOSE && length > LWS_CONTROL_PAYLOAD_MAX) {
        return -LWS_FAULT_WS_CONTROL;
    }
    if (!(second & 0x80)) {
        return -LWS_FAULT_WS_UNMASKED;
    }

    if (length == LENGTH_16) {
        header = 8;
        if (len >= 4) {
            length = load_big(data + 2, 2);
            if (length < LENGTH_16) {
                return -LWS_FAULT_WS_LENGTH;
            }
        }
    } else if (length == LENGTH_64) {
        size_t have = len - 2 < 8 ? len - 2 : 8;

        header = LWS_FRAME_HEADER_MAX;
        if (length64_wrong(data + 2, have)) {
            return -LWS_FAULT_WS_LENGTH;
        }
        if (have == 8) {
            length = load_big(data + 2, 8);
        }
    }
    if (len < header) {
        return 0;
    }

    frame->length = length;
    memcpy(frame->mask, data + header - 4, sizeof frame->mask);
    frame->header = (uint8_t)header;
    frame->opcode = (uint8_t)opcode;
    frame->fin = (uint8_t)(first >> 7);
    frame->rsv1 = (uint8_t)(first >> 6 & 1);
    return (int)header;
}

static size_t header_size(uint64_t length) {
    return length < LENGTH_16 ? 2 : length <= 0xffff ? 4 : 10;
}

static void header_write(uint8_t *out, size_t size, uint64_t length, unsigned first) {
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

    header_write(payload - size, size, length, first);
    return size;
}

size_t lws_frame_header(uint8_t *out, uint64_t length, unsigned first) {
    size_t size = header_size(length);

    header_write(out, size, length, first);
    return size;
}

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
        /* A continuation byte behind the cut means that the cut is inside a code point. */
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
