#include "check.h"
#include "heads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES(literal) literal, sizeof(literal) - 1
#define SERVED 0
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define UPGRADE "GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
#define WITH_KEY "Sec-WebSocket-Key: " KEY "\r\n"
#define VERSION(number) "Sec-WebSocket-Version: " number "\r\n"
#define HIXIE UPGRADE "Origin: o\r\n"
#define KEY1 "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n"
#define KEY2 "Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n"

/* H76-01 */
static const struct {
    const char *key1, *key2, *key3, *digest;
    uint32_t number1, number2;
} vectors[] = {
    {"18x 6]8vM;54 *(5:  {   U1]8  z [  8", "1_ tx7X d  <  nw  334J702) 7]o}` 0", "Tm[K T2u",
     "fQJ,fN/4F4!~K~MH", 155712099, 173347027},
    {"4 @1  46546xW%0l 1 5", "12998 5 Y3 1  .P00", "^n:ds[4U", "8jKS'y:G*Co,Wxa-", 829309203,
     259970620},
    {"3e6b263  4 17 80", "17  9 G`ZD9   2 2b 7X 3 /r90", "WjN}|M(6", "n`9eBk9z$R8pOtVb", 906585445,
     179922739},
};

static int number_of(const char *key, size_t len, uint32_t *number) {
    return lws_key76_number(guard_end(key, len), len, number);
}

static void test_vectors(void) {
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        const char *key1 = vectors[i].key1, *key2 = vectors[i].key2;
        uint32_t number;
        uint8_t digest[16];

        CHECK(number_of(key1, strlen(key1), &number) == 0 && number == vectors[i].number1);
        CHECK(number_of(key2, strlen(key2), &number) == 0 && number == vectors[i].number2);
        CHECK(lws_key76_digest(guard_end(key1, strlen(key1)), strlen(key1),
                               guard_begin(key2, strlen(key2)), strlen(key2),
                               (const uint8_t *)vectors[i].key3, digest) == 0);
        CHECK_NAMED(memcmp(digest, vectors[i].digest, 16) == 0, vectors[i].digest);
    }
}

/* H76-02 to -05 */
static void test_numbers(void) {
    static const struct {
        const char *key;
        size_t length;
        bool valid;
        uint32_t number;
    } keys[] = {
        {BYTES("12 "), true, 12},
        {BYTES("0 "), true, 0},
        {BYTES("4294967295 "), true, 4294967295},
        {BYTES("85899345 9  2 "), true, 2147483647 + 1u},
        {BYTES("4294967296 "), false, 0},
        {BYTES("8589934590 a "), true, 4294967295},
        {BYTES("8589934592 a "), false, 0},
        {BYTES("18446744073709551615 "), false, 0},
        {BYTES("18446744073709551617 "), false, 0},
        {BYTES("99999999999999999999999999999999 "), false, 0},
        {BYTES("1234"), false, 0},
        {BYTES("a b"), false, 0},
        {BYTES(" "), false, 0},
        {BYTES(""), false, 0},
        {BYTES("5 a "), false, 0},
        {BYTES("\xb2\xb3\xb9 "), false, 0},
        {BYTES("\xd9\xa5 "), false, 0},
        {BYTES("7\xb2 \xff"), true, 7},
        {BYTES("1\t2 "), true, 12},
        {BYTES("1\0002 "), true, 12},
    };

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        uint32_t number = 0;
        int found = number_of(keys[i].key, keys[i].length, &number);

        CHECK_NAMED(found == (keys[i].valid ? 0 : -LWS_FAULT_WS76_BAD_KEY), keys[i].key);
        CHECK_NAMED(!keys[i].valid || number == keys[i].number, keys[i].key);
    }
    char digits[4001];
    uint32_t number;
    memset(digits, '9', 4000);
    digits[4000] = ' ';
    CHECK(number_of(digits, 4001, &number) == -LWS_FAULT_WS76_BAD_KEY);
    memset(digits, ' ', 4001);
    digits[7] = '0';
    CHECK(number_of(digits, 4001, &number) == 0 && number == 0);

    uint8_t digest[16];
    CHECK(lws_key76_digest((const uint8_t *)"1", 1, (const uint8_t *)"1 ", 2, digest, digest) ==
          -LWS_FAULT_WS76_BAD_KEY);
    CHECK(lws_key76_digest((const uint8_t *)"1 ", 2, (const uint8_t *)"1", 1, digest, digest) ==
          -LWS_FAULT_WS76_BAD_KEY);
}

