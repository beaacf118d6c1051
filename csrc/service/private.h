/* What the files of the service share: its structures, and functions grouped by their file. */
#ifndef LWS_PRIVATE_H
#define LWS_PRIVATE_H

#include "service/service.h"

#include <pthread.h>
#include <sys/epoll.h>

/* What one connection may take of one round. */
#define LWS_SHARE_BYTES (68u * 1024u) /* a frame of 64 KiB is whole in one */
#define LWS_SHARE_EVENTS 128u
#define LWS_SHARE_SEND (512u * 1024u)
#define LWS_PIECE (64u * 1024u) /* of a large frame, with rx_fragments */
#define LWS_STASH_PIECE 8192u   /* of kept input, copied to the arena at a time */

/*
 * A share for TLS: a message of 64 KiB with its header, in the records that it takes, so that it is
 * one round's work and not two.
 */
#define LWS_SHARE_SECURE (LWS_SHARE_BYTES + 1024u)

/* The receive window of a connection: its share, and the header of the largest message in it. */
#define LWS_WINDOW (LWS_SHARE_SECURE + 256u)

#define LWS_EVENTS 4096u  /* room of the event array */
#define LWS_REQUESTS 256u /* requests handed out in a round */
#define LWS_READY 512u    /* descriptors from one epoll_wait */
#define LWS_ACCEPTS 128u  /* connections accepted in a round from one listener */
#define LWS_SWEEP 512u    /* SEND events in a round */
#define LWS_MESSAGES 512u /* messages in buffers of their own in a round */
#define LWS_WATCHES 64u   /* listeners and watched descriptors */
#define LWS_FAULTS 64u    /* faults that came up between two rounds */
#define LWS_GATHER_SIZE (256u * 1024u)
#define LWS_GATHER_MAX (8u * 1024u)     /* larger writes leave at once, from the caller's memory */
#define LWS_FILE_COPY_MAX (16u * 1024u) /* smaller files travel with their head */

enum lws_state {
    LWS_STATE_FREE,
    LWS_STATE_HEAD,    /* reading a request head */
    LWS_STATE_REPLY,   /* a request is with the application */
    LWS_STATE_DRAIN,   /* the reply is leaving */
    LWS_STATE_OPEN,    /* established */
    LWS_STATE_CLOSING, /* our Close has been written, the peer's is awaited */
    LWS_STATE_FINISH,  /* nothing more will be written: send, then shut down */
    LWS_STATE_LINGER,  /* shut down for writing, waiting for the peer's FIN */
    LWS_STATE_DEAD,    /* the descriptor is closed; the slot waits for the end of the round */
};

/* A connection is in at most one deadline list of each kind. */
enum lws_deadline_list {
    LWS_DEADLINE_HANDSHAKE,
    LWS_DEADLINE_KEEPALIVE,
    LWS_DEADLINE_CLOSE,
    LWS_DEADLINE_LINGER,
    LWS_DEADLINE_PING, /* until an established peer is pinged */
    LWS_DEADLINE_PONG, /* until its answer */
    LWS_DEADLINE_SEND, /* the only one of the second kind */
    LWS_DEADLINE_LISTS,
};

struct lws_deadline {
    uint32_t next, previous; /* slots */
    uint32_t due;            /* milliseconds, modulo 2^32 */
};

/* A message in memory of its own: cut, fragmented or larger than a share of the arena. */
struct lws_buffer {
    struct lws_buffer *next; /* in the pool */
    size_t room;             /* of the payload */
    size_t length;           /* bytes of the message so far */
    uint8_t padding[16];     /* pre-padding; 16 keeps the payload aligned */
    uint8_t payload[];       /* room + LWS_SEND_BUFFER_POST_PADDING */
};

/* A frame that several connections send. */
struct lws_shared {
    uint32_t references;
    uint8_t bytes[];
};

