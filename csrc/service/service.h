/*
 * The service: the event loop over the codec. Bytes in, events out, bytes out. It depends on libc
 * and the codec alone, and never calls back into the program that uses it.
 */
#ifndef LWS_SERVICE_H
#define LWS_SERVICE_H

#include "codec/codec.h"

/* ---- The API of 2010 -------------------------------------------------------------------- */

enum libwebsocket_write_protocol {
    LWS_WRITE_TEXT = 0,
    LWS_WRITE_BINARY = 1,
    LWS_WRITE_HTTP = 2,
    LWS_WRITE_CONTINUATION = 3, /* of a message begun with LWS_WRITE_NO_FIN */
    LWS_WRITE_PING = 5,
    LWS_WRITE_PONG = 6,
    /* Flags, or-ed to the above. */
    LWS_WRITE_NO_FIN = 0x40,     /* more of this message follows in continuations */
    LWS_WRITE_COMPRESSED = 0x80, /* permessage-deflate data: RSV1 is set, text is not validated */
    LWS_WRITE_UNCOMPRESSED = 0x100, /* as it is, over deflate_threshold too */
};

/* ---- Files -------------------------------------------------------------------------------- */

/*
 * What these functions need of the kernel are descriptors; they hold no other state, and may be
 * called from any thread.
 */

enum lws_file_kind {
    LWS_FILE_OTHER = 0,
    LWS_FILE_REGULAR = 1,
    LWS_FILE_FOLDER = 2,
};

/* An open file, and all that tells its present content from other content. */
struct lws_file {
    uint64_t inode;
    uint64_t size;
    int64_t mtime_ns; /* time of modification, nanoseconds since 1970 */
    uint8_t kind;     /* enum lws_file_kind */
    uint8_t form;     /* 0: the file itself; n: the one with the n-th of the suffixes */
    int fd;           /* the caller's to close; -1: none */
};
#define LWS_FILE_IDENTITY 26 /* bytes of it before fd that say which content it is */

/*
 * Opens path, relative to the descriptor folder, as open(2) with flags, close-on-exec, without ever
 * leaving folder: by openat2 with RESOLVE_BENEATH, which follows the symbolic links that stay
 * inside. A kernel without it: as lws_open_by_steps. path is not empty. Returns a descriptor, the
 * caller's, or -errno (-EXDEV: the path leaves the folder).
 */
int lws_open_beneath(int folder, const char *path, int flags);

/* The same component by component, each with O_NOFOLLOW: no symbolic link is followed, none at all.
 */
int lws_open_by_steps(int folder, const char *path, int flags);

/*
 * Opens a file for reading and looks at it. root NULL: path as open(2) takes it; else path is
 * opened beneath the folder root, by lws_open_beneath. suffixes: NULL, or strings one behind the
 * other, an empty one at the end. Where the file is a regular one, the first path with a suffix
 * that is a regular file too, can be opened and is not older is taken in its place. Blocks on no
 * FIFO, and takes no terminal. Returns 0: *file is filled, its descriptor the caller's; or -errno:
 * its descriptor is -1, its kind LWS_FILE_FOLDER if it is root that could not be opened.
 */
int lws_file_open(const char *root, const char *path, const char *suffixes, struct lws_file *file);

/* Closes the descriptor, if there still is one. */
void lws_file_close(struct lws_file *file);

/* ---- The service -------------------------------------------------------------------------- */

/*
 * One thread owns a context, the one that made it. A round is: lws_service() into an array of
 * events, the application's answer to each event, lws_service() again. The functions that return an
 * error return LWS_ERROR_THREAD from another thread and LWS_ERROR_PROCESS in a forked copy, and do
 * nothing.
 *
 * A connection is named by its slot, a small number. A slot is given to another connection only
 * after the round in which LWS_EVENT_CLOSED or LWS_EVENT_GONE was reported for it.
 */
struct lws_context;

enum lws_error {
    LWS_ERROR_CLOSED = -1,   /* the slot is free, or its connection is closed or closing */
    LWS_ERROR_FULL = -2,     /* max_send_buffer would be exceeded */
    LWS_ERROR_UTF8 = -3,     /* text that is not UTF-8 */
    LWS_ERROR_BINARY76 = -4, /* hixie-76 has no binary messages */
    LWS_ERROR_STATE = -5,    /* not now: HTTP bytes on a WebSocket or the reverse, a continuation of
                                nothing, a new message inside an open one */
    LWS_ERROR_ARGUMENT = -6,
    LWS_ERROR_MEMORY = -7,
    LWS_ERROR_THREAD = -8,
    LWS_ERROR_PROCESS = -9,
    LWS_ERROR_CLOSE_CODE = -10, /* a close code that must not be sent */
    LWS_ERROR_DEFLATE = -11,    /* the message is to be compressed first */
};

