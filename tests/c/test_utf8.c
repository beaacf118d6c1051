#include "check.h"
#include "service/service.h"

#include <stdio.h>
#include <string.h>

/*
 * What UTF-8 is, said a third way: decode a code point arithmetically (RFC 3629). Returns 0 for
 * complete, 1 for invalid, 2 for a text that some continuation makes valid.
 */
static int reference(const uint8_t *data, size_t len) {
    for (size_t i = 0; i < len;) {
        unsigned lead = data[i], more;
        uint32_t low, high;

        if (lead < 0x80) {
            i++;
            continue;
        }
        more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead < 0xc0 || lead > 0xf7) {
            return 1;
        }
        /* The range of code points that the bytes up to here can still become. */
        low = high = lead & (0x3fu >> more);
        for (unsigned j = 1; j <= more; j++) {
            bool there = i + j < len;

            if (there && (data[i + j] & 0xc0) != 0x80) {
                return 1;
            }
            low = low << 6 | (there ? data[i + j] & 0x3fu : 0);
            high = high << 6 | (there ? data[i + j] & 0x3fu : 0x3f);
        }
        uint32_t least = more == 1 ? 0x80 : more == 2 ? 0x800 : 0x10000;
        if (high < least || low > 0x10ffff || (low >= 0xd800 && high <= 0xdfff)) {
            return 1;
        }
        if (i + more >= len) {
            return 2;
        }
        i += more + 1;
    }
    return 0;
}

static int kind(uint32_t state) {
    return state == LWS_UTF8_COMPLETE ? 0 : state == LWS_UTF8_INVALID ? 1 : 2;
}

/* Whole, by bytes, and cut anywhere: the same, from both implementations. */
static void check_text(const uint8_t *text, size_t len, int expected, const char *name) {
    const uint8_t *data = guard_end(text, len);
    uint32_t state = LWS_UTF8_COMPLETE, plain = lws_utf8_plain(LWS_UTF8_COMPLETE, data, len);

    CHECK_NAMED(kind(plain) == expected, name);
    CHECK_NAMED(lws_utf8(LWS_UTF8_COMPLETE, data, len) == plain, name);
    CHECK_NAMED(lws_utf8(LWS_UTF8_COMPLETE, guard_begin(text, len), len) == plain, name);
    for (size_t i = 0; i < len; i++) {
        state = lws_utf8(state, data + i, 1);
    }
    CHECK_NAMED(state == plain, name);
    for (size_t at = 0; at <= len && len <= 300; at++) {
        state = lws_utf8(LWS_UTF8_COMPLETE, data, at);
        CHECK_NAMED(state == lws_utf8_plain(LWS_UTF8_COMPLETE, data, at), name);
        CHECK_NAMED(lws_utf8(state, data + at, len - at) == plain, name);
    }
}