/* Output that the kernel has not taken: memory, or a piece of a file. */
struct lws_segment {
    struct lws_segment *next;
    struct lws_shared *shared; /* the bytes are there, not here */
    int fd;                    /* -1: memory */
    bool encrypted;            /* TLS records: only at the front of the queue */
    uint64_t offset;           /* of the next byte */
    uint64_t end;
    uint32_t room; /* of bytes */
    uint8_t bytes[];
};

/* Bytes received and not yet decoded. */
struct lws_stash {
    uint32_t offset, length, room;
    uint8_t bytes[];
};

/* What is kept of the request that opened a session: its URI, then its field lines, packed. */
struct lws_opening {
    uint32_t uri_length;
    uint32_t packed_length; /* 0 without keep_headers */
    uint8_t bytes[];
};

/* A network of addresses; IPv4 is mapped into IPv6. */
struct lws_network {
    uint8_t bytes[16];
    uint8_t prefix;
};

/* How many connections each address has: a table that peer.c looks after. */
struct lws_counts {
    struct lws_count *places;
    uint32_t size, used;
    uint64_t seed;
};

struct libwebsocket {
    int fd;
    uint32_t slot;
    uint32_t generation;

    uint8_t state;    /* enum lws_state */
    uint8_t version;  /* enum lws_version, once established */
    uint8_t opcode;   /* of the message begun, 0: none */
    uint8_t interest; /* what epoll watches for: 0, 1 in, 2 out */

    uint8_t handle : 1;  /* the application knows the slot: CLOSED or GONE is owed */
    uint8_t session : 1; /* established: CLOSED is owed */
    uint8_t keep : 1;    /* the connection stays open after this reply */
    uint8_t secure : 1;
    uint8_t forwarded_secure : 1; /* a trusted proxy says that its client came by TLS */
    uint8_t proxy_due : 1;        /* a PROXY header comes before all else */
    uint8_t counted : 1;          /* peer is in the table of addresses */
    uint8_t pending : 1;          /* in the list of those with undecoded input */
    uint8_t flushing : 1;         /* in the list of those with gathered output */
    uint8_t skipping : 1;         /* the present frame is read and dropped */
    uint8_t in_frame : 1;         /* frame_left bytes of a frame are still to come */
    uint8_t in_fin : 1;           /* that frame ends its message */
    uint8_t late : 1;             /* in the list of those whose end is to be reported */
    uint8_t head_only : 1;        /* the request was HEAD */
    uint8_t deflate : 1;          /* permessage-deflate was agreed */
    uint8_t compressed : 1;       /* the message begun is compressed */
    uint8_t pieced : 1;           /* a piece of the message begun was handed over */
    uint8_t out_open : 1;         /* a fragmented message of ours is open */
    uint8_t out_text : 1;         /* and it is text */
    uint8_t want_writable : 1;
    uint8_t writing : 1; /* in the list of those to be told that they are writable */
    uint8_t rx_off : 1;  /* the application does not want to read */
    uint8_t secured : 1; /* the application has TLS state: LWS_EVENT_SECURE_END is owed */
    uint8_t shaken : 1;  /* the TLS handshake is complete */
    uint8_t parted : 1;  /* our close_notify has been asked for */
    uint8_t ended : 1;   /* the peer's has come, or its stream has ended within TLS */
    uint8_t unnamed : 1; /* the PROXY header named no client: nobody speaks for one either */
    uint8_t lists[2];    /* enum lws_deadline_list + 1, 0: none */
    uint8_t linger_list; /* FINISH: the deadline for the peer's FIN */
    uint8_t mask_phase;  /* payload bytes of the present frame so far, modulo 4 */

    uint16_t end_code;
    uint32_t lingered; /* bytes dropped while lingering */

    union {
        struct {
            struct lws_head_scan scan;
            uint32_t requests;  /* answered so far */
            uint32_t request;   /* index + 1 of the one being answered, 0: none */
            uint32_t head_size; /* bytes of the stash that it takes */
        } http;
        struct {
            uint64_t frame_left;
            uint32_t total; /* bytes of the message so far */
            uint32_t utf8;
            uint8_t mask[4];
            uint32_t out_utf8; /* of the fragmented text of ours */
        } ws;                  /* of a session */
    } in;

