/* MD5 and SHA-1, as the handshakes need them: as checksums, not to keep a secret. */
#include "codec.h"

#include <string.h>

#define BLOCK 64u

static uint32_t rotate_left(uint32_t value, unsigned by) {
    return (value << by) | (value >> (32u - by));
}

static uint32_t load_little(const uint8_t *from) {
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

static uint32_t load_big(const uint8_t *from) {
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 |
           (uint32_t)from[3];
}

typedef void compress_fn(uint32_t *state, const uint8_t *block);

/*
 * What both hashes share: whole blocks, then the rest with a one bit, zeros and the length in bits.
 */
static void hash(compress_fn *compress, uint32_t *state, const uint8_t *data, size_t len,
                 bool big_endian) {
    uint8_t tail[2 * BLOCK] = {0};
    uint64_t bits = (uint64_t)len << 3;
    size_t rest = len % BLOCK;
    size_t tail_len = rest < BLOCK - 8 ? BLOCK : 2 * BLOCK;

    for (size_t done = 0; done < len - rest; done += BLOCK) {
        compress(state, data + done);
    }
    if (rest) {
        memcpy(tail, data + (len - rest), rest);
    }
    tail[rest] = 0x80;
    for (unsigned i = 0; i < 8; i++) {
        tail[tail_len - 8 + i] = (uint8_t)(bits >> (big_endian ? 56 - 8 * i : 8 * i));
    }
    compress(state, tail);
    if (tail_len > BLOCK) {
        compress(state, tail + BLOCK);
    }
}

/* floor(2^32 * |sin(i + 1)|), RFC 1321, section 3.4. */
static const uint32_t md5_sines[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

static const uint8_t md5_rotations[4][4] = {
    {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

static void md5_block(uint32_t *state, const uint8_t *block) {
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];

    for (unsigned i = 0; i < 64; i++) {
        uint32_t mixed;
        unsigned word;

        switch (i / 16) {
        case 0:
            mixed = (b & c) | (~b & d);
            word = i;
            break;
        case 1:
            mixed = (b & d) | (c & ~d);
            word = 5 * i + 1;
            break;
        case 2:
            mixed = b ^ c ^ d;
            word = 3 * i + 5;
            break;
        default:
            mixed = c ^ (b | ~d);
            word = 7 * i;
            break;
        }
        mixed += a + md5_sines[i] + load_little(block + 4 * (word % 16));
        a = d;
        d = c;
        c = b;
        b += rotate_left(mixed, md5_rotations[i / 16][i % 4]);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
}

void lws_md5(const uint8_t *data, size_t len, uint8_t digest[16]) {
    uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};

    hash(md5_block, state, data, len, false);
    for (unsigned i = 0; i < 16; i++) {
        digest[i] = (uint8_t)(state[i / 4] >> (8 * (i % 4)));
    }
}

static void sha1_block(uint32_t *state, const uint8_t *block) {
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    uint32_t words[80];

    for (unsigned i = 0; i < 16; i++) {
        words[i] = load_big(block + 4 * i);
    }
    for (unsigned i = 16; i < 80; i++) {
        words[i] = rotate_left(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    }

    for (unsigned i = 0; i < 80; i++) {
        uint32_t next = rotate_left(a, 5) + e + words[i];

        if (i < 20) {
            next += ((b & c) | (~b & d)) + 0x5a827999;
        } else if (i < 40) {
            next += (b ^ c ^ d) + 0x6ed9eba1;
        } else if (i < 60) {
            next += ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
        } else {
            next += (b ^ c ^ d) + 0xca62c1d6;
        }
        e = d;
        d = c;
        c = rotate_left(b, 30);
        b = a;
        a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

void lws_sha1(const uint8_t *data, size_t len, uint8_t digest[20]) {
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};

    hash(sha1_block, state, data, len, true);
    for (unsigned i = 0; i < 20; i++) {
        digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
    }
}
