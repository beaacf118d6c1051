#include "check.h"
#include "service/service.h"

#include <stdio.h>
#include <string.h>

struct row {
    const char *name;
    const char *bytes;
    size_t length;
    unsigned allowed;
    int expected;  /* size of the header, or a negated fault */
    size_t needed; /* the bytes that must be there before it is known */
    uint64_t payload;
};

#define BYTES(literal) literal, sizeof(literal) - 1

static const struct row rows[] = {
    {"RFC 6455, 5.7: masked Hello", BYTES("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), 0, 6, 6,
     5},
    {"first fragment", BYTES("\x01\x83\x01\x02\x03\x04"), 0, 6, 6, 3},
    {"last fragment", BYTES("\x80\x82\x01\x02\x03\x04"), 0, 6, 6, 2},
    {"empty binary", BYTES("\x82\x80\x01\x02\x03\x04"), 0, 6, 6, 0},
    {"ping", BYTES("\x89\xfd\x01\x02\x03\x04"), 0, 6, 6, 125},
    {"pong", BYTES("\x8a\x80\x01\x02\x03\x04"), 0, 6, 6, 0},
    {"close", BYTES("\x88\x82\x01\x02\x03\x04"), 0, 6, 6, 2},
    {"125", BYTES("\x82\xfd\x01\x02\x03\x04"), 0, 6, 6, 125},
    {"126", BYTES("\x82\xfe\x00\x7e\x01\x02\x03\x04"), 0, 8, 8, 126},
    {"256", BYTES("\x82\xfe\x01\x00\x01\x02\x03\x04"), 0, 8, 8, 256},
    {"65535", BYTES("\x82\xfe\xff\xff\x01\x02\x03\x04"), 0, 8, 8, 65535},
    {"65536", BYTES("\x82\xff\0\0\0\0\0\1\0\0\x01\x02\x03\x04"), 0, 14, 14, 65536},
    {"2^63 - 1", BYTES("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04"), 0, 14, 14,
     INT64_MAX},
    {"RSV1 agreed", BYTES("\xc1\x80\x01\x02\x03\x04"), LWS_FRAME_RSV1, 6, 6, 0},
    {"RSV1 agreed, binary", BYTES("\x42\x80\x01\x02\x03\x04"), LWS_FRAME_RSV1, 6, 6, 0},

    /* FR-01 */
    {"unmasked text", BYTES("\x81\x05Hello"), 0, -LWS_FAULT_WS_UNMASKED, 2, 0},
    {"unmasked binary", BYTES("\x82\x7e\x01\x00"), 0, -LWS_FAULT_WS_UNMASKED, 2, 0},
    {"unmasked ping", BYTES("\x89\x00"), 0, -LWS_FAULT_WS_UNMASKED, 2, 0},
    {"unmasked close", BYTES("\x88\x02\x03\xe8"), 0, -LWS_FAULT_WS_UNMASKED, 2, 0},
    /* FR-02, PMD-05 */
    {"RSV1", BYTES("\xc1\x80"), 0, -LWS_FAULT_WS_RSV, 1, 0},
    {"RSV2", BYTES("\xa1\x80"), 0, -LWS_FAULT_WS_RSV, 1, 0},
    {"RSV3", BYTES("\x91\x80"), 0, -LWS_FAULT_WS_RSV, 1, 0},
    {"RSV all", BYTES("\xf1\x80"), LWS_FRAME_RSV1, -LWS_FAULT_WS_RSV, 1, 0},
    {"RSV2 beside the extension", BYTES("\xe2\x80"), LWS_FRAME_RSV1, -LWS_FAULT_WS_RSV, 1, 0},
    {"RSV1 on a continuation", BYTES("\xc0\x80"), LWS_FRAME_RSV1, -LWS_FAULT_WS_RSV, 1, 0},
    {"RSV1 on a ping", BYTES("\xc9\x80"), LWS_FRAME_RSV1, -LWS_FAULT_WS_RSV, 1, 0},
    {"RSV1 on a close", BYTES("\xc8\x80"), 0, -LWS_FAULT_WS_RSV, 1, 0},
    /* FR-04 */
    {"2^63", BYTES("\x82\xff\x80\0\0\0\0\0\0\0"), 0, -LWS_FAULT_WS_LENGTH, 3, 0},
    {"2^64 - 1", BYTES("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"), 0, -LWS_FAULT_WS_LENGTH, 3, 0},
    /* FR-06 */
    {"16 bits for 0", BYTES("\x82\xfe\x00\x00"), 0, -LWS_FAULT_WS_LENGTH, 4, 0},
    {"16 bits for 125", BYTES("\x82\xfe\x00\x7d"), 0, -LWS_FAULT_WS_LENGTH, 4, 0},
    {"64 bits for 0", BYTES("\x82\xff\0\0\0\0\0\0\0\0"), 0, -LWS_FAULT_WS_LENGTH, 8, 0},
    {"64 bits for 65535", BYTES("\x82\xff\0\0\0\0\0\0\xff\xff"), 0, -LWS_FAULT_WS_LENGTH, 8, 0},
    /* FR-09, FG-03 */
    {"ping of 126", BYTES("\x89\xfe\x00\x7e"), 0, -LWS_FAULT_WS_CONTROL, 2, 0},
    {"ping, 64 bits", BYTES("\x89\xff"), 0, -LWS_FAULT_WS_CONTROL, 2, 0},
    {"close of 126", BYTES("\x88\xfe"), 0, -LWS_FAULT_WS_CONTROL, 2, 0},
    {"fragmented ping", BYTES("\x09\x80"), 0, -LWS_FAULT_WS_CONTROL, 1, 0},
    {"fragmented pong", BYTES("\x0a\x80"), 0, -LWS_FAULT_WS_CONTROL, 1, 0},
    {"fragmented close", BYTES("\x08\x80"), 0, -LWS_FAULT_WS_CONTROL, 1, 0},
};

static void test_decode(void) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];

        for (size_t len = 0; len <= row->length; len++) {
            struct lws_frame frame;
            const uint8_t *data = guard_end(row->bytes, len);
            int found = lws_frame_decode(data, len, row->allowed, &frame);

            CHECK_NAMED(found == (len < row->needed ? 0 : row->expected), row->name);
            if (found <= 0) {
                continue;
            }
            CHECK_NAMED(frame.length == row->payload && frame.header == found, row->name);
            CHECK_NAMED(memcmp(frame.mask, row->bytes + found - 4, 4) == 0, row->name);
            CHECK_NAMED(frame.opcode == (data[0] & 0xf), row->name);
            CHECK_NAMED(frame.fin == data[0] >> 7, row->name);
            CHECK_NAMED(frame.rsv1 == (data[0] >> 6 & 1), row->name);
        }
    }
}

