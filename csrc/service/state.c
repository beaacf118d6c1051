/*
 * Connections: slots, ends and changes of state. Closing never frees: a dead connection keeps its
 * slot until the round after the one in which its end was reported.
 */
#include "private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ---- forks ---------------------------------------------------------------------------------- */

static uint32_t forks_made;
static uint32_t fork_depth;

static void after_fork_in_parent(void) {
    forks_made++;
}

static void after_fork_in_child(void) {
    fork_depth++;
}

__attribute__((constructor)) static void watch_forks(void) {
    pthread_atfork(NULL, after_fork_in_parent, after_fork_in_child);
}

uint32_t lws_forks_made(void) {
    return forks_made;
}

uint32_t lws_fork_depth(void) {
    return fork_depth;
}

int lws_foreign(const struct lws_context *context) {
    if (context->fork_depth != fork_depth) {
        return LWS_ERROR_PROCESS;
    }
    return pthread_equal(context->thread, pthread_self()) ? 0 : LWS_ERROR_THREAD;
}

/* ---- slots ---------------------------------------------------------------------------------- */

struct libwebsocket *lws_find(const struct lws_context *context, uint32_t slot) {
    if (slot >= context->slots) {
        return NULL;
    }

    struct libwebsocket *wsi = lws_at(context, slot);

    return wsi->state == LWS_STATE_FREE || wsi->state == LWS_STATE_DEAD ? NULL : wsi;
}

static bool add_chunk(struct lws_context *context) {
    struct libwebsocket **chunks =
        realloc(context->chunks, (context->chunk_count + 1) * sizeof *chunks);

    if (!chunks) {
        return false;
    }
    context->chunks = chunks;
    chunks[context->chunk_count] = calloc(LWS_CHUNK, sizeof **chunks);
    if (!chunks[context->chunk_count]) {
        return false;
    }
    context->chunk_count++;
    return true;
}

struct libwebsocket *lws_connection_new(struct lws_context *context, int fd) {
    uint32_t slot = context->free_first;
    struct libwebsocket *wsi;

    if (slot != LWS_NO_SLOT) {
        wsi = lws_at(context, slot);
        context->free_first = wsi->next_end;
    } else {
        slot = context->slots;
        if (slot == context->chunk_count * LWS_CHUNK && !add_chunk(context)) {
            return NULL;
        }
        context->slots++;
        wsi = lws_at(context, slot);
    }

    uint32_t generation = wsi->generation;

    memset(wsi, 0, sizeof *wsi);
    wsi->generation = generation;
    wsi->slot = slot;
    wsi->fd = fd;
    wsi->state = LWS_STATE_HEAD;
    context->live++;
    return wsi;
}

void lws_pend(struct lws_context *context, struct libwebsocket *wsi) {
    struct lws_list *list = &context->pending;

    if (wsi->pending) {
        return;
    }
    wsi->pending = 1;
    wsi->next_pending = LWS_NO_SLOT;
    if (list->last == LWS_NO_SLOT) {
        list->first = wsi->slot;
    } else {
        lws_at(context, list->last)->next_pending = wsi->slot;
    }
    list->last = wsi->slot;
}

static void free_memory(struct lws_context *context, struct libwebsocket *wsi) {
    free(wsi->stash);
    free(wsi->records);
    free(wsi->opening);
    free(wsi->pong_waiting);
    lws_buffer_put(context, wsi->message);
    wsi->stash = NULL;
    wsi->records = NULL;
    wsi->opening = NULL;
    wsi->pong_waiting = NULL;
    wsi->message = NULL;
}

void lws_reap(struct lws_context *context) {
    uint32_t *link = &context->dead_first;

    while (*link != LWS_NO_SLOT) {
        struct libwebsocket *wsi = lws_at(context, *link);

        /* Still in a list, or its end not yet reported: later. */
        if (wsi->handle || wsi->pending || wsi->flushing || wsi->late || wsi->writing) {
            link = &wsi->next_end;
            continue;
        }
        if (wsi->secured) {
            if (context->event_count >= LWS_EVENTS - LWS_READY) {
                link = &wsi->next_end;
                continue;
            }
            lws_event(context, LWS_EVENT_SECURE_END, wsi->slot, 0, 0);
        }
        *link = wsi->next_end;
        free_memory(context, wsi);
        wsi->state = LWS_STATE_FREE;
        wsi->generation = (wsi->generation + 1) & 0x7fffffffu;
        wsi->next_end = context->free_first;
        context->free_first = wsi->slot;
    }
}

void lws_connection_free_all(struct lws_context *context) {
    for (uint32_t slot = 0; slot < context->slots; slot++) {
        struct libwebsocket *wsi = lws_at(context, slot);

        if (wsi->state != LWS_STATE_FREE) {
            lws_die(context, wsi, true);
            free_memory(context, wsi);
        }
    }
    for (uint32_t i = 0; i < context->chunk_count; i++) {
        free(context->chunks[i]);
    }
    free(context->chunks);
}

/* ---- ends ----------------------------------------------------------------------------------- */

