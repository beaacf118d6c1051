/*
 * Masking: any place, length, key and phase, whole and cut once, against a loop of our own; nothing
 * beside the data is touched; twice is not at all.
 */
#include "fuzz.h"

#define EDGE 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, size};
    uint32_t shift = take8(&input) & 63u, phase = take32(&input), cut = take16(&input);
    uint32_t times = take8(&input) & 31u;
    uint8_t key[4] = {take8(&input), take8(&input), take8(&input), take8(&input)};
    size_t length = input.left * (times + 1); /* long ones from short inputs */
    uint8_t *room = malloc(shift + length + 2 * (size_t)EDGE);
    uint8_t *wanted = malloc(length + 1);
    uint8_t *bytes;

    REQUIRE(room && wanted);
    memset(room, 0xa5, shift + length + 2 * (size_t)EDGE);
    bytes = room + EDGE + shift;
    for (size_t i = 0; i < length; i++) {
        bytes[i] = input.at[i % input.left];
        wanted[i] = bytes[i] ^ key[(i % 4 + phase % 4) % 4];
    }
    lws_mask(bytes, length, key, phase);
    REQUIRE(memcmp(bytes, wanted, length) == 0);
    lws_mask_plain(bytes, length, key, phase);
    for (size_t i = 0; i < length; i++) {
        REQUIRE(bytes[i] == input.at[i % input.left]);
    }

    cut = length ? cut % (uint32_t)(length + 1) : 0;
    lws_mask(bytes + cut, length - cut, key, (size_t)phase + cut);
    lws_mask(bytes, cut, key, phase);
    REQUIRE(memcmp(bytes, wanted, length) == 0);
    for (size_t i = 0; i < EDGE + shift; i++) {
        REQUIRE(room[i] == 0xa5);
    }
    for (size_t i = 0; i < EDGE; i++) {
        REQUIRE(bytes[length + i] == 0xa5);
    }

    /* At the very end of its memory, where the sanitizer watches. */
    if (length) {
        uint8_t *tight = exact_copy(bytes, length);

        lws_mask(tight, length, key, phase);
        lws_mask_plain(bytes, length, key, phase);
        REQUIRE(memcmp(tight, bytes, length) == 0);
        free(tight);
    }
    free(room);
    free(wanted);
    return 0;
}
