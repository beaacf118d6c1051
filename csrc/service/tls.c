/*
 * Secure connections: TLS records in and out. The application has the TLS, in memory; the
 * descriptor, its readiness, its queue and its deadlines stay here, the same as for plain ones.
 *
 * The way out: what is written waits as plaintext, gathered and queued as ever, until the
 * application has encrypted it. Records that the kernel does not take wait at the front of the
 * queue.
 */
#include "private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LWS_RECORD_HEADER 5u
/* RFC 5246, section 6.2.3: what a protected record may have at most; in RFC 8446 it is less. */
#define LWS_RECORD_MAX (16384u + 2048u)

/* ---- records -------------------------------------------------------------------------------- */

/*
 * How many of size bytes are whole records, and how many records those are. What cannot be a
 * record is one to its end: it is not waited for.
 */
static uint32_t cut_records(const uint8_t *data, uint32_t size, uint32_t *count) {
    uint32_t at = 0;

    *count = 0;
    while (at < size) {
        const uint8_t *header = data + at;
        uint32_t there = size - at;

        /* Content types 20 to 24; the first byte of a version is 3 from SSL 3.0 to TLS 1.3. */
        if (header[0] < 20 || header[0] > 24 || (there > 1 && header[1] != 3)) {
            ++*count;
            return size;
        }
        if (there < LWS_RECORD_HEADER) {
            break;
        }

        uint32_t length = (uint32_t)header[3] << 8 | header[4];

        if (length > LWS_RECORD_MAX) {
            ++*count;
            return size;
        }
        if (there - LWS_RECORD_HEADER < length) {
            break;
        }
        at += LWS_RECORD_HEADER + length;
        ++*count;
    }
    return at;
}

static void receive_records(struct lws_context *context, struct libwebsocket *wsi) {
    /* Of a cut frame, a few bytes: they go before the plaintext. */
    uint32_t kept = wsi->state == LWS_STATE_HEAD ? 0 : lws_stashed(wsi);
    uint8_t *data = lws_window(context) + kept;
    uint32_t there = 0;

    if (kept > LWS_STASH_PIECE) {
        lws_pend(context, wsi);
        return;
    }
    if (wsi->records) {
        there = wsi->records->length - wsi->records->offset;
        memcpy(data, wsi->records->bytes + wsi->records->offset, there);
    }

    ssize_t got = lws_receive_bytes(wsi, data + there, LWS_SHARE_SECURE - kept - there, 0);

    if (got == LWS_RECEIVED_NOTHING) {
        return;
    }
    if (got < 0) {
        lws_end_of_input(context, wsi);
        return;
    }

    uint32_t count;
    uint32_t whole = cut_records(data, there + (uint32_t)got, &count);

    if (!whole) {
        if (!lws_stash_append(&wsi->records, data + there, (uint32_t)got)) {
            lws_out_of_memory(context, wsi);
        }
        return;
    }
    if (there) {
        lws_stash_take(&wsi->records, there);
    }
    if (!lws_stash_append(&wsi->records, data + whole, there + (uint32_t)got - whole)) {
        lws_out_of_memory(context, wsi);
        return;
    }
    lws_use_window(context, kept + whole);
    wsi->secured = 1;
    lws_event(context, LWS_EVENT_SECURE, wsi->slot, (uint32_t)(data - context->arena), whole);
    context->events[context->event_count - 1].code = (uint16_t)count;
}

void lws_receive_secure(struct lws_context *context, struct libwebsocket *wsi) {
    switch ((enum lws_state)wsi->state) {
    case LWS_STATE_HEAD:
    case LWS_STATE_OPEN:
    case LWS_STATE_CLOSING:
        receive_records(context, wsi);
        break;
    case LWS_STATE_LINGER:
    case LWS_STATE_REPLY:
    case LWS_STATE_DRAIN:
    case LWS_STATE_FINISH:
    case LWS_STATE_FREE:
    case LWS_STATE_DEAD:
        lws_receive(context, wsi, true);
        break;
    }
}

/* ---- plaintext in --------------------------------------------------------------------------- */

uint32_t lws_event_count(const struct lws_context *context) {
    return context->event_count;
}

