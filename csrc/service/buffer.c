/* Memory for what does not fit the arena: messages of their own, and the remains of a cut read. */
#include "private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Kept for reuse, so that large messages cost neither malloc nor fresh pages each time. */
#define LWS_POOL_BYTES (8u * 1024u * 1024u)
#define LWS_POOL_SEARCH 8
#define LWS_PAGE ((size_t)4096)

/*
 * Large buffers are mapped: they grow without a copy, and freeing one gives its pages back, which
 * malloc stops doing once it has seen a few. A sanitizer sees more of what malloc has given.
 */
#if defined(__SANITIZE_ADDRESS__)
#define LWS_MAPPED_SIZE SIZE_MAX
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LWS_MAPPED_SIZE SIZE_MAX
#endif
#endif
#ifndef LWS_MAPPED_SIZE
#define LWS_MAPPED_SIZE ((size_t)256 * 1024)
#endif

#define LWS_BUFFER_OVERHEAD (sizeof(struct lws_buffer) + LWS_SEND_BUFFER_POST_PADDING)

/* The bytes to ask for, for a payload of room bytes; 0 if that cannot be. */
static size_t total_for(size_t room) {
    if (room > SIZE_MAX / 4) {
        return 0;
    }

    size_t total = LWS_PAGE / 4;

    /* Powers of two are found again in the pool; larger ones would waste too much. */
    while (total < room + LWS_BUFFER_OVERHEAD && total < 32 * LWS_PAGE) {
        total *= 2;
    }
    if (total < room + LWS_BUFFER_OVERHEAD) {
        total = (room + LWS_BUFFER_OVERHEAD + LWS_PAGE - 1) & ~(LWS_PAGE - 1);
    }
    return total;
}

static size_t total_of(const struct lws_buffer *buffer) {
    return buffer->room + LWS_BUFFER_OVERHEAD;
}

static void buffer_free(struct lws_buffer *buffer) {
    if (total_of(buffer) >= LWS_MAPPED_SIZE) {
        munmap(buffer, total_of(buffer));
    } else {
        free(buffer);
    }
}

void lws_message_free(uint8_t *payload) {
    if (payload) {
        buffer_free((void *)(payload - offsetof(struct lws_buffer, payload)));
    }
}

struct lws_buffer *lws_buffer_get(struct lws_context *context, size_t room) {
    struct lws_buffer **link = &context->pool;

    context->pool_used = context->now;
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

    size_t total = total_for(room);
    struct lws_buffer *buffer = NULL;

    if (total >= LWS_MAPPED_SIZE) {
        void *memory =
            mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        buffer = memory == MAP_FAILED ? NULL : memory;
    } else if (total) {
        buffer = malloc(total);
    }
    if (!buffer) {
        return NULL;
    }
    buffer->next = NULL;
    buffer->room = total - LWS_BUFFER_OVERHEAD;
    buffer->length = 0;
    memset(buffer->padding, 0, sizeof buffer->padding);
    return buffer;
}

struct lws_buffer *lws_buffer_grow(struct lws_context *context, struct lws_buffer *buffer,
                                   size_t room) {
    if (buffer->room >= room) {
        return buffer;
    }

    size_t wanted = buffer->room * 2 > room ? buffer->room * 2 : room;
    size_t total = total_for(wanted);

    if (total && total_of(buffer) >= LWS_MAPPED_SIZE) {
        void *memory = mremap(buffer, total_of(buffer), total, MREMAP_MAYMOVE);

        buffer = memory == MAP_FAILED ? NULL : memory;
        if (buffer) {
            buffer->room = total - LWS_BUFFER_OVERHEAD;
        }
        return buffer;
    }

    struct lws_buffer *larger = lws_buffer_get(context, wanted);

    if (larger) {
        memcpy(larger->payload, buffer->payload, buffer->length);
        larger->length = buffer->length;
        lws_buffer_put(context, buffer);
    }
    return larger;
}

void lws_buffer_put(struct lws_context *context, struct lws_buffer *buffer) {
    if (!buffer) {
        return;
    }
    if (context->pooled + buffer->room > LWS_POOL_BYTES) {
        buffer_free(buffer);
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
        buffer_free(buffer);
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
