/* A context over the fake kernel, its rounds, and clients: what the tests of the service share. */
#ifndef SERVED_H
#define SERVED_H

#include "check.h"
#include "fake_kernel.h"
#include "service/service.h"

#include <string.h>

/* One context at a time. */
struct served {
    struct lws_context *context;
    uint8_t *arena;
    int listener;
    int count;                /* events of the last round */
    struct lws_event *events; /* and where they are */
};

extern struct served served;

/* Limits as by default, times in round numbers of ms: see served.c. */
struct lws_options served_options(void);

/* Makes the context and its listener; false: memory was out, and nothing is left. */
bool served_try(const struct lws_options *options);
void served_begin(const struct lws_options *options); /* NULL: served_options() */

/* Destroys it, and checks that nothing is left. */
void served_end(void);

int served_round(int timeout_ms);

/* The n-th event of a kind in the last round, NULL if there is none; how many of them there are. */
const struct lws_event *served_event(unsigned kind, unsigned n);
unsigned served_events(unsigned kind);

/* Whether an event carries that payload, in the arena or a buffer. */
bool served_is(const struct lws_event *event, const void *bytes, size_t length);

/* A client whose connection was accepted. */
struct fake_socket *served_connect(void);

/* One more, upgraded by the application: 13, 8, 7 or 76; its output so far is forgotten. */
struct fake_socket *served_upgrade(int version, uint32_t *slot);

/* The request that served_upgrade sends. */
const char *served_handshake(int version);

void served_sends(struct fake_socket *peer, const char *text);

/* The client sends a frame: first is its first byte; masked, lengths in the shortest form. */
void served_frame(struct fake_socket *peer, unsigned first, const void *payload, size_t length);

/* Whether the server's output is that, in whole; then it is forgotten. */
bool served_out(struct fake_socket *peer, const void *bytes, size_t length);
bool served_out_text(struct fake_socket *peer, const char *text);
void served_forget(struct fake_socket *peer);

/* Whether an unmasked frame is next in the output; it is taken off. */
bool served_out_frame(struct fake_socket *peer, unsigned first, const void *payload, size_t length);

/* Bytes of no meaning, the same in each run. */
uint8_t *served_bytes(size_t length);

/* lws_write with padding; the memory is overwritten as soon as it is back. */
int served_write(uint32_t slot, const void *payload, size_t length, int protocol);

/* lws_write_copy of text. */
int served_say(uint32_t slot, const char *text, int protocol);

#endif
