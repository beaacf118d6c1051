/*
 * The numbers of hixie-76 keys against arithmetic on 128 bits, and base64 against a table read the
 * other way round. The input is both keys with a NUL between, the last eight bytes key3.
 */
#include "fuzz.h"

/* h76, section 5.2: -1 where there is no number. */
static int64_t reference(const uint8_t *key, size_t length) {
    unsigned __int128 digits = 0;
    uint64_t spaces = 0;
    bool any = false;

    for (size_t i = 0; i < length; i++) {
        spaces += key[i] == 0x20;
        if (key[i] >= 0x30 && key[i] <= 0x39) {
            digits = digits * 10 + (key[i] - 0x30u);
            if (digits >> 64) {
                digits = (unsigned __int128)1 << 100; /* never small again */
            }
            any = true;
        }
    }
    if (!any || !spaces || digits >> 64 || digits % spaces || digits / spaces > 0xffffffffu) {
        return -1;
    }
    return (int64_t)(digits / spaces);
}

static void try_base64(const uint8_t *text, size_t length) {
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t *copy = exact_copy(text, length);
    uint8_t *out = malloc(length + 1), *again = malloc(length + 8);
    ptrdiff_t got = lws_base64_decode((const char *)copy, length, out, length);
    size_t padding = 0;
    bool good = length % 4 == 0;

    while (padding < 2 && padding < length && text[length - 1 - padding] == '=') {
        padding++;
    }
    for (size_t i = 0; i + padding < length; i++) {
        good = good && text[i] && strchr(alphabet, text[i]);
    }
    REQUIRE((got >= 0) == good);
    if (got >= 0) {
        REQUIRE((size_t)got == length / 4 * 3 - padding);
        REQUIRE(lws_base64_encode(out, (size_t)got, (char *)again, length) == length);
        /* Bits under the padding are ignored, and come back as zero. */
        if (padding) {
            size_t last = length - 1 - padding;
            long loose = strchr(alphabet, text[last]) - alphabet;

            copy[last] = (uint8_t)alphabet[loose - loose % (padding == 1 ? 4 : 16)];
        }
        REQUIRE(memcmp(again, copy, length) == 0);
        REQUIRE(got == 0 ||
                lws_base64_decode((const char *)copy, length, again, (size_t)got - 1) == -1);
    }
    free(copy);
    free(out);
    free(again);
}

static void try_accept(const uint8_t *key, size_t length) {
    uint8_t *copy = exact_copy(key, length);
    char accept[LWS_ACCEPT_LENGTH];
    uint8_t nonce[16];
    bool good =
        length == 24 && lws_base64_decode((const char *)copy, length, nonce, sizeof nonce) == 16;

    REQUIRE(lws_accept_key(copy, length, accept) == (good ? 0 : -LWS_FAULT_WS_BAD_KEY));
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t length1 = nul ? (size_t)(nul - data) : size;
    size_t length2 = nul ? size - length1 - 1 : 0;
    uint8_t *key1 = exact_copy(data, length1);
    uint8_t *key2 = exact_copy(nul ? nul + 1 : data, length2);
    uint8_t key3[8] = {0}, digest[16], wanted[16], challenge[16];
    int64_t numbers[2] = {reference(key1, length1), reference(key2, length2)};
    uint32_t number;

    if (size >= 8) {
        memcpy(key3, data + size - 8, 8);
    }
    REQUIRE(lws_key76_number(key1, length1, &number) ==
            (numbers[0] < 0 ? -LWS_FAULT_WS76_BAD_KEY : 0));
    REQUIRE(numbers[0] < 0 || number == numbers[0]);
    if (numbers[0] < 0 || numbers[1] < 0) {
        REQUIRE(lws_key76_digest(key1, length1, key2, length2, key3, digest) ==
                -LWS_FAULT_WS76_BAD_KEY);
    } else {
        REQUIRE(lws_key76_digest(key1, length1, key2, length2, key3, digest) == 0);
        for (unsigned i = 0; i < 4; i++) {
            challenge[i] = (uint8_t)(numbers[0] >> (24 - 8 * i));
            challenge[4 + i] = (uint8_t)(numbers[1] >> (24 - 8 * i));
        }
        memcpy(challenge + 8, key3, 8);
        lws_md5(challenge, 16, wanted);
        REQUIRE(memcmp(digest, wanted, 16) == 0);
    }
    try_base64(data, size);
    try_accept(data, size);
    try_accept(key2, length2);
    free(key1);
    free(key2);
    return 0;
}
