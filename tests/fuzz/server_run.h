/* What the parts of the target `server` share: the run of one input. */
#ifndef SERVER_RUN_H
#define SERVER_RUN_H

#include "server.h"

#include "service/private.h"

#define POLICIES 16

struct run {
    struct lws_context *context;
    struct lws_options options;
    struct peer peers[PEERS];
    unsigned peer_count;
    uint8_t policy[POLICIES];
    unsigned answers;
    bool rude; /* calls failed, time ran out, the server was stopped: not all has to arrive */
    bool stopped;
    uint8_t *kept[8]; /* messages taken out of the context */
    unsigned kept_count;
    int listener, watchable;
    bool secure;             /* TLS records, whose contents are as they are */
    bool secured[PEERS * 4]; /* slots that have had LWS_EVENT_SECURE */
};

extern struct run run;

static inline uint8_t *run_arena(void) {
    return run.context->arena;
}

/* The application's next decision. */
uint8_t decide(void);

/* The client that the application knows by a slot, NULL: none. */
struct peer *peer_of(uint32_t slot);

/* server_app.c: what the application does. how is any number. */
void app_write_made(struct peer *peer, unsigned how, size_t length, int protocol);
void app_broadcast(unsigned how);
void app_close(struct peer *peer, unsigned how);
void take_request(uint32_t slot, unsigned version);
void answer_message(struct peer *peer, unsigned kind, uint8_t *payload, size_t length,
                    uint32_t number, bool in_arena);

/* The message, or a piece of one, is what the peer sent. */
void check_message(struct peer *peer, unsigned kind, unsigned code, const uint8_t *payload,
                   size_t length);

/* Decrypts, so to speak, and feeds what LWS_EVENT_SECURE brought. */
void take_records(const struct lws_event *event);

/* Encrypts and sends all that is to be. */
void send_records(void);

#endif
