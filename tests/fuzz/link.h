/*
 * One established connection of the service over the fake kernel: bytes in, messages out, for the
 * targets that look at frames.
 */
#ifndef LINK_H
#define LINK_H

#include "service/service.h"
#include "fake_kernel.h"

#include <stdbool.h>

#define LINK_MESSAGES 50000u /* link_expand's most, in the smallest frames */

struct link_message {
    unsigned kind; /* 0 text, 1 binary, 2 pong; 16: compressed */
    size_t length;
    uint64_t hash;
};

/* What came of a stream. */
struct link_outcome {
    unsigned count;
    bool open;           /* the last message has pieces to come */
    unsigned fault;      /* the first; 0: none */
    unsigned close_code; /* of CLOSED; 0: not closed */
    uint64_t reason;     /* hash of CLOSED's reason */
    size_t out_length;   /* bytes the server sent after the handshake, */
    uint64_t out;        /* and their hash */
    struct link_message messages[LINK_MESSAGES];
};

uint64_t link_hash(uint64_t hash, const void *bytes, size_t length);
#define LINK_HASH 0xcbf29ce484222325u

struct link_options {
    int version;
    bool deflate;
    bool pieces; /* rx_fragments */
    uint32_t max_message;
    uint32_t cuts; /* 0: all at once */
};

/* Serves the stream, then FIN, in rounds until the connection is gone. */
void link_run(const struct link_options *options, const uint8_t *stream, size_t length,
              struct link_outcome *outcome);

/*
 * Run lengths, so that short inputs make long frames: eb N B is N * N times B, all else itself. At
 * most 300 KB; to be freed.
 */
uint8_t *link_expand(const uint8_t *bytes, size_t length, size_t *expanded);

/* Empties it. */
void link_clear(struct link_outcome *outcome);

/* Adds a message of an independent decoder's. */
void link_add(struct link_outcome *outcome, unsigned kind, const void *bytes, size_t length);

/* Both are the same; prints both, and ends the program if they are not. */
void link_require_same(const struct link_outcome *wanted, const struct link_outcome *found);

#endif