static void report_end(struct lws_context *context, struct libwebsocket *wsi, unsigned code,
                       uint32_t reason_offset, uint32_t reason_length) {
    unsigned kind = wsi->session ? LWS_EVENT_CLOSED : LWS_EVENT_GONE;

    lws_event(context, kind, wsi->slot, reason_offset, reason_length);
    context->events[context->event_count - 1].code = (uint16_t)code;
    if (wsi->session) {
        context->established--;
    }
    wsi->handle = 0;
    wsi->session = 0;
}

void lws_end(struct lws_context *context, struct libwebsocket *wsi, unsigned code,
             uint32_t reason_offset, uint32_t reason_length) {
    struct lws_list *list = &context->ended;

    if (!wsi->handle || wsi->late) {
        return;
    }
    /* The receive path has seen to the room; a reason lies in the arena for this round only. */
    if (context->in_service && context->event_count < LWS_EVENTS) {
        report_end(context, wsi, code, reason_offset, reason_length);
        return;
    }
    wsi->end_code = (uint16_t)code;
    wsi->late = 1;
    wsi->next_late = LWS_NO_SLOT;
    if (list->last == LWS_NO_SLOT) {
        list->first = wsi->slot;
    } else {
        lws_at(context, list->last)->next_late = wsi->slot;
    }
    list->last = wsi->slot;
}

void lws_report_ends(struct lws_context *context) {
    struct lws_list *list = &context->ended;

    while (list->first != LWS_NO_SLOT && context->event_count < LWS_EVENTS) {
        struct libwebsocket *wsi = lws_at(context, list->first);

        list->first = wsi->next_late;
        if (list->first == LWS_NO_SLOT) {
            list->last = LWS_NO_SLOT;
        }
        wsi->late = 0;
        report_end(context, wsi, wsi->end_code, 0, 0);
    }
}

void lws_tell_writable(struct lws_context *context, struct libwebsocket *wsi) {
    struct lws_list *list = &context->writable;

    if (wsi->writing) {
        return;
    }
    wsi->writing = 1;
    wsi->next_writable = LWS_NO_SLOT;
    if (list->last == LWS_NO_SLOT) {
        list->first = wsi->slot;
    } else {
        lws_at(context, list->last)->next_writable = wsi->slot;
    }
    list->last = wsi->slot;
}

void lws_report_writable(struct lws_context *context) {
    struct lws_list *list = &context->writable;

    while (list->first != LWS_NO_SLOT && context->event_count + LWS_READY < LWS_EVENTS) {
        struct libwebsocket *wsi = lws_at(context, list->first);

        list->first = wsi->next_writable;
        if (list->first == LWS_NO_SLOT) {
            list->last = LWS_NO_SLOT;
        }
        wsi->writing = 0;
        /* Blocked again since: told when that is over. */
        if (wsi->state == LWS_STATE_OPEN && wsi->want_writable && !lws_blocked(wsi)) {
            wsi->want_writable = 0;
            lws_event(context, LWS_EVENT_WRITABLE, wsi->slot, 0, 0);
        }
    }
}

