/* The PROXY protocol: every form, every cut, and what is none. */
#include "check.h"
#include "service/service.h"

#include <string.h>
#include <sys/socket.h>

/* Decodes from memory that ends where the bytes do. */
static ptrdiff_t decode(const void *bytes, size_t length, struct lws_address *source) {
    return lws_proxy_decode(guard_end(bytes, length), length, source);
}

/* Whole, and with bytes behind it; every shorter piece asks for more. */
static void accepted(const void *bytes, size_t length, int family, const char *address,
                     size_t address_length, unsigned port) {
    struct lws_address source;
    static uint8_t longer[70000];
    size_t step = length > 5000 ? 997 : 1;

    for (size_t cut = 0; cut < length; cut += step) {
        CHECK(decode(bytes, cut, &source) == 0);
    }
    memcpy(longer, bytes, length);
    memcpy(longer + length, "GET / HTTP/1.1\r\n", 16);
    CHECK(decode(bytes, length, &source) == (ptrdiff_t)length);
    CHECK(decode(longer, length + 16, &source) == (ptrdiff_t)length);
    CHECK(source.family == family);
    CHECK(source.port == port);
    CHECK(memcmp(source.bytes, address, address_length) == 0);
}

static void refused(const void *bytes, size_t length) {
    struct lws_address source;

    CHECK(decode(bytes, length, &source) == -LWS_FAULT_PROXY_HEADER);
}

static void text_accepted(const char *text, int family, const char *address, size_t length,
                          unsigned port) {
    accepted(text, strlen(text), family, address, length, port);
}

static void text_refused(const char *text) {
    refused(text, strlen(text));
}

static void test_version1(void) {
    text_accepted("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", AF_INET, "\xc0\x00\x02\x01", 4,
                  56324);
    text_accepted("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", AF_INET,
                  "\xff\xff\xff\xff", 4, 65535);
    text_accepted("PROXY TCP6 2001:db8::1 ::1 0 1\r\n", AF_INET6,
                  "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16, 0);
    text_accepted("PROXY UNKNOWN\r\n", 0, "", 0, 0);
    text_accepted("PROXY UNKNOWN ffff::1 whatever there is 1 2\r\n", 0, "", 0, 0);

    text_refused("GET / HTTP/1.1\r\n");
    text_refused("proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n");
    text_refused("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n");
    text_refused("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n");
    text_refused("PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n");
    text_refused("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n");
    text_refused("PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n");
    text_refused("PROXY TCP4 192.0.2.256 198.51.100.2 1 2\r\n");
    text_refused("PROXY TCP4 ::1 ::1 1 2\r\n");
    text_refused("PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n");
    text_refused("PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n");
    text_refused("PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n");
    text_refused("PROXY TCP4 192.0.2.1 198.51.100.2 -1 2\r\n");
    text_refused("PROXY TCP4 192.0.2.1 198.51.100.2 1 99999999999999999999\r\n");
    text_refused("PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n");
    static const char with_nul[] = "PROXY TCP4 192.0.2.1\0 198.51.100.2 1 2\r\n";

    refused(with_nul, sizeof with_nul - 1);
    text_refused("PROXY \r\n");
    text_refused("PROXY\r\n");

    /* 107 bytes are the most; one more without an end is too many. */
    char longest[200] = "PROXY UNKNOWN ";

    memset(longest + 14, 'x', 150);
    memcpy(longest + 105, "\r\n", 2);
    accepted(longest, 107, 0, "", 0, 0);
    memset(longest + 105, 'x', 2);
    refused(longest, 107);
}

static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static size_t version2(uint8_t *out, unsigned command, unsigned family, const void *addresses,
                       size_t length) {
    memcpy(out, signature, 12);
    out[12] = (uint8_t)command;
    out[13] = (uint8_t)family;
    out[14] = (uint8_t)(length >> 8);
    out[15] = (uint8_t)length;
    memcpy(out + 16, addresses, length);
    return 16 + length;
}

static void test_version2(void) {
    static uint8_t header[70000], addresses[66000];

    memcpy(addresses, "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb", 12);
    accepted(header, version2(header, 0x21, 0x11, addresses, 12), AF_INET, "\xc0\x00\x02\x01", 4,
             56324);
    /* Further fields are skipped, as many as there may be: certificates, a cloud's own. */
    accepted(header, version2(header, 0x21, 0x11, addresses, 4081), AF_INET, "\xc0\x00\x02\x01", 4,
             56324);
    accepted(header, version2(header, 0x21, 0x11, addresses, 65535), AF_INET, "\xc0\x00\x02\x01", 4,
             56324);
    CHECK(version2(header, 0x20, 0x00, addresses, 65535) == LWS_PROXY_MAX);
    accepted(header, LWS_PROXY_MAX, 0, "", 0, 0);
    refused(header, version2(header, 0x21, 0x11, addresses, 11));
    accepted(header, version2(header, 0x20, 0x11, addresses, 12), 0, "", 0, 0); /* LOCAL */
    accepted(header, version2(header, 0x20, 0x00, addresses, 0), 0, "", 0, 0);
    accepted(header, version2(header, 0x21, 0x00, addresses, 0), 0, "", 0, 0);
    accepted(header, version2(header, 0x21, 0x12, addresses, 12), 0, "", 0, 0);  /* UDP */
    accepted(header, version2(header, 0x21, 0x31, addresses, 216), 0, "", 0, 0); /* Unix */
    refused(header, version2(header, 0x22, 0x11, addresses, 12));
    refused(header, version2(header, 0x11, 0x11, addresses, 12));
    refused(header, version2(header, 0x31, 0x11, addresses, 12));

    memset(addresses, 0, 36);
    memcpy(addresses, "\x20\x01\x0d\xb8", 4);
    addresses[15] = 1;
    addresses[32] = 0x1f;
    addresses[33] = 0x90;
    accepted(header, version2(header, 0x21, 0x21, addresses, 36), AF_INET6,
             "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16, 8080);
    refused(header, version2(header, 0x21, 0x21, addresses, 35));
}

/* One byte changed: the outcome may differ, nothing is read beyond what is there. */
static void test_damaged(void) {
    static const char text[] = "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n";
    struct lws_address source;
    uint8_t header[64];
    size_t size =
        version2(header, 0x21, 0x11, "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb", 12);

    for (size_t at = 0; at < sizeof text - 1; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            char damaged[sizeof text];

            memcpy(damaged, text, sizeof text);
            damaged[at] = (char)byte;

            ptrdiff_t result = decode(damaged, sizeof text - 1, &source);

            CHECK(result == -LWS_FAULT_PROXY_HEADER || result == 0 ||
                  result == (ptrdiff_t)sizeof text - 1);
        }
    }
    for (size_t at = 0; at < size; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            uint8_t damaged[64];

            memcpy(damaged, header, size);
            damaged[at] = (uint8_t)byte;

            ptrdiff_t result = decode(damaged, size, &source);

            CHECK(result <= (ptrdiff_t)size);
        }
    }
}

int main(void) {
    test_version1();
    test_version2();
    test_damaged();
    return check_report();
}