    uint32_t queued;                    /* bytes gathered and queued, files not counted */
    uint32_t gather_first, gather_last; /* offset + 8 of chunks in the gather arena, 0: none */
    uint32_t next_pending, next_flush, next_late, next_writable; /* slots */
    uint32_t next_end; /* in the list of the dead, then of the free */

    uint32_t ping;      /* of the last ping sent: its number, its payload */
    uint32_t ping_sent; /* microseconds, modulo 2^32 */
    uint32_t latency;   /* microseconds, the last measured + 1, 0: none */
    struct lws_deadline deadlines[2];
    struct lws_address peer;

    struct lws_stash *stash;
    struct lws_stash *records;  /* secure: a TLS record that is not whole yet */
    struct lws_buffer *message; /* the message begun, if it is not in the arena */
    struct lws_segment *queue, *queue_last;
    uint8_t *pong_waiting; /* length, then payload: the newest ping's, while output is blocked */
    struct lws_opening *opening;
    uint64_t sent; /* bytes that the kernel has taken */
};

struct lws_list {
    uint32_t first, last; /* slots, LWS_NO_SLOT if empty */
};

struct lws_watched {
    int fd; /* -1: free */
    uint32_t number;
    bool listener;
    bool secure;
};

struct lws_late_fault {
    uint32_t slot;
    int fault;
};

struct lws_handed_request {
    struct lws_request request;
    const uint8_t *head;
};

/* Connections live in chunks that never move; a slot is chunk * LWS_CHUNK + index. */
#define LWS_CHUNK 256u

struct lws_context {
    struct lws_options options;
    pthread_t thread;
    uint32_t fork_depth;
    uint32_t forks_made;
    int epoll;
    int timer; /* a timerfd in epoll for lws_fileno, else -1 */
    bool stopping;
    bool in_service; /* events may be appended */
    bool heard;      /* the last round passed over the deadlines */
    uint64_t now;    /* CLOCK_MONOTONIC in ms, read once a round */
    uint64_t left;   /* when the last round returned */
    uint64_t next_send;
    uint64_t wake_at;      /* when the application wants a round; 0: no matter */
    uint64_t accept_again; /* when paused listeners are watched again; 0: none is */
    uint64_t accept_told;  /* when that accepting fails was last reported; 0: never */
    uint32_t sweep;        /* the slot at which the present SEND sweep goes on */
    bool sweeping;

    struct libwebsocket **chunks;
    uint32_t chunk_count;
    uint32_t slots; /* ever used */
    uint32_t live;  /* not free and not dead */
    uint32_t established;
    uint32_t free_first; /* chained by next_end */
    uint32_t dead_first; /* chained by next_end when the end has been reported */

    struct lws_list pending, ended, writable, deadlines[LWS_DEADLINE_LISTS];
    struct lws_list flush[2]; /* plain; secure: what is gathered is to be encrypted first */
    uint8_t *to_encrypt;      /* LWS_SHARE_SECURE, once there is a secure listener */
    uint8_t *scratch;         /* for field lines, as long as the longest yet */
    uint32_t scratch_room;
    struct lws_segment *encrypting; /* in no queue any more: its bytes are lent */

    uint8_t *arena;
    uint32_t arena_used;

    uint8_t *gather;
    uint32_t gather_used;
    bool gather_flushing; /* output that comes up meanwhile must not ask for another flush */
    uint8_t *room_last;   /* what lws_output_room made last, for lws_output_trim */

    struct lws_event *events;
    uint32_t event_count;

    struct lws_late_fault faults[LWS_FAULTS];
    uint32_t fault_count;

    struct lws_handed_request *requests;
    uint32_t request_count;

    struct lws_buffer *messages[LWS_MESSAGES];
    uint32_t message_count;
    struct lws_buffer *pool;
    size_t pooled;
    uint64_t pool_used; /* when a buffer was last asked for */

    struct epoll_event *ready;
    uint32_t ready_count, ready_next;

    struct lws_watched watched[LWS_WATCHES];

