/*
 * The bare server: what a C program reaches that does only what the load asks for. One thread, one
 * epoll, level-triggered; one recv and one send for each readable connection.
 */
#include "benchmark.h"

#include "codec/codec.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_SIZE (256u * 1024u)
#define ROOM 16u /* before received bytes, for a header */
#define READY 512
#define REPLY_HEAD 256u
#define SMALL_FILE (16u * 1024u) /* sent with its head, in one call */

struct peer {
    int fd;
    bool open;         /* the handshake is over */
    bool ends;         /* closes once everything has left */
    uint8_t spill[16]; /* of a header cut by the end of a read, BENCH_LIMIT_STREAM */
    uint8_t spilled;
    uint8_t mask[4];
    uint64_t frame_left; /* payload bytes of the present frame to come, BENCH_LIMIT_STREAM */
    uint64_t phase;
    uint8_t *own; /* a buffer with a cut frame or head */
    size_t used, room;
    uint8_t *rest; /* output that the kernel has not taken */
    size_t rest_at, rest_size;
    off_t file_at; /* of the reply being sent */
    uint64_t file_left;
    struct peer *next, *previous; /* all open ones, BENCH_LIMIT_BROADCAST */
};

struct server {
    int epoll;
    int kind;
    int file;
    uint64_t file_size;
    struct peer all; /* head of the ring of open peers */
    uint8_t *buffer;
    size_t head_size; /* of the HTTP reply */
    uint8_t head[REPLY_HEAD];
};

static void watch(struct server *server, struct peer *peer, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = peer};

    epoll_ctl(server->epoll, EPOLL_CTL_MOD, peer->fd, &event);
}

static void drop(struct peer *peer) {
    close(peer->fd);
    if (peer->next) {
        peer->next->previous = peer->previous;
        peer->previous->next = peer->next;
    }
    free(peer->own);
    free(peer->rest);
    free(peer);
}

/* Sends, and keeps what the kernel does not take. Returns false if the peer is gone. */
static bool put(struct server *server, struct peer *peer, const uint8_t *bytes, size_t size) {
    ssize_t sent = 0;

    if (!peer->rest_size) {
        sent = send(peer->fd, bytes, size, MSG_NOSIGNAL);
        if ((size_t)sent == size) {
            return true;
        }
        if (sent < 0) {
            if (errno != EAGAIN) {
                return false;
            }
            sent = 0;
        }
    }

    uint8_t *rest = malloc(peer->rest_size - peer->rest_at + size - (size_t)sent);

    if (!rest) {
        return false;
    }
    if (peer->rest_size > peer->rest_at) {
        memcpy(rest, peer->rest + peer->rest_at, peer->rest_size - peer->rest_at);
    }
    memcpy(rest + peer->rest_size - peer->rest_at, bytes + sent, size - (size_t)sent);
    peer->rest_size += size - (size_t)sent - peer->rest_at;
    peer->rest_at = 0;
    free(peer->rest);
    peer->rest = rest;
    watch(server, peer, EPOLLOUT);
    return true;
}

/* The kernel has room again. */
static bool go_on(struct server *server, struct peer *peer) {
    if (peer->rest_size) {
        ssize_t sent = send(peer->fd, peer->rest + peer->rest_at, peer->rest_size - peer->rest_at,
                            MSG_NOSIGNAL);

        if (sent < 0) {
            return errno == EAGAIN;
        }
        peer->rest_at += (size_t)sent;
        if (peer->rest_at < peer->rest_size) {
            return true;
        }
        free(peer->rest);
        peer->rest = NULL;
        peer->rest_at = peer->rest_size = 0;
    }
    if (peer->file_left) {
        ssize_t sent = sendfile(peer->fd, server->file, &peer->file_at, (size_t)peer->file_left);

        if (sent <= 0) {
            return sent < 0 && errno == EAGAIN;
        }
        peer->file_left -= (uint64_t)sent;
        if (peer->file_left) {
            return true;
        }
    }
    if (peer->ends) {
        return false;
    }
    watch(server, peer, EPOLLIN);
    return true;
}

/* ---- WebSocket ------------------------------------------------------------------------------ */

static bool upgrade(struct server *server, struct peer *peer, const uint8_t *head, size_t size) {
    static const char name[] = "Sec-WebSocket-Key: ";
    static const char reply[] = "HTTP/1.1 101 Switching Protocols\r\n"
                                "Upgrade: websocket\r\n"
                                "Connection: Upgrade\r\n"
                                "Sec-WebSocket-Accept: ";
    uint8_t out[sizeof reply - 1 + LWS_ACCEPT_LENGTH + 4];
    const uint8_t *key = memmem(head, size, name, sizeof name - 1);

    if (!key) {
        return false;
    }
    memcpy(out, reply, sizeof reply - 1);
    if (lws_accept_key(key + sizeof name - 1, 24, (char *)out + sizeof reply - 1) != 0) {
        return false;
    }
    memcpy(out + sizeof out - 4, "\r\n\r\n", 4);
    peer->open = true;
    peer->next = server->all.next;
    peer->previous = &server->all;
    server->all.next->previous = peer;
    server->all.next = peer;
    return put(server, peer, out, sizeof out);
}

