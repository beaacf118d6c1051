/* The context, and the round: send, wait, accept, receive, deadlines. */
#include "private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define LWS_POOL_IDLE 500u  /* ms without a large message before its memory is given back */
#define LWS_LONG_ROUND 100u /* ms in the application after which peers go before deadlines */

static uint64_t clock_ms(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* ---- the context ---------------------------------------------------------------------------- */

struct lws_context *lws_context_create(const struct lws_options *options, uint8_t *arena) {
    struct lws_context *context = calloc(1, sizeof *context);

    if (!context) {
        return NULL;
    }
    context->options = *options;
    context->thread = pthread_self();
    context->fork_depth = lws_fork_depth();
    context->forks_made = lws_forks_made();
    context->timer = -1;
    context->now = clock_ms();
    context->left = context->now;
    context->next_send = context->now + options->send_interval;
    context->free_first = LWS_NO_SLOT;
    context->dead_first = LWS_NO_SLOT;
    context->pending = (struct lws_list){LWS_NO_SLOT, LWS_NO_SLOT};
    context->ended = context->pending;
    context->writable = context->pending;
    context->flush[0] = context->pending;
    context->flush[1] = context->pending;
    for (unsigned i = 0; i < LWS_DEADLINE_LISTS; i++) {
        context->deadlines[i] = context->pending;
    }
    for (unsigned i = 0; i < LWS_WATCHES; i++) {
        context->watched[i].fd = -1;
    }
    context->arena = arena;
    context->gather = malloc(LWS_GATHER_SIZE);
    context->events = calloc(LWS_EVENTS, sizeof *context->events);
    context->requests = calloc(LWS_REQUESTS, sizeof *context->requests);
    context->ready = calloc(LWS_READY, sizeof *context->ready);
    context->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!context->gather || !context->events || !context->requests || !context->ready ||
        context->epoll < 0) {
        int error = context->epoll < 0 ? errno : ENOMEM;

        lws_context_destroy(context);
        errno = error;
        return NULL;
    }
    return context;
}

static void free_messages(struct lws_context *context) {
    for (uint32_t i = 0; i < context->message_count; i++) {
        lws_buffer_put(context, context->messages[i]);
    }
    context->message_count = 0;
}

void lws_context_destroy(struct lws_context *context) {
    if (!context) {
        return;
    }
    context->in_service = false;
    lws_connection_free_all(context);
    free_messages(context);
    lws_buffer_free_all(context);
    lws_close_listeners(context);
    lws_peer_free_all(context);
    if (context->timer >= 0) {
        close(context->timer);
    }
    if (context->epoll >= 0) {
        close(context->epoll);
    }
    free(context->gather);
    free(context->to_encrypt);
    free(context->scratch);
    if (context->encrypting) {
        lws_segment_free(context->encrypting);
    }
    free(context->events);
    free(context->requests);
    free(context->ready);
    free(context);
}

int lws_set_arena(struct lws_context *context, uint8_t *arena) {
    int error = lws_foreign(context);

    if (!error) {
        context->arena = arena;
    }
    return error;
}

struct lws_event *lws_events(struct lws_context *context) {
    return context->events;
}

uint32_t lws_events_room(const struct lws_context *context) {
    (void)context;
    return LWS_EVENTS;
}

void lws_event(struct lws_context *context, unsigned kind, uint32_t slot, uint32_t offset,
               uint32_t length) {
    struct lws_event *event = &context->events[context->event_count++];

    event->kind = (uint16_t)kind;
    event->code = 0;
    event->slot = slot;
    event->offset = offset;
    event->length = length;
}

void lws_report(struct lws_context *context, uint32_t slot, int fault) {
    /* A full array loses log lines, never events that the application acts on. */
    if (context->in_service && context->event_count < LWS_EVENTS - LWS_READY) {
        lws_event(context, LWS_EVENT_FAULT, slot, (uint32_t)fault, 0);
    } else if (context->fault_count < LWS_FAULTS) {
        context->faults[context->fault_count++] = (struct lws_late_fault){slot, fault};
    }
}

static void report_faults(struct lws_context *context) {
    for (uint32_t i = 0; i < context->fault_count; i++) {
        lws_event(context, LWS_EVENT_FAULT, context->faults[i].slot,
                  (uint32_t)context->faults[i].fault, 0);
    }
    context->fault_count = 0;
}

/* ---- the round ------------------------------------------------------------------------------ */

bool lws_has_room(const struct lws_context *context) {
    return context->event_count + LWS_SHARE_EVENTS + LWS_READY + 8 <= LWS_EVENTS &&
           context->request_count < LWS_REQUESTS &&
           context->message_count + LWS_SHARE_EVENTS + 1 <= LWS_MESSAGES;
}

/* Whether one more connection's share of everything fits into this round. */
static bool has_room(const struct lws_context *context) {
    return lws_has_room(context) && context->arena_used + LWS_WINDOW <= LWS_ARENA_SIZE;
}