    struct lws_network *trusted;
    uint32_t trusted_count;
    struct lws_counts counts;
};

/* ---- state.c: slots, ends, the functions by which the application changes a state ----------- */

static inline struct libwebsocket *lws_at(const struct lws_context *context, uint32_t slot) {
    return &context->chunks[slot / LWS_CHUNK][slot % LWS_CHUNK];
}

/* The connection of a slot that the application named, or NULL. */
struct libwebsocket *lws_find(const struct lws_context *context, uint32_t slot);

/* 0, or why the caller may not use the context. */
int lws_foreign(const struct lws_context *context);

/* The peer's stream has ended, in a state in which it is read from. */
void lws_end_of_input(struct lws_context *context, struct libwebsocket *wsi);

/* A fresh connection over an accepted descriptor; NULL if memory is out. */
struct libwebsocket *lws_connection_new(struct lws_context *context, int fd);

/* Sets what epoll watches for: 0 nothing but errors, 1 input, 2 output. */
void lws_interest(struct lws_context *context, struct libwebsocket *wsi, uint8_t interest);

/* Puts a connection with undecoded input into the list that the next round begins with. */
void lws_pend(struct lws_context *context, struct libwebsocket *wsi);

/* Puts a connection into the list of those that are told that they are writable. */
void lws_tell_writable(struct lws_context *context, struct libwebsocket *wsi);

/* Owes the application the end of a connection: once, whatever comes later. */
void lws_end(struct lws_context *context, struct libwebsocket *wsi, unsigned code,
             uint32_t reason_offset, uint32_t reason_length);

/* Closes the descriptor; reset: with a RST. Ends the connection if that has not come yet. */
void lws_die(struct lws_context *context, struct libwebsocket *wsi, bool reset);

/* Nothing more will be written: sends what is queued, shuts down, lingers on the given list. */
void lws_finish(struct lws_context *context, struct libwebsocket *wsi, enum lws_deadline_list list);

/* Called when all output has left: goes on to the next request, shuts down, sends a waiting pong.
 */
void lws_drained(struct lws_context *context, struct libwebsocket *wsi);

/* Refuses a request: the fixed reply, then closes, or goes on if keep_alive. */
void lws_refuse_request(struct lws_context *context, struct libwebsocket *wsi, int status,
                        bool keep_alive);

/* The request being answered has its answer: what it took of the stash goes. */
void lws_release_request(struct libwebsocket *wsi);

/* The reply to it is complete. */
void lws_end_reply(struct lws_context *context, struct libwebsocket *wsi, bool keep_alive);

/* Input that was kept aside while it was not to be read. */
void lws_go_on_reading(struct lws_context *context, struct libwebsocket *wsi);

/* Fails an established connection: one Close with the fault's code, no more input. */
void lws_fail(struct lws_context *context, struct libwebsocket *wsi, int fault);

/* How often this process has forked, and how many forks it is from the first one. */
uint32_t lws_forks_made(void);
uint32_t lws_fork_depth(void);

/* Frees the slots whose end was reported in an earlier round. */
void lws_reap(struct lws_context *context);

/* Reports LWS_EVENT_WRITABLE, as far as there is room. */
void lws_report_writable(struct lws_context *context);

/* Reports the ends that came up outside of receiving, as far as there is room. */
void lws_report_ends(struct lws_context *context);

void lws_connection_free_all(struct lws_context *context);

/* ---- queue.c -------------------------------------------------------------------------------- */

/* Sends all that the last round gathered. */
void lws_flush_all(struct lws_context *context);

/* The descriptor can be written to. */
void lws_send_ready(struct lws_context *context, struct libwebsocket *wsi);

/*
 * Queues bytes of our own (refusals, control frames, the 101): room to write size bytes to, in the
 * gather arena or in the queue; NULL if memory is out.
 */
uint8_t *lws_output_room(struct lws_context *context, struct libwebsocket *wsi, uint32_t size);

/* Gives back the last unused bytes of the room that was made last. */
void lws_output_trim(struct lws_context *context, struct libwebsocket *wsi, uint32_t unused);

