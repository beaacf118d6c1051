/*
 * The PROXY protocol, versions 1 and 2: the header, before all other bytes, in which a proxy names
 * its client. Written from "The PROXY protocol", HAProxy Technologies, sections 2.1 and 2.2.
 */
#include "codec.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#define VERSION1_MAX 107u    /* bytes with CR LF (section 2.1) */
#define VERSION2_HEADER 16u  /* bytes before the addresses */
#define VERSION2_COMMANDS 2u /* LOCAL, PROXY */

static const uint8_t signature1[] = {'P', 'R', 'O', 'X', 'Y', ' '};
static const uint8_t signature2[] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                     0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

/* Whether the len bytes that are there match the signature as far as they go. */
static bool matches(const uint8_t *data, size_t len, const uint8_t *signature, size_t size) {
    return memcmp(data, signature, len < size ? len : size) == 0;
}

/* ---- version 1: a line of text -------------------------------------------------------------- */

/* Copies the next word, which one space or the end of the line ends. Returns false if none. */
static bool next_word(const uint8_t **at, const uint8_t *end, char *word, size_t room) {
    size_t length = 0;

    while (*at < end && **at != ' ') {
        if (length + 1 == room || **at <= ' ' || **at > '~') {
            return false;
        }
        word[length++] = (char)*(*at)++;
    }
    word[length] = '\0';
    if (*at < end) {
        (*at)++;
        if (*at == end) {
            return false; /* a space at the end of the line */
        }
    }
    return length > 0;
}

/* Reads 0 to 65535, in decimal, without leading zeros. Returns whether it is one. */
static bool parse_port(const char *text, uint16_t *port) {
    unsigned value = 0;
    size_t length = strlen(text);

    if (length == 0 || length > 5 || (length > 1 && text[0] == '0')) {
        return false;
    }
    for (; *text; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        value = 10 * value + (unsigned)(*text - '0');
    }
    *port = (uint16_t)value;
    return value <= 65535;
}

/* Reads "PROXY TCP4 source destination source-port destination-port", without the line end. */
static bool parse_line(const uint8_t *line, size_t length, struct lws_address *source) {
    const uint8_t *at = line + sizeof signature1;
    const uint8_t *end = line + length;
    char word[INET6_ADDRSTRLEN];
    uint8_t destination[16];
    uint16_t port;
    int family;

    if (!next_word(&at, end, word, sizeof word)) {
        return false;
    }
    if (strcmp(word, "UNKNOWN") == 0) {
        return true; /* the rest of the line is to be ignored */
    }
    if (strcmp(word, "TCP4") == 0) {
        family = AF_INET;
    } else if (strcmp(word, "TCP6") == 0) {
        family = AF_INET6;
    } else {
        return false;
    }
    if (!next_word(&at, end, word, sizeof word) || inet_pton(family, word, source->bytes) != 1 ||
        !next_word(&at, end, word, sizeof word) || inet_pton(family, word, destination) != 1 ||
        !next_word(&at, end, word, sizeof word) || !parse_port(word, &source->port) ||
        !next_word(&at, end, word, sizeof word) || !parse_port(word, &port) || at != end) {
        return false;
    }
    source->family = (uint16_t)family;
    return true;
}

static ptrdiff_t decode1(const uint8_t *data, size_t len, struct lws_address *source) {
    size_t seen = len < VERSION1_MAX ? len : VERSION1_MAX;
    const uint8_t *line_feed = memchr(data, '\n', seen);

    if (!line_feed) {
        return len < VERSION1_MAX ? 0 : -LWS_FAULT_PROXY_HEADER;
    }

    size_t length = (size_t)(line_feed - data);

    if (length <= sizeof signature1 || data[length - 1] != '\r' ||
        !parse_line(data, length - 1, source)) {
        return -LWS_FAULT_PROXY_HEADER;
    }
    return (ptrdiff_t)length + 1;
}

/* ---- version 2: binary ---------------------------------------------------------------------- */

static ptrdiff_t decode2(const uint8_t *data, size_t len, struct lws_address *source) {
    if (len > 12 && (data[12] & 0xf0) != 0x20) {
        return -LWS_FAULT_PROXY_HEADER;
    }
    if (len > 12 && (data[12] & 0x0f) >= VERSION2_COMMANDS) {
        return -LWS_FAULT_PROXY_HEADER;
    }
    if (len < VERSION2_HEADER) {
        return 0;
    }

    size_t length = (size_t)data[14] << 8 | data[15];
    const uint8_t *addresses = data + VERSION2_HEADER;

    if (len < VERSION2_HEADER + length) {
        return 0;
    }
    if ((data[12] & 0x0f) == 1) {
        switch (data[13]) {
        case 0x11: /* TCP over IPv4: both addresses, both ports */
            if (length < 12) {
                return -LWS_FAULT_PROXY_HEADER;
            }
            source->family = AF_INET;
            memcpy(source->bytes, addresses, 4);
            source->port = (uint16_t)(addresses[8] << 8 | addresses[9]);
            break;
        case 0x21: /* TCP over IPv6 */
            if (length < 36) {
                return -LWS_FAULT_PROXY_HEADER;
            }
            source->family = AF_INET6;
            memcpy(source->bytes, addresses, 16);
            source->port = (uint16_t)(addresses[32] << 8 | addresses[33]);
            break;
        default: /* not TCP over IP: no address that we could use */
            break;
        }
    }
    return (ptrdiff_t)(VERSION2_HEADER + length);
}

ptrdiff_t lws_proxy_decode(const uint8_t *data, size_t len, struct lws_address *source) {
    memset(source, 0, sizeof *source);
    if (matches(data, len, signature1, sizeof signature1)) {
        return len < sizeof signature1 ? 0 : decode1(data, len, source);
    }
    if (matches(data, len, signature2, sizeof signature2)) {
        return len < sizeof signature2 ? 0 : decode2(data, len, source);
    }
    return -LWS_FAULT_PROXY_HEADER;
}
