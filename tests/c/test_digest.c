#include "check.h"
#include "service/service.h"

#include <stdio.h>
#include <string.h>

static void hex(const uint8_t *bytes, size_t len, char *out) {
    for (size_t i = 0; i < len; i++) {
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    }
}

static void check_hash(const char *text, size_t len, const char *md5, const char *sha1) {
    uint8_t digest[20];
    char found[41];

    lws_md5(guard_end(text, len), len, digest);
    hex(digest, 16, found);
    CHECK_NAMED(strcmp(found, md5) == 0, found);
    lws_sha1(guard_end(text, len), len, digest);
    hex(digest, 20, found);
    CHECK_NAMED(strcmp(found, sha1) == 0, found);
    lws_sha1(guard_begin(text, len), len, digest);
    hex(digest, 20, found);
    CHECK_NAMED(strcmp(found, sha1) == 0, found);
}

/* RFC 1321, appendix A.5; FIPS 180-4's examples; and the lengths around a block's end. */
static void test_hashes(void) {
    static const struct {
        const char *text, *md5, *sha1;
    } rows[] = {
        {"", "d41d8cd98f00b204e9800998ecf8427e", "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
        {"a", "0cc175b9c0f1b6a831c399e269772661", "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"},
        {"abc", "900150983cd24fb0d6963f7d28e17f72", "a9993e364706816aba3e25717850c26c9cd0d89d"},
        {"message digest", "f96b697d7cb7938d525a2f31aaf161d0",
         "c12252ceda8be8994d5fa0290a47231c1d16aae3"},
        {"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b",
         "32d10c7b8cf96570ca04ce37f2a19d84240d3a89"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
         "d174ab98d277d9f5a5611c2c9f419d9f", "761c457bf73b14d27e9e9265c46f4b4dda11f940"},
        {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
         "57edf4a22be3c955ac49da2e2107b67a", "50abf5706a150990a08b2c5ea40fa0e585554732"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "8215ef0796a20bcaaae116d3876c664a", "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
    };
    char text[200];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_hash(rows[i].text, strlen(rows[i].text), rows[i].md5, rows[i].sha1);
    }

    static const struct {
        size_t length;
        const char *md5, *sha1;
    } edges[] = {
        {55, "04364420e25c512fd958a70738aa8f72", "cef734ba81a024479e09eb5a75b6ddae62e6abf1"},
        {56, "668a72d5ba17f08e62dabcafad6db14b", "901305367c259952f4e7af8323f480d59f81335b"},
        {57, "693037871c4a9d3d8685018905cb530a", "025ecbd5d70f8fb3c5457cd96bab13fda305dc59"},
        {63, "7dc2ca208106a2f703567bdff99d8981", "0ddc4e0cccd9a12850deb5abb0853a4425559fec"},
        {64, "c1bb4f81d892b2d57947682aeb252456", "bb2fa3ee7afb9f54c6dfb5d021f14b1ffe40c163"},
        {65, "1bc932052302d074bdec39795fe00cf6", "78c741ddc482e4cdf8c474a0876347a0905b6233"},
        {119, "ab347a5f68c8a443cfcddc633f12c24f", "4300320394f7ee239bcdce7d3b8bcee173a0cd5c"},
        {120, "fb98667f98096de92620b64f46e1c5b5", "ceb2821639c4b6dcb10bce0e522ca2e608ce056d"},
        {127, "a0b28c1da68705c2ff883fe279b72753", "e463484d274607e1897d4099497cbf2aedcf8206"},
        {128, "d69cb61a6ee87200676eb0d4b90edbcb", "150fa3fbdc899bd0b8f95a9fb6027f564d953762"},
        {129, "3926841d393c00c3f36260e5ace10dc1", "2699b675922cc84a9b0dfd926eb7f8211c78693d"},
        {184, "a473eda9461f29a9a3f7729f5e29dd2f", "f63820441584d227ce8341408c15e413cde16478"},
    };
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        check_hash(text, edges[i].length, edges[i].md5, edges[i].sha1);
    }

    static uint8_t million[1000000];
    uint8_t digest[20];
    char found[41];

    memset(million, 'a', sizeof million);
    lws_sha1(million, sizeof million, digest);
    hex(digest, 20, found);
    CHECK(strcmp(found, "34aa973cd4c4daa4f61eeb2bdbad27316534016f") == 0);
    lws_md5(million, sizeof million, digest);
    hex(digest, 16, found);
    CHECK(strcmp(found, "7707d6ae4e027c70eea2a935c2296f21") == 0);
    lws_md5(NULL, 0, digest);
    hex(digest, 16, found);
    CHECK(strcmp(found, "d41d8cd98f00b204e9800998ecf8427e") == 0);
}

