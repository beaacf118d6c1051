/* UTF-8 validation that can stop and resume at any byte. */
#include "codec.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/*
 * One row for each byte value holds the next state for each state. A state is the position of its
 * six bits in the row: a step is a load and a shift, and only the shift depends on the step before.
 */
enum state {
    DONE = 0,   /* between code points */
    BAD = 6,    /* final */
    NEED1 = 12, /* one continuation byte must follow */
    NEED2 = 18,
    NEED3 = 24,
    AFTER_E0 = 30, /* a0..bf, then one more: below would be overlong */
    AFTER_ED = 36, /* 80..9f, then one more: above are surrogates */
    AFTER_F0 = 42, /* 90..bf, then two more: below would be overlong */
    AFTER_F4 = 48, /* 80..8f, then two more: above would be over U+10FFFF */
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

/* clang-format off */
static const uint64_t rows[256] = {
    X64(LEAD(DONE)), X64(LEAD(DONE)),                                   /* 00..7f */
    X16(CONT_8), X16(CONT_9), X32(CONT_AB),                             /* 80..bf */
    X2(LEAD(BAD)), X2(LEAD(NEED1)), X4(LEAD(NEED1)), X8(LEAD(NEED1)),   /* c0..cf */
    X16(LEAD(NEED1)),                                                   /* d0..df */
    LEAD(AFTER_E0), X8(LEAD(NEED2)), X4(LEAD(NEED2)), LEAD(AFTER_ED),   /* e0..ed */
    X2(LEAD(NEED2)),                                                    /* ee..ef */
    LEAD(AFTER_F0), X2(LEAD(NEED3)), LEAD(NEED3), LEAD(AFTER_F4),       /* f0..f4 */
    X8(LEAD(BAD)), X2(LEAD(BAD)), LEAD(BAD),                            /* f5..ff */
};
/* clang-format on */

/* Callers see LWS_UTF8_INVALID as 1, and every other state as it is here. */
static uint64_t from_public(uint32_t state) {
    return state == LWS_UTF8_INVALID || state > AFTER_F4 ? BAD : state;
}

static uint32_t to_public(uint64_t state) {
    return state == BAD ? LWS_UTF8_INVALID : (uint32_t)state;
}

/* The state is the low six bits. A shift by a register uses no more, so masking them is free. */
static inline uint64_t step(uint64_t state, uint8_t byte) {
    return rows[byte] >> (state & 63);
}

uint32_t lws_utf8_plain(uint32_t state, const uint8_t *data, size_t len) {
    uint64_t at = from_public(state);

    for (size_t i = 0; i < len; i++) {
        at = step(at, data[i]);
    }
    return to_public(at & 63);
}

/* As lws_utf8_plain, but skips ASCII a word at a time. */
static uint64_t validate_words(uint64_t at, const uint8_t *data, size_t len) {
    size_t i = 0;

    while (len - i >= 8) {
        uint64_t word;

        memcpy(&word, data + i, sizeof word);
        if (at == DONE && (word & 0x8080808080808080u) == 0) {
            i += 8;
            continue;
        }
        for (size_t end = i + 8; i < end; i++) {
            at = step(at, data[i]);
        }
        at &= 63;
        if (at == BAD) {
            return BAD;
        }
    }
    for (; i < len; i++) {
        at = step(at, data[i]);
    }
    return at & 63;
}

#if defined(__x86_64__)

/* From this length on the wide version is the faster one. */
#define WIDE_FROM 64u

/*
 * What can be wrong with two neighbouring bytes. Each of three tables says which of these a nibble
 * allows; what all three allow is a fault. PAIR alone is not a fault: two continuation bytes in a
 * row are valid after the leads that need them.
 */
enum {
    UNFINISHED = 0x01, /* a lead, then no continuation */
    STRAY = 0x02,      /* ASCII, then a continuation */
    LONG2 = 0x04,      /* c0, c1 */
    LONG3 = 0x08,      /* e0, then 80..9f */
    SURROGATE = 0x10,  /* ed, then a0..bf */
    HUGE_UPPER = 0x20, /* f4 or more, then 90..bf */
    EDGE_LOWER = 0x40, /* f0, or f5 or more, then 80..8f */
    PAIR = 0x80,
};

#define ANY_LEAD (UNFINISHED | STRAY | PAIR)
#define ABOVE (ANY_LEAD | HUGE_UPPER | EDGE_LOWER)
#define FOLLOW (STRAY | LONG2 | PAIR)

/* clang-format off */
static const uint8_t by_first_high[16] = {
    STRAY, STRAY, STRAY, STRAY, STRAY, STRAY, STRAY, STRAY, /* 0..7 */
    PAIR, PAIR, PAIR, PAIR,                                 /* 8..b */
    UNFINISHED | LONG2,                                     /* c */
    UNFINISHED,                                             /* d */
    UNFINISHED | LONG3 | SURROGATE,                         /* e */
    UNFINISHED | HUGE_UPPER | EDGE_LOWER,                   /* f */
};

static const uint8_t by_first_low[16] = {
    ANY_LEAD | LONG2 | LONG3 | EDGE_LOWER,            /* c0, e0, f0 */
    ANY_LEAD | LONG2,                                 /* c1 */
    ANY_LEAD, ANY_LEAD,                               /* 2, 3 */
    ANY_LEAD | HUGE_UPPER,                            /* f4 */
    ABOVE, ABOVE, ABOVE, ABOVE, ABOVE, ABOVE, ABOVE,  /* f5..fb */
    ABOVE, ABOVE | SURROGATE, ABOVE, ABOVE,           /* fc, ed and fd, fe, ff */
};

static const uint8_t by_second_high[16] = {
    UNFINISHED, UNFINISHED, UNFINISHED, UNFINISHED,   /* 0..3 */
    UNFINISHED, UNFINISHED, UNFINISHED, UNFINISHED,   /* 4..7 */
    FOLLOW | LONG3 | EDGE_LOWER,                      /* 8 */
    FOLLOW | LONG3 | HUGE_UPPER,                      /* 9 */
    FOLLOW | SURROGATE | HUGE_UPPER,                  /* a */
    FOLLOW | SURROGATE | HUGE_UPPER,                  /* b */
    UNFINISHED, UNFINISHED, UNFINISHED, UNFINISHED,   /* c..f */
};
/* clang-format on */

#define AVX2 __attribute__((target("avx2"))) static

AVX2 inline __m256i load32(const uint8_t *from) {
    return _mm256_loadu_si256((const __m256i *)(const void *)from);
}

/* A table of 16 bytes in both halves of a register, because the shuffle works within halves. */
AVX2 inline __m256i load_table(const uint8_t table[16]) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)table));
}

