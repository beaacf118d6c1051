/*
 * The stream of an RFC 6455 client, served by the service over the fake kernel, against a decoder
 * of our own that has the whole stream before it: the same messages, fault, Close and bytes out,
 * however the stream is cut and whether messages are handed over whole or in pieces.
 *
 * Input: a byte of options, the message limit, two bytes of cuts, then the stream (link_expand).
 */
#include "fuzz.h"
#include "link.h"

/* What has been decoded so far. */
struct decoder {
    const struct link_options *options;
    struct link_outcome *outcome;
    unsigned opcode; /* of the message begun, 0: none */
    bool compressed;
    uint8_t *message;
    size_t length;
};

static void send_frame(struct link_outcome *outcome, unsigned first, const uint8_t *payload,
                       size_t length) {
    uint8_t header[2] = {(uint8_t)first, (uint8_t)length};

    REQUIRE(length <= 125);
    outcome->out = link_hash(outcome->out, header, 2);
    outcome->out = link_hash(outcome->out, payload, length);
    outcome->out_length += 2 + length;
}

static void fail(struct decoder *decoder, unsigned fault, unsigned code) {
    const char *word = lws_fault_event((int)fault);
    uint8_t payload[125] = {(uint8_t)(code >> 8), (uint8_t)code};

    decoder->outcome->fault = fault;
    decoder->outcome->close_code = 1006;
    decoder->outcome->reason = LINK_HASH;
    memcpy(payload + 2, word, strlen(word));
    if (code) {
        send_frame(decoder->outcome, 0x88, payload, 2 + strlen(word));
    }
}

static void take_close(struct decoder *decoder, const uint8_t *payload, size_t length) {
    unsigned code = length >= 2 ? (unsigned)payload[0] << 8 | payload[1] : 1005;

    if (length == 1 || (length && !lws_close_code_valid(code))) {
        fail(decoder, LWS_FAULT_WS_CLOSE_CODE, 1002);
    } else if (length && lws_utf8_plain(0, payload + 2, length - 2) != LWS_UTF8_COMPLETE) {
        fail(decoder, LWS_FAULT_WS_UTF8, 1007);
    } else {
        send_frame(decoder->outcome, 0x88, payload, length);
        decoder->outcome->close_code = code;
        decoder->outcome->reason =
            length ? link_hash(LINK_HASH, payload + 2, length - 2) : LINK_HASH;
    }
}

/* The header's fault, as far as it is there: RFC 6455, section 5.2, in the order of its bytes. */
static unsigned header_fault(const struct decoder *decoder, const uint8_t *at, size_t left) {
    unsigned opcode = at[0] & 15u, rsv = at[0] & 0x70u, size;

    if (rsv == 0x40 && decoder->options->deflate && (opcode == 1 || opcode == 2)) {
        rsv = 0;
    }
    if (rsv) {
        return LWS_FAULT_WS_RSV;
    }
    if ((opcode > 2 && opcode < 8) || opcode > 10) {
        return LWS_FAULT_WS_OPCODE;
    }
    if (opcode > 7 && !(at[0] & 0x80)) {
        return LWS_FAULT_WS_CONTROL;
    }
    if (left < 2) {
        return 0;
    }
    size = at[1] & 0x7fu;
    if (opcode > 7 && size > 125) {
        return LWS_FAULT_WS_CONTROL;
    }
    if (!(at[1] & 0x80)) {
        return LWS_FAULT_WS_UNMASKED;
    }
    if (size == 126 && left >= 4 && at[2] == 0 && at[3] < 126) {
        return LWS_FAULT_WS_LENGTH;
    }
    if (size == 127 && left >= 3 && at[2] & 0x80) {
        return LWS_FAULT_WS_LENGTH;
    }
    if (size == 127 && left >= 8 && !(at[2] | at[3] | at[4] | at[5] | at[6] | at[7])) {
        return LWS_FAULT_WS_LENGTH;
    }
    return 0;
}