/* RFC 4648, section 10. */
static void test_base64(void) {
    static const char *rows[][2] = {
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xff\xef\xbe", "/+++"},
        {"\xfb\xff\xff", "+///"},
    };
    /* Bits under the padding are ignored (section 3.5). */
    static const char *loose[][2] = {{"f", "Zh=="}, {"f", "Zv=="}, {"fo", "Zm9="}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t len = strlen(rows[i][0]), coded = strlen(rows[i][1]);
        char *out = (char *)guard_begin(NULL, coded);
        uint8_t back[8];

        CHECK(lws_base64_encode(guard_end(rows[i][0], len), len, out, coded) == coded);
        CHECK_NAMED(memcmp(out, rows[i][1], coded) == 0, rows[i][1]);
        CHECK(lws_base64_encode((const uint8_t *)rows[i][0], len, out, coded - 1) == 0);
        const char *text = (const char *)guard_end(rows[i][1], coded);
        CHECK(lws_base64_decode(text, coded, back, len) == (ptrdiff_t)len);
        CHECK_NAMED(memcmp(back, rows[i][0], len) == 0, rows[i][1]);
        CHECK(lws_base64_decode(text, coded, back, len - 1) == -1);
    }

    for (size_t i = 0; i < 3; i++) {
        uint8_t back[3];
        size_t len = strlen(loose[i][0]);
        const char *text = (const char *)guard_end(loose[i][1], 4);

        CHECK_NAMED(lws_base64_decode(text, 4, back, sizeof back) == (ptrdiff_t)len, loose[i][1]);
        CHECK_NAMED(memcmp(back, loose[i][0], len) == 0, loose[i][1]);
    }

    char out[4];
    CHECK(lws_base64_encode(NULL, 0, out, sizeof out) == 0);
    CHECK(lws_base64_decode("", 0, (uint8_t *)out, sizeof out) == 0);
}

static void test_base64_refusals(void) {
    static const char *rows[] = {
        "Z",    "Zg",    "Zg=",     "Zg===",   "=",     "==",     "===",      "====",     "Z===",
        "Zm8",  "Zm 9v", "Zm9v ",   " Zm9v",   "Zm\n=", "Zm9v\n", "Zg==Zg==", "Zm8=Zm8=", "Z=g=",
        "-_-_", "Zm9*",  "Zm9\x80", "Zm9\xff", "=Zm9",  "Zm9v=",  "A=AA",
    };
    uint8_t out[16];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t len = strlen(rows[i]);

        CHECK_NAMED(
            lws_base64_decode((const char *)guard_end(rows[i], len), len, out, sizeof out) == -1,
            rows[i]);
    }
    CHECK(lws_base64_decode("Zg\0=", 4, out, sizeof out) == -1);
}

static void test_base64_round_trip(void) {
    uint64_t seed = 1;
    uint8_t bytes[96], back[96];

    for (size_t len = 1; len <= sizeof bytes; len++) {
        char text[128];

        for (size_t i = 0; i < len; i++) {
            bytes[i] = (uint8_t)check_random(&seed);
        }
        size_t coded = lws_base64_encode(guard_end(bytes, len), len, text, sizeof text);
        CHECK(coded == (len + 2) / 3 * 4);
        CHECK(lws_base64_decode(text, coded, back, sizeof back) == (ptrdiff_t)len);
        CHECK(memcmp(back, bytes, len) == 0);
    }
}

int main(void) {
    test_hashes();
    test_base64();
    test_base64_refusals();
    test_base64_round_trip();
    return check_report();
}