/* HY-01, HY-02 */
static void test_accept(void) {
    static const char *bad[] = {"",
                                "dGhlIHNhbXBsZSBub25j",
                                "AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                                "dGhlIHNhbXBsZSBub25jZQ",
                                "dGhlIHNhbXBsZSBub25jZQ=",
                                "dGhlIHNhbXBsZSBub-5jZQ==",
                                "dGhlIHNhbXBsZSBu_25jZQ==",
                                "dGhlIHNhbX sZSBub25jZQ==",
                                "dGhlIHNhbXBsZSBub25jZWU=",
                                "dGhlIHNhbXBsZSBub25jZWVl",
                                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    char accept[LWS_ACCEPT_LENGTH];

    CHECK(lws_accept_key(guard_end(KEY, 24), 24, accept) == 0);
    CHECK(memcmp(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28) == 0);
    /* RFC 6455, section 1.2: its last six bits are not zero. The reply is that of the text. */
    CHECK(lws_accept_key(guard_end("AQIDBAUGBwgJCgsMDQ4PEC==", 24), 24, accept) == 0);
    CHECK(memcmp(accept, "OfS0wDaT5NoxF2gqm7Zj2YtetzM=", 28) == 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_NAMED(lws_accept_key(guard_end(bad[i], strlen(bad[i])), strlen(bad[i]), accept) ==
                        -LWS_FAULT_WS_BAD_KEY,
                    bad[i]);
    }
}

struct row {
    const char *text;
    int expected;
    int version;
};

static const struct row rows[] = {
    {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", SERVED, LWS_VERSION_HTTP},
    {UPGRADE WITH_KEY VERSION("13") "\r\n", SERVED, 13},
    {UPGRADE WITH_KEY VERSION("8") "\r\n", SERVED, 8},
    {UPGRADE WITH_KEY VERSION("7") "\r\n", SERVED, 7},
    {HIXIE KEY1 KEY2 "\r\n", SERVED, 76},
    /* UP-01 */
    {"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", SERVED, 0},
    {"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: foo\r\nConnection: Upgrade\r\n" WITH_KEY "\r\n", SERVED,
     0},
    {"GET / HTTP/1.0\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" WITH_KEY VERSION(
         "13") "\r\n",
     SERVED, 0},
    {"GET / HTTP/1.1\r\nHost: h\r\n" KEY1 KEY2 "\r\n", SERVED, 0},
    /* UP-02 */
    {"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n" WITH_KEY VERSION("13") "\r\n",
     LWS_FAULT_WS_BAD_UPGRADE, 0},
    {"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: close\r\n" WITH_KEY VERSION(
         "13") "\r\n",
     LWS_FAULT_WS_BAD_UPGRADE, 0},
    {"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: keep-alive, "
     "UPGRADE\r\n" WITH_KEY VERSION("13") "\r\n",
     SERVED, 13},
    {"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nUpgrade: websocket\r\nConnection: "
     "a\r\nConnection: upgrade\r\n" WITH_KEY VERSION("13") "\r\n",
     SERVED, 13},
    /* UP-03 */
    {"POST / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" WITH_KEY VERSION(
         "13") "\r\n",
     LWS_FAULT_HTTP_METHOD, 0},
    {"HEAD / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" WITH_KEY VERSION(
         "13") "\r\n",
     SERVED, 0},
    {"HEAD / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n", SERVED, 0},
    {"HEAD / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" KEY1 KEY2 "\r\n",
     SERVED, 0},
    {UPGRADE WITH_KEY VERSION("13") "Content-Length: 5\r\n\r\nhello", LWS_FAULT_HTTP_BODY_REFUSED,
     0},
    {UPGRADE WITH_KEY VERSION("13") "Content-Length: 8\r\n\r\nhello...",
     LWS_FAULT_HTTP_BODY_REFUSED, 0},
    /* UP-04 */
    {UPGRADE WITH_KEY "\r\n", LWS_FAULT_WS_VERSION, 0},
    {UPGRADE "\r\n", LWS_FAULT_WS_VERSION, 0},
    {UPGRADE WITH_KEY VERSION("0") "\r\n", LWS_FAULT_WS_VERSION, 0},
    {UPGRADE WITH_KEY VERSION("6") "\r\n", LWS_FAULT_WS_VERSION, 0},
    {UPGRADE WITH_KEY VERSION("9") "\r\n", LWS_FAULT_WS_VERSION, 0},
    {UPGRADE WITH_KEY VERSION("12") "\r\n", LWS_FAULT_WS_VERSION, 0},
    {UPGRADE WITH_KEY VERSION("14") "\r\n", LWS_FAULT_WS_VERSION, 0},
    {UPGRADE WITH_KEY VERSION("76") "\r\n", LWS_FAULT_WS_VERSION, 0},
    {UPGRADE WITH_KEY VERSION("256") "\r\n", LWS_FAULT_WS_VERSION, 0},
    {UPGRADE WITH_KEY VERSION("269") "\r\n", LWS_FAULT_WS_VERSION, 0},
    {UPGRADE WITH_KEY VERSION("013") "\r\n", LWS_FAULT_WS_VERSION_SYNTAX, 0},
    {UPGRADE WITH_KEY VERSION("13x") "\r\n", LWS_FAULT_WS_VERSION_SYNTAX, 0},
    {UPGRADE WITH_KEY VERSION("") "\r\n", LWS_FAULT_WS_VERSION_SYNTAX, 0},
    {UPGRADE WITH_KEY VERSION("99999999999") "\r\n", LWS_FAULT_WS_VERSION_SYNTAX, 0},
    {UPGRADE WITH_KEY VERSION("13, 8") "\r\n", LWS_FAULT_WS_VERSION_SYNTAX, 0},
    {UPGRADE WITH_KEY VERSION("13") VERSION("13") "\r\n", LWS_FAULT_WS_VERSION_SYNTAX, 0},
    /* UP-05 */
    {HIXIE KEY1 KEY2 WITH_KEY VERSION("13") "\r\n", LWS_FAULT_WS_VERSION_SYNTAX, 0},
    {HIXIE KEY1 KEY2 VERSION("13") "\r\n", LWS_FAULT_WS_VERSION_SYNTAX, 0},
    {HIXIE KEY2 WITH_KEY "\r\n", LWS_FAULT_WS_VERSION_SYNTAX, 0},
    /* H76-02 to -06 */
    {HIXIE KEY1 "Sec-WebSocket-Key2: 1234\r\n\r\n", LWS_FAULT_WS76_BAD_KEY, 0},
    {HIXIE "Sec-WebSocket-Key1: 5 a b\r\n" KEY2 "\r\n", LWS_FAULT_WS76_BAD_KEY, 0},
    {HIXIE KEY1 KEY1 KEY2 "\r\n", LWS_FAULT_WS76_BAD_KEY, 0},
    {HIXIE KEY1 "\r\n", LWS_FAULT_WS76_BAD_KEY, 0},
    {HIXIE KEY2 "\r\n", LWS_FAULT_WS76_BAD_KEY, 0},
    {UPGRADE KEY1 KEY2 "\r\n", LWS_FAULT_WS_BAD_UPGRADE, 0}, /* no Origin */
    /* The eight bytes counted as a body, and what looks like it. */
    {HIXIE KEY1 KEY2 "Content-Length: 8\r\n\r\n12345678", SERVED, 76},
    {HIXIE KEY1 KEY2 "Content-Length: 9\r\n\r\n12345678", LWS_FAULT_HTTP_BODY_REFUSED, 0},
    {HIXIE KEY1 "Content-Length: 8\r\n\r\n12345678", LWS_FAULT_HTTP_BODY_REFUSED, 0},
    {HIXIE KEY1 KEY2 "Transfer-Encoding: chunked\r\n\r\n", LWS_FAULT_HTTP_BODY_CHUNKED, 0},
    {"GET / HTTP/1.1\r\nHost: h\r\n" KEY1 KEY2 "Content-Length: 8\r\n\r\n",
     LWS_FAULT_HTTP_BODY_REFUSED, 0},
    {"GET / HTTP/1.0\r\nHost: h\r\nUpgrade: websocket\r\n" KEY1 KEY2 "Content-Length: 8\r\n\r\n",
     LWS_FAULT_HTTP_BODY_REFUSED, 0},
    /* HY-02 */
    {UPGRADE VERSION("13") "\r\n", LWS_FAULT_WS_BAD_KEY, 0},
    {UPGRADE WITH_KEY WITH_KEY VERSION("13") "\r\n", LWS_FAULT_WS_BAD_KEY, 0},
    {UPGRADE "Sec-WebSocket-Key:\r\n" VERSION("13") "\r\n", LWS_FAULT_WS_BAD_KEY, 0},
    {UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n" VERSION("13") "\r\n",
     LWS_FAULT_WS_BAD_KEY, 0},
};

static void test_rows(void) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct lws_request request;
        int found = try_handshake(rows[i].text, strlen(rows[i].text), 76, &request, rows[i].text);

        if (found != rows[i].expected) {
            fprintf(stderr, "found %d (%s)\n", found, lws_fault_event(found));
        }
        CHECK_NAMED(found == rows[i].expected, rows[i].text);
        CHECK_NAMED(request.version == rows[i].version, rows[i].text);
        CHECK_NAMED((request.key3 != 0) == (rows[i].version == 76), rows[i].text);
        if (request.key3) {
            CHECK_NAMED(memcmp(rows[i].text + request.key3 - 4, "\r\n\r\n", 4) == 0, rows[i].text);
        }
    }
}

