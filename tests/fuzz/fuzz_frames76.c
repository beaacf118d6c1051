/*
 * The stream of a hixie-76 client, served by the service over the fake kernel, against a decoder of
 * our own that has the whole stream before it; and the numbers of counted frames on their own.
 *
 * Input: the message limit, two bytes of cuts, then the stream (link_expand).
 */
#include "fuzz.h"
#include "link.h"

static void fail(struct link_outcome *outcome, unsigned fault) {
    outcome->fault = fault;
    outcome->close_code = 1006;
    outcome->reason = LINK_HASH;
    if (fault != LWS_FAULT_WS_ABNORMAL) {
        outcome->out = link_hash(LINK_HASH, "\xff\x00", 2);
        outcome->out_length = 2;
    }
}

/* The frame of type 80 to fe: the bytes it takes, 0 if it is not whole or the stream is over. */
static size_t counted(struct link_outcome *outcome, const uint8_t *at, size_t left, uint32_t most) {
    uint64_t length = 0;
    size_t used = 1;

    for (;; used++) {
        if (used == left) {
            return 0;
        }
        length = length * 128 + (at[used] & 0x7fu);
        if (at[used] < 0x80) {
            break;
        }
        if (used == 5) {
            fail(outcome, LWS_FAULT_WS_PROTOCOL_ERROR);
            return 0;
        }
    }
    if (length > most) {
        fail(outcome, LWS_FAULT_WS_TOO_BIG);
        return 0;
    }
    used++;
    return length > left - used ? 0 : used + (size_t)length;
}

/* Returns whether both faults of a text are there: which comes first depends on the cuts. */
static bool decode(struct link_outcome *outcome, const uint8_t *stream, size_t length,
                   uint32_t most) {
    size_t at = 0;

    while (at < length) {
        const uint8_t *frame = stream + at;
        size_t left = length - at;

        if (frame[0] == 0xff) {
            if (left < 2) {
                return false;
            }
            if (frame[1]) {
                fail(outcome, LWS_FAULT_WS_PROTOCOL_ERROR);
            } else {
                fail(outcome, LWS_FAULT_NONE);
                outcome->close_code = 1005;
            }
            return false;
        }
        if (frame[0] & 0x80) {
            size_t used = counted(outcome, frame, left, most);

            if (!used) {
                return false;
            }
            at += used;
        } else {
            const uint8_t *end = memchr(frame + 1, 0xff, left - 1);
            size_t size = end ? (size_t)(end - frame) - 1 : left - 1;
            uint32_t state = lws_utf8_plain(LWS_UTF8_COMPLETE, frame + 1, size);
            bool bad = frame[0] == 0 && (state == LWS_UTF8_INVALID || (end && state));

            if (size > most) {
                fail(outcome, LWS_FAULT_WS_TOO_BIG);
                return frame[0] == 0 && state == LWS_UTF8_INVALID;
            }
            if (bad) {
                fail(outcome, LWS_FAULT_WS_UTF8);
                return false;
            }
            if (!end) {
                return false;
            }
            if (frame[0] == 0) {
                link_add(outcome, 0, frame + 1, size);
            }
            at += size + 2;
        }
    }
    return false;
}

static void check_length(const uint8_t *bytes, size_t length) {
    uint8_t *copy;
    uint64_t number = 0, wanted = 0;
    size_t size = length < 8 ? length : 8, used = 0;
    int found;

    copy = exact_copy(bytes, size);
    found = lws_frame76_length(copy, size, &number);
    while (used < size && used < 5) {
        wanted = wanted * 128 + copy[used] % 128u;
        used++;
        if (copy[used - 1] < 128) {
            break;
        }
    }
    if (used && copy[used - 1] < 128) {
        REQUIRE(found == (int)used && number == wanted);
    } else {
        REQUIRE(found == (used == 5 ? -LWS_FAULT_WS_PROTOCOL_ERROR : 0));
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint32_t limits[] = {1, 125, 126, 1000, 65535, 65536, 200000, 1 << 20};
    static struct link_outcome wanted, found;
    struct input input = {data, size};
    struct link_options options = {
        .version = LWS_VERSION_HIXIE76,
        .max_message = limits[take8(&input) & 7],
        .cuts = take16(&input),
    };
    size_t length;
    uint8_t *stream = link_expand(input.at, input.left, &length);
    bool either;

    check_length(input.at, input.left);
    link_clear(&wanted);
    either = decode(&wanted, stream, length, options.max_message);
    if (!wanted.close_code) {
        fail(&wanted, LWS_FAULT_WS_ABNORMAL);
    }
    for (unsigned again = 0; again < 2; again++) {
        link_run(&options, stream, length, &found);
        if (either && found.fault == LWS_FAULT_WS_UTF8) {
            found.fault = wanted.fault;
        }
        link_require_same(&wanted, &found);
        options.cuts = 0;
        options.pieces = true;
    }
    free(stream);
    return 0;
}
