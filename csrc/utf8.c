/* UTF-8 validation that can stop and go on at any byte. */
#include "libwebsockets.h"

#include <string.h>

/*
 * One row for each byte value, holding the next state for each state. A state is the position of
 * its six bits in the row, so that a step is a load and a shift, and the shift alone waits for the
 * last step.
 */
enum state {
    DONE = 0,   /* between code points */
    BAD = 6,    /* final */
    NEED1 = 12, /* one continuation byte is due */
    NEED2 = 18,
    NEED3 = 24,
    AFTER_E0 = 30, /* a0..bf, then one more: below would be overlong */
    AFTER_ED = 36, /* 80..9f, then one more: above are surrogates */
    AFTER_F0 = 42, /* 90..bf, then two more: below would be overlong */
    AFTER_F4 = 48, /* 80..8f, then two more: above is past U+10FFFF */
};

#define TO(from, to) ((uint64_t)(to) << (from))
#define ROW(done, need1, need2, need3, e0, ed, f0, f4)                                             \
    (TO(DONE, done) | TO(BAD, BAD) | TO(NEED1, need1) | TO(NEED2, need2) | TO(NEED3, need3) |      \
     TO(AFTER_E0, e0) | TO(AFTER_ED, ed) | TO(AFTER_F0, f0) | TO(AFTER_F4, f4))
#define LEAD(to) ROW(to, BAD, BAD, BAD, BAD, BAD, BAD, BAD)

#define CONT_8 ROW(BAD, DONE, NEED1, NEED2, BAD, NEED1, BAD, NEED2)
#define CONT_9 ROW(BAD, DONE, NEED1, NEED2, BAD, NEED1, NEED2, BAD)
#define CONT_AB ROW(BAD, DONE, NEED1, NEED2, NEED1, BAD, NEED2, BAD)

#define X2(row) row, row
#define X4(row) X2(row), X2(row)
#define X8(row) X4(row), X4(row)
#define X16(row) X8(row), X8(row)
#define X32(row) X16(row), X16(row)
#define X64(row) X32(row), X32(row)

static const uint64_t rows[256] = {
    X64(LEAD(DONE)),  X64(LEAD(DONE)),                                   /* 00..7f */
    X16(CONT_8),      X16(CONT_9),     X32(CONT_AB),                     /* 80..bf */
    X2(LEAD(BAD)),    X2(LEAD(NEED1)), X4(LEAD(NEED1)), X8(LEAD(NEED1)), /* c0..cf */
    X16(LEAD(NEED1)),                                                    /* d0..df */
    LEAD(AFTER_E0),   X8(LEAD(NEED2)), X4(LEAD(NEED2)), LEAD(AFTER_ED),  /* e0..ed */
    X2(LEAD(NEED2)),                                                     /* ee..ef */
    LEAD(AFTER_F0),   X2(LEAD(NEED3)), LEAD(NEED3),     LEAD(AFTER_F4),  /* f0..f4 */
    X8(LEAD(BAD)),    X2(LEAD(BAD)),   LEAD(BAD),                        /* f5..ff */
};

/* States as callers see them: LWS_UTF8_INVALID is 1, the others are the internal ones. */
static uint64_t from_public(uint32_t state) {
    return state == LWS_UTF8_INVALID || state > AFTER_F4 ? BAD : state;
}

static uint32_t to_public(uint64_t state) {
    return state == BAD ? LWS_UTF8_INVALID : (uint32_t)state;
}

static inline uint64_t step(uint64_t state, uint8_t byte) {
    return rows[byte] >> state & 63;
}

uint32_t lws_utf8_plain(uint32_t state, const uint8_t *data, size_t len) {
    uint64_t at = from_public(state);

    for (size_t i = 0; i < len; i++)
        at = step(at, data[i]);
    return to_public(at);
}

/* As lws_utf8_plain, but a word of ASCII at a time where there is one. */
static uint64_t validate_words(uint64_t at, const uint8_t *data, size_t len) {
    size_t i = 0;

    while (len - i >= 8) {
        uint64_t word;

        memcpy(&word, data + i, sizeof word);
        if (at == DONE && (word & 0x8080808080808080u) == 0) {
            i += 8;
            continue;
        }
        for (size_t end = i + 8; i < end; i++)
            at = step(at, data[i]);
        if (at == BAD)
            return BAD;
    }
    for (; i < len; i++)
        at = step(at, data[i]);
    return at;
}

uint32_t lws_utf8(uint32_t state, const uint8_t *data, size_t len) {
    return to_public(validate_words(from_public(state), data, len));
}
