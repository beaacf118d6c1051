/*
 * The way out. Small writes of a round are gathered in one arena, chained by connection, and leave
 * in one send each when the round is over. Large writes leave at once from the caller's memory.
 * What the kernel does not take waits in a queue of segments; order: gathered bytes first, then the
 * queue.
 */
#include "private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define LWS_VECTORS 64
#define LWS_SEGMENT_ROOM 4096u /* the least room of a segment, so that small writes share one */

/* A run of gathered bytes of one connection; the bytes follow. */
struct chunk {
    uint32_t next; /* offset + 1 of the connection's next one, 0: none */
    uint32_t length;
};

static struct chunk *chunk_at(const struct lws_context *context, uint32_t reference) {
    return (struct chunk *)(void *)(context->gather + reference - 1);
}

void lws_want_flush(struct lws_context *context, struct libwebsocket *wsi) {
    if (wsi->flushing) {
        return;
    }

    struct lws_list *list = &context->flush[wsi->secure];

    wsi->flushing = 1;
    wsi->next_flush = LWS_NO_SLOT;
    if (list->last == LWS_NO_SLOT) {
        list->first = wsi->slot;
    } else {
        lws_at(context, list->last)->next_flush = wsi->slot;
    }
    list->last = wsi->slot;
}

/* Whether a send that failed may go well later. */
bool lws_is_passing(int error) {
    return error == EAGAIN || error == EINTR || error == ENOBUFS || error == ENOMEM;
}

/* ---- the queue ------------------------------------------------------------------------------ */

void lws_queue_append(struct libwebsocket *wsi, struct lws_segment *segment) {
    segment->next = NULL;
    if (wsi->queue) {
        wsi->queue_last->next = segment;
    } else {
        wsi->queue = segment;
    }
    wsi->queue_last = segment;
}

void lws_segment_free(struct lws_segment *segment) {
    if (segment->fd >= 0) {
        close(segment->fd);
    }
    lws_shared_release(segment->shared);
    free(segment);
}

void lws_queue_drop_first(struct libwebsocket *wsi) {
    struct lws_segment *segment = wsi->queue;

    wsi->queue = segment->next;
    lws_segment_free(segment);
}

void lws_shared_release(struct lws_shared *shared) {
    if (shared && --shared->references == 0) {
        free(shared);
    }
}

struct lws_segment *lws_segment_new(uint32_t size) {
    uint32_t room = size < LWS_SEGMENT_ROOM ? LWS_SEGMENT_ROOM : size;
    struct lws_segment *segment = malloc(sizeof *segment + room);

    if (segment) {
        segment->fd = -1;
        segment->shared = NULL;
        segment->encrypted = false;
        segment->offset = 0;
        segment->end = size;
        segment->room = room;
    }
    return segment;
}

/* Room for size bytes at the end of the queue, NULL if memory is out. */
static uint8_t *queue_room(struct libwebsocket *wsi, uint32_t size) {
    struct lws_segment *last = wsi->queue ? wsi->queue_last : NULL;

    if (last && last->fd < 0 && !last->shared && !last->encrypted &&
        last->room - last->end >= size) {
        last->end += size;
        return last->bytes + last->end - size;
    }

    struct lws_segment *segment = lws_segment_new(size);

    if (!segment) {
        return NULL;
    }
    lws_queue_append(wsi, segment);
    return segment->bytes;
}

void lws_output_drop(struct lws_context *context, struct libwebsocket *wsi) {
    (void)context;
    while (wsi->queue) {
        lws_queue_drop_first(wsi);
    }
    wsi->gather_first = 0;
    wsi->gather_last = 0;
    wsi->queued = 0;
}

/* The queue did not empty: it goes on when the peer reads, or ends at the deadline. */
void lws_wait_for_room(struct lws_context *context, struct libwebsocket *wsi, bool progress) {
    lws_interest(context, wsi, 2);
    if (progress || !wsi->lists[1]) {
        lws_deadline_set(context, wsi, LWS_DEADLINE_SEND);
    }
}

/*
 * One send of the queue's first segment, of at most limit bytes. Returns the bytes that left, 0 if
 * the kernel takes no more, -1 if the connection died.
 */