/*
 * Queues bytes that lie elsewhere: copied if few, else sent at once as far as the kernel takes
 * them. Returns 0, LWS_ERROR_CLOSED if the connection died of it, or LWS_ERROR_MEMORY.
 */
int lws_output_put(struct lws_context *context, struct libwebsocket *wsi, const uint8_t *bytes,
                   uint32_t size);

/* Queues a piece of a file; the descriptor is taken over. Returns false if memory is out. */
bool lws_output_file(struct lws_context *context, struct libwebsocket *wsi, int fd, uint64_t offset,
                     uint64_t length);

/* Whether bytes wait that a send has failed to place. */
static inline bool lws_blocked(const struct libwebsocket *wsi) {
    return wsi->queue != NULL;
}

/*
 * Sends size bytes behind what is gathered, as far as the kernel takes them; the rest waits by
 * reference to *shared, which is made from bytes when it is first wanted. Returns false if the
 * connection died or memory is out.
 */
bool lws_output_shared(struct lws_context *context, struct libwebsocket *wsi, const uint8_t *bytes,
                       uint32_t size, struct lws_shared **shared);
void lws_shared_release(struct lws_shared *shared);

/* Drops gathered and queued output. */
void lws_output_drop(struct lws_context *context, struct libwebsocket *wsi);

/* Puts a connection into the list of those whose gathered output is to leave. */
void lws_want_flush(struct lws_context *context, struct libwebsocket *wsi);

/* The queue did not empty: it goes on when the peer reads, or ends at the deadline. */
void lws_wait_for_room(struct lws_context *context, struct libwebsocket *wsi, bool progress);

/* Whether a send that failed may go well later. */
bool lws_is_passing(int error);

/* A segment of memory with size bytes, to be filled and queued; NULL if memory is out. */
struct lws_segment *lws_segment_new(uint32_t size);
void lws_queue_append(struct libwebsocket *wsi, struct lws_segment *segment);
void lws_queue_drop_first(struct libwebsocket *wsi);
void lws_segment_free(struct lws_segment *segment);

/*
 * One send of the queue's first segment, of at most limit bytes. Returns the bytes that left, 0 if
 * the kernel takes no more, -1 if the connection died.
 */
ssize_t lws_send_segment(struct lws_context *context, struct libwebsocket *wsi, size_t limit);

/* How many bytes are gathered for a connection; with to they are copied there and let go. */
uint32_t lws_take_gathered(struct lws_context *context, struct libwebsocket *wsi, uint8_t *to);

/* ---- saved_head.c --------------------------------------------------------------------------- */

/* Memory of the context for size bytes, valid until the next call; NULL if memory is out. */
uint8_t *lws_scratch(struct lws_context *context, uint32_t size);

/*
 * Packs field lines that lws_head_parse has accepted. to has room for length bytes and does not
 * overlap. Returns the size packed, which is not larger.
 */
uint32_t lws_fields_pack(const uint8_t *fields, uint32_t length, uint8_t *to);

/* Their size unpacked; with to they are written there. */
uint32_t lws_fields_unpack(const uint8_t *packed, uint32_t length, uint8_t *to);

/* What is to be known of a request later, the connection's; NULL if memory is out. */
struct lws_opening *lws_opening_new(struct lws_context *context, const uint8_t *head,
                                    const struct lws_request *request);

/* Its field lines, the context's until the next call; NULL if memory is out. */
const uint8_t *lws_opening_fields(struct lws_context *context, const struct lws_opening *opening,
                                  size_t *length);

/* ---- tls.c ---------------------------------------------------------------------------------- */

/* A secure connection is readable: receives records for the application to decrypt. */
void lws_receive_secure(struct lws_context *context, struct libwebsocket *wsi);

/* Its descriptor can be written to. */
void lws_send_ready_secure(struct lws_context *context, struct libwebsocket *wsi);