/* FR-03: each opcode that is none, from its first byte. */
static void test_opcodes(void) {
    struct lws_frame frame;

    for (unsigned opcode = 0; opcode < 16; opcode++) {
        for (unsigned fin = 0; fin < 2; fin++) {
            uint8_t first = (uint8_t)(fin << 7 | opcode);
            bool unknown = (opcode > 2 && opcode < 8) || opcode > 10;
            int expected = unknown                   ? -LWS_FAULT_WS_OPCODE
                           : opcode >= 8 && fin == 0 ? -LWS_FAULT_WS_CONTROL
                                                     : 0;

            CHECK(lws_frame_decode(guard_end(&first, 1), 1, 0, &frame) == expected);
        }
    }
}

static const uint64_t lengths[] = {
    0,        1,     125,   126,     127,        128,        65534,
    65535,    65536, 65537, 1 << 20, UINT32_MAX, 1ull << 32, (1ull << 32) + 5,
    INT64_MAX};

/* What is encoded is what a client would decode, were it masked; bytes around stay as they are. */
static void test_encode(void) {
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        uint64_t length = lengths[i];
        size_t expected = length < 126 ? 2 : length < 65536 ? 4 : 10;
        uint8_t buffer[40], masked[18] = {0};
        struct lws_frame frame;

        memset(buffer, 0xee, sizeof buffer);
        CHECK(lws_frame_encode(buffer + 20, length, LWS_FRAME_FIN | LWS_OPCODE_BINARY) == expected);
        for (size_t j = 0; j < sizeof buffer; j++) {
            CHECK((j >= 20 - expected && j < 20) || buffer[j] == 0xee);
        }
        memcpy(masked, buffer + 20 - expected, expected);
        masked[1] |= 0x80;
        CHECK(lws_frame_decode(masked, expected + 4, 0, &frame) == (int)expected + 4);
        CHECK(frame.length == length && frame.opcode == LWS_OPCODE_BINARY && frame.fin == 1);

        CHECK(lws_frame_header(guard_end(NULL, expected), length, 0xc1) == expected);
        uint8_t *payload = guard_begin(NULL, expected) + expected;
        CHECK(lws_frame_encode(payload, length, 0xc1) == expected);
        CHECK(memcmp(payload - expected, guard_end(NULL, expected), expected) == 0);
        CHECK(*(payload - expected) == 0xc1);
    }
    uint8_t hello[4];
    lws_frame_header(hello, 256, 0x82); /* RFC 6455, section 5.7 */
    CHECK(memcmp(hello, "\x82\x7e\x01\x00", 4) == 0);
}

static void check76(const char *bytes, size_t len, int expected, uint64_t value) {
    for (size_t have = 0; have <= len; have++) {
        uint64_t length = 0;
        int found = lws_frame76_length(guard_end(bytes, have), have, &length);

        CHECK_NAMED(found == (have < len ? 0 : expected), bytes);
        CHECK_NAMED(found <= 0 || length == value, bytes);
    }
}