ssize_t lws_send_segment(struct lws_context *context, struct libwebsocket *wsi, size_t limit) {
    struct lws_segment *segment = wsi->queue;
    uint64_t left = segment->end - segment->offset;
    size_t size = left < limit ? (size_t)left : limit;
    ssize_t sent;

    if (segment->fd < 0) {
        const uint8_t *bytes = segment->shared ? segment->shared->bytes : segment->bytes;

        sent = send(wsi->fd, bytes + segment->offset, size, MSG_NOSIGNAL);
        if (sent > 0) {
            wsi->queued -= (uint32_t)sent;
        }
    } else {
        off_t offset = (off_t)segment->offset;

        sent = sendfile(wsi->fd, segment->fd, &offset, size);
        if (sent == 0 || (sent < 0 && errno == EIO)) {
            lws_report(context, wsi->slot, LWS_FAULT_FILE_TRUNCATED);
            lws_die(context, wsi, false);
            return -1;
        }
    }
    if (sent < 0) {
        if (lws_is_passing(errno)) {
            return 0;
        }
        lws_die(context, wsi, false);
        return -1;
    }
    wsi->sent += (uint64_t)sent;
    segment->offset += (uint64_t)sent;
    if (segment->offset == segment->end) {
        lws_queue_drop_first(wsi);
    }
    return sent;
}

static void send_queue(struct lws_context *context, struct libwebsocket *wsi) {
    size_t budget = LWS_SHARE_SEND;
    bool progress = false;

    while (wsi->queue && budget) {
        ssize_t sent = lws_send_segment(context, wsi, budget);

        if (sent < 0) {
            return;
        }
        if (sent == 0) {
            break;
        }
        progress = true;
        budget -= (size_t)sent;
    }
    if (wsi->queue) {
        lws_wait_for_room(context, wsi, progress);
    } else {
        lws_drained(context, wsi);
    }
}

void lws_send_ready(struct lws_context *context, struct libwebsocket *wsi) {
    if (wsi->queue) {
        send_queue(context, wsi);
    } else {
        lws_drained(context, wsi);
    }
}

/* ---- gathering ------------------------------------------------------------------------------ */

uint32_t lws_take_gathered(struct lws_context *context, struct libwebsocket *wsi, uint8_t *to) {
    uint32_t size = 0;

    for (uint32_t r = wsi->gather_first; r; r = chunk_at(context, r)->next) {
        struct chunk *chunk = chunk_at(context, r);

        if (to) {
            memcpy(to + size, chunk + 1, chunk->length);
        }
        size += chunk->length;
    }
    /* A chunk of nothing is taken too: left behind it would be another connection's bytes. */
    if (to || size == 0) {
        wsi->gather_first = 0;
        wsi->gather_last = 0;
    }
    return size;
}

/*
 * Sends the gathered bytes, then extra. What does not leave is kept at the front of the queue.
 * Returns false if the connection died.
 */
