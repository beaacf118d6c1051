/* Unmasking: XOR with four bytes that repeat, at the speed of memory. */
#include "codec.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* From this length on, looking for the widest version pays for itself. */
#define WIDE_FROM 256u

void lws_mask_plain(uint8_t *data, size_t len, const uint8_t key[4], size_t phase) {
    for (size_t i = 0; i < len; i++) {
        data[i] ^= key[(phase + i) & 3];
    }
}

/* The key, rotated to begin at phase, twice: it is the same at every multiple of four bytes. */
static inline uint64_t rotate_key(const uint8_t key[4], size_t phase) {
    unsigned by = 8u * (unsigned)(phase & 3);
    uint32_t word;

    memcpy(&word, key, sizeof word);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = word << by | word >> (-by & 31);
#else
    word = word >> by | word << (-by & 31);
#endif
    return word | (uint64_t)word << 32;
}

static inline void mask_short(uint8_t *data, size_t len, uint64_t key) {
#if defined(__x86_64__)
    __m128i wide = _mm_set1_epi64x((long long)key);

    for (; len >= 16; data += 16, len -= 16) {
        __m128i block = _mm_loadu_si128((const __m128i *)(const void *)data);

        _mm_storeu_si128((__m128i *)(void *)data, _mm_xor_si128(block, wide));
    }
#endif
    for (; len >= 8; data += 8, len -= 8) {
        uint64_t word;

        memcpy(&word, data, sizeof word);
        word ^= key;
        memcpy(data, &word, sizeof word);
    }
    if (len >= 4) {
        uint32_t word, half = (uint32_t)key;

        memcpy(&word, data, sizeof word);
        word ^= half;
        memcpy(data, &word, sizeof word);
        data += 4;
        len -= 4;
    }
    if (len) {
        uint8_t bytes[sizeof key];

        memcpy(bytes, &key, sizeof bytes);
        for (size_t i = 0; i < len; i++) {
            data[i] ^= bytes[i];
        }
    }
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void mask_avx2(uint8_t *data, size_t len,
                                                      const uint8_t key[4], size_t phase) {
    /* Aligned stores, because one that crosses a cache line costs as much as two. */
    size_t before = (0u - (uintptr_t)data) & 31u;
    uint64_t word;
    __m256i wide;

    mask_short(data, before, rotate_key(key, phase));
    data += before;
    len -= before;
    word = rotate_key(key, phase + before);
    wide = _mm256_set1_epi64x((long long)word);
    for (; len >= 128; data += 128, len -= 128) {
        __m256i *block = (__m256i *)(void *)data;
        __m256i first = _mm256_xor_si256(_mm256_load_si256(block), wide);
        __m256i second = _mm256_xor_si256(_mm256_load_si256(block + 1), wide);
        __m256i third = _mm256_xor_si256(_mm256_load_si256(block + 2), wide);
        __m256i fourth = _mm256_xor_si256(_mm256_load_si256(block + 3), wide);

        _mm256_store_si256(block, first);
        _mm256_store_si256(block + 1, second);
        _mm256_store_si256(block + 2, third);
        _mm256_store_si256(block + 3, fourth);
    }
    mask_short(data, len, word);
}
#endif

void lws_mask(uint8_t *data, size_t len, const uint8_t key[4], size_t phase) {
#if defined(__x86_64__)
    if (len >= WIDE_FROM && __builtin_cpu_supports("avx2")) {
        mask_avx2(data, len, key, phase);
        return;
    }
#endif
    mask_short(data, len, rotate_key(key, phase));
}
