#include "check.h"
#include "heads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES(literal) literal, sizeof(literal) - 1
#define GET "GET / HTTP/1.1\r\n"
#define HOST "Host: h\r\n"
#define SERVED 0

struct row {
    const char *text;
    size_t length;
    int expected;
};

/* The rows of HTTP request parsing, in their order. */
static const struct row rows[] = {
    {BYTES(GET HOST "\r\n"), SERVED},
    {BYTES(GET HOST "\r\nGET /next HTTP/1.1\r\n"), SERVED},
    /* HTTP-05 */
    {BYTES(""), -1},
    {BYTES("G"), -1},
    {BYTES(GET HOST "\r"), -1},
    /* HTTP-06 */
    {BYTES("\r\n" GET HOST "\r\n"), SERVED},
    {BYTES("\r\n\r\n" GET HOST "\r\n"), SERVED},
    {BYTES("\r\n\r\n\r\n" GET HOST "\r\n"), LWS_FAULT_HTTP_BAD_REQUEST_LINE},
    {BYTES("\r\n\r\n\r\n"), LWS_FAULT_HTTP_BAD_REQUEST_LINE},
    {BYTES("\r\n\r\n\r"), -1},
    /* HTTP-07 */
    {BYTES("GET / HTTP/1.1\nHost: h\n\n"), LWS_FAULT_HTTP_BAD_LINE_END},
    {BYTES("GET / HTTP/1.1\rHost: h\r\r"), LWS_FAULT_HTTP_BAD_LINE_END},
    {BYTES("GET / HTTP/1.1\r\r\nHost: h\r\n\r\n"), LWS_FAULT_HTTP_BAD_LINE_END},
    {BYTES(GET "Host: h\nA: b\r\n\r\n"), LWS_FAULT_HTTP_BAD_LINE_END},
    {BYTES(GET HOST "A: b\rc\r\n\r\n"), LWS_FAULT_HTTP_BAD_LINE_END},
    {BYTES(GET HOST "A: b\r\r\n\r\n"), LWS_FAULT_HTTP_BAD_LINE_END},
    {BYTES(GET HOST "\n"), LWS_FAULT_HTTP_BAD_LINE_END},
    {BYTES("\n" GET HOST "\r\n"), LWS_FAULT_HTTP_BAD_LINE_END},
    {BYTES("\rG"), LWS_FAULT_HTTP_BAD_LINE_END},
    /* HTTP-08 */
    {BYTES(GET "Host : h\r\n\r\n"), LWS_FAULT_HTTP_BAD_HEADER},
    {BYTES(GET "Host\t: h\r\n\r\n"), LWS_FAULT_HTTP_BAD_HEADER},
    {BYTES(GET " Host: h\r\n\r\n"), LWS_FAULT_HTTP_BAD_HEADER},
    /* HTTP-09 */
    {BYTES(GET HOST "A: b\r\n c\r\n\r\n"), LWS_FAULT_HTTP_OBS_FOLD},
    {BYTES(GET HOST "A: b\r\n\tc\r\n\r\n"), LWS_FAULT_HTTP_OBS_FOLD},
    {BYTES(GET HOST "A: b\r\n \r\n\r\n"), LWS_FAULT_HTTP_OBS_FOLD},
    /* HTTP-10 */
    {BYTES(GET HOST "nocolon\r\n\r\n"), LWS_FAULT_HTTP_BAD_HEADER},
    {BYTES(GET HOST ": x\r\n\r\n"), LWS_FAULT_HTTP_BAD_HEADER},
    {BYTES(GET HOST "a(b: x\r\n\r\n"), LWS_FAULT_HTTP_BAD_HEADER},
    {BYTES(GET HOST "a@b: x\r\n\r\n"), LWS_FAULT_HTTP_BAD_HEADER},
    {BYTES(GET HOST "a b: x\r\n\r\n"), LWS_FAULT_HTTP_BAD_HEADER},
    {BYTES(GET HOST "a\x80: x\r\n\r\n"), LWS_FAULT_HTTP_BAD_HEADER},
    {BYTES(GET HOST "a\xff: x\r\n\r\n"), LWS_FAULT_HTTP_BAD_HEADER},
    {BYTES(GET HOST "a\0: x\r\n\r\n"), LWS_FAULT_HTTP_BAD_HEADER},
    /* HTTP-11: the rest of its bytes are a test of their own */
    {BYTES(GET HOST "A: a\0b\r\n\r\n"), LWS_FAULT_HTTP_BAD_HEADER},
    {BYTES(GET HOST "A: tab\tand \x80\xff\r\n\r\n"), SERVED},
    /* HTTP-12 */
    {BYTES(GET "\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    {BYTES(GET HOST HOST "\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    {BYTES(GET "Host:\r\n\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    {BYTES(GET "Host: a b\r\n\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    {BYTES(GET "Host: ../../etc\r\n\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    {BYTES(GET "Host: ..\r\n\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    {BYTES(GET "Host: a..b\r\n\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    {BYTES(GET "Host: u@h\r\n\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    {BYTES(GET "Host: h:\r\n\r\n"), SERVED},
    {BYTES(GET "Host: h:65535\r\n\r\n"), SERVED},
    {BYTES(GET "Host: h:65536\r\n\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    {BYTES(GET "Host: h:8x\r\n\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    {BYTES(GET "Host: :80\r\n\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    {BYTES(GET "Host: a.b_c-d.example.:80\r\n\r\n"), SERVED},
    {BYTES(GET "Host: 127.0.0.1:7681\r\n\r\n"), SERVED},
    {BYTES(GET "Host: [::1]\r\n\r\n"), SERVED},
    {BYTES(GET "Host: [2001:db8::7]:80\r\n\r\n"), SERVED},
    {BYTES(GET "Host: [::1\r\n\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    {BYTES(GET "Host: [::1]x\r\n\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    {BYTES(GET "Host: []\r\n\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    {BYTES(GET "Host: [h]\r\n\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    {BYTES(GET "Host: ::1\r\n\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    {BYTES(GET "Host: a%2\r\n\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    {BYTES(GET "Host: h\x80\r\n\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    {BYTES("GET / HTTP/1.0\r\n\r\n"), SERVED},
    {BYTES("GET / HTTP/1.0\r\n" HOST HOST "\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    /* HTTP-13 */
    {BYTES(GET HOST "Content-Length: -1\r\n\r\n"), LWS_FAULT_HTTP_BAD_LENGTH},
    {BYTES(GET HOST "Content-Length: +5\r\n\r\n"), LWS_FAULT_HTTP_BAD_LENGTH},
    {BYTES(GET HOST "Content-Length: 5 5\r\n\r\n"), LWS_FAULT_HTTP_BAD_LENGTH},
    {BYTES(GET HOST "Content-Length: 0x5\r\n\r\n"), LWS_FAULT_HTTP_BAD_LENGTH},
    {BYTES(GET HOST "Content-Length: 5,5\r\n\r\n"), LWS_FAULT_HTTP_BAD_LENGTH},
    {BYTES(GET HOST "Content-Length: \xd9\xa5\r\n\r\n"), LWS_FAULT_HTTP_BAD_LENGTH},
    {BYTES(GET HOST "Content-Length:\r\n\r\n"), LWS_FAULT_HTTP_BAD_LENGTH},
    {BYTES(GET HOST "Content-Length: 99999999999999999999\r\n\r\n"), LWS_FAULT_HTTP_BAD_LENGTH},
    {BYTES(GET HOST "Content-Length: 18446744073709551616\r\n\r\n"), LWS_FAULT_HTTP_BAD_LENGTH},
    {BYTES(GET HOST "Content-Length: 18446744073709551615\r\n\r\n"), LWS_FAULT_HTTP_BAD_LENGTH},
    {BYTES(GET HOST "Content-Length: 9223372036854775808\r\n\r\n"), LWS_FAULT_HTTP_BAD_LENGTH},
    {BYTES(GET HOST "Content-Length: 9223372036854775807\r\n\r\n"), LWS_FAULT_HTTP_BODY_REFUSED},
    /* HTTP-14 */
    {BYTES(GET HOST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), LWS_FAULT_HTTP_BAD_LENGTH},
    {BYTES(GET HOST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), LWS_FAULT_HTTP_BAD_LENGTH},
    {BYTES(GET HOST "Content-Length: 0\r\n\r\n"), SERVED},
    /* HTTP-15 */
    {BYTES(GET HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
     LWS_FAULT_HTTP_SMUGGLE},
    {BYTES(GET HOST "Content-Length: x\r\nTransfer-Encoding: chunked\r\n\r\n"),
     LWS_FAULT_HTTP_SMUGGLE},
    {BYTES(GET HOST "Transfer-Encoding: xchunked\r\n\r\n"), LWS_FAULT_HTTP_SMUGGLE},
    {BYTES(GET HOST "Transfer-Encoding: chunked, identity\r\n\r\n"), LWS_FAULT_HTTP_SMUGGLE},
    {BYTES(GET HOST "Transfer-Encoding: \x0b"
                    "chunked\r\n\r\n"),
     LWS_FAULT_HTTP_SMUGGLE},
    {BYTES(GET HOST "Transfer-Encoding:\r\n\r\n"), LWS_FAULT_HTTP_SMUGGLE},
    {BYTES(GET HOST "Transfer-Encoding: ,\r\n\r\n"), LWS_FAULT_HTTP_SMUGGLE},
    {BYTES(GET HOST "Transfer-Encoding: gzip\r\n\r\n"), LWS_FAULT_HTTP_SMUGGLE},
    {BYTES(GET HOST "Transfer-Encoding: chunked, chunked\r\n\r\n"), LWS_FAULT_HTTP_SMUGGLE},
    {BYTES(GET HOST "Transfer-Encoding: chunked;a=b\r\n\r\n"), LWS_FAULT_HTTP_SMUGGLE},
    {BYTES(GET HOST "Transfer-Encoding: gzip chunked\r\n\r\n"), LWS_FAULT_HTTP_SMUGGLE},
    {BYTES(GET HOST "Transfer-Encoding: g@zip, chunked\r\n\r\n"), LWS_FAULT_HTTP_SMUGGLE},
    {BYTES(GET HOST "Transfer-Encoding: x;a=\"b, chunked\"\r\n\r\n"), LWS_FAULT_HTTP_SMUGGLE},
    {BYTES(GET HOST "Transfer-Encoding: gzip, chunked\r\nContent-Length: 5\r\n\r\n"),
     LWS_FAULT_HTTP_SMUGGLE},
    {BYTES("GET / HTTP/1.0\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), LWS_FAULT_HTTP_SMUGGLE},
    {BYTES(GET HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
     LWS_FAULT_HTTP_SMUGGLE},
    {BYTES("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), LWS_FAULT_HTTP_SMUGGLE},
    /* HTTP-16 */
    {BYTES(GET HOST "transfer-encoding:\tChunked \r\n\r\n18\r\nGET /x HTTP/1.1"),
     LWS_FAULT_HTTP_BODY_CHUNKED},
    {BYTES(GET HOST "Transfer-Encoding: gzip, chunked\r\n\r\n"), LWS_FAULT_HTTP_BODY_CHUNKED},
    {BYTES(GET HOST "Transfer-Encoding: x;a=b , ,CHUNKED,\r\n\r\n"), LWS_FAULT_HTTP_BODY_CHUNKED},
    /* HTTP-17 */
    {BYTES(GET HOST "Content-Length: 5\r\n\r\nhello"), LWS_FAULT_HTTP_BODY_REFUSED},
    {BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello"),
     LWS_FAULT_HTTP_BODY_REFUSED},
    {BYTES(GET HOST "Content-Length: 8\r\n\r\n"), LWS_FAULT_HTTP_BODY_REFUSED},
    {BYTES("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nExpect: 100-Continue\r\n\r\n"),
     LWS_FAULT_HTTP_BODY_REFUSED},
    {BYTES(GET HOST "Expect: 100-continue\r\n\r\n"), SERVED},
    {BYTES(GET HOST "Expect:\r\n\r\n"), SERVED},
    {BYTES(GET HOST "Expect: 100-continue, ,100-Continue\r\n\r\n"), SERVED},
    {BYTES(GET HOST "Expect: 100-continue, x\r\n\r\n"), LWS_FAULT_HTTP_EXPECT},
    {BYTES(GET HOST "Expect: x\r\n\r\n"), LWS_FAULT_HTTP_EXPECT},
    {BYTES(GET HOST "Content-Length: 5\r\nExpect: x\r\n\r\n"), LWS_FAULT_HTTP_EXPECT},
    {BYTES(GET HOST "Expect: 100-continue\r\nExpect: x\r\n\r\n"), LWS_FAULT_HTTP_EXPECT},
    /* HTTP-18 */
    {BYTES("HEAD / HTTP/1.1\r\n" HOST "\r\n"), SERVED},
    {BYTES("POST / HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_METHOD},
    {BYTES("PUT /x HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_METHOD},
    {BYTES("DELETE /x HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_METHOD},
    {BYTES("PATCH /x HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_METHOD},
    {BYTES("TRACE / HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_METHOD},
    {BYTES("CONNECT a:1 HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_METHOD},
    {BYTES("CONNECT a HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_METHOD},
    {BYTES("OPTIONS / HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_METHOD},
    {BYTES("FOO / HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_METHOD_UNKNOWN},
    {BYTES("get / HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_METHOD_UNKNOWN},
    {BYTES("GETT / HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_METHOD_UNKNOWN},
    {BYTES("FOO / HTTP/1.1\r\n" HOST "bad\r\n\r\n"), LWS_FAULT_HTTP_BAD_HEADER},
    /* HTTP-19 */
    {BYTES("GET / HTTP/1.2\r\n" HOST "\r\n"), SERVED},
    {BYTES("GET / HTTP/2.0\r\n" HOST "\r\n"), LWS_FAULT_HTTP_VERSION},
    {BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), LWS_FAULT_HTTP_VERSION},
    {BYTES("GET / HTTP/0.9\r\n" HOST "\r\n"), LWS_FAULT_HTTP_VERSION},
    {BYTES("GET / HTTP/1.1x\r\n" HOST "\r\n"), LWS_FAULT_HTTP_VERSION_SYNTAX},
    {BYTES("GET / HTTP/1.10\r\n" HOST "\r\n"), LWS_FAULT_HTTP_VERSION_SYNTAX},
    {BYTES("GET / http/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_VERSION_SYNTAX},
    {BYTES("GET / HTTP/1.\r\n" HOST "\r\n"), LWS_FAULT_HTTP_VERSION_SYNTAX},
    {BYTES("GET /\r\n" HOST "\r\n"), LWS_FAULT_HTTP_VERSION_SYNTAX},
    {BYTES("GET / \r\n" HOST "\r\n"), LWS_FAULT_HTTP_VERSION_SYNTAX},
    {BYTES("GET /  HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_VERSION_SYNTAX},
    {BYTES("GET  / HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_VERSION_SYNTAX},
    {BYTES("GET / HTTP/1.1 \r\n" HOST "\r\n"), LWS_FAULT_HTTP_VERSION_SYNTAX},
    /* HTTP-20 */
    {BYTES("GET  HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET x HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET /a b HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET /%zz HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET /%a HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET /% HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET /%00 HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET /%0d%0a%20 HTTP/1.1\r\n" HOST "\r\n"), SERVED},
    {BYTES("GET /%?a HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET /%4?1 HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET /a#b?c HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET /?discount=10% HTTP/1.1\r\n" HOST "\r\n"), SERVED},
    {BYTES("GET /?%&%zz=%00#% HTTP/1.1\r\n" HOST "\r\n"), SERVED},
    {BYTES("GET /?a\x80 HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET /?a\x7f HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET /?a\x1f HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET /?a b HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET ?a HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET /a#b HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET /\x80 HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET /\xff HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET /\t HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET /\x7f HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET /\0 HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET * HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET a:1 HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET ftp://h/ HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET http:///p HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET http:// HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET http://u@h/ HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET http://?q HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET http://?h/ HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET ws:// HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET ws:/h/ HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET wsx://h/ HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET ws://h/% HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_TARGET},
    {BYTES("GET http://h/p HTTP/1.1\r\n\r\n"), LWS_FAULT_HTTP_BAD_HOST},
    /* HTTP-23 */
    {BYTES("\x16\x03\x01\x02\x00\x01"), LWS_FAULT_HTTP_BAD_REQUEST_LINE},
    {BYTES("\x80\x2e\x01\x00\x02"), LWS_FAULT_HTTP_BAD_REQUEST_LINE},
    {BYTES("SSH-2.0-OpenSSH_9.2\r\n"), LWS_FAULT_HTTP_BAD_REQUEST_LINE},
    {BYTES("\0"), LWS_FAULT_HTTP_BAD_REQUEST_LINE},
    {BYTES(" GET / HTTP/1.1\r\n"), LWS_FAULT_HTTP_BAD_REQUEST_LINE},
    {BYTES("G(T / HTTP/1.1\r\n" HOST "\r\n"), LWS_FAULT_HTTP_BAD_REQUEST_LINE},
};

static void test_rows(void) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct lws_request request;
        int found = try_head(rows[i].text, rows[i].length, &default_limits, &request, rows[i].text);

        if (found != rows[i].expected) {
            fprintf(stderr, "found %d (%s)\n", found, lws_fault_event(found));
        }
        CHECK_NAMED(found == rows[i].expected, rows[i].text);
    }
}

static char head[HEAD_ROOM];

/* A head whose parts are filled up with a byte. */
static size_t filled(const char *before, size_t fill, char with, const char *after) {
    size_t length = strlen(before);

    memcpy(head, before, length);
    memset(head + length, with, fill);
    length += fill;
    memcpy(head + length, after, strlen(after));
    return length + strlen(after);
}

static int try_filled(const char *before, size_t fill, char with, const char *after) {
    struct lws_request request;

    return try_head(head, filled(before, fill, with, after), &default_limits, &request, before);
}

/* HTTP-01, -02, -04, -24: at the limit, and one over. */
static void test_lengths(void) {
    const char *end = " HTTP/1.1\r\n" HOST "\r\n";

    CHECK(try_filled("GET /", 8192 - 14, 'a', end) == SERVED);
    CHECK(try_filled("GET /", 8192 - 13, 'a', end) == LWS_FAULT_HTTP_LINE_TOO_LONG);
    CHECK(try_filled("GET /", 8192 - 5, 'a', "") == -1);
    CHECK(try_filled("GET /", 8192 - 4, 'a', "") == LWS_FAULT_HTTP_LINE_TOO_LONG);
    CHECK(try_filled("GET /", 8192 - 4, 'a', "\n") == LWS_FAULT_HTTP_LINE_TOO_LONG);
    CHECK(try_filled("GET /", 8192 - 5, 'a', "\n") == LWS_FAULT_HTTP_BAD_LINE_END);
    CHECK(try_filled("GET /", 4096, '%', end) == LWS_FAULT_HTTP_BAD_TARGET);
    CHECK(try_filled("", 8193, 'a', "") == LWS_FAULT_HTTP_LINE_TOO_LONG);

    CHECK(try_filled(GET HOST "A: ", 8191, 'a', "\r\n\r\n") == SERVED);
    CHECK(try_filled(GET HOST "A: ", 8192, 'a', "\r\n\r\n") == LWS_FAULT_HTTP_HEADER_TOO_LONG);
    CHECK(try_filled(GET HOST "A:   ", 8191, 'a', " \t\r\n\r\n") == SERVED);
    CHECK(try_filled(GET HOST, 8193, 'a', ": \r\n\r\n") == LWS_FAULT_HTTP_HEADER_TOO_LONG);
    CHECK(try_filled(GET HOST, 8192, 'a', ":\r\n\r\n") == SERVED);
    CHECK(try_filled(GET HOST "A: b", 16000, ' ', "\r\n\r\n") == SERVED);
    CHECK(try_filled(GET HOST "A: b", 16000, ' ', "c\r\n\r\n") == LWS_FAULT_HTTP_HEADER_TOO_LONG);
    CHECK(try_filled(GET HOST "A: ", 20000, 'a', "") == LWS_FAULT_HTTP_HEADER_TOO_LONG);
    CHECK(try_filled(GET HOST "A: ", 16000, 'a', "") == -1);

    /* The head's own limit: 16384 bytes in front of the empty line. */
    size_t start = strlen(GET HOST "A: \r\nB: \r\n") + 8191;
    for (int over = 0; over < 2; over++) {
        size_t length = filled(GET HOST "A: ", 8191, 'a', "\r\nB: ");
        size_t more = 16384 - start + (size_t)over;
        struct lws_request request;

        memset(head + length, 'b', more);
        memcpy(head + length + more, "\r\n\r\n", 5);
        CHECK(try_head(head, length + more + 4, &default_limits, &request, "max_head") ==
              (over ? LWS_FAULT_HTTP_HEADER_TOO_LONG : SERVED));
    }
}

/* HTTP-03 */
static void test_count(void) {
    static const struct {
        int fields, expected;
    } counts[] = {{0, SERVED},
                  {99, SERVED},
                  {100, LWS_FAULT_HTTP_TOO_MANY_HEADERS},
                  {2000, LWS_FAULT_HTTP_TOO_MANY_HEADERS}};

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct lws_request request;
        int length = snprintf(head, sizeof head, GET HOST);

        for (int field = 0; field < counts[i].fields; field++) {
            length +=
                snprintf(head + length, sizeof head - (size_t)length, "X%d: %d\r\n", field, field);
        }
        length += snprintf(head + length, sizeof head - (size_t)length, "\r\n");
        CHECK(try_head(head, (size_t)length, &default_limits, &request, "fields") ==
              counts[i].expected);
    }
}

/* Limits that meet each other, and limits at the end of their type. */
static void test_other_limits(void) {
    const char *text = "GET /abc HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n";
    size_t length = strlen(text);
    struct lws_request request;

    for (uint32_t line = 0; line < 40; line++) {
        for (uint32_t all = 0; all < 60; all++) {
            struct lws_head_limits limits = {line, line, 100, all};

            try_head(text, length, &limits, &request, "limits");
        }
    }
    struct lws_head_limits none = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};
    CHECK(try_head(text, length, &none, &request, "no limits") == SERVED);
    struct lws_head_limits fits = {17, 5, 2, 34};
    CHECK(try_head(text, length, &fits, &request, "fits") == SERVED);
    fits.head = 33;
    CHECK(try_head(text, length, &fits, &request, "head") == LWS_FAULT_HTTP_HEADER_TOO_LONG);
    fits = (struct lws_head_limits){17, 4, 2, 34};
    CHECK(try_head(text, length, &fits, &request, "field") == LWS_FAULT_HTTP_HEADER_TOO_LONG);
    fits = (struct lws_head_limits){17, 5, 1, 34};
    CHECK(try_head(text, length, &fits, &request, "count") == LWS_FAULT_HTTP_TOO_MANY_HEADERS);
}

/* HTTP-10, HTTP-11: each byte in a name, in a value and in a target. */
static void test_bytes(void) {
    static const char *separators = "\"(),/:;<=>?@[\\]{}";

    for (int byte = 0; byte < 256; byte++) {
        char text[128] = GET HOST "A: xxxxxxxxxxxxxxxxxxxxb\r\n\r\n", name[16];
        size_t length = strlen(text), value = strlen(GET HOST "A: xxxxxxxxx"),
               field = strlen(GET HOST);
        struct lws_request request;
        bool end = byte == '\r' || byte == '\n',
             control = (byte < 0x20 && byte != '\t') || byte == 0x7f;

        snprintf(name, sizeof name, "byte %02x", (unsigned)byte);
        text[value] = (char)byte;
        CHECK_NAMED(try_head(text, length, &default_limits, &request, name) ==
                        (end       ? LWS_FAULT_HTTP_BAD_LINE_END
                         : control ? LWS_FAULT_HTTP_BAD_HEADER
                                   : SERVED),
                    name);
        text[value] = 'x';
        text[field] = (char)byte;
        bool token = byte > 0x20 && byte < 0x7f && !strchr(separators, byte);
        CHECK_NAMED(try_head(text, length, &default_limits, &request, name) ==
                        (token                         ? SERVED
                         : end                         ? LWS_FAULT_HTTP_BAD_LINE_END
                         : byte == ' ' || byte == '\t' ? LWS_FAULT_HTTP_OBS_FOLD
                                                       : LWS_FAULT_HTTP_BAD_HEADER),
                    name);
        char target[] = "GET /axa HTTP/1.1\r\nHost: h\r\n\r\n";
        target[6] = (char)byte;
        CHECK_NAMED(try_head(target, sizeof target - 1, &default_limits, &request, name) ==
                        (end ? LWS_FAULT_HTTP_BAD_LINE_END
                         : byte <= 0x20 || byte >= 0x7f || byte == '#' || byte == '%'
                             ? LWS_FAULT_HTTP_BAD_TARGET
                             : SERVED),
                    name);
    }
}

/* Where the slices point. */
static void test_slices(void) {
    const char *text =
        "\r\nGET /p?q=1 HTTP/1.0\r\nHost:  h:80 \t\r\nX-A:\r\norigin:o\r\nx-a: \x80z\r\n"
        "Sec-WebSocket-Key1:  1 2 \r\nSec-WebSocket-Key2:34\r\n\r\n12345678";
    struct lws_request request;
    struct lws_slice name, value;
    uint32_t cursor = 0;

    CHECK(try_head(text, strlen(text), &default_limits, &request, "slices") == SERVED);
    CHECK(slice_is_text(text, request.method, "GET"));
    CHECK(slice_is_text(text, request.target, "/p?q=1") &&
          slice_is_text(text, request.uri, "/p?q=1"));
    CHECK(request.kind == LWS_METHOD_GET && request.minor == 0 && request.keep_alive == 0);
    CHECK(slice_is_text(text, request.field[LWS_FIELD_HOST], "h:80"));
    CHECK(slice_is_text(text, request.field[LWS_FIELD_ORIGIN], "o"));
    /* In the keys of hixie-76 spaces count. */
    CHECK(slice_is_text(text, request.field[LWS_FIELD_WS_KEY1], " 1 2 "));
    CHECK(slice_is_text(text, request.field[LWS_FIELD_WS_KEY2], "34"));
    CHECK(request.count[LWS_FIELD_HOST] == 1 && request.count[LWS_FIELD_UPGRADE] == 0);
    CHECK(request.field[LWS_FIELD_UPGRADE].offset == 0);
    CHECK(request.headers.offset == strlen("\r\nGET /p?q=1 HTTP/1.0\r\n"));
    CHECK(request.headers.offset + request.headers.length + 2 == strlen(text) - 8);

    const uint8_t *bytes = guard_end(text, strlen(text) - 10);
    CHECK(lws_head_field(bytes, &request, "X-a", 3, &cursor, &value));
    CHECK(value.length == 0 && value.offset != 0);
    CHECK(lws_head_field(bytes, &request, "x-A", 3, &cursor, &value));
    CHECK(slice_is_text(text, value, "\x80z"));
    CHECK(!lws_head_field(bytes, &request, "x-a", 3, &cursor, &value));
    cursor = 0;
    static const char *names[] = {
        "Host", "X-A", "origin", "x-a", "Sec-WebSocket-Key1", "Sec-WebSocket-Key2"};
    for (size_t i = 0; i < 6; i++) {
        CHECK(lws_head_next(bytes, &request, &cursor, &name, &value));
        CHECK_NAMED(slice_is_text(text, name, names[i]), names[i]);
    }
    CHECK(!lws_head_next(bytes, &request, &cursor, &name, &value));
    CHECK(!lws_head_next(bytes, &request, &cursor, &name, &value));
}

/* HTTP-20: the absolute form names the host. */
static void test_absolute(void) {
    static const char *forms[][3] = {
        {"http://a.b:81/p?q", "/p?q", "a.b:81"},
        {"https://a/", "/", "a"},
        {"HTTP://a", "/", "a"},
        {"http://[::1]:5/x", "/x", "[::1]:5"},
        {"ws://a:81/chat", "/chat", "a:81"},
        {"Wss://a/%41?%", "/%41?%", "a"},
        {"WS://a", "/", "a"},
        {"hTTps://a/?b/c", "/?b/c", "a"},
        {"http://a.org?hail=all", "?hail=all", "a.org"},
        {"wss://[::1]:5?", "?", "[::1]:5"},
        {"http://a?/b@c://d", "?/b@c://d", "a"},
        {"//h/p", "//h/p", "h"},
        {"/http://x", "/http://x", "h"},
        {"/?http://x", "/?http://x", "h"},
    };

    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        char text[128];
        struct lws_request request;
        int length = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", forms[i][0]);

        CHECK(try_head(text, (size_t)length, &default_limits, &request, forms[i][0]) == SERVED);
        CHECK_NAMED(slice_is_text(text, request.target, forms[i][0]), forms[i][0]);
        CHECK_NAMED(slice_is_text(text, request.uri, forms[i][1]), forms[i][0]);
        CHECK_NAMED(request.empty_path == (forms[i][1][0] == '?'), forms[i][0]);
        CHECK_NAMED(slice_is_text(text, request.field[LWS_FIELD_HOST], forms[i][2]), forms[i][0]);
    }
    const char *old = "GET http://a/p HTTP/1.0\r\n\r\n";
    struct lws_request request;
    CHECK(try_head(old, strlen(old), &default_limits, &request, old) == SERVED);
    CHECK(request.count[LWS_FIELD_HOST] == 1 &&
          slice_is_text(old, request.field[LWS_FIELD_HOST], "a"));
}

static void test_keep_alive(void) {
    static const struct {
        const char *text;
        int keep_alive;
    } cases[] = {
        {GET HOST "\r\n", 1},
        {GET HOST "Connection: close\r\n\r\n", 0},
        {GET HOST "Connection: a, Close ,b\r\n\r\n", 0},
        {GET HOST "Connection: a\r\nConnection: close\r\n\r\n", 0},
        {GET HOST "Connection: closed\r\n\r\n", 1},
        {"GET / HTTP/1.0\r\n\r\n", 0},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 1},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lws_request request;

        CHECK(try_head(cases[i].text, strlen(cases[i].text), &default_limits, &request, "") ==
              SERVED);
        CHECK_NAMED(request.keep_alive == cases[i].keep_alive, cases[i].text);
    }
}

static bool has(const char *list, const char *token) {
    return lws_list_has_token(guard_end(list, strlen(list)), strlen(list), token);
}

static void test_list_members(void) {
    static const char list[] = ", a ,,\tb c\t,\t, d";
    static const char *members[] = {"a", "b c", "d"};
    const uint8_t *bytes = guard_end(list, sizeof list - 1);
    struct lws_slice member;
    size_t cursor = 0;

    for (size_t i = 0; i < 3; i++) {
        CHECK(lws_list_next(bytes, sizeof list - 1, &cursor, &member));
        CHECK_NAMED(slice_is_text(list, member, members[i]), members[i]);
    }
    CHECK(!lws_list_next(bytes, sizeof list - 1, &cursor, &member));
    CHECK(!lws_list_next(bytes, sizeof list - 1, &cursor, &member));
    cursor = 0;
    CHECK(!lws_list_next(guard_end(",, ,", 4), 4, &cursor, &member));
}

static void test_lists(void) {
    CHECK(has("upgrade", "upgrade") && has("Upgrade", "upgrade") && has("upgrade", "UPGRADE"));
    CHECK(has("a,upgrade", "upgrade") && has(" , a ,\tupgrade\t, b", "upgrade"));
    CHECK(!has("", "upgrade") && !has("upgrades", "upgrade") && !has("upgrad", "upgrade"));
    CHECK(!has("a upgrade", "upgrade") && !has(",,,", "upgrade") && !has("upgrade;q", "upgrade"));
}

/* What the log shows of a head that is not acceptable: method and target as far as they are there.
 */
static void test_glimpses(void) {
    static const struct {
        const char *text, *method, *target;
    } heads[] = {
        {"OPTIONS / HTTP/1.1\r\n" HOST "\r\n", "OPTIONS", "/"},
        {"GET /a b HTTP/1.1\r\n", "GET", "/a b"},
        {"GET /a HTTP/1.1", "GET", "/a"},
        {"GET /a HTTP/1.1\n", "GET", "/a"},
        {"GET /a", "GET", "/a"},
        {"GET ", "GET", ""},
        {"GET", "", ""},
        {" GET", "", ""},
        {"", "", ""},
        {"HEAD /long HTTP/1.1\r\nA: b\nC", "HEAD", "/long"},
        {"\r\n\r\nPOST http://h/x?y HTTP/2.0\r\n\r\n", "POST", "http://h/x?y"},
        {"rubbish\r\n\r\n", "", ""},
    };
    struct lws_head_limits tight = {.request_line = 4, .header_line = 4, .headers = 0, .head = 8};

    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        const char *text = heads[i].text;
        struct lws_request request;

        for (unsigned limits = 0; limits < 2; limits++) {
            CHECK_NAMED(lws_head_parse(guard_end(text, strlen(text)), strlen(text),
                                       limits ? &tight : &default_limits, &request) < 0,
                        text);
            CHECK_NAMED(slice_is_text(text, request.method, heads[i].method), text);
            CHECK_NAMED(slice_is_text(text, request.target, heads[i].target), text);
            CHECK_NAMED((request.kind == LWS_METHOD_HEAD) == (strstr(text, "HEAD") != NULL), text);
        }
    }
}

/* HTTP-22: a refusal of HEAD has no body, and the parser says so. */
static void test_refused_head(void) {
    const char *text = "HEAD /%zz HTTP/1.1\r\n" HOST "\r\n";
    struct lws_request request;

    CHECK(try_head(text, strlen(text), &default_limits, &request, text) ==
          LWS_FAULT_HTTP_BAD_TARGET);
    CHECK(request.kind == LWS_METHOD_HEAD);
}

/* HTTP-23, and heads with a few wrong bytes: any answer, but the same for each cut, and no byte too
 * far. */
static void test_random(void) {
    static const char *bits[] = {"GET ",
                                 "/ ",
                                 "HTTP/1.1",
                                 "\r\n",
                                 "Host: h\r\n",
                                 "\r",
                                 "\n",
                                 " ",
                                 ":",
                                 "\r\n\r\n",
                                 "Content-Length: 8\r\n",
                                 "Upgrade: websocket\r\n",
                                 "%41",
                                 "Connection: a,\t\r\n"};
    uint64_t seed = 5;

    for (unsigned round = 0; round < 3000; round++) {
        char text[400];
        size_t length = 0;
        struct lws_request request;

        if (round % 2) {
            length = (size_t)snprintf(text, sizeof text, GET HOST "A: %x\r\nB: c\r\n\r\n", round);
        }
        while (round % 2 == 0 && length < 120) {
            const char *bit = bits[check_random(&seed) % (sizeof bits / sizeof bits[0])];

            if (check_random(&seed) % 16 == 0) {
                text[length++] = (char)check_random(&seed);
            }
            memcpy(text + length, bit, strlen(bit));
            length += strlen(bit);
        }
        for (unsigned i = 0; round % 2 && i < 1 + round % 3; i++) {
            text[check_random(&seed) % length] = (char)check_random(&seed);
        }
        try_head(text, length, &default_limits, &request, "random");
        /* The parser must hold its own against what no scan has seen. */
        lws_head_parse(guard_end(text, length), length, &default_limits, &request);
        if (lws_head_parse(guard_begin(text, length), length, &default_limits, &request) == 0) {
            lws_handshake_check(guard_end(text, length), 76, &request);
        }
    }
}

int main(void) {
    test_rows();
    test_lengths();
    test_count();
    test_other_limits();
    test_bytes();
    test_slices();
    test_absolute();
    test_keep_alive();
    test_list_members();
    test_lists();
    test_glimpses();
    test_refused_head();
    test_random();
    return check_report();
}
