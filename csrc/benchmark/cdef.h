/* What cffi sees of benchmark.h. */

#define BENCH_BUCKETS ...

enum bench_kind { BENCH_ECHO, BENCH_HANDSHAKE, BENCH_IDLE, BENCH_HTTP, BENCH_BROADCAST, ... };
enum bench_phase { BENCH_OPENING, BENCH_WARMUP, BENCH_MEASURING, BENCH_DONE, ... };
enum bench_limit {
    BENCH_LIMIT_ECHO,
    BENCH_LIMIT_STREAM,
    BENCH_LIMIT_BROADCAST,
    BENCH_LIMIT_HTTP,
    ...
};
enum bench_codec {
    BENCH_MEMCPY,
    BENCH_MASK,
    BENCH_UTF8,
    BENCH_ENCODE,
    BENCH_DECODE,
    BENCH_ENCODE76,
    BENCH_DECODE76,
    BENCH_DIGEST76,
    BENCH_ACCEPT,
    BENCH_HEAD,
    ...
};

struct bench_load {
    int kind;
    uint16_t port;
    uint32_t connections;
    uint32_t in_flight;
    uint32_t size;
    int text;
    uint32_t warmup_ms;
    uint32_t run_ms;
    int server;
    const char *path;
    const uint8_t *body;
    ...;
};

struct bench_result {
    int stop;
    int phase;
    uint32_t open;
    uint64_t count;
    uint64_t elapsed_ns;
    uint64_t generator_ns;
    uint64_t server_ns;
    uint32_t latency[...];
    char error[200];
    ...;
};

int bench_run(const struct bench_load *load, struct bench_result *result);
uint64_t bench_percentile(const uint32_t *latency, double share);
int bench_limit_serve(int listener, int kind, int file, int parent);
int64_t bench_codec(int kind, uint8_t *payload, size_t size, uint64_t times);