static bool send_gathered(struct lws_context *context, struct libwebsocket *wsi,
                          const uint8_t *extra, uint32_t extra_size) {
    struct iovec vectors[LWS_VECTORS];
    uint32_t reference = wsi->gather_first;
    size_t total = 0;
    size_t sent_all = 0;
    int count = 0;
    bool open = true;

    if (wsi->secure) {
        return lws_queue_secure(context, wsi, extra, extra_size);
    }
    wsi->gather_first = 0;
    wsi->gather_last = 0;
    while (reference || extra_size) {
        count = 0;
        total = 0;
        while (reference && count < LWS_VECTORS - 1) {
            struct chunk *chunk = chunk_at(context, reference);

            vectors[count].iov_base = chunk + 1;
            vectors[count].iov_len = chunk->length;
            total += chunk->length;
            count++;
            reference = chunk->next;
        }
        if (!reference && extra_size) {
            vectors[count].iov_base = (void *)(uintptr_t)extra;
            vectors[count].iov_len = extra_size;
            total += extra_size;
            count++;
            extra_size = 0;
        }

        struct msghdr message = {.msg_iov = vectors, .msg_iovlen = (size_t)count};
        int flags = MSG_NOSIGNAL | (wsi->queue || reference ? MSG_MORE : 0);
        ssize_t sent = count == 1 ? send(wsi->fd, vectors[0].iov_base, total, flags)
                                  : sendmsg(wsi->fd, &message, flags);

        if (sent < 0) {
            if (!lws_is_passing(errno)) {
                lws_die(context, wsi, false);
                return false;
            }
            sent = 0;
        }
        sent_all += (size_t)sent;
        if ((size_t)sent == total) {
            continue;
        }
        open = false;

        /* The rest of the vectors, the chunks not looked at yet and extra go before the queue. */
        size_t rest = total - (size_t)sent;

        for (uint32_t r = reference; r; r = chunk_at(context, r)->next) {
            rest += chunk_at(context, r)->length;
        }
        rest += extra_size;

        struct lws_segment *segment = lws_segment_new((uint32_t)rest);

        if (!segment) {
            lws_report(context, wsi->slot, LWS_FAULT_ALLOC_FAILED);
            lws_die(context, wsi, true);
            return false;
        }

        uint8_t *to = segment->bytes;
        size_t skip = (size_t)sent;

        for (int i = 0; i < count; i++) {
            size_t size = vectors[i].iov_len;

            if (skip >= size) {
                skip -= size;
                continue;
            }
            memcpy(to, (uint8_t *)vectors[i].iov_base + skip, size - skip);
            to += size - skip;
            skip = 0;
        }
        for (; reference; reference = chunk_at(context, reference)->next) {
            struct chunk *chunk = chunk_at(context, reference);

            memcpy(to, chunk + 1, chunk->length);
            to += chunk->length;
        }
        if (extra_size) {
            memcpy(to, extra, extra_size);
            extra_size = 0;
        }
        segment->next = wsi->queue;
        if (!wsi->queue) {
            wsi->queue_last = segment;
        }
        wsi->queue = segment;
    }
    wsi->sent += sent_all;
    wsi->queued -= (uint32_t)sent_all;
    if (!open) {
        lws_wait_for_room(context, wsi, sent_all > 0);
    }
    return true;
}

static void flush_connection(struct lws_context *context, struct libwebsocket *wsi) {
    bool was_blocked = wsi->lists[1] != 0;

    if (wsi->gather_first && !send_gathered(context, wsi, NULL, 0)) {
        return;
    }
    if (!wsi->queue) {
        lws_drained(context, wsi);
    } else if (!was_blocked && !wsi->lists[1]) {
        send_queue(context, wsi);
    }
}

void lws_flush_all(struct lws_context *context) {
    struct lws_list *list = &context->flush[0];

    if (context->gather_flushing) {
        return;
    }
    context->gather_flushing = true;
    lws_queue_all_secure(context);
    while (list->first != LWS_NO_SLOT) {
        struct libwebsocket *wsi = lws_at(context, list->first);

        list->first = wsi->next_flush;
        if (list->first == LWS_NO_SLOT) {
            list->last = LWS_NO_SLOT;
        }
        wsi->flushing = 0;
        if (wsi->state != LWS_STATE_DEAD) {
            flush_connection(context, wsi);
        }
    }
    context->gather_used = 0;
    context->gather_flushing = false;
}

/* Room for size gathered bytes; NULL: the arena is full, or too much at once. */
static uint8_t *gather_room(struct lws_context *context, struct libwebsocket *wsi, uint32_t size) {
    if (wsi->gather_last) {
        struct chunk *last = chunk_at(context, wsi->gather_last);
        uint32_t end = wsi->gather_last - 1 + (uint32_t)sizeof *last + last->length;

        if (end == context->gather_used && LWS_GATHER_SIZE - end >= size) {
            last->length += size;
            context->gather_used += size;
            return context->gather + end;
        }
    }

    uint32_t start = (context->gather_used + 7u) & ~7u;

    if (start > LWS_GATHER_SIZE || LWS_GATHER_SIZE - start < size + sizeof(struct chunk)) {
        return NULL;
    }

    struct chunk *chunk = chunk_at(context, start + 1);

    chunk->next = 0;
    chunk->length = size;
    if (wsi->gather_last) {
        chunk_at(context, wsi->gather_last)->next = start + 1;
    } else {
        wsi->gather_first = start + 1;
    }
    wsi->gather_last = start + 1;
    context->gather_used = start + (uint32_t)sizeof *chunk + size;
    lws_want_flush(context, wsi);
    return (uint8_t *)(chunk + 1);
}

