#include "check.h"
#include "service/private.h"

#include <stdlib.h>
#include <string.h>

/* Packs and unpacks in memory that ends with the bytes. Returns the size packed. */
static uint32_t there_and_back(const char *text, size_t length) {
    uint8_t *packed = malloc(length + 1u), *again = malloc(length + 1u);
    uint32_t size = lws_fields_pack(guard_end(text, length), (uint32_t)length, packed);
    const uint8_t *kept = guard_end(packed, size);

    CHECK_NAMED(size <= length, text);
    CHECK_NAMED(lws_fields_unpack(kept, size, NULL) == length, text);
    CHECK_NAMED(lws_fields_unpack(kept, size, again) == length, text);
    CHECK_NAMED(memcmp(again, text, length) == 0, text);
    free(again);
    free(packed);
    return size;
}

static void test_words(void) {
    unsigned words = 0;

    for (uint8_t code = 0; code < 0x20; code++) {
        uint8_t word[64], packed[64];
        uint32_t length = lws_fields_unpack(&code, 1, word);

        if (length == 1) {
            /* What a head may have, and NUL, stand for themselves. */
            CHECK(word[0] == code && (code == 0 || strchr("\t\r\n", code)));
            continue;
        }
        words++;
        CHECK(lws_fields_pack(word, length, packed) == 1 && packed[0] == code);
        CHECK(there_and_back((char *)word, length - 1) >= 1);
    }
    CHECK(words == 28);
}

static void test_clients(void) {
    static const struct {
        const char *fields;
        uint32_t most;
    } clients[] = {
        {"", 0},
        {"Host: 127.0.0.1:7681\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
         48},
        {"Host: example.com\r\nConnection: Upgrade\r\nPragma: no-cache\r\n"
         "Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) "
         "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36\r\n"
         "Upgrade: websocket\r\nOrigin: https://example.com\r\nSec-WebSocket-Version: 13\r\n"
         "Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
         "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
         110},
        {"host:example.com\r\nupgrade:  websocket \r\nX-\xc3\xa9: \xff\t=\r\n", 48},
    };

    for (size_t i = 0; i < sizeof clients / sizeof clients[0]; i++) {
        uint32_t size = there_and_back(clients[i].fields, strlen(clients[i].fields));

        CHECK_NAMED(size <= clients[i].most, clients[i].fields);
    }
}

static uint32_t below(uint32_t bound) {
    static uint64_t seed = 1;

    return (uint32_t)(check_random(&seed) % bound);
}

/* Words, cut anywhere, between other bytes. */
static void test_any(void) {
    char text[512];

    for (int run = 0; run < 20000; run++) {
        size_t length = 0;

        while (length < sizeof text - 64 && below(12)) {
            uint8_t code = (uint8_t)(below(0x20)), word[64];
            uint32_t size = lws_fields_unpack(&code, 1, word);

            if (size == 1) {
                word[0] = (uint8_t)(below(8) ? 0x20 + below(0xe0) : '\t');
            } else if (below(2)) {
                size = below(size);
            }
            memcpy(text + length, word, size);
            length += size;
        }
        text[length] = 0;
        there_and_back(text, length);
    }
}

int main(void) {
    test_words();
    test_clients();
    test_any();
    return check_report();
}