struct lws_options {
    struct lws_head_limits head;
    uint32_t max_message;     /* bytes of a message, over all its fragments */
    uint32_t max_send_buffer; /* bytes queued for a connection */
    uint32_t max_connections;
    uint32_t max_connections_per_ip; /* of an IPv4 address, of a /64 of IPv6; 0: no limit */
    uint32_t proxy_protocol;         /* 1: connections of trusted peers begin with a PROXY header */
    uint32_t keepalive_requests;     /* requests on one connection */
    uint32_t handshake_timeout;      /* this and all below: milliseconds */
    uint32_t keepalive_timeout;
    uint32_t send_timeout;
    uint32_t close_timeout;
    uint32_t linger_timeout;
    uint32_t send_interval; /* period of LWS_EVENT_SEND; 0: never */
    uint32_t ping_interval; /* silence after which a peer is pinged; 0: never */
    uint32_t pong_timeout;
    uint32_t keep_headers; /* 1: a session keeps the field lines of its request */
    uint32_t rx_fragments; /* 1: messages are handed over in pieces, see lws_event.code */
    /* With permessage-deflate agreed, a whole message of at least as many bytes is not taken by the
     * writing functions: LWS_ERROR_DEFLATE; its compressed form (LWS_WRITE_COMPRESSED) is, and the
     * message itself with LWS_WRITE_UNCOMPRESSED. */
    uint32_t deflate_threshold;
    int oldest; /* the oldest protocol version to accept: 76, 7, 8 or 13 */
};

enum lws_event_kind {
    LWS_EVENT_TEXT = 0, /* message in the arena: offset, length */
    LWS_EVENT_BINARY = 1,
    LWS_EVENT_TEXT_BUFFER = 2, /* message in a buffer of its own: lws_message(offset), length */
    LWS_EVENT_BINARY_BUFFER = 3,
    LWS_EVENT_SEND = 4,    /* send_interval has passed and the connection can be written to */
    LWS_EVENT_REQUEST = 5, /* a request is to be answered in this round; offset: enum lws_version */
    LWS_EVENT_CLOSED = 6,  /* an established connection has ended; code: the peer's close code or
                              1006; reason in the arena: offset, length */
    LWS_EVENT_GONE = 7,    /* a connection that had made a request ended, never established */
    LWS_EVENT_FAULT = 8,   /* offset: enum lws_fault, for the log; slot LWS_NO_SLOT if none. Of a
                              refused request code bytes at length in the arena: its method and
                              target, as far as they came, one space between them */
    LWS_EVENT_WATCH = 9, /* a watched descriptor is ready; slot: its number, offset: EPOLL* bits */
    LWS_EVENT_WRITABLE = 10, /* after lws_want_writable: everything written has left */
    LWS_EVENT_PONG = 11,     /* payload in the arena: offset, length; code 1: it answers our ping */
    LWS_EVENT_SECURE = 12,   /* TLS records in the arena: offset, length; code: how many; to be
                                decrypted and given to lws_feed in this round */
    LWS_EVENT_SECURE_END = 13, /* a connection with such events has ended: nothing comes after */
    /* The first four again, for compressed messages: text is not validated. */
    LWS_EVENT_COMPRESSED = 16,
};

/*
 * The code of a message event is 0 for a whole message. With rx_fragments it has these bits: each
 * frame, or each 64 KiB of a larger one, is an event.
 */
#define LWS_PIECE_NOT_FIRST 1u
#define LWS_PIECE_NOT_FINAL 2u

#define LWS_NO_SLOT 0xffffffffu

struct lws_event {
    uint16_t kind; /* enum lws_event_kind */
    uint16_t code;
    uint32_t slot;
    uint32_t offset;
    uint32_t length;
};

/*
 * Room around each message in the arena: an application may write a message back from where it
 * lies, with LWS_SEND_BUFFER_PRE_PADDING before and _POST_PADDING after it.
 */
#define LWS_ARENA_SIZE (512u * 1024u)