#define TEXT(literal, expected)                                                                    \
    check_text((const uint8_t *)(literal), sizeof(literal) - 1, expected, #literal)

/* Rows U8-01 and U8-02, and every edge of RFC 3629's ranges. */
static void test_edges(void) {
    TEXT("", 0);
    TEXT("\x00", 0);
    TEXT("\x7f", 0);
    TEXT("\xc2\x80", 0);
    TEXT("\xdf\xbf", 0);
    TEXT("\xe0\xa0\x80", 0);
    TEXT("\xed\x9f\xbf", 0);
    TEXT("\xee\x80\x80", 0);
    TEXT("\xef\xbf\xbd\xef\xbf\xbe\xef\xbf\xbf", 0);
    TEXT("\xf0\x90\x80\x80", 0);
    TEXT("\xf4\x8f\xbf\xbf", 0);
    TEXT("\x80", 1);
    TEXT("\xbf", 1);
    TEXT("\xc0", 1);
    TEXT("\xc0\x80", 1);
    TEXT("\xc1\xbf", 1);
    TEXT("\xe0\x80", 1);
    TEXT("\xe0\x9f\xbf", 1);
    TEXT("\xed\xa0", 1);
    TEXT("\xed\xbf\xbf", 1);
    TEXT("\xf0\x80", 1);
    TEXT("\xf0\x8f\xbf\xbf", 1);
    TEXT("\xf4\x90", 1);
    TEXT("\xf5", 1);
    TEXT("\xf8\x88\x80\x80\x80", 1);
    TEXT("\xfe", 1);
    TEXT("\xff", 1);
    TEXT("\xc2", 2);
    TEXT("\xe0", 2);
    TEXT("\xe0\xa0", 2);
    TEXT("\xed\x9f", 2);
    TEXT("\xf0\x90\x80", 2);
    TEXT("\xf4\x8f\xbf", 2);
    TEXT("\xc2 ", 1);
    TEXT("\xe1\x80 ", 1);
    TEXT("\xf1\x80\x80 ", 1);
    TEXT("\xc2\x80\x80", 1);
}

/* Invalid is final. */
static void test_final(void) {
    CHECK(lws_utf8(LWS_UTF8_INVALID, (const uint8_t *)"abc", 3) == LWS_UTF8_INVALID);
    CHECK(lws_utf8(LWS_UTF8_INVALID, NULL, 0) == LWS_UTF8_INVALID);
    CHECK(lws_utf8_plain(LWS_UTF8_INVALID, (const uint8_t *)"\x80", 1) == LWS_UTF8_INVALID);
    CHECK(lws_utf8(LWS_UTF8_COMPLETE, NULL, 0) == LWS_UTF8_COMPLETE);
}

/* All sequences of one to three bytes; of four, all leads and second bytes with the third's edges.
 */
static void test_exhaustively(void) {
    static const uint8_t thirds[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f,
                                     0xa0, 0xbf, 0xc0, 0xc2, 0xff};
    unsigned long wrong = 0;

    for (uint32_t all = 0; all < 1u << 24; all++) {
        uint8_t bytes[3] = {(uint8_t)(all >> 16), (uint8_t)(all >> 8), (uint8_t)all};
        int expected = reference(bytes, 3);

        wrong += kind(lws_utf8_plain(LWS_UTF8_COMPLETE, bytes, 3)) != expected;
        if ((all & 0xff) == 0) {
            wrong += kind(lws_utf8(LWS_UTF8_COMPLETE, bytes, 2)) != reference(bytes, 2);
        }
        if ((all & 0xffff) == 0) {
            wrong += kind(lws_utf8(LWS_UTF8_COMPLETE, bytes, 1)) != reference(bytes, 1);
        }
    }
    CHECK(wrong == 0);

    for (uint32_t lead = 0xe0; lead < 0x100; lead++) {
        for (uint32_t second = 0; second < 0x100; second++) {
            for (size_t third = 0; third < sizeof thirds; third++) {
                for (size_t fourth = 0; fourth < sizeof thirds; fourth++) {
                    uint8_t bytes[4] = {(uint8_t)lead, (uint8_t)second, thirds[third],
                                        thirds[fourth]};

                    wrong += kind(lws_utf8(LWS_UTF8_COMPLETE, bytes, 4)) != reference(bytes, 4);
                }
            }
        }
    }
    CHECK(wrong == 0);
}

/* Every two-byte pair and many longer ones, at each place of the wide blocks. */
static void test_in_blocks(void) {
    uint8_t text[320];
    unsigned long wrong = 0;

    for (uint32_t pair = 0; pair < 0x10000; pair++) {
        for (size_t at = 120; at < 200; at += 1 + pair % 5) {
            memset(text, 'a', sizeof text);
            text[at] = (uint8_t)(pair >> 8);
            text[at + 1] = (uint8_t)pair;
            text[at + 2] = 0x80 | (pair & 0x3f);
            text[at + 3] = at & 1 ? 0xbf : 'z';
            wrong += lws_utf8(0, text, sizeof text) != lws_utf8_plain(0, text, sizeof text);
        }
    }
    CHECK(wrong == 0);
}

/* A code point that breaks off anywhere, in front of blocks of ASCII alone. */
static void test_broken_off(void) {
    static const uint8_t points[][4] = {{0xc2, 0x80},
                                        {0xdf, 0xbf},
                                        {0xe0, 0xa0, 0x80},
                                        {0xed, 0x9f, 0xbf},
                                        {0xf0, 0x90, 0x80, 0x80},
                                        {0xf4, 0x8f, 0xbf, 0xbf}};
    uint8_t text[400];

    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        for (size_t have = 1; have < (i < 2 ? 2 : i < 4 ? 3 : 4); have++) {
            for (size_t at = 0; at < 200; at++) {
                memset(text, 'a', sizeof text);
                memcpy(text + at, points[i], have);
                CHECK(lws_utf8(0, text, sizeof text) == LWS_UTF8_INVALID);
                CHECK(kind(lws_utf8(0, text, at + have)) == 2);
            }
        }
    }
}