AVX2 inline __m256i high_nibbles(__m256i bytes) {
    return _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
}

/* Non-zero where a byte of block cannot follow those before it; before is the previous block. */
AVX2 inline __m256i find_faults(__m256i block, __m256i before, __m256i first_high,
                                __m256i first_low, __m256i second_high) {
    __m256i joint = _mm256_permute2x128_si256(before, block, 0x21);
    __m256i back1 = _mm256_alignr_epi8(block, joint, 15);
    __m256i back2 = _mm256_alignr_epi8(block, joint, 14);
    __m256i back3 = _mm256_alignr_epi8(block, joint, 13);
    __m256i low = _mm256_and_si256(back1, _mm256_set1_epi8(15));
    __m256i pairs =
        _mm256_and_si256(_mm256_and_si256(_mm256_shuffle_epi8(first_high, high_nibbles(back1)),
                                          _mm256_shuffle_epi8(first_low, low)),
                         _mm256_shuffle_epi8(second_high, high_nibbles(block)));
    /* The top bit is set where the lead of a third or fourth byte (e0 or f0 and up) precedes. */
    __m256i third = _mm256_subs_epu8(back2, _mm256_set1_epi8(0xe0 - 0x80));
    __m256i fourth = _mm256_subs_epu8(back3, _mm256_set1_epi8(0xf0 - 0x80));
    __m256i due = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8((char)PAIR));

    return _mm256_xor_si256(pairs, due);
}

/* Non-zero if a code point is open at the end of the block: a lead too near to it. */
AVX2 inline __m256i find_open(__m256i block) {
    const char all = (char)0xff;
    /* clang-format off */
    const __m256i most = _mm256_setr_epi8(
        all, all, all, all, all, all, all, all, all, all, all, all, all, all, all, all,
        all, all, all, all, all, all, all, all, all, all, all, all, all,
        (char)0xef, (char)0xdf, (char)0xbf);
    /* clang-format on */

    return _mm256_subs_epu8(block, most);
}

AVX2 inline bool is_ascii(__m256i block) {
    return _mm256_movemask_epi8(block) == 0;
}

/*
 * Validates whole blocks, beginning between two code points. Returns the number of bytes that are
 * done, not counting a code point that is open at their end, or SIZE_MAX if they are invalid.
 */
AVX2 size_t validate_avx2(const uint8_t *data, size_t len) {
    const __m256i first_high = load_table(by_first_high), first_low = load_table(by_first_low);
    const __m256i second_high = load_table(by_second_high);
    __m256i before = _mm256_setzero_si256(), open = before, faults = before;
    size_t i = 0;

    while (len - i >= 64) {
        __m256i left = load32(data + i), right = load32(data + i + 32);

        i += 64;
        if (!is_ascii(_mm256_or_si256(left, right))) {
            faults = _mm256_or_si256(
                _mm256_or_si256(find_faults(left, before, first_high, first_low, second_high),
                                find_faults(right, left, first_high, first_low, second_high)),
                faults);
            if (!_mm256_testz_si256(faults, faults)) {
                return SIZE_MAX;
            }
            before = right;
            open = find_open(right);
            continue;
        }
        if (!_mm256_testz_si256(open, open)) {
            return SIZE_MAX;
        }
        before = open = _mm256_setzero_si256();
        while (len - i >= 128) {
            __m256i first = _mm256_or_si256(load32(data + i), load32(data + i + 32));
            __m256i second = _mm256_or_si256(load32(data + i + 64), load32(data + i + 96));

            if (!is_ascii(_mm256_or_si256(first, second))) {
                break;
            }
            i += 128;
        }
    }
    for (size_t back = 1; back <= 3 && data[i - back] >= 0x80; back++) {
        if (data[i - back] >= 0xc0) {
            return i - back;
        }
    }
    return i;
}
#endif

uint32_t lws_utf8(uint32_t state, const uint8_t *data, size_t len) {
    uint64_t at = from_public(state);

#if defined(__x86_64__)
    if (len >= WIDE_FROM + 3 && __builtin_cpu_supports("avx2")) {
        /* At most three bytes complete the code point that an earlier call left open. */
        while (at != DONE && at != BAD) {
            at = step(at, *data++) & 63;
            len--;
        }
        if (at == DONE) {
            size_t done = validate_avx2(data, len);

            if (done == SIZE_MAX) {
                return LWS_UTF8_INVALID;
            }
            data += done;
            len -= done;
        }
    }
#endif
    return to_public(validate_words(at, data, len));
}
