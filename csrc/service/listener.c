/* Descriptors that are no connections: listeners, from which connections come, and watched ones. */
#include "private.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LWS_ACCEPT_PAUSE 100u /* ms without accepting when descriptors or memory are out */
#define LWS_ACCEPT_LINE 1000u /* ms from one report of that to the next */

static int watch(struct lws_context *context, int fd, uint32_t events, uint32_t number,
                 bool listener, bool secure) {
    struct lws_watched *free_one = NULL;

    for (uint32_t i = 0; i < LWS_WATCHES; i++) {
        struct lws_watched *watched = &context->watched[i];
        struct epoll_event event = {.events = events, .data.u64 = LWS_SPECIAL | i};

        if (watched->fd == fd) {
            if (events == 0) {
                watched->fd = -1;
                epoll_ctl(context->epoll, EPOLL_CTL_DEL, fd, NULL);
                return 0;
            }
            watched->number = number;
            if (epoll_ctl(context->epoll, EPOLL_CTL_MOD, fd, &event) == 0) {
                return 0;
            }
            /* Closed while it was watched, and its number given to another one. */
            if (errno == ENOENT && epoll_ctl(context->epoll, EPOLL_CTL_ADD, fd, &event) == 0) {
                return 0;
            }
            watched->fd = -1;
            return -errno;
        }
        if (watched->fd < 0 && !free_one) {
            free_one = watched;
        }
    }
    if (events == 0) {
        return 0;
    }
    if (!free_one) {
        return -ENOSPC;
    }

    struct epoll_event event = {
        .events = events,
        .data.u64 = LWS_SPECIAL | (uint64_t)(free_one - context->watched),
    };

    if (epoll_ctl(context->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        return -errno;
    }
    *free_one =
        (struct lws_watched){.fd = fd, .number = number, .listener = listener, .secure = secure};
    return 0;
}

int lws_watch(struct lws_context *context, int fd, uint32_t events, uint32_t number) {
    int error = lws_foreign(context);

    return error ? error : watch(context, fd, events, number, false, false);
}

int lws_listen(struct lws_context *context, int fd, bool secure) {
    int error = lws_foreign(context);
    int on = 1;

    if (error) {
        return error;
    }
    if (secure && !context->to_encrypt) {
        context->to_encrypt = malloc(LWS_SHARE_SECURE);
        if (!context->to_encrypt) {
            return -ENOMEM;
        }
    }
    /* Accepted sockets inherit it: one system call less for each. Not for Unix sockets. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return watch(context, fd, EPOLLIN, 0, true, secure);
}

/* Returns false if one could not be watched. */
static bool watch_listeners(struct lws_context *context, uint32_t events) {
    bool all = true;

    for (uint32_t i = 0; i < LWS_WATCHES; i++) {
        const struct lws_watched *watched = &context->watched[i];

        if (watched->fd >= 0 && watched->listener) {
            struct epoll_event event = {.events = events, .data.u64 = LWS_SPECIAL | i};

            if (epoll_ctl(context->epoll, EPOLL_CTL_MOD, watched->fd, &event) != 0) {
                all = false;
            }
        }
    }
    return all;
}

static void pause_accepting(struct lws_context *context) {
    watch_listeners(context, 0);
    context->accept_again = context->now + LWS_ACCEPT_PAUSE;
}

/* It lasts until somebody frees something: a line for each pause would fill a log. */
static void report_paused(struct lws_context *context, int error) {
    if (context->accept_told && context->now - context->accept_told < LWS_ACCEPT_LINE) {
        return;
    }
    context->accept_told = context->now;
    lws_report(context, LWS_NO_SLOT,
               error == EMFILE || error == ENFILE ? LWS_FAULT_ACCEPT_EMFILE
                                                  : LWS_FAULT_ACCEPT_ERROR);
}

void lws_go_on_accepting(struct lws_context *context) {
    if (context->accept_again && context->now >= context->accept_again) {
        /* One that is not watched again would never accept. */
        context->accept_again =
            watch_listeners(context, EPOLLIN) ? 0 : context->now + LWS_ACCEPT_PAUSE;
    }
}

void lws_close_listeners(struct lws_context *context) {
    for (uint32_t i = 0; i < LWS_WATCHES; i++) {
        struct lws_watched *watched = &context->watched[i];

        if (watched->fd >= 0 && watched->listener) {
            close(watched->fd);
            watched->fd = -1;
        }
    }
    context->accept_again = 0;
}

/* ---- accepting ------------------------------------------------------------------------------ */

/* One connection too many: told so if the first write can take it, but not in TLS. */
static void turn_away(int fd, bool secure) {
    char text[LWS_REFUSAL_MAX];
    size_t size = lws_http_refusal(503, (int64_t)time(NULL), true, false, text, sizeof text);

    if (!secure) {
        (void)!send(fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    shutdown(fd, SHUT_WR);
}

static void add_connection(struct lws_context *context, int fd,
                           const struct sockaddr_storage *address, bool secure) {
    struct libwebsocket *wsi = lws_connection_new(context, fd);

    if (!wsi) {
        lws_report(context, LWS_NO_SLOT, LWS_FAULT_ALLOC_FAILED);
        close(fd);
        return;
    }
    wsi->secure = secure;
    lws_peer_note(&wsi->peer, address);
    if (lws_peer_is_trusted(context, &wsi->peer)) {
        wsi->proxy_due = context->options.proxy_protocol != 0;
    } else if (!lws_peer_count(context, wsi)) {
        lws_report(context, wsi->slot, LWS_FAULT_CONN_LIMIT_IP);
        turn_away(fd, secure);
        lws_die(context, wsi, false);
        return;
    }

    struct epoll_event event = {
        .events = EPOLLIN,
        .data.u64 = (uint64_t)wsi->generation << 32 | wsi->slot,
    };

    if (epoll_ctl(context->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        lws_report(context, wsi->slot, LWS_FAULT_ALLOC_FAILED);
        lws_die(context, wsi, true);
        return;
    }
    wsi->interest = 1;
    lws_deadline_set(context, wsi, LWS_DEADLINE_HANDSHAKE);
}

static void accept_connections(struct lws_context *context, const struct lws_watched *listener) {
    for (unsigned i = 0; i < LWS_ACCEPTS && !context->stopping; i++) {
        struct sockaddr_storage address;
        socklen_t size = sizeof address;
        int fd;

        memset(&address, 0, sizeof address);
        fd =
            accept4(listener->fd, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN) {
                return;
            }
            if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO || errno == EPERM) {
                continue;
            }
            report_paused(context, errno);
            pause_accepting(context);
            return;
        }
        if (context->live >= context->options.max_connections) {
            lws_report(context, LWS_NO_SLOT, LWS_FAULT_CONN_LIMIT);
            turn_away(fd, listener->secure);
            close(fd);
        } else {
            add_connection(context, fd, &address, listener->secure);
        }
    }
}

void lws_serve_watched(struct lws_context *context, uint32_t index, uint32_t events) {
    const struct lws_watched *watched = &context->watched[index];

    if (watched->fd < 0) {
        return;
    }
    if (watched->listener) {
        accept_connections(context, watched);
    } else {
        lws_event(context, LWS_EVENT_WATCH, watched->number, events, 0);
    }
}
