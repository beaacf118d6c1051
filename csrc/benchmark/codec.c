/* Loops over the codec, timed here so that no call from Python is in the figure. */
#include "benchmark.h"

#include "codec/codec.h"

#include <string.h>
#include <time.h>

static const uint8_t MASK[4] = {0x37, 0xfa, 0x21, 0x3d};
static const char KEY[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char KEY1[] = "4 @1  46546xW%0l 1 5";
static const char KEY2[] = "12998 5 Y3 1  .P00";
static const char KEY3[] = "^n:ds[4U";
/* What a browser of today sends. */
static const char HEAD[] =
    "GET /chat?room=12 HTTP/1.1\r\n"
    "Host: localhost:7681\r\n"
    "Connection: Upgrade\r\n"
    "Pragma: no-cache\r\n"
    "Cache-Control: no-cache\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/120.0.0.0 Safari/537.36\r\n"
    "Upgrade: websocket\r\n"
    "Origin: http://localhost:7681\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-US,en;q=0.9\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    "\r\n";

/* Results and memory are in use as far as the compiler knows. */
#define USED(value) __asm__ volatile("" : : "r"(value) : "memory")

static int64_t now_ns(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static uint64_t encode76(uint8_t *payload, size_t size) {
    uint32_t state = lws_utf8(LWS_UTF8_COMPLETE, payload, size);

    payload[-1] = 0x00;
    payload[size] = 0xff;
    return state;
}

static uint64_t decode76(uint8_t *payload, size_t size) {
    const uint8_t *end = memchr(payload, 0xff, size + 1);

    return end ? lws_utf8(LWS_UTF8_COMPLETE, payload, (size_t)(end - payload)) : 0;
}

static uint64_t decode(uint8_t *payload, size_t size) {
    struct lws_frame frame;
    size_t header = size < 126 ? 6 : size < 65536 ? 8 : 14;
    int used = lws_frame_decode(payload - header, header + size, 0, &frame);

    lws_mask(payload, (size_t)frame.length, frame.mask, 0);
    return (uint64_t)used;
}

static uint64_t head(void) {
    static const struct lws_head_limits limits = {8192, 8192, 100, 16384};
    struct lws_head_scan scan = {0, 0, 0, 0, 0};
    struct lws_request request;
    ptrdiff_t size = lws_head_scan((const uint8_t *)HEAD, sizeof HEAD - 1, &limits, &scan);

    if (size <= 0 || lws_head_parse((const uint8_t *)HEAD, (size_t)size, &limits, &request) != 0) {
        return 0;
    }
    return (uint64_t)lws_handshake_check((const uint8_t *)HEAD, 76, &request);
}

/* A client's frame around the payload, as decode expects it. */
static void frame_up(uint8_t *payload, size_t size) {
    size_t header = lws_frame_encode(payload - 4, size, 0x82);

    payload[-4 - (ptrdiff_t)header + 1] |= 0x80;
    memcpy(payload - 4, MASK, sizeof MASK);
}

#define LOOP(work)                                                                                 \
    for (uint64_t i = 0; i < times; i++) {                                                         \
        USED(payload);                                                                             \
        work;                                                                                      \
    }

int64_t bench_codec(int kind, uint8_t *payload, size_t size, uint64_t times) {
    uint8_t *copy = payload + ((size + 127) & ~(size_t)63);
    uint8_t digest[16];
    char accept[LWS_ACCEPT_LENGTH];

    if (kind == BENCH_DECODE) {
        frame_up(payload, size);
    } else if (kind == BENCH_DECODE76) {
        payload[size] = 0xff;
    }

    int64_t began = now_ns();

    switch ((enum bench_codec)kind) {
    case BENCH_MEMCPY:
        LOOP(memcpy(copy, payload, size))
        break;
    case BENCH_MASK:
        LOOP(lws_mask(payload, size, MASK, 0))
        break;
    case BENCH_UTF8:
        LOOP(USED((uint64_t)lws_utf8(LWS_UTF8_COMPLETE, payload, size)))
        break;
    case BENCH_ENCODE:
        LOOP(USED(lws_frame_encode(payload, size, 0x82)))
        break;
    case BENCH_DECODE:
        LOOP(USED(decode(payload, size)))
        break;
    case BENCH_ENCODE76:
        LOOP(USED(encode76(payload, size)))
        break;
    case BENCH_DECODE76:
        LOOP(USED(decode76(payload, size)))
        break;
    case BENCH_DIGEST76:
        LOOP(USED((int64_t)lws_key76_digest((const uint8_t *)KEY1, sizeof KEY1 - 1,
                                            (const uint8_t *)KEY2, sizeof KEY2 - 1,
                                            (const uint8_t *)KEY3, digest)))
        break;
    case BENCH_ACCEPT:
        LOOP(USED((int64_t)lws_accept_key((const uint8_t *)KEY, sizeof KEY - 1, accept)))
        break;
    case BENCH_HEAD:
        LOOP(USED(head()))
        break;
    default:
        return -1;
    }
    return now_ns() - began;
}