/* Input that earlier rounds left over; each connection once. */
static void receive_pending(struct lws_context *context) {
    uint32_t last = context->pending.last;
    bool end = last == LWS_NO_SLOT;

    while (!end && has_room(context)) {
        struct libwebsocket *wsi = lws_at(context, context->pending.first);

        end = wsi->slot == last;
        context->pending.first = wsi->next_pending;
        if (context->pending.first == LWS_NO_SLOT) {
            context->pending.last = LWS_NO_SLOT;
        }
        wsi->pending = 0;
        /* A peer that does not read its replies is not read from either: lws_drained goes on. */
        if (wsi->state != LWS_STATE_DEAD && !lws_blocked(wsi) && !wsi->rx_off) {
            lws_receive(context, wsi, false);
        }
    }
}

static void serve_connection(struct lws_context *context, const struct epoll_event *event) {
    uint32_t slot = (uint32_t)event->data.u64;
    struct libwebsocket *wsi = slot < context->slots ? lws_at(context, slot) : NULL;

    if (!wsi || wsi->generation != (uint32_t)(event->data.u64 >> 32) || wsi->fd < 0) {
        return;
    }
    /* Not asked for any more, it may come for ever: see lws_interest. */
    if (event->events & EPOLLOUT && wsi->interest == 2) {
        if (wsi->secure) {
            lws_send_ready_secure(context, wsi);
        } else {
            lws_send_ready(context, wsi);
        }
    }
    if (event->events & (EPOLLERR | EPOLLHUP)) {
        /*
         * What was received before the end counts, and what lingers is read to its end: a close
         * with unread bytes is a RST over our last reply. Where nothing is read any more, it is
         * over.
         */
        if (wsi->state != LWS_STATE_HEAD && wsi->state != LWS_STATE_OPEN &&
            wsi->state != LWS_STATE_CLOSING && wsi->state != LWS_STATE_LINGER) {
            lws_die(context, wsi, false);
            return;
        }
        if (lws_blocked(wsi)) {
            lws_report(context, slot, LWS_FAULT_WS_ABNORMAL);
            lws_die(context, wsi, false);
            return;
        }
    }
    /* Flow control came after epoll had spoken. */
    if (wsi->rx_off && !(event->events & (EPOLLERR | EPOLLHUP))) {
        return;
    }
    if (event->events & (EPOLLIN | EPOLLERR | EPOLLHUP) && !lws_blocked(wsi) && !wsi->pending) {
        if (wsi->proxy_due && !lws_receive_proxy(context, wsi)) {
            return;
        }
        if (wsi->secure) {
            lws_receive_secure(context, wsi);
        } else {
            lws_receive(context, wsi, true);
        }
    }
}

static void serve_special(struct lws_context *context, const struct epoll_event *event) {
    uint32_t index = (uint32_t)event->data.u64;

    if (index == LWS_TIMER_INDEX) {
        uint64_t expired;

        (void)!read(context->timer, &expired, sizeof expired);
        return;
    }

    lws_serve_watched(context, index, event->events);
}

/* What epoll said: from the front, and what finds no room in this round in the next. */
static void serve_ready(struct lws_context *context) {
    while (context->ready_next < context->ready_count && has_room(context)) {
        const struct epoll_event *event = &context->ready[context->ready_next++];

        if (event->data.u64 & LWS_SPECIAL) {
            serve_special(context, event);
        } else {
            serve_connection(context, event);
        }
    }
}

/* SEND for every connection that can be written to, some in each round until all had theirs. */
static void sweep(struct lws_context *context) {
    if (!context->sweeping) {
        if (!context->options.send_interval || context->now < context->next_send) {
            return;
        }
        context->next_send += context->options.send_interval;
        if (context->next_send <= context->now) {
            context->next_send = context->now + context->options.send_interval;
        }
        context->sweeping = context->established != 0;
        context->sweep = 0;
    }

    uint32_t sent = 0;

    while (context->sweeping) {
        if (context->sweep >= context->slots) {
            context->sweeping = false;
            break;
        }
        if (sent == LWS_SWEEP || context->event_count + LWS_READY >= LWS_EVENTS) {
            break;
        }

        const struct libwebsocket *wsi = lws_at(context, context->sweep++);

        if (wsi->state == LWS_STATE_OPEN && wsi->session && !wsi->late && !lws_blocked(wsi)) {
            lws_event(context, LWS_EVENT_SEND, wsi->slot, 0, 0);
            sent++;
        }
    }
}

/* Whether the next round has something to do whatever the peers do. */
static bool has_work(const struct lws_context *context) {
    return context->pending.first != LWS_NO_SLOT || context->ended.first != LWS_NO_SLOT ||
           context->writable.first != LWS_NO_SLOT || context->flush[0].first != LWS_NO_SLOT ||
           context->flush[1].first != LWS_NO_SLOT || context->ready_next < context->ready_count ||
           context->sweeping || context->fault_count;
}

