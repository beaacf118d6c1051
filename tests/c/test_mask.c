#include "check.h"
#include "service/service.h"

#include <stdio.h>
#include <string.h>

static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};

/* RFC 6455, section 5.7: a masked "Hello". */
static void test_example(void) {
    uint8_t data[5] = {0x7f, 0x9f, 0x4d, 0x51, 0x58};

    lws_mask(data, sizeof data, key, 0);
    CHECK(memcmp(data, "Hello", 5) == 0);
    lws_mask_plain(data, sizeof data, key, 0);
    CHECK(memcmp(data, "\x7f\x9f\x4d\x51\x58", 5) == 0);
}

/* One length at one offset, with a fence of known bytes on both sides. */
static void check_piece(const uint8_t *source, size_t offset, size_t len, size_t phase) {
    static _Alignas(64) uint8_t wide[70000], plain[70000];
    char name[64];

    snprintf(name, sizeof name, "offset %zu, length %zu, phase %zu", offset, len, phase);
    memcpy(wide, source, offset + len + 64);
    memcpy(plain, source, offset + len + 64);
    lws_mask(wide + offset, len, key, phase);
    for (size_t i = 0; i < len; i++) {
        plain[offset + i] ^= key[(phase + i) % 4];
    }
    CHECK_NAMED(memcmp(wide, plain, offset + len + 64) == 0, name);
}

static void test_against_plain(const uint8_t *source) {
    static const size_t lengths[] = {511, 512, 513, 1023, 1024, 4095, 4096, 4097, 65535, 65536};

    for (size_t offset = 0; offset < 64; offset++) {
        for (size_t len = 0; len <= 400; len++) {
            check_piece(source, offset, len, len % 7);
        }
    }
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        for (size_t offset = 0; offset < 64; offset += 3) {
            for (size_t phase = 0; phase < 4; phase++) {
                check_piece(source, offset, lengths[i], phase);
            }
        }
    }
    check_piece(source, 5, 1000, SIZE_MAX - 2);
}

static void test_plain(const uint8_t *source) {
    uint8_t data[64];

    for (size_t phase = 0; phase < 9; phase++) {
        memcpy(data, source, sizeof data);
        lws_mask_plain(data + 1, 50, key, phase);
        for (size_t i = 0; i < sizeof data; i++) {
            CHECK(data[i] == (i >= 1 && i < 51 ? source[i] ^ key[(phase + i - 1) % 4] : source[i]));
        }
    }
}

/* A payload masked in two pieces is the payload masked whole. */
static void test_cuts(const uint8_t *source) {
    uint8_t whole[600], cut[600];

    memcpy(whole, source, sizeof whole);
    lws_mask(whole, sizeof whole, key, 0);
    for (size_t at = 0; at <= sizeof cut; at++) {
        memcpy(cut, source, sizeof cut);
        lws_mask(cut, at, key, 0);
        lws_mask(cut + at, sizeof cut - at, key, at);
        CHECK(memcmp(whole, cut, sizeof cut) == 0);
    }
    memcpy(cut, source, sizeof cut);
    for (size_t i = 0; i < sizeof cut; i++) {
        lws_mask(cut + i, 1, key, i);
    }
    CHECK(memcmp(whole, cut, sizeof cut) == 0);
}

static void test_guards(const uint8_t *source) {
    for (size_t len = 0; len <= 1200; len++) {
        uint8_t *end = guard_end(source, len), *begin = guard_begin(source, len);

        lws_mask(end, len, key, 0);
        lws_mask(begin, len, key, 0);
        CHECK(memcmp(end, begin, len) == 0);
    }
}

int main(void) {
    static uint8_t source[70000];
    uint64_t seed = 2;

    for (size_t i = 0; i < sizeof source; i++) {
        source[i] = (uint8_t)check_random(&seed);
    }
    test_example();
    test_plain(source);
    test_against_plain(source);
    test_cuts(source);
    test_guards(source);
    return check_report();
}
