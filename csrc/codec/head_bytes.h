/* Private to the codec: the bytes of a request head, compared, classified and searched for. */
#ifndef LWS_HEAD_BYTES_H
#define LWS_HEAD_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* What a byte may be part of. Bytes from 80 up are part of none of these. */
enum {
    IN_TOKEN = 1,  /* RFC 9110, section 5.6.2 */
    IN_TARGET = 2, /* visible, except '#', and '%', which needs a second look */
    IN_HOST = 4,   /* a registered name, RFC 3986, section 3.2.2 */
    IN_HEX = 8,
};

static const uint8_t lws_byte_kinds[256] = {
    /* clang-format off */
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  /* 00 */
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  /* 10 */
     0,  7,  2,  1,  7,  1,  7,  7,  6,  6,  7,  7,  6,  7,  7,  2,  /* 20 */
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15,  2,  6,  2,  6,  2,  2,  /* 30 */
     2, 15, 15, 15, 15, 15, 15,  7,  7,  7,  7,  7,  7,  7,  7,  7,  /* 40 */
     7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  2,  2,  2,  3,  7,  /* 50 */
     3, 15, 15, 15, 15, 15, 15,  7,  7,  7,  7,  7,  7,  7,  7,  7,  /* 60 */
     7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  2,  3,  2,  7,  0,  /* 70 */
    /* clang-format on */
};

static inline bool is(uint8_t byte, unsigned kind) {
    return lws_byte_kinds[byte] & kind;
}

static inline bool is_blank(uint8_t byte) {
    return byte == ' ' || byte == '\t';
}

static inline uint8_t lower(uint8_t byte) {
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
}

static inline bool equal_nocase(const uint8_t *bytes, const char *name, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (lower(bytes[i]) != lower((uint8_t)name[i])) {
            return false;
        }
    }
    return true;
}

static inline bool is_line_end(uint8_t byte) {
    return byte == '\r' || byte == '\n';
}

/* Not allowed in a field value: control characters except tab (RFC 9110, section 5.5). */
static inline bool is_control(uint8_t byte) {
    return (byte < 0x20 && byte != '\t') || byte == 0x7f;
}

#if defined(__SSE2__)
static inline unsigned line_ends(__m128i block) {
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('\r')),
                                                    _mm_cmpeq_epi8(block, _mm_set1_epi8('\n'))));
}

static inline unsigned controls(__m128i block) {
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1f)), block);
    __m128i tab = _mm_cmpeq_epi8(block, _mm_set1_epi8('\t'));
    __m128i del = _mm_cmpeq_epi8(block, _mm_set1_epi8(0x7f));

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, low), del));
}

/* Returns the first byte in data[from..len) that wide marks, or len. The tail shorter than a block
 * is scanned by narrow. */
#define FIND(wide, narrow)                                                                         \
    for (; len - from >= 16; from += 16) {                                                         \
        unsigned found = wide(_mm_loadu_si128((const __m128i *)(const void *)(data + from)));      \
                                                                                                   \
        if (found) {                                                                               \
            return from + (unsigned)__builtin_ctz(found);                                          \
        }                                                                                          \
    }                                                                                              \
    while (from < len && !narrow(data[from])) {                                                    \
        from++;                                                                                    \
    }                                                                                              \
    return from
#else
#define FIND(wide, narrow)                                                                         \
    while (from < len && !narrow(data[from])) {                                                    \
        from++;                                                                                    \
    }                                                                                              \
    return from
#endif

/* The next line end, and the next control character, in data[from..len), or len; from <= len. */
static inline size_t find_line_end(const uint8_t *data, size_t from, size_t len) {
    FIND(line_ends, is_line_end);
}

static inline size_t find_control(const uint8_t *data, size_t from, size_t len) {
    FIND(controls, is_control);
}

#undef FIND

#endif