uint8_t *lws_output_room(struct lws_context *context, struct libwebsocket *wsi, uint32_t size) {
    uint8_t *room = NULL;

    if (!wsi->queue && size <= LWS_GATHER_SIZE / 4) {
        room = gather_room(context, wsi, size);
        if (!room && !context->gather_flushing) {
            lws_flush_all(context);
            if (wsi->state == LWS_STATE_DEAD) {
                return NULL;
            }
            room = wsi->queue ? NULL : gather_room(context, wsi, size);
        }
    }
    if (!room) {
        room = queue_room(wsi, size);
        if (room) {
            lws_want_flush(context, wsi);
        }
    }
    if (room) {
        wsi->queued += size;
        context->room_last = room;
    }
    return room;
}

void lws_output_trim(struct lws_context *context, struct libwebsocket *wsi, uint32_t unused) {
    const uint8_t *room = context->room_last;

    wsi->queued -= unused;
    if (room >= context->gather && room < context->gather + LWS_GATHER_SIZE) {
        chunk_at(context, wsi->gather_last)->length -= unused;
        context->gather_used -= unused;
    } else {
        wsi->queue_last->end -= unused;
    }
}

int lws_output_put(struct lws_context *context, struct libwebsocket *wsi, const uint8_t *bytes,
                   uint32_t size) {
    if (size == 0) {
        return 0;
    }
    if (size > LWS_GATHER_MAX && !wsi->queue) {
        wsi->queued += size;
        return send_gathered(context, wsi, bytes, size) ? 0 : LWS_ERROR_CLOSED;
    }

    uint8_t *room = lws_output_room(context, wsi, size);

    if (!room) {
        return wsi->state == LWS_STATE_DEAD ? LWS_ERROR_CLOSED : LWS_ERROR_MEMORY;
    }
    memcpy(room, bytes, size);
    return 0;
}

/* The rest of a shared frame from offset, by reference. */
static bool queue_shared(struct libwebsocket *wsi, const uint8_t *bytes, uint32_t offset,
                         uint32_t size, struct lws_shared **shared) {
    struct lws_segment *segment = malloc(sizeof *segment);

    if (segment && !*shared) {
        *shared = malloc(sizeof **shared + size);
        if (*shared) {
            (*shared)->references = 1; /* the broadcast's own */
            memcpy((*shared)->bytes, bytes, size);
        }
    }
    if (!segment || !*shared) {
        free(segment);
        return false;
    }
    (*shared)->references++;
    segment->shared = *shared;
    segment->fd = -1;
    segment->encrypted = false;
    segment->offset = offset;
    segment->end = size;
    segment->room = 0;
    lws_queue_append(wsi, segment);
    return true;
}

bool lws_output_shared(struct lws_context *context, struct libwebsocket *wsi, const uint8_t *bytes,
                       uint32_t size, struct lws_shared **shared) {
    uint32_t done = 0;

    if (wsi->gather_first && !send_gathered(context, wsi, NULL, 0)) {
        return false;
    }
    if (!wsi->queue && !wsi->secure) {
        ssize_t sent = send(wsi->fd, bytes, size, MSG_NOSIGNAL);

        if (sent < 0 && !lws_is_passing(errno)) {
            lws_die(context, wsi, false);
            return false;
        }
        done = sent > 0 ? (uint32_t)sent : 0;
        wsi->sent += done;
        if (done == size) {
            return true;
        }
    }
    if (!queue_shared(wsi, bytes, done, size, shared)) {
        lws_report(context, wsi->slot, LWS_FAULT_ALLOC_FAILED);
        lws_die(context, wsi, true);
        return false;
    }
    wsi->queued += size - done;
    if (wsi->secure) {
        lws_want_flush(context, wsi);
    } else {
        lws_wait_for_room(context, wsi, done > 0);
    }
    return true;
}

bool lws_output_file(struct lws_context *context, struct libwebsocket *wsi, int fd, uint64_t offset,
                     uint64_t length) {
    struct lws_segment *segment = malloc(sizeof *segment);

    if (!segment) {
        return false;
    }
    segment->shared = NULL;
    segment->fd = fd;
    segment->encrypted = false;
    segment->offset = offset;
    segment->end = offset + length;
    segment->room = 0;
    lws_queue_append(wsi, segment);
    lws_want_flush(context, wsi);
    return true;
}

int lws_flush(struct lws_context *context) {
    int error = lws_foreign(context);

    if (!error) {
        lws_flush_all(context);
        lws_arm_timer(context);
    }
    return error;
}