/* Its gathered bytes, then extra, go to the queue. Returns false if the connection died. */
bool lws_queue_secure(struct lws_context *context, struct libwebsocket *wsi, const uint8_t *extra,
                      uint32_t extra_size);

/* Before the gather arena is used anew: what secure connections have there goes to their queues. */
void lws_queue_all_secure(struct lws_context *context);

/* ---- write.c -------------------------------------------------------------------------------- */

/* Queues a Close frame (ff 00 for hixie-76). Returns 0 or an error; code 1005: an empty Close. */
int lws_output_close(struct lws_context *context, struct libwebsocket *wsi, unsigned code,
                     const uint8_t *reason, size_t length);

/* Answers a ping: now, or, while the peer does not read, with the newest when it does. */
void lws_output_pong(struct lws_context *context, struct libwebsocket *wsi, const uint8_t *payload,
                     uint32_t length);

/* Pings an established peer, and measures from now. */
void lws_output_ping(struct lws_context *context, struct libwebsocket *wsi);

/* The peer's pong: true if it answers our last ping. */
bool lws_match_pong(struct lws_context *context, struct libwebsocket *wsi, const uint8_t *payload,
                    uint32_t length);

/* Sends the pong that waited for the queue to empty, if there is one. */
void lws_output_waiting_pong(struct lws_context *context, struct libwebsocket *wsi);

/* ---- receive.c ------------------------------------------------------------------------------ */

/* Receives and decodes one connection's share of the round. fresh: the descriptor is readable. */
void lws_receive(struct lws_context *context, struct libwebsocket *wsi, bool fresh);

/* recv: the number of bytes (over 0), or one of the below. */
enum { LWS_RECEIVED_NOTHING = -1, LWS_RECEIVED_END = -2, LWS_RECEIVED_ERROR = -3 };
ssize_t lws_receive_bytes(struct libwebsocket *wsi, uint8_t *to, size_t size, int flags);

/* A place in the arena for one connection's bytes, with room before and, unused, behind it. */
static inline uint8_t *lws_window(const struct lws_context *context) {
    return context->arena + context->arena_used + 16;
}

/* size bytes of the window stay in use for this round. */
static inline void lws_use_window(struct lws_context *context, uint32_t size) {
    context->arena_used += (16 + size + LWS_SEND_BUFFER_POST_PADDING + 15u) & ~15u;
}

/* Reports a fault of a request, with its method and target as far as they were parsed. */
void lws_report_request(struct lws_context *context, struct libwebsocket *wsi, int fault,
                        const uint8_t *head, const struct lws_request *request);

/* The same for a head that is not whole, or not acceptable: there bytes at data. */
void lws_report_head(struct lws_context *context, struct libwebsocket *wsi, int fault,
                     const uint8_t *data, uint32_t there);

/* Kills a connection for want of memory. */
void lws_out_of_memory(struct lws_context *context, struct libwebsocket *wsi);

/*
 * Takes what there bytes at data hold of a request head, stashed bytes first. Returns how many of
 * the bytes at data must stay there for the round.
 */
uint32_t lws_decode_head(struct lws_context *context, struct libwebsocket *wsi, uint8_t *data,
                         uint32_t there);

/*
 * Decodes the frames of there bytes at data, of which the first kept were copied from the stash.
 * whole: that was all of the stash; ended: nothing comes after them.
 */
void lws_decode_frames(struct lws_context *context, struct libwebsocket *wsi, uint8_t *data,
                       uint32_t kept, uint32_t there, bool whole, bool ended);

/* ---- messages.c ----------------------------------------------------------------------------- */

/*
 * Decodes frames in place from size bytes at data (in the arena) into events. Returns how many
 * bytes were used; fewer than size: the rest is to be kept, and if *more is set it holds whole
 * frames that the share of events had no room for.
 */
uint32_t lws_decode(struct lws_context *context, struct libwebsocket *wsi, uint8_t *data,
                    uint32_t size, bool *more);
uint32_t lws_decode76(struct lws_context *context, struct libwebsocket *wsi, uint8_t *data,
                      uint32_t size, bool *more);

