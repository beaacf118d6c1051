/* Base64 with padding (RFC 4648, section 4). */
#include "codec.h"

size_t lws_base64_encode(const uint8_t *data, size_t len, char *out, size_t room) {
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t groups = len / 3 + (len % 3 != 0);

    if (groups > room / 4) {
        return 0;
    }
    for (size_t i = 0; i < groups; i++, out += 4) {
        size_t left = len - 3 * i;
        const uint8_t *from = data + 3 * i;
        uint32_t bits = (uint32_t)from[0] << 16;

        if (left > 1) {
            bits |= (uint32_t)from[1] << 8;
        }
        if (left > 2) {
            bits |= from[2];
        }
        out[0] = alphabet[bits >> 18];
        out[1] = alphabet[bits >> 12 & 63];
        out[2] = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        out[3] = left > 2 ? alphabet[bits & 63] : '=';
    }
    return 4 * groups;
}

/* The six bits that a character encodes, or 64 for one outside the alphabet. */
static uint32_t base64_value(char character) {
    if (character >= 'A' && character <= 'Z') {
        return (uint32_t)(character - 'A');
    }
    if (character >= 'a' && character <= 'z') {
        return (uint32_t)(character - 'a') + 26;
    }
    if (character >= '0' && character <= '9') {
        return (uint32_t)(character - '0') + 52;
    }
    return character == '+' ? 62 : character == '/' ? 63 : 64;
}

ptrdiff_t lws_base64_decode(const char *text, size_t len, uint8_t *out, size_t room) {
    size_t padding = 0, size;

    if (len % 4 != 0) {
        return -1;
    }
    if (len == 0) {
        return 0;
    }
    if (text[len - 1] == '=') {
        padding = text[len - 2] == '=' ? 2 : 1;
    }
    size = len / 4 * 3 - padding;
    if (size > room || size > PTRDIFF_MAX) {
        return -1;
    }

    for (size_t i = 0, written = 0; i < len; i += 4) {
        uint32_t bits = 0;
        size_t present = i + 4 == len ? 4 - padding : 4;

        for (size_t j = 0; j < 4; j++) {
            uint32_t value = j < present ? base64_value(text[i + j]) : 0;

            if (value > 63) {
                return -1;
            }
            bits = bits << 6 | value;
        }
        /* Bits that belong to no byte are dropped: the example key of RFC 6455 has them set. */
        for (size_t j = 0; j + 1 < present; j++) {
            out[written++] = (uint8_t)(bits >> (16 - 8 * j));
        }
    }
    return (ptrdiff_t)size;
}