/* A data frame with left of its bytes there. Returns false when the stream is over. */
static bool take_data(struct decoder *decoder, unsigned first, const uint8_t *key,
                      const uint8_t *bytes, uint64_t length, size_t left) {
    unsigned opcode = first & 15u;
    size_t there = length < left ? (size_t)length : left;
    bool whole = length <= left;
    size_t most;
    uint32_t state;

    if ((opcode == 0) != (decoder->opcode != 0)) {
        fail(decoder, LWS_FAULT_WS_FRAGMENT, 1002);
        return false;
    }
    if (opcode) {
        decoder->opcode = opcode;
        decoder->compressed = (first & 0x40) != 0;
        decoder->length = 0;
    }
    most = decoder->options->max_message;
    if (decoder->compressed) {
        most += most / 16 + 64;
    }
    if (length > most - decoder->length) {
        fail(decoder, LWS_FAULT_WS_TOO_BIG, 1009);
        return false;
    }
    for (size_t i = 0; i < there; i++) {
        decoder->message[decoder->length++] = bytes[i] ^ key[i % 4];
    }
    if (decoder->opcode == 1 && !decoder->compressed) {
        state = lws_utf8_plain(LWS_UTF8_COMPLETE, decoder->message, decoder->length);
        if (state == LWS_UTF8_INVALID || (state != LWS_UTF8_COMPLETE && whole && (first & 0x80))) {
            fail(decoder, LWS_FAULT_WS_UTF8, 1007);
            return false;
        }
    }
    if (whole && first & 0x80) {
        link_add(decoder->outcome, (decoder->opcode == 2) + (decoder->compressed ? 16u : 0u),
                 decoder->message, decoder->length);
        decoder->opcode = 0;
    }
    return whole;
}

static void decode(struct decoder *decoder, const uint8_t *stream, size_t length) {
    size_t at = 0;

    while (at < length) {
        const uint8_t *frame = stream + at;
        size_t left = length - at;
        unsigned fault = header_fault(decoder, frame, left), opcode = frame[0] & 15u;
        size_t header = 6;
        uint64_t size;

        if (fault) {
            fail(decoder, fault, 1002);
            return;
        }
        if (left < 2) {
            return;
        }
        size = frame[1] & 0x7fu;
        header += size == 126 ? 2 : size == 127 ? 8 : 0;
        if (left < header) {
            return;
        }
        if (size > 125) {
            size = 0;
            for (size_t i = 2; i < header - 4; i++) {
                size = size << 8 | frame[i];
            }
        }
        if (opcode < 8) {
            if (!take_data(decoder, frame[0], frame + header - 4, frame + header, size,
                           left - header)) {
                return;
            }
        } else {
            uint8_t payload[125];

            if (size > left - header) {
                return;
            }
            for (size_t i = 0; i < size; i++) {
                payload[i] = frame[header + i] ^ frame[header - 4 + i % 4];
            }
            if (opcode == 8) {
                take_close(decoder, payload, (size_t)size);
                return;
            }
            if (opcode == 9) {
                send_frame(decoder->outcome, 0x8a, payload, (size_t)size);
            }
        }
        at += header + (size_t)size;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint32_t limits[] = {1, 125, 126, 1000, 65535, 65536, 200000, 1 << 20};
    static const int versions[] = {13, 8, 7, 13};
    static struct link_outcome wanted, found;
    struct input input = {data, size};
    unsigned bits = take8(&input);
    struct link_options options = {
        .version = versions[bits >> 2 & 3],
        .deflate = bits & 1,
        .pieces = bits >> 1 & 1,
        .max_message = limits[take8(&input) & 7],
        .cuts = take16(&input),
    };
    size_t length;
    uint8_t *stream = link_expand(input.at, input.left, &length);
    struct decoder decoder = {
        .options = &options, .outcome = &wanted, .message = malloc(length + 1)};

    link_clear(&wanted);
    REQUIRE(decoder.message != NULL);
    decode(&decoder, stream, length);
    if (!wanted.close_code) {
        fail(&decoder, LWS_FAULT_WS_ABNORMAL, 0);
    }

    link_run(&options, stream, length, &found);
    link_require_same(&wanted, &found);
    options.pieces = !options.pieces;
    options.cuts = 0;
    link_run(&options, stream, length, &found);
    link_require_same(&wanted, &found);
    free(decoder.message);
    free(stream);
    return 0;
}
