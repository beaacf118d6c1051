/* What goes over each connection of the load generator: sockets are watched by edges. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define SOURCES 8u /* 127.0.0.1 and following, so that ports do not run out */

/* ---- sending -------------------------------------------------------------------------------- */

static int send_request(struct generator *g, struct connection *c) {
    ssize_t sent =
        send(c->fd, g->request + c->request_at, c->request_size - c->request_at, MSG_NOSIGNAL);

    if (sent < 0) {
        return errno == EAGAIN || errno == ENOTCONN
                   ? 0
                   : load_fail(g, "connection %u: send: %s", c->index, strerror(errno));
    }
    c->request_at += (uint32_t)sent;
    return 0;
}

/* The first message that must wait. */
static uint64_t allowed(const struct generator *g, const struct connection *c) {
    if (g->load->kind == BENCH_BROADCAST) {
        return c->index == 0 ? g->broadcasts + c->wire->frames : 0;
    }
    return c->done + c->wire->frames;
}

/* Sends what may be sent, in one call, as far as the kernel takes it. */
int traffic_send(struct generator *g, struct connection *c) {
    struct wire *wire = c->wire;
    uint64_t end = allowed(g, c);

    if (c->sent >= end) {
        return 0;
    }
    if (c->stamped < end) {
        uint64_t now = load_clock(CLOCK_MONOTONIC);

        for (; c->stamped < end; c->stamped++) {
            wire_stamp(wire, c->stamped);
            c->times[c->stamped % wire->frames] = now;
            if (g->missing) {
                g->missing[c->stamped % wire->frames] = g->load->connections;
            }
        }
    }

    size_t first = (size_t)(c->sent % wire->frames);
    size_t count = (size_t)(end - c->sent);
    size_t straight = count < wire->frames - first ? count : wire->frames - first;
    struct iovec vectors[2] = {
        {wire->ring + first * wire->outgoing + c->send_at, straight * wire->outgoing - c->send_at},
        {wire->ring, (count - straight) * wire->outgoing},
    };
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = count > straight ? 2 : 1};
    ssize_t sent = count > straight
                       ? sendmsg(c->fd, &message, MSG_NOSIGNAL)
                       : send(c->fd, vectors[0].iov_base, vectors[0].iov_len, MSG_NOSIGNAL);

    if (sent < 0) {
        return errno == EAGAIN ? 0
                               : load_fail(g, "connection %u: send: %s", c->index, strerror(errno));
    }

    uint64_t at = c->send_at + (uint64_t)sent;

    c->sent += at / wire->outgoing;
    c->send_at = (uint32_t)(at % wire->outgoing);
    return 0;
}

/* ---- opening and closing -------------------------------------------------------------------- */

int traffic_open(struct generator *g, struct connection *c) {
    struct sockaddr_in source = {.sin_family = AF_INET};
    struct sockaddr_in server = {.sin_family = AF_INET};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    int one = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        return load_fail(g, "connection %u: socket: %s", c->index, strerror(errno));
    }
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + c->index % SOURCES);
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.sin_port = htons(g->load->port);
    event.data.u32 = c->index;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(c->fd, (struct sockaddr *)&source, sizeof source) != 0 ||
        (connect(c->fd, (struct sockaddr *)&server, sizeof server) != 0 && errno != EINPROGRESS) ||
        epoll_ctl(g->epoll, EPOLL_CTL_ADD, c->fd, &event) != 0) {
        return load_fail(g, "connection %u: connect: %s", c->index, strerror(errno));
    }
    c->began = load_clock(CLOCK_MONOTONIC);
    c->head_used = 0;
    c->request_at = 0;
    c->ends = false;
    if (!c->head) {
        c->head = malloc(LOAD_HEAD);
        if (!c->head) {
            return load_fail(g, "out of memory");
        }
    }
    if (g->load->kind == BENCH_HTTP) {
        c->request_size = (uint32_t)wire_get(g->request, g->load->path, g->load->port);
        c->stage = STAGE_HEAD;
    } else {
        c->stage = STAGE_UPGRADING;
        g->opening++;
    }
    return send_request(g, c);
}