/*
 * Makes a context with its own epoll descriptor (close-on-exec). arena is LWS_ARENA_SIZE bytes that
 * the caller owns and that outlive the context or are replaced by lws_set_arena. options are
 * copied. Returns NULL with errno set.
 */
struct lws_context *lws_context_create(const struct lws_options *options, uint8_t *arena);

/* Resets every connection, closes every descriptor of the context (watched ones stay open), frees
 * it. */
void lws_context_destroy(struct lws_context *context);

/* Replaces the arena between two rounds; the old one is not touched any more. Returns 0 or an
 * error. */
int lws_set_arena(struct lws_context *context, uint8_t *arena);

/*
 * Takes over a listening, non-blocking, close-on-exec socket: connections are accepted from it.
 * secure: they speak TLS, see "Secure connections" below.
 * Returns 0, or -errno (the descriptor is then still the caller's).
 */
int lws_listen(struct lws_context *context, int fd, bool secure);

/*
 * Reports LWS_EVENT_WATCH with the given number (under 65536) whenever one of the EPOLL* bits of
 * events is ready on fd, which stays the caller's; events 0 ends it. Returns 0 or -errno.
 */
int lws_watch(struct lws_context *context, int fd, uint32_t events, uint32_t number);

/*
 * One round: sends what the last one queued, waits at most timeout_ms (-1: until something happens)
 * if nothing is ready, accepts, receives, decodes. Returns the number of events, in lws_events();
 * all that they point at is valid until the next call. Never fails but for LWS_ERROR_THREAD and
 * LWS_ERROR_PROCESS; an interrupted wait is a round of no events.
 */
int lws_service(struct lws_context *context, int timeout_ms);

/* The array that lws_service fills; the same pointer for the life of the context. */
struct lws_event *lws_events(struct lws_context *context);

/* How many events the array has room for. */
uint32_t lws_events_room(const struct lws_context *context);

/* Sends what is queued, as the next lws_service would, without receiving. Returns 0 or an error. */
int lws_flush(struct lws_context *context);

/*
 * The descriptor to watch for reading in another loop: readable whenever lws_service has work,
 * timers included. Returns it, or -errno. Not to be read from or closed.
 */
int lws_fileno(struct lws_context *context);

/* The payload of a LWS_EVENT_*_BUFFER event, with room before and after it; NULL if there is none.
 */
uint8_t *lws_message(struct lws_context *context, uint32_t number);

/*
 * Takes the buffer of such an event out of the context: it lives until lws_message_free(payload).
 * Returns its payload, NULL if there is none.
 */
uint8_t *lws_message_keep(struct lws_context *context, uint32_t number);
void lws_message_free(uint8_t *payload);

/*
 * The request of a slot whose LWS_EVENT_REQUEST is being answered, and its head; else NULL, also
 * when the peer has reset the connection in the round of that event, or the application closed it.
 */
const struct lws_request *lws_request(struct lws_context *context, uint32_t slot);
const uint8_t *lws_request_head(struct lws_context *context, uint32_t slot);

/*
 * The path with its query, as sent, of the request being answered or of the one that opened an
 * established connection; of an absolute target with an empty path "/" and the query. Returns NULL,
 * or memory of the context, valid until the next call of this function or of lws_fields, or the end
 * of the round.
 */
const uint8_t *lws_uri(struct lws_context *context, uint32_t slot, size_t *length);

/*
 * The field lines, each with its CR LF, of the same request. To be walked by lws_head_next and
 * lws_head_field with a struct lws_request whose headers is the slice (0, *length). Returns memory
 * of the context, valid until the next call or the end of the round, or NULL: no request, memory is
 * out, or a session without keep_headers.
 */
const uint8_t *lws_fields(struct lws_context *context, uint32_t slot, size_t *length);

/* Bytes of a connection that the kernel has taken so far, after its end too, or an error. */
int64_t lws_sent(struct lws_context *context, uint32_t slot);

/* enum lws_version of a connection, or an error. */
int lws_version(struct lws_context *context, uint32_t slot);

/*
 * The peer's address as text, "192.0.2.1:80" or "[2001:db8::1]:80", NUL-terminated; "-" if unknown.
 * text has room for LWS_PEER_SIZE bytes. Returns its length without the NUL.
 */
#define LWS_PEER_SIZE 64
int lws_peer(struct lws_context *context, uint32_t slot, char text[LWS_PEER_SIZE]);