static void broadcast(struct server *server, const uint8_t *bytes, size_t size) {
    for (struct peer *peer = server->all.next; peer != &server->all; peer = peer->next) {
        put(server, peer, bytes, size);
    }
}

/*
 * Turns every whole frame at data into the server's, packed from *out on (before data there is
 * ROOM). Returns the bytes used, *size the bytes to send.
 */
static size_t reframe(struct server *server, struct peer *peer, uint8_t *data, size_t there,
                      uint8_t **out, size_t *size) {
    size_t used = 0;

    *size = 0;
    while (used < there) {
        struct lws_frame frame;
        int header = lws_frame_decode(data + used, there - used, 0, &frame);

        if (header < 0) {
            peer->ends = true;
            break;
        }
        if (header == 0 || frame.length > there - used - (size_t)header) {
            break;
        }

        uint8_t *payload = data + used + header;
        size_t length = (size_t)frame.length;

        used += (size_t)header + length;
        lws_mask(payload, length, frame.mask, 0);
        if (*size == 0) {
            size_t before = lws_frame_encode(payload, length, 0x80u | frame.opcode);

            *out = payload - before;
            *size = before + length;
        } else {
            uint8_t *to = *out + *size;
            size_t before = lws_frame_header(to, length, 0x80u | frame.opcode);

            memmove(to + before, payload, length);
            *size += before + length;
        }
        if (frame.opcode == LWS_OPCODE_CLOSE) {
            peer->ends = true;
            break;
        }
        if (server->kind == BENCH_LIMIT_BROADCAST) {
            broadcast(server, *out, *size);
            *size = 0;
        }
    }
    return used;
}

/* Passes frames on as their bytes come. Returns false if the peer is gone. */
static bool stream(struct server *server, struct peer *peer, uint8_t *data, size_t there) {
    uint8_t *from = data, *end = data + there, *to = data, *begin = data;
    bool first = true;

    while (from < end) {
        if (!peer->frame_left) {
            struct lws_frame frame;
            size_t room = sizeof peer->spill - 2 - peer->spilled;
            size_t more = (size_t)(end - from) < room ? (size_t)(end - from) : room;
            uint8_t before[10];

            memcpy(peer->spill + peer->spilled, from, more);

            int header = lws_frame_decode(peer->spill, peer->spilled + more, 0, &frame);

            if (header < 0) {
                return false;
            }
            if (header == 0) {
                peer->spilled = (uint8_t)(peer->spilled + more);
                break;
            }
            from += header - peer->spilled;
            peer->spilled = 0;
            peer->frame_left = frame.length;
            peer->phase = 0;
            peer->ends = frame.opcode == LWS_OPCODE_CLOSE;
            memcpy(peer->mask, frame.mask, sizeof peer->mask);

            size_t size = lws_frame_header(before, frame.length, 0x80u | frame.opcode);

            if (first) {
                /* Right before the payload, which then need not move. */
                begin = to = from - size;
            }
            memcpy(to, before, size);
            to += size;
            first = false;
        }

        size_t length = (size_t)(end - from);

        if (length > peer->frame_left) {
            length = (size_t)peer->frame_left;
        }
        lws_mask(from, length, peer->mask, (size_t)peer->phase);
        if (first) {
            begin = to = from;
            first = false;
        }
        if (to != from) {
            memmove(to, from, length);
        }
        to += length;
        from += length;
        peer->phase += length;
        peer->frame_left -= length;
    }
    return (to == begin || put(server, peer, begin, (size_t)(to - begin))) &&
           !(peer->ends && !peer->frame_left && !peer->rest_size);
}

/* ---- HTTP ----------------------------------------------------------------------------------- */

static bool reply(struct server *server, struct peer *peer) {
    if (server->file_size <= SMALL_FILE) {
        uint8_t out[REPLY_HEAD + SMALL_FILE];
        ssize_t got = pread(server->file, out + server->head_size, (size_t)server->file_size, 0);

        memcpy(out, server->head, server->head_size);
        return got == (ssize_t)server->file_size &&
               put(server, peer, out, server->head_size + (size_t)got);
    }
    if (send(peer->fd, server->head, server->head_size, MSG_NOSIGNAL | MSG_MORE) !=
        (ssize_t)server->head_size) {
        return false;
    }
    peer->file_at = 0;
    peer->file_left = server->file_size;

    ssize_t sent = sendfile(peer->fd, server->file, &peer->file_at, (size_t)peer->file_left);

    if (sent < 0 && errno != EAGAIN) {
        return false;
    }
    peer->file_left -= sent > 0 ? (uint64_t)sent : 0;
    if (peer->file_left) {
        watch(server, peer, EPOLLOUT);
    }
    return true;
}