static int reopen(struct generator *g, struct connection *c) {
    close(c->fd);
    c->stage = STAGE_CLOSED;
    return traffic_open(g, c);
}

static int close_session(struct generator *g, struct connection *c) {
    uint8_t frame[8] = {0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8};

    if (!wire_random(frame + 2, 4)) {
        return load_fail(g, "no randomness");
    }
    frame[6] ^= frame[2];
    frame[7] ^= frame[3];
    if (send(c->fd, frame, sizeof frame, MSG_NOSIGNAL) != sizeof frame) {
        return load_fail(g, "connection %u: send: %s", c->index, strerror(errno));
    }
    c->stage = STAGE_CLOSING;
    c->position = 0;
    return 0;
}

static int established(struct generator *g, struct connection *c) {
    if (!wire_accepts(c->head, c->head_used, c->key)) {
        return load_fail(g, "connection %u: the handshake was refused: %.*s", c->index,
                         (int)(c->head_used < 80 ? c->head_used : 80), c->head);
    }
    g->opening--;
    g->moved = g->now;
    if (g->load->kind == BENCH_HANDSHAKE) {
        load_record(g, c->began);
        return close_session(g, c);
    }
    free(c->head);
    c->head = NULL;
    c->stage = STAGE_OPEN;
    g->result->open++;
    return 0;
}

static int reply_begins(struct generator *g, struct connection *c) {
    const char *length = wire_field(c->head, c->head_used, "Content-Length:");
    const char *connection = wire_field(c->head, c->head_used, "Connection:");

    if (c->head_used < 12 || memcmp(c->head + 8, " 200", 4) != 0 || !length ||
        strtoul(length, NULL, 10) != g->load->size) {
        return load_fail(g, "connection %u: not the reply that was asked for: %.*s", c->index,
                         (int)(c->head_used < 80 ? c->head_used : 80), c->head);
    }
    c->ends = connection && strncasecmp(connection, "close", 5) == 0;
    c->stage = STAGE_BODY;
    c->position = 0;
    return 0;
}

static int reply_ends(struct generator *g, struct connection *c) {
    load_record(g, c->began);
    c->stage = STAGE_HEAD;
    c->head_used = 0;
    if (c->ends) {
        return reopen(g, c);
    }
    c->began = load_clock(CLOCK_MONOTONIC);
    c->request_at = 0;
    return send_request(g, c);
}

/* ---- receiving ------------------------------------------------------------------------------ */

/* Collects a head. Returns the bytes used, or -1; *whole says whether the head is there. */
static ptrdiff_t take_head(struct generator *g, struct connection *c, const uint8_t *data,
                           size_t size, bool *whole) {
    uint32_t before = c->head_used;
    uint32_t from = before < 3 ? 0 : before - 3;
    size_t taken = size < LOAD_HEAD - before ? size : LOAD_HEAD - before;

    memcpy(c->head + before, data, taken);

    const char *end = memmem(c->head + from, before + taken - from, "\r\n\r\n", 4);

    *whole = end != NULL;
    if (end) {
        c->head_used = (uint32_t)(end + 4 - c->head);
        return c->head_used - before;
    }
    c->head_used = before + (uint32_t)taken;
    if (c->head_used == LOAD_HEAD) {
        return load_fail(g, "connection %u: the reply's head is over %u bytes", c->index,
                         LOAD_HEAD);
    }
    return (ptrdiff_t)taken;
}

static ptrdiff_t take_message(struct generator *g, struct connection *c, const uint8_t *data,
                              size_t size) {
    ptrdiff_t used = wire_check(c->wire, data, size, &c->position, c->done);

    if (used < 0) {
        return load_fail(g, "connection %u: message %llu differs at byte %llu of its frame",
                         c->index, (unsigned long long)c->done,
                         (unsigned long long)c->position + (unsigned long long)(-used - 1));
    }
    if (c->position == c->wire->incoming) {
        size_t at = (size_t)(c->done % c->wire->frames);

        c->position = 0;
        c->done++;
        if (!g->missing) {
            load_record(g, c->times[at]);
            return used;
        }
        load_record(g, g->connections[0].times[at]);
        if (--g->missing[at] == 0) {
            g->broadcasts++;
            if (traffic_send(g, &g->connections[0]) != 0) {
                return -1;
            }
        }
    }
    return used;
}