static void feed_head(struct lws_context *context, struct libwebsocket *wsi, uint8_t *data,
                      uint32_t length) {
    if (length) {
        lws_decode_head(context, wsi, data, length);
    }
    /* A request that is whole is answered before the end counts: next_request looks at it. */
    if (wsi->ended && wsi->state == LWS_STATE_HEAD) {
        lws_end_of_input(context, wsi);
    }
}

static void feed_frames(struct lws_context *context, struct libwebsocket *wsi, uint8_t *data,
                        uint32_t length) {
    uint32_t kept = lws_stashed(wsi);

    if (length && wsi->lists[0] == LWS_DEADLINE_PING + 1) {
        lws_deadline_set(context, wsi, LWS_DEADLINE_PING);
    }
    if (kept) {
        memcpy(data - kept, wsi->stash->bytes + wsi->stash->offset, kept);
    }
    lws_decode_frames(context, wsi, data - kept, kept, kept + length, true, wsi->ended);
}

int lws_feed(struct lws_context *context, uint32_t slot, uint32_t offset, uint32_t length,
             bool ended) {
    int error = lws_foreign(context);
    struct libwebsocket *wsi = error ? NULL : lws_find(context, slot);

    if (!wsi) {
        return error ? error : LWS_ERROR_CLOSED;
    }
    if (!wsi->secure) {
        return LWS_ERROR_ARGUMENT;
    }
    wsi->shaken = 1;
    wsi->ended |= ended & 1u;
    /* It may have stopped reading since its records came. */
    if (wsi->state != LWS_STATE_HEAD && wsi->state != LWS_STATE_OPEN &&
        wsi->state != LWS_STATE_CLOSING) {
        return 0;
    }
    if (offset < 16 + lws_stashed(wsi) * (wsi->state != LWS_STATE_HEAD) ||
        offset >= LWS_ARENA_SIZE || length > LWS_ARENA_SIZE - offset) {
        return LWS_ERROR_ARGUMENT;
    }

    uint8_t *data = context->arena + offset;

    context->in_service = true;
    if (!lws_has_room(context) || wsi->pending) {
        if (lws_stash_append(&wsi->stash, data, length)) {
            lws_pend(context, wsi);
        } else {
            lws_out_of_memory(context, wsi);
        }
    } else if (wsi->state == LWS_STATE_HEAD) {
        feed_head(context, wsi, data, length);
    } else {
        feed_frames(context, wsi, data, length);
    }
    context->in_service = false;
    return 0;
}

/* ---- plaintext out -------------------------------------------------------------------------- */

/* Queues a segment behind the records at the front, before all plaintext. */
static void queue_first(struct libwebsocket *wsi, struct lws_segment *segment) {
    struct lws_segment **link = &wsi->queue;

    while (*link && (*link)->encrypted) {
        link = &(*link)->next;
    }
    segment->next = *link;
    *link = segment;
    if (!segment->next) {
        wsi->queue_last = segment;
    }
}

static bool memory_is_out(struct lws_context *context, struct libwebsocket *wsi) {
    lws_out_of_memory(context, wsi);
    return false;
}

bool lws_queue_secure(struct lws_context *context, struct libwebsocket *wsi, const uint8_t *extra,
                      uint32_t extra_size) {
    uint32_t gathered = lws_take_gathered(context, wsi, NULL);

    if (gathered + extra_size == 0) {
        return true;
    }

    struct lws_segment *segment = lws_segment_new(gathered + extra_size);

    if (!segment) {
        return memory_is_out(context, wsi);
    }
    lws_take_gathered(context, wsi, segment->bytes);
    if (extra_size) {
        memcpy(segment->bytes + gathered, extra, extra_size);
    }
    queue_first(wsi, segment);
    lws_want_flush(context, wsi);
    return true;
}

void lws_queue_all_secure(struct lws_context *context) {
    uint32_t slot = context->flush[1].first;

    while (slot != LWS_NO_SLOT) {
        struct libwebsocket *wsi = lws_at(context, slot);

        slot = wsi->next_flush;
        if (wsi->gather_first) {
            lws_queue_secure(context, wsi, NULL, 0);
        }
    }
}