/* How long a wait may last, at most limit ms (-1: no bound). */
static int wait_ms(const struct lws_context *context, int limit) {
    uint64_t at[] = {
        context->options.send_interval && context->established ? context->next_send : 0,
        context->accept_again,
        context->wake_at,
        context->pooled ? context->pool_used + LWS_POOL_IDLE : 0,
    };

    for (unsigned i = 0; i < sizeof at / sizeof *at; i++) {
        if (at[i]) {
            uint64_t wait = at[i] > context->now ? at[i] - context->now : 0;

            if (limit < 0 || wait < (uint64_t)limit) {
                limit = (int)wait;
            }
        }
    }
    return lws_deadline_wait(context, limit);
}

static void wait_for_events(struct lws_context *context, int timeout_ms) {
    int wait = context->event_count || has_work(context) ? 0 : wait_ms(context, timeout_ms);
    int count = epoll_wait(context->epoll, context->ready, (int)LWS_READY, wait);

    context->ready_next = 0;
    context->ready_count = count > 0 ? (uint32_t)count : 0;
}

int lws_service(struct lws_context *context, int timeout_ms) {
    int error = lws_foreign(context);

    if (error) {
        return error;
    }
    context->now = clock_ms();

    bool long_round = context->now - context->left > LWS_LONG_ROUND && !context->heard;

    lws_flush_all(context);
    free_messages(context);
    if (context->pooled && context->now - context->pool_used >= LWS_POOL_IDLE) {
        lws_buffer_free_all(context);
    }
    context->event_count = 0;
    context->request_count = 0;
    context->arena_used = 0;
    lws_reap(context);

    context->in_service = true;
    report_faults(context);
    lws_report_ends(context);
    lws_report_writable(context);
    receive_pending(context);
    if (context->ready_next == context->ready_count) {
        wait_for_events(context, timeout_ms);
        context->now = clock_ms();
    }
    serve_ready(context);
    /* After a long absence the peers' bytes are looked at first: their deadlines may be met. */
    context->heard = long_round;
    if (!long_round) {
        lws_deadline_expire(context);
    }
    lws_go_on_accepting(context);
    sweep(context);
    if (context->wake_at && context->now >= context->wake_at) {
        context->wake_at = 0;
    }
    context->in_service = false;
    context->left = context->now;
    return (int)context->event_count;
}

int lws_wake_in(struct lws_context *context, int ms) {
    int error = lws_foreign(context);

    if (!error) {
        context->wake_at = ms < 0 ? 0 : clock_ms() + (uint64_t)ms;
        lws_arm_timer(context);
    }
    return error;
}

/* ---- in another loop ------------------------------------------------------------------------ */

void lws_arm_timer(struct lws_context *context) {
    if (context->timer < 0) {
        return;
    }
    context->now = clock_ms();

    struct itimerspec when = {.it_value = {0, 0}};
    int wait = has_work(context) ? 0 : wait_ms(context, -1);

    if (wait >= 0) {
        when.it_value.tv_sec = wait / 1000;
        when.it_value.tv_nsec = wait % 1000 * 1000000L + (wait == 0);
    }
    timerfd_settime(context->timer, 0, &when, NULL);
}

int lws_fileno(struct lws_context *context) {
    int error = lws_foreign(context);

    if (error) {
        return error;
    }
    if (context->timer < 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = LWS_SPECIAL | LWS_TIMER_INDEX};
        int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

        if (timer < 0) {
            return -errno;
        }
        if (epoll_ctl(context->epoll, EPOLL_CTL_ADD, timer, &event) != 0) {
            error = -errno;
            close(timer);
            return error;
        }
        context->timer = timer;
        lws_arm_timer(context);
    }
    return context->epoll;
}

/* ---- messages of their own ------------------------------------------------------------------ */

uint8_t *lws_message(struct lws_context *context, uint32_t number) {
    if (lws_foreign(context) || number >= context->message_count || !context->messages[number]) {
        return NULL;
    }
    return context->messages[number]->payload;
}

uint8_t *lws_message_keep(struct lws_context *context, uint32_t number) {
    uint8_t *payload = lws_message(context, number);

    if (payload) {
        context->messages[number] = NULL;
    }
    return payload;
}

/* ---- stopping ------------------------------------------------------------------------------- */

int lws_stop(struct lws_context *context) {
    int error = lws_foreign(context);

    if (error) {
        return error;
    }
    context->stopping = true;
    lws_close_listeners(context);
    for (uint32_t slot = 0; slot < context->slots; slot++) {
        struct libwebsocket *wsi = lws_at(context, slot);

        if (wsi->state == LWS_STATE_HEAD) {
            lws_die(context, wsi, false);
        } else if (wsi->state == LWS_STATE_OPEN) {
            lws_close(context, slot, 1001, NULL, 0);
        } else if (wsi->state == LWS_STATE_REPLY || wsi->state == LWS_STATE_DRAIN) {
            wsi->keep = 0;
        }
    }
    return 0;
}

int lws_abort_all(struct lws_context *context) {
    int error = lws_foreign(context);

    for (uint32_t slot = 0; !error && slot < context->slots; slot++) {
        lws_die(context, lws_at(context, slot), true);
    }
    return error;
}