/*
 * Addresses whose word counts (lws_trusted, proxy_protocol), and which no limit is held against: a
 * network of prefix bits, IPv4 as the IPv6 addresses ::ffff:0:0/96; Unix sockets are the address
 * that is all zero. Returns 0 or an error.
 */
int lws_trust(struct lws_context *context, const uint8_t address[16], unsigned prefix);

/*
 * Whether the peer of a slot is one of those. No if its PROXY header named no client (UNKNOWN,
 * LOCAL): then the fields of its requests are anybody's.
 */
bool lws_trusted(struct lws_context *context, uint32_t slot);

/*
 * From now on the peer of a slot is another one, for which a proxy speaks; secure: it came to the
 * proxy by TLS. *before is what the peer was. Returns 0 or an error.
 */
int lws_set_peer(struct lws_context *context, uint32_t slot, const struct lws_address *peer,
                 bool secure, struct lws_address *before);

/*
 * Answers the upgrade request of a slot with its 101: the connection is established. protocol and
 * extensions may be NULL; they are copied. compressed: permessage-deflate is among the extensions.
 * Returns 0 or an error (the request is then still open).
 */
int lws_upgrade(struct lws_context *context, uint32_t slot, const char *protocol,
                size_t protocol_length, const char *extensions, size_t extensions_length,
                bool compressed);

/*
 * Answers the request of a slot with the fixed refusal for a status, and closes (keep_alive false)
 * or goes on to the next request if the request allows it. Returns 0 or an error.
 */
int lws_refuse(struct lws_context *context, uint32_t slot, int status, bool keep_alive);

/*
 * The reply to the request of a slot is complete (lws_write with LWS_WRITE_HTTP, lws_send_file).
 * keep_alive false, or a request that forbids it: closes once everything has left.
 * Returns 0 or an error.
 */
int lws_reply_end(struct lws_context *context, uint32_t slot, bool keep_alive);

/*
 * Queues length bytes of a regular file from offset, to be sent by the kernel. Takes the descriptor
 * over if it returns 0: it is closed as soon as the last byte has left or the connection ends. If
 * the file turns out shorter, the connection is closed (LWS_FAULT_FILE_TRUNCATED). Returns 0 or an
 * error (the descriptor is then still the caller's).
 */
int lws_send_file(struct lws_context *context, uint32_t slot, int fd, uint64_t offset,
                  uint64_t length);

/*
 * A whole reply: length bytes of head, which are only read, as by lws_write_copy, then size bytes
 * of the file from offset, as by lws_send_file. A small file leaves in one send with its head.
 * Returns 0, the descriptor taken over; or an error: nothing of it will be sent, or the connection
 * is lost, and the descriptor is still in *file.
 */
int lws_reply_file(struct lws_context *context, uint32_t slot, const uint8_t *head, size_t length,
                   struct lws_file *file, uint64_t offset, uint64_t size);

/*
 * Sends a message whose payload has padding around it: the header is written into the bytes before
 * payload, for hixie-76 the trailer behind it; the payload is not changed. Small frames are
 * gathered and leave with the round, large ones leave from payload itself; what the kernel does not
 * take is copied, so that the buffer is the caller's again when this returns. LWS_WRITE_HTTP sends
 * the bytes as they are, without padding, as part of the reply being given. Returns 0: taken whole;
 * or an error: nothing of it will be sent.
 */
int lws_write(struct lws_context *context, uint32_t slot, uintptr_t payload, size_t length,
              int protocol);

/*
 * The same message to every established connection that takes its kind (hixie-76: text only). It is
 * encoded once; a peer that cannot take all of it at once gets a reference, not a copy. Peers whose
 * max_send_buffer it would exceed are skipped, and so are those with a fragmented message of ours
 * open. payload has padding around it. Returns the number of connections skipped, or an error.
 */
int lws_broadcast(struct lws_context *context, uintptr_t payload, size_t length, int protocol);

/*
 * lws_write of a message of this round: from the arena, offset being that of a LWS_EVENT_TEXT or
 * _BINARY or beyond it, or of a LWS_EVENT_*_BUFFER, offset being LWS_ARENA_SIZE and its number.
 */
int lws_write_arena(struct lws_context *context, uint32_t slot, uint32_t offset, size_t length,
                    int protocol);

/* lws_write of memory that has no padding and is only read. */
int lws_write_copy(struct lws_context *context, uint32_t slot, const uint8_t *payload,
                   size_t length, int protocol);