static void test_oldest(void) {
    static const int order[] = {13, 8, 7, 76};
    static const char *texts[] = {UPGRADE WITH_KEY VERSION("13") "\r\n",
                                  UPGRADE WITH_KEY VERSION("8") "\r\n",
                                  UPGRADE WITH_KEY VERSION("7") "\r\n", HIXIE KEY1 KEY2 "\r\n"};

    for (size_t oldest = 0; oldest < 4; oldest++) {
        for (size_t i = 0; i < 4; i++) {
            struct lws_request request;
            int found =
                try_handshake(texts[i], strlen(texts[i]), order[oldest], &request, texts[i]);

            CHECK(found == (i <= oldest ? SERVED : LWS_FAULT_WS_VERSION));
            CHECK(request.version == (i <= oldest ? order[i] : 0));
        }
    }
}

static const struct lws_handshake_extra nothing;

/* The reply to a request, and that it needs exactly the room that it takes. */
static void check_reply(const char *text, const char *key3, const struct lws_handshake_extra *extra,
                        const char *expected) {
    struct lws_request request;
    ptrdiff_t length = (ptrdiff_t)strlen(expected);
    const uint8_t *head = (const uint8_t *)text;

    CHECK_NAMED(try_handshake(text, strlen(text), 76, &request, text) == SERVED, text);
    uint8_t *out = guard_end(NULL, (size_t)length);
    ptrdiff_t found =
        lws_handshake_reply(head, &request, (const uint8_t *)key3, extra, out, (size_t)length);
    CHECK_NAMED(found == length && memcmp(out, expected, (size_t)length) == 0, text);
    for (size_t room = 0; room < (size_t)length; room++) {
        CHECK(lws_handshake_reply(head, &request, (const uint8_t *)key3, extra,
                                  guard_end(NULL, room), room) == -LWS_FAULT_HTTP_HEADER_TOO_LONG);
    }
}