static ptrdiff_t take_body(struct generator *g, struct connection *c, const uint8_t *data,
                           size_t size) {
    size_t left = g->load->size - c->position;
    size_t used = size < left ? size : left;

    if (memcmp(data, g->load->body + c->position, used) != 0) {
        return load_fail(g, "connection %u: the body differs behind byte %u", c->index,
                         c->position);
    }
    c->position += (uint32_t)used;
    return (ptrdiff_t)used;
}

/* Hands received bytes to what awaits them. */
static int feed(struct generator *g, struct connection *c, const uint8_t *data, size_t size) {
    while (size || (c->stage == STAGE_BODY && c->position == g->load->size)) {
        ptrdiff_t used = 0;
        bool whole = false;

        switch (c->stage) {
        case STAGE_UPGRADING:
        case STAGE_HEAD:
            used = take_head(g, c, data, size, &whole);
            if (used >= 0 && whole &&
                (c->stage == STAGE_HEAD ? reply_begins(g, c) : established(g, c)) != 0) {
                return -1;
            }
            break;
        case STAGE_OPEN:
            if (g->load->kind == BENCH_IDLE) {
                return 0;
            }
            used = take_message(g, c, data, size);
            break;
        case STAGE_CLOSING:
            if (c->position == 0 && data[0] != 0x88) {
                return load_fail(g, "connection %u: no Close came back", c->index);
            }
            c->position += (uint32_t)size;
            return 0;
        case STAGE_BODY:
            used = take_body(g, c, data, size);
            if (used >= 0 && c->position == g->load->size) {
                if (size > (size_t)used) {
                    return load_fail(g, "connection %u: bytes behind the body", c->index);
                }
                return reply_ends(g, c);
            }
            break;
        case STAGE_CLOSED:
            return 0;
        }
        if (used < 0) {
            return -1;
        }
        data += used;
        size -= (size_t)used;
    }
    return 0;
}

/* The stream ended, or was reset. */
static int ended(struct generator *g, struct connection *c, int error) {
    if (c->stage == STAGE_CLOSING && c->position) {
        return reopen(g, c);
    }
    if (c->stage == STAGE_HEAD && c->head_used == 0 && !error) {
        return reopen(g, c);
    }
    return load_fail(g, "connection %u: closed by the server%s%s", c->index, error ? ": " : "",
                     error ? strerror(error) : "");
}

static int receive(struct generator *g, struct connection *c) {
    for (;;) {
        int fd = c->fd;
        ssize_t got = recv(fd, g->buffer, LOAD_BUFFER, 0);

        if (got <= 0) {
            if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
                return 0;
            }
            return ended(g, c, got < 0 ? errno : 0);
        }
        g->now = load_clock(CLOCK_MONOTONIC);
        g->moved = g->now;
        if (feed(g, c, g->buffer, (size_t)got) != 0) {
            return -1;
        }
        /* A short read has emptied the socket; the next bytes, or the end, make a new edge. */
        if ((size_t)got < LOAD_BUFFER || c->fd != fd) {
            return 0;
        }
    }
}

int traffic_serve(struct generator *g, struct connection *c, uint32_t events) {
    if (c->stage == STAGE_CLOSED) {
        return 0;
    }

    int fd = c->fd;

    if (events & EPOLLOUT && c->request_at < c->request_size) {
        int error = 0;
        socklen_t size = sizeof error;

        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            return load_fail(g, "connection %u: connect: %s", c->index, strerror(error));
        }
        if (send_request(g, c) != 0) {
            return -1;
        }
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && receive(g, c) != 0) {
        return -1;
    }
    /* The end may have come with the last bytes, in the same edge. */
    if (events & EPOLLRDHUP && c->fd == fd && c->stage != STAGE_CLOSED && receive(g, c) != 0) {
        return -1;
    }
    if (c->fd == fd && c->stage == STAGE_OPEN && g->result->phase != BENCH_OPENING &&
        g->load->kind != BENCH_IDLE) {
        return traffic_send(g, c);
    }
    return 0;
}