/* H76-11 */
static void test_hixie76(void) {
    check76(BYTES("\x00"), 1, 0);
    check76(BYTES("\x7f"), 1, 127);
    check76(BYTES("\x81\x00"), 2, 128);
    check76(BYTES("\x80\x80\x01"), 3, 1);
    check76(BYTES("\xff\xff\xff\xff\x7f"), 5, (1ull << 35) - 1);
    check76(BYTES("\x80\x80\x80\x80\x80"), -LWS_FAULT_WS_PROTOCOL_ERROR, 0);
    check76(BYTES("\xff\xff\xff\xff\xff"), -LWS_FAULT_WS_PROTOCOL_ERROR, 0);
    uint64_t length;
    CHECK(lws_frame76_length(guard_end("\x05xxxxxx", 7), 7, &length) == 1 && length == 5);
}

/* CL-02, CL-03: all codes. */
static void test_close_codes(void) {
    static const uint16_t edges[] = {0,    999,  1004, 1005, 1006, 1015,
                                     1016, 1100, 2000, 2999, 5000, 65535};

    for (unsigned code = 0; code <= 65536; code++) {
        uint8_t payload[2] = {(uint8_t)(code >> 8), (uint8_t)code}, out[125];
        bool valid = (code >= 1000 && code < 1015 && (code < 1004 || code > 1006)) ||
                     (code >= 3000 && code < 5000);
        struct lws_close close = {0};

        CHECK(lws_close_code_valid(code) == valid);
        CHECK(lws_close_encode(out, code, NULL, 0) == (valid ? 2 : -LWS_FAULT_WS_CLOSE_CODE));
        if (code > 65535) {
            continue;
        }
        CHECK(lws_close_decode(payload, 2, &close) == (valid ? 0 : -LWS_FAULT_WS_CLOSE_CODE));
        CHECK(!valid || (close.code == code && close.reason_length == 0));
    }
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        CHECK(!lws_close_code_valid(edges[i]));
    }
    CHECK(!lws_close_code_valid(70000) && !lws_close_code_valid(65536 + 1000));
}

/* CL-01, CL-04 */
static void test_close_decode(void) {
    struct lws_close close;
    uint8_t payload[130] = {0x03, 0xe8};

    CHECK(lws_close_decode(guard_end(NULL, 0), 0, &close) == 0);
    CHECK(close.code == 1005 && close.reason_length == 0);
    CHECK(lws_close_decode(guard_end("\x03", 1), 1, &close) == -LWS_FAULT_WS_CLOSE_CODE);
    memset(payload + 2, 'r', sizeof payload - 2);
    for (size_t len = 2; len <= 125; len++) {
        CHECK(lws_close_decode(guard_end(payload, len), len, &close) == 0);
        CHECK(close.code == 1000 && close.reason_offset == 2 && close.reason_length == len - 2);
    }
    CHECK(lws_close_decode(payload, 126, &close) == -LWS_FAULT_WS_CLOSE_CODE);
    CHECK(lws_close_decode((const uint8_t *)"\x03\xe8\xff", 3, &close) == -LWS_FAULT_WS_UTF8);
    CHECK(lws_close_decode((const uint8_t *)"\x03\xe8\xe2\x82", 4, &close) == -LWS_FAULT_WS_UTF8);
    CHECK(lws_close_decode((const uint8_t *)"\x03\xe8\xe2\x82\xac", 5, &close) == 0);
}

/* CL-09: a reason of each length, of code points of each width, is cut between two of them. */
static void test_close_encode(void) {
    static const char *points[] = {"a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};

    for (size_t width = 1; width <= 4; width++) {
        for (size_t count = 0; count <= 200; count++) {
            uint8_t reason[800];
            size_t len = count * width, fits = 123 / width * width;
            size_t expected = 2 + (len < fits ? len : fits);

            for (size_t i = 0; i < count; i++) {
                memcpy(reason + i * width, points[width - 1], width);
            }
            uint8_t *out = guard_begin(NULL, 125);
            memset(out, 0xee, 126);
            CHECK(lws_close_encode(out, 3000, guard_end(reason, len), len) == (int)expected);
            CHECK(out[0] == 0x0b && out[1] == 0xb8 && out[expected] == 0xee);
            CHECK(memcmp(out + 2, reason, expected - 2) == 0);
        }
    }
    uint8_t out[125];
    CHECK(lws_close_encode(out, 1000, (const uint8_t *)"\xe2\x82", 2) == -LWS_FAULT_WS_UTF8);
    CHECK(lws_close_encode(out, 1005, (const uint8_t *)"\xff", 1) == -LWS_FAULT_WS_CLOSE_CODE);
}

int main(void) {
    test_decode();
    test_opcodes();
    test_encode();
    test_hixie76();
    test_close_codes();
    test_close_decode();
    test_close_encode();
    return check_report();
}
