/* How a head is tried: scanned whole, by bytes and at each cut, parsed against both guard pages. */
#ifndef HEADS_H
#define HEADS_H

#include "service/service.h"

#define HEAD_ROOM 40000

extern const struct lws_head_limits default_limits;

/*
 * Scans and parses the head at the beginning of bytes, and checks that no cut changes the outcome.
 * Returns 0 with *request filled, the offsets being those of bytes; a fault; or -1 if the head is
 * not complete.
 */
int try_head(const char *bytes, size_t len, const struct lws_head_limits *limits,
             struct lws_request *request, const char *name);

/* The same, then lws_handshake_check for the oldest version to accept. */
int try_handshake(const char *bytes, size_t len, int oldest, struct lws_request *request,
                  const char *name);

/* Whether a slice of bytes is the text. */
bool slice_is_text(const char *bytes, struct lws_slice slice, const char *text);

#endif