/* Moves up to room bytes of a segment to to. Returns how many, 0: the connection died. */
static uint32_t take_segment(struct lws_context *context, struct libwebsocket *wsi, uint8_t *to,
                             uint32_t room) {
    struct lws_segment *segment = wsi->queue;
    uint64_t left = segment->end - segment->offset;
    uint32_t size = left < room ? (uint32_t)left : room;

    if (segment->fd < 0) {
        const uint8_t *bytes = segment->shared ? segment->shared->bytes : segment->bytes;

        memcpy(to, bytes + segment->offset, size);
        wsi->queued -= size;
    } else {
        ssize_t got;

        do {
            got = pread(segment->fd, to, size, (off_t)segment->offset);
        } while (got < 0 && errno == EINTR);
        if (got <= 0) {
            lws_report(context, wsi->slot, LWS_FAULT_FILE_TRUNCATED);
            lws_die(context, wsi, false);
            return 0;
        }
        size = (uint32_t)got;
    }
    segment->offset += size;
    if (segment->offset == segment->end) {
        lws_queue_drop_first(wsi);
    }
    return size;
}

/* Up to a share of a connection's plaintext, in to_encrypt. Returns its size; 0: none, or dead. */
static uint32_t take_plaintext(struct lws_context *context, struct libwebsocket *wsi) {
    uint32_t gathered = lws_take_gathered(context, wsi, NULL);
    uint32_t size = 0;

    if (gathered > LWS_SHARE_SECURE) {
        if (!lws_queue_secure(context, wsi, NULL, 0)) {
            return 0;
        }
    } else if (gathered) {
        size = lws_take_gathered(context, wsi, context->to_encrypt);
        wsi->queued -= size;
    }
    while (wsi->queue && size < LWS_SHARE_SECURE) {
        /* An empty part of a reply. */
        if (wsi->queue->offset == wsi->queue->end) {
            lws_queue_drop_first(wsi);
            continue;
        }

        uint32_t taken =
            take_segment(context, wsi, context->to_encrypt + size, LWS_SHARE_SECURE - size);

        if (!taken) {
            return 0;
        }
        size += taken;
    }
    return size;
}

/* A large segment needs no copy: up to a share of it where it lies. Returns NULL if it is none. */
static const uint8_t *lend_segment(struct lws_context *context, struct libwebsocket *wsi,
                                   uint32_t *length) {
    struct lws_segment *segment = wsi->queue;

    if (wsi->gather_first || !segment || segment->fd >= 0 ||
        segment->end - segment->offset <= LWS_GATHER_MAX) {
        return NULL;
    }

    const uint8_t *bytes =
        (segment->shared ? segment->shared->bytes : segment->bytes) + segment->offset;
    uint64_t left = segment->end - segment->offset;

    *length = left < LWS_SHARE_SECURE ? (uint32_t)left : LWS_SHARE_SECURE;
    segment->offset += *length;
    wsi->queued -= *length;
    if (segment->offset == segment->end) {
        wsi->queue = segment->next;
        context->encrypting = segment;
    }
    return bytes;
}

uint32_t lws_secure_next(struct lws_context *context, const uint8_t **bytes, uint32_t *length) {
    struct lws_list *list = &context->flush[1];

    if (lws_foreign(context)) {
        return LWS_NO_SLOT;
    }
    if (context->encrypting) {
        lws_segment_free(context->encrypting);
        context->encrypting = NULL;
    }
    while (list->first != LWS_NO_SLOT) {
        struct libwebsocket *wsi = lws_at(context, list->first);

        list->first = wsi->next_flush;
        if (list->first == LWS_NO_SLOT) {
            list->last = LWS_NO_SLOT;
        }
        wsi->flushing = 0;
        if (wsi->state == LWS_STATE_DEAD) {
            continue;
        }
        if (wsi->queue && wsi->queue->encrypted) {
            /* The kernel is full: what is gathered must leave the arena all the same. */
            lws_queue_secure(context, wsi, NULL, 0);
            continue;
        }
        *bytes = lend_segment(context, wsi, length);
        if (!*bytes) {
            *bytes = context->to_encrypt;
            *length = take_plaintext(context, wsi);
        }
        if (*length) {
            return wsi->slot;
        }
        if (wsi->state == LWS_STATE_FINISH && !wsi->parted) {
            wsi->parted = 1;
            return wsi->slot;
        }
        if (wsi->state != LWS_STATE_DEAD) {
            lws_drained(context, wsi);
        }
    }
    return LWS_NO_SLOT;
}

