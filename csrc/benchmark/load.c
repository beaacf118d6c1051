/* The load generator's run: phases, progress, latencies. One thread, one epoll. */
#include "load.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define READY 256
#define OPENING_MAX 128u        /* handshakes on their way at a time, below any backlog */
#define STALL_NS 20000000000ull /* without progress: the run is given up */

uint64_t load_clock(clockid_t id) {
    struct timespec now;

    if (clock_gettime(id, &now) != 0) {
        return 0;
    }
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t server_clock(const struct bench_load *load) {
    clockid_t id;

    return load->server && clock_getcpuclockid(load->server, &id) == 0 ? load_clock(id) : 0;
}

int load_fail(struct generator *g, const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(g->result->error, sizeof g->result->error, format, arguments);
    va_end(arguments);
    return -1;
}

/* ---- latencies ------------------------------------------------------------------------------ */

static unsigned bucket(uint64_t value) {
    if (value < 32) {
        return (unsigned)value;
    }

    unsigned shift = 58u - (unsigned)__builtin_clzll(value);
    unsigned index = (shift << 5) + (unsigned)(value >> shift);

    return index < BENCH_BUCKETS ? index : BENCH_BUCKETS - 1;
}

static uint64_t bucket_value(unsigned index) {
    if (index < 64) {
        return index;
    }

    unsigned shift = (index >> 5) - 1;

    /* The middle of the bucket. */
    return ((uint64_t)((index & 31) + 32) << shift) + ((uint64_t)1 << (shift - 1));
}

uint64_t bench_percentile(const uint32_t *latency, double share) {
    uint64_t total = 0, seen = 0;

    for (unsigned i = 0; i < BENCH_BUCKETS; i++) {
        total += latency[i];
    }
    if (!total) {
        return 0;
    }

    uint64_t want = (uint64_t)(share * (double)total);

    for (unsigned i = 0; i < BENCH_BUCKETS; i++) {
        seen += latency[i];
        if (seen > want || seen == total) {
            return bucket_value(i);
        }
    }
    return 0;
}

void load_record(struct generator *g, uint64_t began) {
    g->count++;
    if (g->result->phase == BENCH_MEASURING) {
        g->result->count++;
        g->result->latency[bucket(g->now - began)]++;
    }
}

/* ---- the run -------------------------------------------------------------------------------- */

static void begin_measuring(struct generator *g) {
    struct bench_result *result = g->result;

    result->count = 0;
    memset(result->latency, 0, sizeof result->latency);
    g->began = g->now;
    g->began_cpu = load_clock(CLOCK_THREAD_CPUTIME_ID);
    g->began_server = server_clock(g->load);
    g->phase_end = g->now + (uint64_t)g->load->run_ms * 1000000u;
    result->phase = BENCH_MEASURING;
}

static void end_measuring(struct generator *g) {
    struct bench_result *result = g->result;

    if (result->phase == BENCH_MEASURING) {
        result->elapsed_ns = load_clock(CLOCK_MONOTONIC) - g->began;
        result->generator_ns = load_clock(CLOCK_THREAD_CPUTIME_ID) - g->began_cpu;
        result->server_ns = server_clock(g->load) - g->began_server;
    }
    result->phase = BENCH_DONE;
}

/* Opens more, and goes on to the next phase when it is time. Returns 1 at the end, -1 if failed. */
static int advance(struct generator *g) {
    const struct bench_load *load = g->load;
    struct bench_result *result = g->result;

    while (g->next < load->connections && g->opening < OPENING_MAX) {
        struct connection *c = &g->connections[g->next++];

        if (traffic_open(g, c) != 0) {
            return -1;
        }
    }
    if (result->phase == BENCH_OPENING) {
        bool messages = load->kind != BENCH_HANDSHAKE && load->kind != BENCH_HTTP;

        if (messages && result->open < load->connections) {
            return 0;
        }
        g->phase_end = g->now + (uint64_t)load->warmup_ms * 1000000u;
        result->phase = BENCH_WARMUP;
        if (load->kind == BENCH_IDLE) {
            begin_measuring(g);
            return 0;
        }
        for (uint32_t i = 0; messages && i < load->connections; i++) {
            if (traffic_send(g, &g->connections[i]) != 0) {
                return -1;
            }
        }
    } else if (result->phase == BENCH_WARMUP && g->now >= g->phase_end) {
        begin_measuring(g);
    } else if (result->phase == BENCH_MEASURING && load->kind != BENCH_IDLE &&
               g->now >= g->phase_end && result->count) {
        return 1;
    }
    return 0;
}

static int loop(struct generator *g) {
    struct epoll_event ready[READY];

    g->now = load_clock(CLOCK_MONOTONIC);
    g->moved = g->now;
    while (!g->result->stop) {
        int end = advance(g);

        if (end) {
            return end < 0 ? -1 : 0;
        }

        int count = epoll_wait(g->epoll, ready, READY, 50);

        if (count < 0 && errno != EINTR) {
            return load_fail(g, "epoll_wait: %s", strerror(errno));
        }
        g->now = load_clock(CLOCK_MONOTONIC);
        if (g->now - g->moved > STALL_NS &&
            (g->load->kind != BENCH_IDLE || g->result->phase == BENCH_OPENING)) {
            return load_fail(g, "nothing came for %llu s", STALL_NS / 1000000000u);
        }
        for (int i = 0; i < count; i++) {
            if (traffic_serve(g, &g->connections[ready[i].data.u32], ready[i].events) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

static bool make_connections(struct generator *g) {
    const struct bench_load *load = g->load;
    bool own = load->kind == BENCH_ECHO;
    uint32_t wires = own ? load->connections : load->kind == BENCH_BROADCAST ? 1 : 0;
    char key[WIRE_KEY];

    g->connections = calloc(load->connections, sizeof *g->connections);
    g->wires = calloc(wires ? wires : 1, sizeof *g->wires);
    g->buffer = malloc(LOAD_BUFFER);
    g->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!g->connections || !g->wires || !g->buffer || g->epoll < 0 || !wire_key(key)) {
        return false;
    }

    /* One request serves all: the nonce only keeps caches from answering. */
    uint32_t size = (uint32_t)(load->kind == BENCH_HTTP
                                   ? wire_get(g->request, load->path, load->port)
                                   : wire_upgrade(g->request, load->path, load->port, key));

    for (uint32_t i = 0; i < load->connections; i++) {
        struct connection *c = &g->connections[i];

        c->index = i;
        c->fd = -1;
        c->request_size = size;
        memcpy(c->key, key, sizeof key);
        if (!wires) {
            continue;
        }
        c->wire = &g->wires[own ? i : 0];
        if ((own || i == 0) && !wire_make(c->wire, load->size, load->in_flight, load->text)) {
            return false;
        }
        if (own || i == 0) {
            c->times = calloc(load->in_flight, sizeof *c->times);
            if (!c->times) {
                return false;
            }
        }
    }
    if (load->kind == BENCH_BROADCAST) {
        g->missing = calloc(load->in_flight, sizeof *g->missing);
    }
    return load->kind != BENCH_BROADCAST || g->missing;
}

static void free_connections(struct generator *g) {
    for (uint32_t i = 0; g->connections && i < g->load->connections; i++) {
        struct connection *c = &g->connections[i];

        if (c->fd >= 0) {
            close(c->fd);
        }
        if (c->wire) {
            wire_free(c->wire);
        }
        free(c->times);
        free(c->head);
    }
    if (g->epoll >= 0) {
        close(g->epoll);
    }
    free(g->connections);
    free(g->wires);
    free(g->missing);
    free(g->buffer);
}

int bench_run(const struct bench_load *load, struct bench_result *result) {
    struct generator g = {.load = load, .result = result, .epoll = -1};
    bool messages = load->kind == BENCH_ECHO || load->kind == BENCH_BROADCAST;
    int outcome;

    if (load->connections == 0 || (messages && load->in_flight == 0) ||
        (load->kind == BENCH_HTTP && !load->body) || !load->path) {
        return load_fail(&g, "a load without connections, messages, body or path");
    }
    result->phase = BENCH_OPENING;
    outcome = make_connections(&g) ? loop(&g) : load_fail(&g, "out of memory, or no randomness");
    end_measuring(&g);
    free_connections(&g);
    return outcome;
}
