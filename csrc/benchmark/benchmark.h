/*
 * What the benchmark is made of: a load generator that checks every byte, a bare epoll server as
 * the limit that it is compared with, and loops over the codec. Nothing here is used by the
 * library. One thread runs each of them, on the processor that its caller has chosen.
 */
#ifndef LIBWEBSOCKETS_BENCHMARK_H
#define LIBWEBSOCKETS_BENCHMARK_H

#include <stddef.h>
#include <stdint.h>

/* ---- load.c, traffic.c: the generator
 * --------------------------------------------------------------------
 */

enum bench_kind {
    BENCH_ECHO,      /* messages, each awaited back, so many on their way at a time */
    BENCH_HANDSHAKE, /* connect, upgrade, closing handshake, end of stream; again */
    BENCH_IDLE,      /* connections that are opened and held */
    BENCH_HTTP,      /* GET on kept connections */
    BENCH_BROADCAST, /* one message to the server, awaited on every connection; again */
};

/*
 * Latencies in nanoseconds, log-linear: exact to 1/32. Index of v < 32: v; else 32 for each power
 * of two, from the five bits below the highest. The last bucket takes what is longer (18 minutes).
 */
#define BENCH_BUCKETS 1152

struct bench_load {
    int kind;      /* enum bench_kind */
    uint16_t port; /* on 127.0.0.1 */
    uint32_t connections;
    uint32_t in_flight;  /* messages on their way on each connection; BENCH_ECHO */
    uint32_t size;       /* payload bytes of a message; of the body of an HTTP reply */
    int text;            /* 1: text messages, 0: binary */
    uint32_t warmup_ms;  /* load before the measurement, not counted */
    uint32_t run_ms;     /* of the measurement, which goes on until something is counted */
    int server;          /* the process whose CPU time is read; 0: none */
    const char *path;    /* of the request */
    const uint8_t *body; /* what an HTTP reply must bring, size bytes; only read */
};

enum bench_phase { BENCH_OPENING, BENCH_WARMUP, BENCH_MEASURING, BENCH_DONE };

/*
 * Written by bench_run, readable while it runs; stop is the caller's to set. Zeroed by the caller.
 */
struct bench_result {
    volatile int stop;       /* 1: end now, and keep what was measured */
    volatile int phase;      /* enum bench_phase */
    volatile uint32_t open;  /* connections established */
    volatile uint64_t count; /* messages, handshakes or replies measured */
    uint64_t elapsed_ns;     /* of the measurement */
    uint64_t generator_ns;   /* CPU time of the generator's thread in it */
    uint64_t server_ns;      /* CPU time of the server process in it */
    uint32_t latency[BENCH_BUCKETS];
    char error[200]; /* what was wrong, if bench_run returns -1 */
};

/*
 * Puts a load on a server and measures. Every byte that comes back is compared with what must come;
 * the first one that differs ends the run. Returns 0, or -1 with result->error saying which
 * connection, message and byte, or which system call.
 */
int bench_run(const struct bench_load *load, struct bench_result *result);

/* The latency below which share (0 to 1) of those in the histogram lie, in ns; 0 if it is empty. */
uint64_t bench_percentile(const uint32_t *latency, double share);

/* ---- limit.c: the bare server -----------------------------------------------------------------
 */

enum bench_limit {
    BENCH_LIMIT_ECHO,      /* whole frames: decode, unmask, re-frame, one send a readable event */
    BENCH_LIMIT_STREAM,    /* frames are passed on as their bytes come */
    BENCH_LIMIT_BROADCAST, /* every message to every connection, a loop of send */
    BENCH_LIMIT_HTTP,      /* one file to every GET */
};

/*
 * Serves one kind on a listening, non-blocking socket until the process is killed or its parent,
 * the process of that number, ends. file, for HTTP, is a descriptor of a regular file, sent from
 * its beginning with each reply. Returns -errno if it cannot go on. Made to be fast, not robust: no
 * limits, no deadlines, no UTF-8, no control frames but Close.
 */
int bench_limit_serve(int listener, int kind, int file, int parent);

/* ---- codec.c: loops over the codec --------------------------------------------------------------
 */

enum bench_codec {
    BENCH_MEMCPY,   /* size bytes, to another part of the buffer */
    BENCH_MASK,     /* in place */
    BENCH_UTF8,     /* the bytes are the caller's text */
    BENCH_ENCODE,   /* the header of an unmasked frame: version 13, 8 and 7 */
    BENCH_DECODE,   /* header and unmasking of a client's frame: version 13, 8 and 7 */
    BENCH_ENCODE76, /* 00 before, ff behind, and the text checked */
    BENCH_DECODE76, /* the search for ff, and the text checked */
    BENCH_DIGEST76, /* both keys and the eight bytes to the reply: the buffer is not used */
    BENCH_ACCEPT,   /* Sec-WebSocket-Accept: the buffer is not used */
    BENCH_HEAD,     /* the end of a request head is sought, and the head is taken apart */
};

/*
 * Does one thing over and over with the caller's buffer: size payload bytes lie at payload, with 16
 * bytes of room before and 16 behind. BENCH_MEMCPY copies them to payload + size, rounded up to 64,
 * and 64 more: as aligned as payload is. The bytes are changed (and masked or framed anew by the
 * next turn). Returns the nanoseconds that times turns took, or -1 for an unknown kind.
 */
int64_t bench_codec(int kind, uint8_t *payload, size_t size, uint64_t times);

#endif