void lws_die(struct lws_context *context, struct libwebsocket *wsi, bool reset) {
    if (wsi->state == LWS_STATE_DEAD || wsi->state == LWS_STATE_FREE) {
        return;
    }
    lws_end(context, wsi, 1006, 0, 0);
    lws_peer_uncount(context, wsi);
    lws_deadline_clear(context, wsi, 0);
    lws_deadline_clear(context, wsi, 1);
    lws_output_drop(context, wsi);
    if (reset) {
        struct linger now = {.l_onoff = 1, .l_linger = 0};

        setsockopt(wsi->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    if (context->forks_made != forks_made) {
        /* A copy of the descriptor in a forked process would keep both of these alive. */
        epoll_ctl(context->epoll, EPOLL_CTL_DEL, wsi->fd, NULL);
        shutdown(wsi->fd, SHUT_RDWR);
    }
    close(wsi->fd);
    wsi->fd = -1;
    wsi->state = LWS_STATE_DEAD;
    wsi->next_end = context->dead_first;
    context->dead_first = wsi->slot;
    context->live--;
}

void lws_finish(struct lws_context *context, struct libwebsocket *wsi,
                enum lws_deadline_list list) {
    /* Making room for its last words may have sent, and found the peer gone. */
    if (wsi->state == LWS_STATE_DEAD) {
        return;
    }
    wsi->state = LWS_STATE_FINISH;
    wsi->rx_off = 0; /* what comes now is dropped; unread it would wake every round */
    wsi->linger_list = (uint8_t)list;
    lws_deadline_clear(context, wsi, 0);
    if (!wsi->queue && !wsi->gather_first) {
        lws_drained(context, wsi);
    }
}

/* ---- changes of state ----------------------------------------------------------------------- */

void lws_interest(struct lws_context *context, struct libwebsocket *wsi, uint8_t interest) {
    if (wsi->interest == interest) {
        return;
    }

    struct epoll_event event = {
        .events = interest == 1   ? EPOLLIN
                  : interest == 2 ? EPOLLOUT
                                  : 0,
        .data.u64 = (uint64_t)wsi->generation << 32 | wsi->slot,
    };

    wsi->interest = interest;
    if (epoll_ctl(context->epoll, EPOLL_CTL_MOD, wsi->fd, &event) != 0) {
        /* It would wait for ever. A hang-up is reported whatever is watched for, and ends it. */
        lws_report(context, wsi->slot, LWS_FAULT_ALLOC_FAILED);
        shutdown(wsi->fd, SHUT_RDWR);
    }
}

static void next_request(struct lws_context *context, struct libwebsocket *wsi) {
    wsi->state = LWS_STATE_HEAD;
    wsi->head_only = 0;
    memset(&wsi->in.http.scan, 0, sizeof wsi->in.http.scan);
    lws_interest(context, wsi, 1);
    if (wsi->stash) {
        lws_deadline_set(context, wsi, LWS_DEADLINE_HANDSHAKE);
        lws_pend(context, wsi);
    } else {
        lws_deadline_set(context, wsi, LWS_DEADLINE_KEEPALIVE);
    }
}

void lws_go_on_reading(struct lws_context *context, struct libwebsocket *wsi) {
    if (wsi->stash && !wsi->rx_off) {
        lws_pend(context, wsi);
    }
}

void lws_drained(struct lws_context *context, struct libwebsocket *wsi) {
    lws_deadline_clear(context, wsi, 1);
    switch ((enum lws_state)wsi->state) {
    case LWS_STATE_DRAIN:
        if (wsi->keep && !context->stopping && (wsi->stash || !wsi->ended)) {
            next_request(context, wsi);
        } else {
            lws_finish(context, wsi, LWS_DEADLINE_LINGER);
        }
        break;
    case LWS_STATE_FINISH:
        if (wsi->secure && !wsi->parted) {
            lws_want_flush(context, wsi); /* for a close_notify, if there can be one */
            break;
        }
        wsi->state = LWS_STATE_LINGER;
        wsi->lingered = 0;
        if (shutdown(wsi->fd, SHUT_WR) != 0) {
            lws_die(context, wsi, false);
            break;
        }
        lws_interest(context, wsi, 1);
        lws_deadline_set(context, wsi, (enum lws_deadline_list)wsi->linger_list);
        break;
    case LWS_STATE_CLOSING:
        lws_interest(context, wsi, 1);
        lws_deadline_set(context, wsi, LWS_DEADLINE_CLOSE);
        lws_go_on_reading(context, wsi);
        break;
    case LWS_STATE_OPEN:
        lws_interest(context, wsi, wsi->rx_off ? 0 : 1);
        if (wsi->want_writable) {
            lws_tell_writable(context, wsi);
        }
        lws_output_waiting_pong(context, wsi);
        lws_go_on_reading(context, wsi);
        break;
    case LWS_STATE_HEAD:
        lws_interest(context, wsi, 1); /* a TLS handshake that had to wait */
        break;
    case LWS_STATE_REPLY:
    case LWS_STATE_LINGER:
    case LWS_STATE_FREE:
    case LWS_STATE_DEAD:
        break;
    }
}

void lws_release_request(struct libwebsocket *wsi) {
    if (wsi->opening) {
        return; /* a session's: what was kept of the request has made room for frames */
    }
    wsi->in.http.request = 0;
    if (wsi->in.http.head_size) {
        lws_stash_take(&wsi->stash, wsi->in.http.head_size);
        wsi->in.http.head_size = 0;
    }
}

void lws_end_reply(struct lws_context *context, struct libwebsocket *wsi, bool keep_alive) {
    lws_release_request(wsi);
    wsi->keep = wsi->keep && keep_alive;
    wsi->state = LWS_STATE_DRAIN;
    if (!wsi->queue && !wsi->gather_first) {
        lws_drained(context, wsi);
    }
}

void lws_refuse_request(struct lws_context *context, struct libwebsocket *wsi, int status,
                        bool keep_alive) {
    char text[LWS_REFUSAL_MAX];
    bool keep = keep_alive && wsi->keep;
    uint32_t size = (uint32_t)lws_http_refusal(status, (int64_t)time(NULL), !wsi->head_only, keep,
                                               text, sizeof text);
    uint8_t *room = lws_output_room(context, wsi, size);

    if (!room) {
        lws_die(context, wsi, true);
        return;
    }
    memcpy(room, text, size);
    if (keep) {
        lws_end_reply(context, wsi, true);
        return;
    }
    lws_release_request(wsi);
    lws_finish(context, wsi, LWS_DEADLINE_LINGER);
}

void lws_fail(struct lws_context *context, struct libwebsocket *wsi, int fault) {
    const char *word = lws_fault_event(fault);

    lws_report(context, wsi->slot, fault);
    /* After our own Close nothing more may be sent. */
    if (wsi->state == LWS_STATE_OPEN) {
        int code = lws_fault_close_code(fault);

        lws_output_close(context, wsi, code ? (unsigned)code : 1002u, (const uint8_t *)word,
                         strlen(word));
    }
    lws_end(context, wsi, 1006, 0, 0);
    lws_finish(context, wsi, LWS_DEADLINE_CLOSE);
}