/* ---- receiving ------------------------------------------------------------------------------ */

/* A place for size bytes behind those that are kept. */
static uint8_t *place(struct server *server, struct peer *peer, size_t *room) {
    if (!peer->own) {
        *room = BUFFER_SIZE;
        return server->buffer + ROOM;
    }
    *room = peer->room - peer->used;
    return peer->own + ROOM + peer->used;
}

/* Keeps size bytes at from for the next read. */
static bool keep(struct peer *peer, const uint8_t *from, size_t size) {
    if (!peer->own) {
        peer->own = malloc(BUFFER_SIZE + 2 * ROOM);
        peer->room = BUFFER_SIZE;
        if (!peer->own) {
            return false;
        }
    }
    memmove(peer->own + ROOM, from, size);
    peer->used = size;
    return true;
}

static bool serve(struct server *server, struct peer *peer) {
    size_t room;
    uint8_t *at = place(server, peer, &room);
    ssize_t got = recv(peer->fd, at, room, 0);

    if (got <= 0) {
        return got < 0 && errno == EAGAIN;
    }

    uint8_t *data = peer->own ? peer->own + ROOM : at;
    size_t there = peer->used + (size_t)got;

    if (!peer->open) {
        const uint8_t *end = memmem(data, there, "\r\n\r\n", 4);

        if (!end) {
            return keep(peer, data, there);
        }
        peer->used = 0;
        return server->kind == BENCH_LIMIT_HTTP ? reply(server, peer)
                                                : upgrade(server, peer, data, (size_t)(end - data));
    }
    if (server->kind == BENCH_LIMIT_STREAM) {
        return stream(server, peer, data, there);
    }

    uint8_t *out = data;
    size_t size;
    size_t used = reframe(server, peer, data, there, &out, &size);

    if (size && !put(server, peer, out, size)) {
        return false;
    }
    if (peer->ends && !peer->rest_size) {
        return false;
    }
    if (used == there) {
        peer->used = 0;
        return true;
    }
    if (peer->own && used == 0) {
        peer->used = there;
        return there < peer->room;
    }
    return keep(peer, data + used, there - used);
}

static void accept_all(struct server *server, int listener) {
    for (;;) {
        int one = 1;
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct peer *peer = fd < 0 ? NULL : calloc(1, sizeof *peer);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};

        if (!peer) {
            if (fd >= 0) {
                close(fd);
            }
            return;
        }
        peer->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

static int begin(struct server *server, int listener) {
    struct epoll_event event = {.events = EPOLLIN};
    struct stat status;

    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->buffer = malloc(BUFFER_SIZE + 2 * ROOM);
    if (server->epoll < 0 || !server->buffer ||
        epoll_ctl(server->epoll, EPOLL_CTL_ADD, listener, &event) != 0) {
        return -errno;
    }
    if (server->kind == BENCH_LIMIT_HTTP) {
        if (fstat(server->file, &status) != 0) {
            return -errno;
        }
        server->file_size = (uint64_t)status.st_size;
        server->head_size = (size_t)snprintf((char *)server->head, sizeof server->head,
                                             "HTTP/1.1 200 OK\r\n"
                                             "Content-Type: text/html\r\n"
                                             "Content-Length: %llu\r\n"
                                             "\r\n",
                                             (unsigned long long)server->file_size);
    }
    return 0;
}

int bench_limit_serve(int listener, int kind, int file, int parent) {
    static struct server server;
    struct epoll_event ready[READY];
    int error;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        return -ESRCH; /* it has ended already */
    }
    server.kind = kind;
    server.file = file;
    server.all.next = server.all.previous = &server.all;
    error = begin(&server, listener);
    if (error) {
        return error;
    }
    for (;;) {
        int count = epoll_wait(server.epoll, ready, READY, -1);

        if (count < 0 && errno != EINTR) {
            return -errno;
        }
        for (int i = 0; i < count; i++) {
            struct peer *peer = ready[i].data.ptr;

            if (!peer) {
                accept_all(&server, listener);
            } else if (!(ready[i].events & EPOLLOUT ? go_on(&server, peer)
                                                    : serve(&server, peer))) {
                drop(peer);
            }
        }
    }
}