/* ---- records out ---------------------------------------------------------------------------- */

/* After records have left: what is next? */
static void go_on(struct lws_context *context, struct libwebsocket *wsi) {
    if (wsi->queue) {
        /* One share a round: the descriptor is writable again at once if the peer reads. */
        lws_wait_for_room(context, wsi, true);
    } else if (!wsi->gather_first) {
        lws_drained(context, wsi);
    }
}

int lws_secure_send(struct lws_context *context, uint32_t slot, const uint8_t *records,
                    size_t length) {
    int error = lws_foreign(context);
    struct libwebsocket *wsi = error ? NULL : lws_find(context, slot);
    bool behind = wsi && wsi->queue && wsi->queue->encrypted;
    ssize_t sent = 0;

    if (!wsi) {
        return error ? error : LWS_ERROR_CLOSED;
    }
    if (!wsi->secure || length > INT32_MAX) {
        return LWS_ERROR_ARGUMENT;
    }
    if (length && !behind) {
        sent = send(wsi->fd, records, length, MSG_NOSIGNAL);
        if (sent < 0 && !lws_is_passing(errno)) {
            lws_die(context, wsi, false);
            return LWS_ERROR_CLOSED;
        }
        sent = sent < 0 ? 0 : sent;
        wsi->sent += (uint64_t)sent;
    }
    if ((size_t)sent == length) {
        if (!behind) {
            go_on(context, wsi);
        }
        return 0;
    }

    uint32_t rest = (uint32_t)(length - (size_t)sent);
    struct lws_segment *segment = lws_segment_new(rest);

    if (!segment) {
        lws_out_of_memory(context, wsi);
        return LWS_ERROR_MEMORY;
    }
    memcpy(segment->bytes, records + sent, rest);
    segment->encrypted = true;
    queue_first(wsi, segment);
    wsi->queued += rest;
    lws_wait_for_room(context, wsi, sent > 0);
    return 0;
}

void lws_send_ready_secure(struct lws_context *context, struct libwebsocket *wsi) {
    bool progress = false;

    while (wsi->queue && wsi->queue->encrypted) {
        ssize_t sent = lws_send_segment(context, wsi, LWS_SHARE_SEND);

        if (sent < 0) {
            return;
        }
        if (sent == 0) {
            lws_wait_for_room(context, wsi, progress);
            return;
        }
        progress = true;
    }
    /* All that was encrypted has left; the rest is encrypted before the next wait. */
    if (wsi->queue || wsi->gather_first) {
        lws_want_flush(context, wsi);
    } else {
        lws_drained(context, wsi);
    }
}

int lws_secure_fail(struct lws_context *context, uint32_t slot) {
    int error = lws_foreign(context);
    struct libwebsocket *wsi = error ? NULL : lws_find(context, slot);

    if (!wsi) {
        return error ? error : LWS_ERROR_CLOSED;
    }

    struct lws_segment **link = &wsi->queue;
    struct lws_segment *records = NULL;

    /* Records stay: the alert is among them. */
    while (*link && (*link)->encrypted) {
        records = *link;
        link = &records->next;
    }

    struct lws_segment *plaintext = *link;
    struct lws_segment *first = records ? wsi->queue : NULL;

    *link = NULL;
    wsi->queue = plaintext;
    lws_output_drop(context, wsi);
    wsi->queue = first;
    wsi->queue_last = records;
    for (; first; first = first->next) {
        wsi->queued += (uint32_t)(first->end - first->offset);
    }
    wsi->parted = 1;
    lws_end(context, wsi, 1006, 0, 0);
    if (wsi->state != LWS_STATE_FINISH && wsi->state != LWS_STATE_LINGER) {
        lws_release_request(wsi);
        lws_finish(context, wsi, LWS_DEADLINE_LINGER);
    }
    return 0;
}
