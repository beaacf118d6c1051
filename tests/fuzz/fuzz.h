/* What the targets share: the entry, an input read from its front, and a claim that must hold. */
#ifndef FUZZ_H
#define FUZZ_H

#include "service/service.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Holds in every build, and says where it did not. */
#define REQUIRE(claim)                                                                             \
    do {                                                                                           \
        if (!(claim)) {                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #claim);                    \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The bytes of an input that are not used up yet. */
struct input {
    const uint8_t *at;
    size_t left;
};

/* The next byte, 0 when there is none. */
static inline uint8_t take8(struct input *input) {
    if (!input->left) {
        return 0;
    }
    input->left--;
    return *input->at++;
}

static inline uint32_t take16(struct input *input) {
    uint32_t high = take8(input);

    return high << 8 | take8(input);
}

static inline uint32_t take32(struct input *input) {
    uint32_t high = take16(input);

    return high << 16 | take16(input);
}

/*
 * A copy of exactly that many bytes, so that the sanitizer sees one read beyond either end. To be
 * freed.
 */
static inline uint8_t *exact_copy(const uint8_t *bytes, size_t size) {
    uint8_t *copy = calloc(1, size ? size : 1);

    REQUIRE(copy != NULL);
    if (size) {
        memcpy(copy, bytes, size);
    }
    return copy;
}

#endif
