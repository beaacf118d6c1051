/*
 * UTF-8: the wide validator, the plain one and a decoder of code points of our own agree on every
 * text, however it is cut. The first byte says where the cuts are, the second how far the text lies
 * from an aligned address.
 */
#include "fuzz.h"

/*
 * What RFC 3629 says, by decoding: the number of bytes of the first code point, 0 if text ends
 * inside one, -1 if nothing that follows could make it one.
 */
static int code_point(const uint8_t *text, size_t length) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = text[0];
    int size = first < 0x80 ? 1 : first < 0xc0 ? -1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t low, high;

    if (size < 0 || first > 0xf7) {
        return -1;
    }
    if (size == 1) {
        return 1;
    }
    low = high = first & (0xffu >> (size + 1));
    /* The range of what the bytes that are there can still become. */
    for (int i = 1; i < size; i++) {
        if ((size_t)i < length) {
            if ((text[i] & 0xc0) != 0x80) {
                return -1;
            }
            low = low << 6 | (text[i] & 0x3f);
            high = high << 6 | (text[i] & 0x3f);
        } else {
            low <<= 6;
            high = high << 6 | 0x3f;
        }
    }
    if (high < least[size] || low > 0x10ffff || (low >= 0xd800 && high <= 0xdfff)) {
        return -1;
    }
    return (size_t)size <= length ? size : 0;
}

enum verdict { COMPLETE, OPEN, INVALID };

static enum verdict reference(const uint8_t *text, size_t length) {
    while (length) {
        int size = code_point(text, length);

        if (size <= 0) {
            return size ? INVALID : OPEN;
        }
        text += size;
        length -= (size_t)size;
    }
    return COMPLETE;
}

static enum verdict verdict_of(uint32_t state) {
    return state == LWS_UTF8_COMPLETE ? COMPLETE : state == LWS_UTF8_INVALID ? INVALID : OPEN;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, size};
    uint32_t cuts = take8(&input), shift = take8(&input) & 63u;
    size_t length = input.left;
    enum verdict wanted = reference(input.at, length);
    uint8_t *room = malloc(shift + length + 1);
    uint32_t wide = LWS_UTF8_COMPLETE, plain = LWS_UTF8_COMPLETE, swapped = LWS_UTF8_COMPLETE;
    uint8_t *text;
    unsigned pieces = 0;

    REQUIRE(room != NULL);
    text = room + shift + 1; /* the text ends where the memory does */
    if (length) {
        memcpy(text, input.at, length);
    }
    REQUIRE(verdict_of(lws_utf8(LWS_UTF8_COMPLETE, text, length)) == wanted);
    REQUIRE(lws_utf8_plain(LWS_UTF8_COMPLETE, text, length) ==
            lws_utf8(LWS_UTF8_COMPLETE, text, length));

    for (size_t at = 0; at < length;) {
        size_t step = cuts ? (cuts * 37u * (uint32_t)(at + 1) >> 3) % (cuts + 1u) : 1;

        step = step < length - at ? step : length - at;
        wide = lws_utf8(wide, text + at, step);
        plain = lws_utf8_plain(plain, text + at, step);
        /* A state of one is a state of the other. */
        swapped = pieces++ & 1 ? lws_utf8(swapped, text + at, step)
                               : lws_utf8_plain(swapped, text + at, step);
        REQUIRE(wide == plain && wide == swapped);
        REQUIRE(verdict_of(wide) == reference(text, at + step));
        at += step ? step : 1;
        if (step == 0) {
            wide = lws_utf8(wide, text + at - 1, 1);
            plain = lws_utf8_plain(plain, text + at - 1, 1);
            swapped = lws_utf8(swapped, text + at - 1, 1);
        }
        if (length > 4096 && pieces > 64) {
            break; /* the reference starts anew each time */
        }
    }
    free(room);
    return 0;
}