/* HY-01 and the examples of hixie-76: byte for byte. */
static void test_replies(void) {
    static const char *versions[] = {"7", "8", "13"};

    for (size_t i = 0; i < 3; i++) {
        char text[256];

        snprintf(text, sizeof text, UPGRADE WITH_KEY VERSION("%s") "\r\n", versions[i]);
        check_reply(
            text, NULL, &nothing,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    }
    struct lws_handshake_extra both = {
        .protocol = "chat", .protocol_length = 4, .extensions = "x; y=1", .extensions_length = 6};
    check_reply(
        UPGRADE WITH_KEY VERSION("13") "\r\n", NULL, &both,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n"
        "Sec-WebSocket-Extensions: x; y=1\r\n\r\n");

    struct lws_handshake_extra sample = {.protocol = "sample", .protocol_length = 6};
    check_reply(
        "GET /demo HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n" KEY2
        "Sec-WebSocket-Protocol: sample\r\nUpgrade: WebSocket\r\n" KEY1
        "Origin: http://example.com\r\n\r\n^n:ds[4U",
        "^n:ds[4U", &sample,
        "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Origin: http://example.com\r\nSec-WebSocket-Location: "
        "ws://example.com/demo\r\n"
        "Sec-WebSocket-Protocol: sample\r\n\r\n8jKS'y:G*Co,Wxa-");
    struct lws_handshake_extra secure = {.secure = true};
    check_reply(
        "GET /a?b=c HTTP/1.1\r\nHost: h:444\r\nConnection: Upgrade\r\nUpgrade: "
        "WebSocket\r\n" KEY1 KEY2 "Origin: null\r\n\r\n",
        "^n:ds[4U", &secure,
        "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Origin: null\r\nSec-WebSocket-Location: "
        "wss://h:444/a?b=c\r\n\r\n8jKS'y:G*Co,Wxa-");
}

/* An empty path is "/" in the location too. */
static void test_empty_path(void) {
    struct lws_handshake_extra secure = {.secure = true};

    check_reply(
        "GET wss://h?b=c HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: "
        "WebSocket\r\n" KEY1 KEY2 "Origin: null\r\n\r\n",
        "^n:ds[4U", &secure,
        "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Origin: null\r\nSec-WebSocket-Location: "
        "wss://h/?b=c\r\n\r\n8jKS'y:G*Co,Wxa-");
}

/* What the application adds cannot forge a header line. */
static void test_forged(void) {
    static const char *bad[] = {"a\r\nX: y", "a\n", "\x7f", "a\x01"};
    struct lws_request request;
    const char *text = UPGRADE WITH_KEY VERSION("13") "\r\n";
    uint8_t out[600];

    CHECK(try_handshake(text, strlen(text), 76, &request, text) == SERVED);
    for (size_t i = 0; i < 4; i++) {
        struct lws_handshake_extra first = {.protocol = bad[i], .protocol_length = strlen(bad[i])};
        struct lws_handshake_extra second = {.extensions = bad[i],
                                             .extensions_length = strlen(bad[i])};

        CHECK(lws_handshake_reply((const uint8_t *)text, &request, NULL, &first, out, sizeof out) ==
              -LWS_FAULT_HTTP_BAD_HEADER);
        CHECK(lws_handshake_reply((const uint8_t *)text, &request, NULL, &second, out,
                                  sizeof out) == -LWS_FAULT_HTTP_BAD_HEADER);
    }
}

int main(void) {
    test_vectors();
    test_numbers();
    test_accept();
    test_rows();
    test_oldest();
    test_replies();
    test_empty_path();
    test_forged();
    return check_report();
}
