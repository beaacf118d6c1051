/*
 * A header of the PROXY protocol, cut at each byte: what its bytes say does not depend on those
 * that have not come, and once said it stays said.
 */
#include "fuzz.h"

#include <arpa/inet.h>

/* A header of version 1 that was accepted, read again by other means. */
static void check_text(const uint8_t *bytes, size_t size, const struct lws_address *source) {
    char line[108] = {0}, family[8] = "", from[64] = "", to[64] = "", end = 0;
    uint8_t address[16] = {0};
    unsigned port = 0, other = 0;
    int version;

    REQUIRE(size <= 107 && memcmp(bytes + size - 2, "\r\n", 2) == 0);
    memcpy(line, bytes, size);
    if (memcmp(line, "PROXY UNKNOWN", 13) == 0) {
        REQUIRE(source->family == 0);
        return;
    }
    REQUIRE(sscanf(line, "PROXY %7s %63s %63s %5u %5u%c", family, from, to, &port, &other, &end) ==
            6);
    version = strcmp(family, "TCP4") == 0 ? AF_INET : AF_INET6;
    REQUIRE(end == '\r' && (version == AF_INET || strcmp(family, "TCP6") == 0));
    REQUIRE(source->family == version && source->port == port && other <= 65535);
    REQUIRE(inet_pton(version, from, address) == 1);
    REQUIRE(memcmp(address, source->bytes, version == AF_INET ? 4 : 16) == 0);
    REQUIRE(inet_pton(version, to, address) == 1);
}

/* And one of version 2. */
static void check_binary(const uint8_t *bytes, size_t size, const struct lws_address *source) {
    static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";
    bool local = (bytes[12] & 15) == 0;

    REQUIRE(memcmp(bytes, signature, 12) == 0 && bytes[12] >> 4 == 2);
    REQUIRE(size == 16u + ((size_t)bytes[14] << 8 | bytes[15]) && size <= LWS_PROXY_MAX);
    if (local || source->family == 0 || source->family == AF_UNIX) {
        return;
    }
    if (source->family == AF_INET) {
        REQUIRE(bytes[13] >> 4 == 1 && size >= 28 && memcmp(source->bytes, bytes + 16, 4) == 0);
        REQUIRE(source->port == (bytes[24] << 8 | bytes[25]));
    } else {
        REQUIRE(source->family == AF_INET6 && bytes[13] >> 4 == 2 && size >= 52);
        REQUIRE(memcmp(source->bytes, bytes + 16, 16) == 0);
        REQUIRE(source->port == (bytes[48] << 8 | bytes[49]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct lws_address source = {0}, whole = {0};
    ptrdiff_t outcome = lws_proxy_decode(data, size, &whole);
    size_t step = size > 256 ? size / 64 : 1;

    REQUIRE(outcome >= -LWS_FAULT_PROXY_HEADER && outcome <= (ptrdiff_t)size);
    REQUIRE(outcome >= 0 || outcome == -LWS_FAULT_PROXY_HEADER);
    for (size_t have = 0; have < size; have += step) {
        uint8_t *copy = exact_copy(data, have);
        ptrdiff_t found = lws_proxy_decode(copy, have, &source);

        REQUIRE(found == 0 || found == outcome);
        REQUIRE(outcome <= 0 || found == ((ptrdiff_t)have >= outcome ? outcome : 0));
        free(copy);
    }
    if (outcome > 0) {
        uint8_t *copy = exact_copy(data, (size_t)outcome);

        source = (struct lws_address){0};
        REQUIRE(lws_proxy_decode(copy, (size_t)outcome, &source) == outcome);
        REQUIRE(memcmp(&source, &whole, sizeof source) == 0);
        if (copy[0] == 'P') {
            check_text(copy, (size_t)outcome, &source);
        } else {
            check_binary(copy, (size_t)outcome, &source);
        }
        free(copy);
    }
    return 0;
}
