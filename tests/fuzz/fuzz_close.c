/*
 * A Close's payload, read and written: what is accepted is what RFC 6455, section 7.4, allows; what
 * is written is read back; a reason is cut at the end of a code point.
 */
#include "fuzz.h"

static bool allowed(unsigned code) {
    switch (code) {
    case 1000:
    case 1001:
    case 1002:
    case 1003:
    case 1007:
    case 1008:
    case 1009:
    case 1010:
    case 1011:
    case 1012:
    case 1013:
    case 1014:
        return true;
    default:
        return code >= 3000 && code < 5000;
    }
}

static bool is_utf8(const uint8_t *text, size_t length) {
    return lws_utf8_plain(LWS_UTF8_COMPLETE, text, length) == LWS_UTF8_COMPLETE;
}

static void try_decode(const uint8_t *bytes, size_t size) {
    uint8_t *payload = exact_copy(bytes, size);
    struct lws_close close = {1, 2, 3};
    int fault = lws_close_decode(payload, size, &close);
    unsigned code = size >= 2 ? (unsigned)bytes[0] * 256u + bytes[1] : 0;

    if (size == 0) {
        REQUIRE(fault == 0 && close.code == 1005 && close.reason_length == 0);
    } else if (size == 1 || size > 125 || !allowed(code)) {
        REQUIRE(fault == -LWS_FAULT_WS_CLOSE_CODE);
    } else if (!is_utf8(bytes + 2, size - 2)) {
        REQUIRE(fault == -LWS_FAULT_WS_UTF8);
    } else {
        REQUIRE(fault == 0 && close.code == code && close.reason_offset == 2 &&
                close.reason_length == size - 2);
    }
    REQUIRE(memcmp(payload, bytes, size) == 0);
    free(payload);
}

static void try_encode(unsigned code, const uint8_t *bytes, size_t size) {
    uint8_t *reason = size ? exact_copy(bytes, size) : NULL;
    uint8_t *out = malloc(125);
    int length = lws_close_encode(out, code, reason, size);
    struct lws_close close;

    REQUIRE(lws_close_code_valid(code) == allowed(code));
    if (!allowed(code)) {
        REQUIRE(length == -LWS_FAULT_WS_CLOSE_CODE);
    } else if (!is_utf8(bytes, size)) {
        REQUIRE(length == -LWS_FAULT_WS_UTF8);
    } else {
        size_t kept;

        REQUIRE(length >= 2 && length <= 125);
        kept = (size_t)length - 2;
        REQUIRE(lws_close_decode(out, (size_t)length, &close) == 0 && close.code == code);
        REQUIRE(kept <= size && memcmp(out + 2, bytes, kept) == 0);
        /* No more is cut off than the code point that did not fit. */
        REQUIRE(kept == size || (kept > 119 && kept <= 123));
        REQUIRE(size > 123 || kept == size);
    }
    free(reason);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, size};
    unsigned code;

    try_decode(data, size);
    code = take16(&input);
    try_encode(code, input.at, input.left);
    try_encode(code | (unsigned)take8(&input) << 16, input.at, input.left);
    return 0;
}
