/* Memory for what does not fit the arena: messages of their own, and the remains of a cut read. */
#include "private-libwebsockets.h"

#include <stdlib.h>
#include <string.h>

/* Kept for reuse, so that large messages cost neither malloc nor fresh pages each time. */
#define LWS_POOL_BYTES (8u * 1024u * 1024u)
#define LWS_POOL_SEARCH 8

struct lws_buffer *lws_buffer_get(struct lws_context *context, size_t room) {
    struct lws_buffer **link = &context->pool;

    for (int i = 0; *link && i < LWS_POOL_SEARCH; i++, link = &(*link)->next) {
        struct lws_buffer *buffer = *link;

        /* One much too large would tie up memory that a large message wants. */
        if (buffer->room >= room && buffer->room / 8 <= room) {
            *link = buffer->next;
            context->pooled -= buffer->room;
            buffer->length = 0;
            return buffer;
        }
    }

    size_t rounded = 1024;

    while (rounded < room) {
        if (rounded > SIZE_MAX / 4) {
            return NULL;
        }
        rounded *= 2;
    }
    /* Powers of two are found again in the pool; over 64 KiB they would waste too much. */
    if (rounded > 64u * 1024u) {
        rounded = (room + 4095u) & ~(size_t)4095u;
    }

    struct lws_buffer *buffer = malloc(sizeof *buffer + rounded + LWS_SEND_BUFFER_POST_PADDING);

    if (!buffer) {
        return NULL;
    }
    buffer->next = NULL;
    buffer->room = rounded;
    buffer->length = 0;
    memset(buffer->padding, 0, sizeof buffer->padding);
    return buffer;
}

struct lws_buffer *lws_buffer_grow(struct lws_context *context, struct lws_buffer *buffer,
                                   size_t room) {
    if (buffer->room >= room) {
        return buffer;
    }

    /* realloc moves pages, not bytes, where it is large: no second copy of a long message. */
    size_t wanted = buffer->room * 2 > room ? buffer->room * 2 : room;
    struct lws_buffer *larger =
        realloc(buffer, sizeof *buffer + wanted + LWS_SEND_BUFFER_POST_PADDING);

    (void)context;
    if (larger) {
        larger->room = wanted;
    }
    return larger;
}

void lws_buffer_put(struct lws_context *context, struct lws_buffer *buffer) {
    if (!buffer) {
        return;
    }
    if (context->pooled + buffer->room > LWS_POOL_BYTES) {
        free(buffer);
        return;
    }
    buffer->next = context->pool;
    context->pool = buffer;
    context->pooled += buffer->room;
}

void lws_buffer_free_all(struct lws_context *context) {
    while (context->pool) {
        struct lws_buffer *buffer = context->pool;

        context->pool = buffer->next;
        free(buffer);
    }
    context->pooled = 0;
}

bool lws_stash_append(struct lws_stash **of, const uint8_t *bytes, uint32_t length) {
    struct lws_stash *stash = *of;

    if (length == 0) {
        return true;
    }
    if (stash && stash->offset && stash->room - stash->length < length) {
        memmove(stash->bytes, stash->bytes + stash->offset, stash->length - stash->offset);
        stash->length -= stash->offset;
        stash->offset = 0;
    }
    if (!stash || stash->room - stash->length < length) {
        uint32_t used = stash ? stash->length : 0;
        uint32_t room = used < 64 ? 64 : used * 2;

        while (room - used < length) {
            room *= 2; /* used and length are both bounded by a few shares */
        }
        stash = realloc(stash, sizeof *stash + room);
        if (!stash) {
            return false;
        }
        if (!*of) {
            stash->offset = 0;
            stash->length = 0;
        }
        stash->room = room;
        *of = stash;
    }
    memcpy(stash->bytes + stash->length, bytes, length);
    stash->length += length;
    return true;
}

void lws_stash_take(struct lws_stash **of, uint32_t length) {
    struct lws_stash *stash = *of;

    stash->offset += length;
    if (stash->offset == stash->length) {
        free(stash);
        *of = NULL;
    }
}