static size_t put(uint8_t *out, uint32_t point) {
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    size_t more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    for (size_t i = more; i > 0; i--, point >>= 6) {
        out[i] = (uint8_t)(0x80 | (point & 0x3f));
    }
    out[0] = (uint8_t)((more == 1 ? 0xc0 : more == 2 ? 0xe0 : 0xf0) | point);
    return more + 1;
}

/* Code points of one width, or mixed (width 0). */
static size_t random_text(uint8_t *out, size_t room, unsigned width, uint64_t *seed) {
    static const uint32_t bounds[] = {0, 0x80, 0x800, 0x10000, 0x110000};
    size_t len = 0;

    while (len + 4 <= room) {
        unsigned size = width ? width : (unsigned)(check_random(seed) % 4) + 1;
        uint32_t point =
            bounds[size - 1] + (uint32_t)(check_random(seed) % (bounds[size] - bounds[size - 1]));

        if (point >= 0xd800 && point <= 0xdfff) {
            continue;
        }
        len += put(out + len, point);
    }
    return len;
}

static void test_random(void) {
    static uint8_t text[4200];
    uint64_t seed = 3;
    char name[80];

    for (unsigned round = 0; round < 12000; round++) {
        size_t room = round % 8 ? 4 + check_random(&seed) % 296 : 4 + check_random(&seed) % 4096;
        size_t len = random_text(text, room, (unsigned)(round % 5), &seed);
        unsigned changes = (unsigned)(check_random(&seed) % 3);

        if (round % 4 == 0) { /* blocks of ASCII between others */
            memset(text + len / 3, 'a', len / 3);
        }
        for (unsigned i = 0; i < changes && len; i++) {
            text[check_random(&seed) % len] = (uint8_t)check_random(&seed);
        }
        if (len && round % 3 == 0) {
            len -= check_random(&seed) % (len < 4 ? len : 4);
        }
        snprintf(name, sizeof name, "round %u, length %zu", round, len);

        const uint8_t *data = guard_end(text, len);
        uint32_t plain = lws_utf8_plain(LWS_UTF8_COMPLETE, data, len);
        CHECK_NAMED(kind(plain) == reference(data, len), name);
        CHECK_NAMED(lws_utf8(LWS_UTF8_COMPLETE, data, len) == plain, name);
        CHECK_NAMED(lws_utf8(LWS_UTF8_COMPLETE, guard_begin(text, len), len) == plain, name);
        for (unsigned i = 0; i < 8; i++) {
            size_t at = len ? check_random(&seed) % len : 0;
            uint32_t state = lws_utf8(LWS_UTF8_COMPLETE, data, at);

            CHECK_NAMED(state == lws_utf8_plain(LWS_UTF8_COMPLETE, data, at), name);
            CHECK_NAMED(lws_utf8(state, data + at, len - at) == plain, name);
        }
    }
}

/* Valid text of each width, cut at each byte and at each length. */
static void test_cuts(void) {
    uint8_t text[300];
    uint64_t seed = 4;

    for (unsigned width = 0; width <= 4; width++) {
        size_t len = random_text(text, sizeof text, width, &seed);

        CHECK(reference(text, len) == 0);
        for (size_t cut = 0; cut <= len; cut++) {
            check_text(text, cut, reference(text, cut), "cuts");
        }
        for (size_t at = 0; at < len; at++) {
            uint8_t kept = text[at];

            text[at] = 0xff;
            check_text(text, len, 1, "ff");
            text[at] = kept;
        }
    }
}

int main(void) {
    test_edges();
    test_final();
    test_exhaustively();
    test_in_blocks();
    test_broken_off();
    test_random();
    test_cuts();
    return check_report();
}
