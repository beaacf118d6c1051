/* What the two files of the load generator share. */
#ifndef LIBWEBSOCKETS_BENCHMARK_LOAD_H
#define LIBWEBSOCKETS_BENCHMARK_LOAD_H

#include "benchmark.h"
#include "wire.h"

#include <time.h>

#define LOAD_BUFFER (256u * 1024u) /* what one recv takes at most */
#define LOAD_HEAD 2048u

enum stage {
    STAGE_CLOSED,
    STAGE_UPGRADING, /* the request is sent, the 101 awaited */
    STAGE_OPEN,      /* messages */
    STAGE_CLOSING,   /* our Close is sent, the server's and the end are awaited */
    STAGE_HEAD,      /* of an HTTP reply */
    STAGE_BODY,
};

struct connection {
    int fd;
    enum stage stage;
    uint32_t index;
    uint32_t head_used;
    uint32_t position; /* in the frame or body being received */
    uint32_t send_at;  /* bytes of message number sent that have left */
    uint64_t sent;     /* whole messages */
    uint64_t stamped;  /* messages numbered and timed */
    uint64_t done;     /* messages that came back */
    uint64_t began;    /* when the handshake or request began */
    uint64_t *times;   /* when each message of the ring began to be sent */
    struct wire *wire;
    bool ends;           /* the server said that it closes after this reply */
    uint32_t request_at; /* bytes of the request that have left */
    uint32_t request_size;
    char key[WIRE_KEY];
    char *head; /* LOAD_HEAD, while a head is awaited */
};

struct generator {
    const struct bench_load *load;
    struct bench_result *result;
    int epoll;
    uint32_t next; /* the first connection not opened yet */
    uint32_t opening;
    uint64_t now;   /* ns */
    uint64_t moved; /* when something last went on */
    uint64_t phase_end;
    uint64_t began, began_cpu, began_server; /* of the measurement */
    uint64_t count;                          /* all, since the start */
    uint64_t broadcasts;                     /* messages that every connection has */
    uint32_t *missing; /* deliveries of each message of the ring, BENCH_BROADCAST */
    struct connection *connections;
    struct wire *wires;
    uint8_t *buffer;
    char request[WIRE_REQUEST];
};

/* ---- load.c ---------------------------------------------------------------------------------- */

uint64_t load_clock(clockid_t id);

/* Notes what ended the run, for the result. Returns -1. */
__attribute__((format(printf, 2, 3))) int load_fail(struct generator *g, const char *format, ...);

/* Counts what began at a time and is over now. */
void load_record(struct generator *g, uint64_t began);

/* ---- traffic.c: all return 0, or -1 with the error noted ----------------------------------------
 */

/* Connects and sends the request as soon as the kernel takes it. */
int traffic_open(struct generator *g, struct connection *c);

/* Sends the messages that may be sent, in one call, as far as the kernel takes them. */
int traffic_send(struct generator *g, struct connection *c);

/* What epoll has said of a connection. */
int traffic_serve(struct generator *g, struct connection *c, uint32_t events);

#endif