/*
 * Begins the closing handshake of an established connection: Close with code and reason (UTF-8, cut
 * to 123 bytes at a code point's end; not for hixie-76), after all that was written. On a
 * connection that is not established yet it closes once what was written has left. Closing twice is
 * no error. Returns 0 or an error (LWS_ERROR_CLOSE_CODE, LWS_ERROR_UTF8).
 */
int lws_close(struct lws_context *context, uint32_t slot, unsigned code, const uint8_t *reason,
              size_t length);

/*
 * Fails an established connection for what the application found in its messages, as the core does
 * for what it finds itself: one Close with the fault's code, its word as the reason and in the log;
 * LWS_EVENT_CLOSED with 1006 comes with the next round. Returns 0 or an error.
 */
int lws_fail_message(struct lws_context *context, uint32_t slot, int fault);

/* Resets a connection at once; what is queued is dropped. Returns 0 or an error. */
int lws_abort(struct lws_context *context, uint32_t slot);

/* Bytes written to a connection and not yet taken by the kernel (files not counted), or an error.
 */
int64_t lws_queued(struct lws_context *context, uint32_t slot);

/*
 * Asks for one LWS_EVENT_WRITABLE as soon as everything written has been taken by the kernel: in
 * the next round if it has been already. Returns 0 or an error.
 */
int lws_want_writable(struct lws_context *context, uint32_t slot);

/*
 * Stops (enable false) or resumes reading from a connection: its peer's sending comes to rest when
 * the kernel's buffers are full. Messages decoded in this round are still handed over. Returns 0 or
 * an error.
 */
int lws_rx_flow_control(struct lws_context *context, uint32_t slot, bool enable);

/* The last measured round trip of our pings in microseconds, -1 if there was none, or an error. */
int64_t lws_latency(struct lws_context *context, uint32_t slot);

/* The service returns at the latest in ms milliseconds, once; -1: takes the wish back. */
int lws_wake_in(struct lws_context *context, int ms);

/*
 * Stops gracefully: closes the listeners, lets replies finish, closes every established connection
 * with 1001. Rounds go on until lws_connections() is 0 or the caller gives up. Returns 0 or an
 * error.
 */
int lws_stop(struct lws_context *context);

/* Resets every connection; their LWS_EVENT_CLOSED and _GONE come with the next round. */
int lws_abort_all(struct lws_context *context);

/* The number of connections that are open, closing ones included. */
uint32_t lws_connections(const struct lws_context *context);

/* ---- Secure connections ------------------------------------------------------------------- */

/*
 * The core cuts the stream into TLS records (RFC 8446, section 5.1) and moves them; the application
 * has the TLS, in memory: it decrypts what LWS_EVENT_SECURE brings, to lws_feed, and encrypts what
 * lws_secure_next gives, to lws_secure_send. All else is as on a plain connection.
 *
 * Bytes that cannot be a TLS record are passed on as one; TLS reports the error.
 */

/*
 * Decodes length bytes of plaintext that the application has put at offset in the arena: the place
 * of the event's records, which they do not exceed. May be called with length 0: the TLS handshake
 * is complete from the first call on. ended: the peer has closed its side (close_notify). The
 * events that it appends are behind the ones of the round: lws_event_count. Returns 0 or an error.
 */
int lws_feed(struct lws_context *context, uint32_t slot, uint32_t offset, uint32_t length,
             bool ended);

/* The number of events in lws_events by now. */
uint32_t lws_event_count(const struct lws_context *context);

/*
 * The next connection with something to encrypt: *bytes and *length, 64 KiB and a bit, gone from
 * its queue, valid until the next call; length 0: its close_notify is wanted, nothing comes after
 * it. To be followed by lws_secure_send, and called until it returns LWS_NO_SLOT, before each
 * lws_service. Returns the slot.
 */
uint32_t lws_secure_next(struct lws_context *context, const uint8_t **bytes, uint32_t *length);

/*
 * Sends TLS records, before all that is not encrypted yet; what the kernel does not take is copied.
 * After length 0 what comes next comes. Returns 0 or an error.
 */
int lws_secure_send(struct lws_context *context, uint32_t slot, const uint8_t *records,
                    size_t length);

/* TLS has failed: what is not encrypted is dropped, what is leaves; then the connection ends.
 * Returns 0 or an error. */
int lws_secure_fail(struct lws_context *context, uint32_t slot);

#endif
