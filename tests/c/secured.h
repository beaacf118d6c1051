/* Connections that speak TLS, as far as the core sees it: records whose contents are left as they
 * are. */
#ifndef SECURED_H
#define SECURED_H

#include "served.h"

/* A context with a secure listener, and a connection to it; NULL: served_options(). */
struct fake_socket *secured_connect(const struct lws_options *options);

/* A session on the secure listener, its handshake behind it; its output so far is forgotten. */
struct fake_socket *secured_session(uint32_t *slot);

/* Both: a context with one session. */
struct fake_socket *secured_begin(uint32_t *slot);

/* The client sends text in records of at most size bytes. */
void secured_sends(struct fake_socket *peer, const void *text, size_t length, size_t size);

/*
 * What TLS would do with the SECURE events of this round: strips headers, feeds. Returns how many
 * records it was.
 */
unsigned secured_decrypt(void);

/* Sends what is to be encrypted, in records as large as they may be; whether it was the end. */
bool secured_encrypt(void);

/* The contents of the records that were sent; the last one's type in *type. Returns their size. */
size_t secured_plain(struct fake_socket *peer, uint8_t *to, uint8_t *type);

#endif
