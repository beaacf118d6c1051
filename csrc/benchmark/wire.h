/* What goes over the wire of the generator: requests, frames to send, and the bytes that must come.
 */
#ifndef LIBWEBSOCKETS_BENCHMARK_WIRE_H
#define LIBWEBSOCKETS_BENCHMARK_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_STAMP 8 /* bytes at the front of a payload that number it, as hexadecimal digits */
#define WIRE_KEY 24  /* characters of a Sec-WebSocket-Key */
#define WIRE_REQUEST 512

/* The messages of one connection: as many frames as may be on their way, used in turn. */
struct wire {
    uint32_t size;     /* payload bytes */
    uint32_t frames;   /* in the ring */
    uint32_t outgoing; /* bytes of a client's frame */
    uint32_t incoming; /* bytes of the server's frame */
    uint32_t stamp;    /* bytes of the number: WIRE_STAMP, or size if that is less */
    uint8_t mask[4];
    uint8_t header[10]; /* of the server's frame */
    uint8_t header_size;
    uint8_t *ring;    /* frames * outgoing bytes, masked */
    uint8_t *payload; /* size bytes, as they come back, but for the number */
};

/* Fills bytes from the kernel's generator. Returns false if there is none. */
bool wire_random(void *bytes, size_t size);

/*
 * Makes the messages of a connection: random payloads (printable for text), masked with a random
 * key. Returns false if memory is out, or randomness. wire_free gives the memory back.
 */
bool wire_make(struct wire *wire, uint32_t size, uint32_t frames, bool text);
void wire_free(struct wire *wire);

/* Puts its number into the frame of the ring that message number is sent from. */
void wire_stamp(struct wire *wire, uint64_t number);

/*
 * Compares size bytes of the stream with what must come. *position is the place in the present
 * frame, *number that of its message; both are moved on. Returns the bytes used, at most to the end
 * of a frame, or the negated place + 1 in data of the first byte that is wrong.
 */
ptrdiff_t wire_check(const struct wire *wire, const uint8_t *data, size_t size, uint32_t *position,
                     uint64_t number);

/* Writes a Sec-WebSocket-Key of 16 random bytes. Returns false without randomness. */
bool wire_key(char key[WIRE_KEY]);

/* Writes an upgrade request (version 13). Returns its size. */
size_t wire_upgrade(char request[WIRE_REQUEST], const char *path, uint16_t port,
                    const char key[WIRE_KEY]);

/* Writes a GET on a kept connection. Returns its size. */
size_t wire_get(char request[WIRE_REQUEST], const char *path, uint16_t port);

/* Whether a reply's head is a 101 with the right Sec-WebSocket-Accept. */
bool wire_accepts(const char *head, size_t size, const char key[WIRE_KEY]);

/* The value of a field in a reply's head, by its name with the colon; NULL if there is none. */
const char *wire_field(const char *head, size_t size, const char *name);

#endif