/* size bytes of the present frame were received straight into the message's buffer. */
void lws_decode_direct(struct lws_context *context, struct libwebsocket *wsi, uint32_t size);

/* ---- round.c -------------------------------------------------------------------------------- */

/* Appends an event; the caller has seen to the room. */
void lws_event(struct lws_context *context, unsigned kind, uint32_t slot, uint32_t offset,
               uint32_t length);

/* epoll data of what is no connection: this bit, and an index into watched or LWS_TIMER_INDEX. */
#define LWS_SPECIAL ((uint64_t)1 << 63)
#define LWS_TIMER_INDEX 0xffffu

/* Sets the timer that lws_fileno hands out, if it did. */
void lws_arm_timer(struct lws_context *context);

/* Reports a fault for the log, if there is room. */
void lws_report(struct lws_context *context, uint32_t slot, int fault);

/* Whether the arrays have room for one more connection's share of everything but the arena. */
bool lws_has_room(const struct lws_context *context);

/* ---- listener.c ----------------------------------------------------------------------------- */

/* A listener or a watched descriptor is ready: accepts, or reports it. */
void lws_serve_watched(struct lws_context *context, uint32_t index, uint32_t events);

/* Accepts again after a pause for want of descriptors, when its time has come. */
void lws_go_on_accepting(struct lws_context *context);

void lws_close_listeners(struct lws_context *context);

/* ---- peer.c --------------------------------------------------------------------------------- */

struct sockaddr_storage;
void lws_peer_note(struct lws_address *peer, const struct sockaddr_storage *address);
bool lws_peer_is_trusted(const struct lws_context *context, const struct lws_address *peer);

/* Counts a connection for its peer's address; false: over max_connections_per_ip. */
bool lws_peer_count(struct lws_context *context, struct libwebsocket *wsi);
void lws_peer_uncount(struct lws_context *context, struct libwebsocket *wsi);

/*
 * Takes the PROXY header that is due off the socket, and not a byte behind it. Returns whether what
 * follows may be received now: the connection may be waiting for more, or be over.
 */
bool lws_receive_proxy(struct lws_context *context, struct libwebsocket *wsi);

/* Frees what the context holds for all this. */
void lws_peer_free_all(struct lws_context *context);

/* ---- deadline.c ----------------------------------------------------------------------------- */

/* Puts a connection at the end of a list, out of another of the same kind; its time starts anew. */
void lws_deadline_set(struct lws_context *context, struct libwebsocket *wsi,
                      enum lws_deadline_list list);

/* Takes it out of the list of a kind: 0 phase, 1 sending. */
void lws_deadline_clear(struct lws_context *context, struct libwebsocket *wsi, unsigned kind);

/* Acts on every deadline that has passed. */
void lws_deadline_expire(struct lws_context *context);

/* Milliseconds to the next deadline, at most limit (-1: none). */
int lws_deadline_wait(const struct lws_context *context, int limit);

/* ---- buffer.c ------------------------------------------------------------------------------- */

/* A buffer for a payload of at least room bytes, from the pool or new; NULL if memory is out. */
struct lws_buffer *lws_buffer_get(struct lws_context *context, size_t room);

/* Makes room for a payload of at least room bytes, keeping what is in it; NULL: as it was. */
struct lws_buffer *lws_buffer_grow(struct lws_context *context, struct lws_buffer *buffer,
                                   size_t room);

/* Gives a buffer back to the pool. NULL is allowed. */
void lws_buffer_put(struct lws_context *context, struct lws_buffer *buffer);

void lws_buffer_free_all(struct lws_context *context);

/* Keeps length bytes aside behind what is there already. Returns false if memory is out. */
bool lws_stash_append(struct lws_stash **of, const uint8_t *bytes, uint32_t length);

/* Takes length bytes off the front; the stash is freed when it is empty. */
void lws_stash_take(struct lws_stash **of, uint32_t length);

static inline uint32_t lws_stashed(const struct libwebsocket *wsi) {
    return wsi->stash ? wsi->stash->length - wsi->stash->offset : 0;
}

#endif
