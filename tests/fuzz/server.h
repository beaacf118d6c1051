/* The target `server`: what it knows of each client, so that it can say what must come of it. */
#ifndef SERVER_H
#define SERVER_H

#include "fuzz.h"
#include "fake_kernel.h"

#define PEERS 12

/* Something that is to come, in order: a message to the server, or a part of its output. */
enum item_kind {
    ITEM_MESSAGE, /* in: kind is that of the event; out: first is the frame's first byte */
    ITEM_BYTES,   /* out: as they are */
    ITEM_FILE,    /* out: that many bytes of a file */
    ITEM_REFUSAL, /* out: the fixed reply */
    ITEM_UPGRADE, /* out: a 101 */
};

struct item {
    enum item_kind kind;
    unsigned what; /* the event's kind, or the frame's first byte */
    uint8_t *bytes;
    size_t length;
};

struct items {
    struct item *all;
    unsigned count, next, room;
};

struct peer {
    struct fake_socket *socket;
    bool secure;      /* in TLS records */
    unsigned version; /* of the upgrade that was sent, 0: none */
    bool wild;        /* bytes without meaning were sent: nothing is expected of it any more */
    bool rude;        /* it left, or was left: not all has to arrive */
    bool sent_close;
    unsigned code; /* of its Close */
    bool out_open; /* of what it sends: a fragmented message */
    struct items in, out, pings;

    /* As the application sees it. */
    uint32_t slot;
    bool handle, established, ended;
    bool closing; /* the application closed it: no more messages in later rounds */
    bool aborted;
    bool deflate;
    bool in_pieces; /* a message is being handed over in pieces */
    size_t piece_at;
    bool rx_off;
};

void items_add(struct items *items, enum item_kind kind, unsigned what, const void *bytes,
               size_t length);
void items_free(struct items *items);

/* What clients do that keep to the protocols. amount and how are any numbers. */
void peer_sends_upgrade(struct peer *peer, unsigned version, bool deflate);
void peer_sends_request(struct peer *peer, unsigned how);
void peer_sends_message(struct peer *peer, unsigned how, uint32_t length, unsigned fragments,
                        uint32_t most);
void peer_sends_control(struct peer *peer, unsigned how, unsigned amount);
/* And what any may do. */
void peer_sends_raw(struct peer *peer, const uint8_t *bytes, size_t length, bool bare);

/*
 * Reads all that the server sent to a peer: replies and frames that are right in themselves, the
 * application's own in order and unchanged, one Close at most and nothing behind it. whole: all of
 * it must be there.
 */
void check_output(struct peer *peer, bool whole);

/* Bytes that look like something: text is UTF-8. */
void fill(uint8_t *bytes, size_t length, unsigned seed, bool text);

#endif
