/*
 * Deadlines. All deadlines of a list last equally long, so that each list is in order by itself:
 * setting and clearing one is O(1), and only the front of a list is ever looked at.
 */
#include "private.h"

static unsigned kind_of(enum lws_deadline_list list) {
    return list == LWS_DEADLINE_SEND;
}

static uint32_t duration(const struct lws_context *context, enum lws_deadline_list list) {
    switch (list) {
    case LWS_DEADLINE_HANDSHAKE:
        return context->options.handshake_timeout;
    case LWS_DEADLINE_KEEPALIVE:
        return context->options.keepalive_timeout;
    case LWS_DEADLINE_CLOSE:
        return context->options.close_timeout;
    case LWS_DEADLINE_LINGER:
        return context->options.linger_timeout;
    case LWS_DEADLINE_PING:
        return context->options.ping_interval;
    case LWS_DEADLINE_PONG:
        return context->options.pong_timeout;
    case LWS_DEADLINE_SEND:
    case LWS_DEADLINE_LISTS:
        break;
    }
    return context->options.send_timeout;
}

void lws_deadline_clear(struct lws_context *context, struct libwebsocket *wsi, unsigned kind) {
    if (!wsi->lists[kind]) {
        return;
    }

    struct lws_list *list = &context->deadlines[wsi->lists[kind] - 1];
    struct lws_deadline *own = &wsi->deadlines[kind];

    if (own->previous == LWS_NO_SLOT) {
        list->first = own->next;
    } else {
        lws_at(context, own->previous)->deadlines[kind].next = own->next;
    }
    if (own->next == LWS_NO_SLOT) {
        list->last = own->previous;
    } else {
        lws_at(context, own->next)->deadlines[kind].previous = own->previous;
    }
    wsi->lists[kind] = 0;
}

void lws_deadline_set(struct lws_context *context, struct libwebsocket *wsi,
                      enum lws_deadline_list number) {
    unsigned kind = kind_of(number);
    struct lws_list *list = &context->deadlines[number];
    struct lws_deadline *own = &wsi->deadlines[kind];

    lws_deadline_clear(context, wsi, kind);
    own->due = (uint32_t)context->now + duration(context, number);
    own->next = LWS_NO_SLOT;
    own->previous = list->last;
    if (list->last == LWS_NO_SLOT) {
        list->first = wsi->slot;
    } else {
        lws_at(context, list->last)->deadlines[kind].next = wsi->slot;
    }
    list->last = wsi->slot;
    wsi->lists[kind] = (uint8_t)(number + 1);
}

/* Milliseconds until due, negative if passed; right for spans under 2^31 ms. */
static int32_t until(const struct lws_context *context, uint32_t due) {
    return (int32_t)(due - (uint32_t)context->now);
}

int lws_deadline_wait(const struct lws_context *context, int limit) {
    for (unsigned i = 0; i < LWS_DEADLINE_LISTS; i++) {
        uint32_t slot = context->deadlines[i].first;

        if (slot != LWS_NO_SLOT) {
            unsigned kind = kind_of((enum lws_deadline_list)i);
            int32_t wait = until(context, lws_at(context, slot)->deadlines[kind].due);

            if (wait < 0) {
                wait = 0;
            }
            if (limit < 0 || wait < limit) {
                limit = wait;
            }
        }
    }
    return limit;
}

/* Whether nothing is read from a peer now: its silence says nothing, send_timeout watches over it.
 */
static bool unheard(const struct libwebsocket *wsi) {
    return wsi->rx_off || lws_blocked(wsi);
}

/* A peer that did not answer will not answer our Close either: only its kernel is waited for. */
static void no_answer(struct lws_context *context, struct libwebsocket *wsi) {
    if (wsi->state == LWS_STATE_LINGER) {
        lws_deadline_set(context, wsi, LWS_DEADLINE_LINGER);
    }
    wsi->linger_list = LWS_DEADLINE_LINGER;
}

static void expire(struct lws_context *context, struct libwebsocket *wsi,
                   enum lws_deadline_list list) {
    switch (list) {
    case LWS_DEADLINE_HANDSHAKE:
        /* Silence gets silence; a request line begun gets the reason. */
        if (lws_stashed(wsi) && !wsi->proxy_due) {
            lws_report_head(context, wsi, LWS_FAULT_HANDSHAKE_TIMEOUT,
                            wsi->stash->bytes + wsi->stash->offset, lws_stashed(wsi));
            lws_refuse_request(context, wsi, 408, false);
        } else {
            if (wsi->secure && !wsi->shaken) {
                lws_report(context, wsi->slot, LWS_FAULT_TLS_HANDSHAKE_TIMEOUT);
            }
            lws_die(context, wsi, false);
        }
        break;
    case LWS_DEADLINE_KEEPALIVE:
        lws_die(context, wsi, false);
        break;
    case LWS_DEADLINE_CLOSE:
        if (wsi->state != LWS_STATE_LINGER) {
            lws_report(context, wsi->slot, LWS_FAULT_CLOSE_TIMEOUT);
        }
        lws_die(context, wsi, true);
        break;
    case LWS_DEADLINE_LINGER:
        lws_die(context, wsi, false);
        break;
    case LWS_DEADLINE_PING:
        if (unheard(wsi)) {
            lws_deadline_set(context, wsi, LWS_DEADLINE_PING);
            break;
        }
        lws_output_ping(context, wsi);
        /* Making room for the ping may have sent, and found the peer gone. */
        if (wsi->state == LWS_STATE_OPEN) {
            lws_deadline_set(context, wsi, LWS_DEADLINE_PONG);
        }
        break;
    case LWS_DEADLINE_PONG:
        if (unheard(wsi)) {
            lws_deadline_set(context, wsi, LWS_DEADLINE_PING);
        } else {
            lws_fail(context, wsi, LWS_FAULT_PING_TIMEOUT);
            no_answer(context, wsi);
        }
        break;
    case LWS_DEADLINE_SEND:
    case LWS_DEADLINE_LISTS:
        lws_report(context, wsi->slot, LWS_FAULT_SEND_TIMEOUT);
        lws_die(context, wsi, true);
        break;
    }
}

void lws_deadline_expire(struct lws_context *context) {
    for (unsigned i = 0; i < LWS_DEADLINE_LISTS; i++) {
        struct lws_list *list = &context->deadlines[i];
        unsigned kind = kind_of((enum lws_deadline_list)i);

        /* Each expiry takes the connection off this list or makes it the last. */
        for (unsigned n = 0; n < LWS_READY && list->first != LWS_NO_SLOT; n++) {
            struct libwebsocket *wsi = lws_at(context, list->first);

            if (until(context, wsi->deadlines[kind].due) > 0) {
                break;
            }
            lws_deadline_clear(context, wsi, kind);
            expire(context, wsi, (enum lws_deadline_list)i);
        }
    }
}
