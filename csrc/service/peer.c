/*
 * Who is at the other end: addresses, how many connections each has, and which of them are proxies
 * whose word counts for another address.
 */
#include "private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

void lws_peer_note(struct lws_address *peer, const struct sockaddr_storage *address) {
    memset(peer, 0, sizeof *peer);
    peer->family = address->ss_family;
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;

        peer->port = ntohs(in->sin_port);
        memcpy(peer->bytes, &in->sin_addr, 4);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)address;

        peer->port = ntohs(in->sin6_port);
        memcpy(peer->bytes, &in->sin6_addr, 16);
    }
}

static int write_ipv4(const uint8_t *bytes, uint16_t port, char text[LWS_PEER_SIZE]) {
    return snprintf(text, LWS_PEER_SIZE, "%u.%u.%u.%u:%u", bytes[0], bytes[1], bytes[2], bytes[3],
                    port);
}

int lws_peer(struct lws_context *context, uint32_t slot, char text[LWS_PEER_SIZE]) {
    char address[INET6_ADDRSTRLEN] = "-";
    const struct lws_address *peer;

    if (lws_foreign(context) || slot >= context->slots) {
        return snprintf(text, LWS_PEER_SIZE, "-");
    }
    peer = &lws_at(context, slot)->peer;
    if (peer->family == AF_INET) {
        return write_ipv4(peer->bytes, peer->port, text);
    }
    if (peer->family == AF_INET6) {
        if (memcmp(peer->bytes, mapped, sizeof mapped) == 0) {
            return write_ipv4(peer->bytes + 12, peer->port, text);
        }
        inet_ntop(AF_INET6, peer->bytes, address, sizeof address);
        return snprintf(text, LWS_PEER_SIZE, "[%s]:%u", address, peer->port);
    }
    return snprintf(text, LWS_PEER_SIZE, "%s", peer->family == AF_UNIX ? "unix" : "-");
}

/* An address in 16 bytes, IPv4 as mapped; all zero for one without any. */
static void spell(const struct lws_address *peer, uint8_t bytes[16]) {
    memset(bytes, 0, 16);
    if (peer->family == AF_INET) {
        memcpy(bytes, mapped, sizeof mapped);
        memcpy(bytes + 12, peer->bytes, 4);
    } else if (peer->family == AF_INET6) {
        memcpy(bytes, peer->bytes, 16);
    }
}

/* ---- proxies -------------------------------------------------------------------------------- */

int lws_trust(struct lws_context *context, const uint8_t address[16], unsigned prefix) {
    int error = lws_foreign(context);

    if (error) {
        return error;
    }
    if (prefix > 128) {
        return LWS_ERROR_ARGUMENT;
    }

    struct lws_network *trusted =
        realloc(context->trusted, (context->trusted_count + 1) * sizeof *trusted);

    if (!trusted) {
        return LWS_ERROR_MEMORY;
    }
    context->trusted = trusted;
    memcpy(trusted[context->trusted_count].bytes, address, 16);
    trusted[context->trusted_count].prefix = (uint8_t)prefix;
    context->trusted_count++;
    return 0;
}

static bool is_within(const uint8_t bytes[16], const struct lws_network *network) {
    unsigned whole = network->prefix / 8u;
    unsigned rest = network->prefix % 8u;

    return memcmp(bytes, network->bytes, whole) == 0 &&
           (rest == 0 || ((bytes[whole] ^ network->bytes[whole]) >> (8u - rest)) == 0);
}

bool lws_peer_is_trusted(const struct lws_context *context, const struct lws_address *peer) {
    uint8_t bytes[16];

    if (context->trusted_count == 0) {
        return false;
    }
    /* A Unix socket is all zero, as "unix:" is in the list. */
    spell(peer, bytes);
    for (uint32_t i = 0; i < context->trusted_count; i++) {
        if (is_within(bytes, &context->trusted[i])) {
            return true;
        }
    }
    return false;
}

bool lws_trusted(struct lws_context *context, uint32_t slot) {
    const struct libwebsocket *wsi = lws_foreign(context) ? NULL : lws_find(context, slot);

    return wsi && !wsi->unnamed && lws_peer_is_trusted(context, &wsi->peer);
}

int lws_set_peer(struct lws_context *context, uint32_t slot, const struct lws_address *peer,
                 bool secure, struct lws_address *before) {
    int error = lws_foreign(context);
    struct libwebsocket *wsi = error ? NULL : lws_find(context, slot);

    if (error) {
        return error;
    }
    if (!wsi) {
        return LWS_ERROR_CLOSED;
    }
    *before = wsi->peer;
    lws_peer_uncount(context, wsi);
    wsi->peer = *peer;
    wsi->forwarded_secure = secure;
    return 0;
}

bool lws_receive_proxy(struct lws_context *context, struct libwebsocket *wsi) {
    uint32_t kept = lws_stashed(wsi);
    uint8_t *data = lws_window(context);
    struct lws_address source;

    if (kept) {
        memcpy(data, wsi->stash->bytes + wsi->stash->offset, kept);
    }

    /* What comes behind the header is not ours to take: it may be for TLS. */
    ssize_t seen = lws_receive_bytes(wsi, data + kept, LWS_PROXY_MAX - kept, MSG_PEEK);

    if (seen == LWS_RECEIVED_NOTHING) {
        return false;
    }
    if (seen < 0) {
        lws_die(context, wsi, false);
        return false;
    }

    ptrdiff_t size = lws_proxy_decode(data, kept + (size_t)seen, &source);

    if (size < 0) {
        lws_report(context, wsi->slot, LWS_FAULT_PROXY_HEADER);
        lws_die(context, wsi, true);
        return false;
    }

    size_t taken = size ? (size_t)size - kept : (size_t)seen;

    if (recv(wsi->fd, data + kept, taken, 0) != (ssize_t)taken) {
        lws_die(context, wsi, true);
        return false;
    }
    if (size == 0) {
        if (!lws_stash_append(&wsi->stash, data + kept, (uint32_t)taken)) {
            lws_out_of_memory(context, wsi);
        }
        return false;
    }
    if (kept) {
        lws_stash_take(&wsi->stash, kept);
    }
    wsi->proxy_due = 0;
    wsi->unnamed = source.family == 0;
    if (source.family) {
        wsi->peer = source;
        if (!lws_peer_is_trusted(context, &source) && !lws_peer_count(context, wsi)) {
            lws_report(context, wsi->slot, LWS_FAULT_CONN_LIMIT_IP);
            if (wsi->secure) {
                lws_die(context, wsi, false);
            } else {
                lws_refuse_request(context, wsi, 503, false);
            }
            return false;
        }
    }
    return true;
}

/* ---- how many connections an address has ---------------------------------------------------- */

/*
 * Open addressing; the size is a power of two, at least twice the addresses in it. A free place has
 * count 0. The seed keeps peers from choosing addresses that fall together.
 */
struct lws_count {
    uint8_t bytes[16];
    uint32_t count;
};

static uint32_t place_of(const struct lws_counts *counts, const uint8_t bytes[16]) {
    uint64_t parts[2];
    uint64_t hash = counts->seed;

    memcpy(parts, bytes, sizeof parts);
    for (unsigned i = 0; i < 2; i++) {
        hash = (hash ^ parts[i]) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    hash *= 0xbf58476d1ce4e5b9u;
    return (uint32_t)(hash >> 32) & (counts->size - 1);
}

/* The place of an address, or the free one where it would stand. */
static struct lws_count *find_count(const struct lws_counts *counts, const uint8_t bytes[16]) {
    uint32_t place = place_of(counts, bytes);

    while (counts->places[place].count && memcmp(counts->places[place].bytes, bytes, 16) != 0) {
        place = (place + 1) & (counts->size - 1);
    }
    return &counts->places[place];
}

static bool grow(struct lws_counts *counts) {
    struct lws_counts larger = {.size = counts->size ? 2 * counts->size : 64, .seed = counts->seed};

    if (!counts->size && getrandom(&larger.seed, sizeof larger.seed, GRND_NONBLOCK) < 0) {
        larger.seed = (uintptr_t)counts; /* early at boot: where the heap lies is what there is */
    }
    larger.places = calloc(larger.size, sizeof *larger.places);
    if (!larger.places) {
        return false;
    }
    for (uint32_t i = 0; i < counts->size; i++) {
        if (counts->places[i].count) {
            *find_count(&larger, counts->places[i].bytes) = counts->places[i];
        }
    }
    larger.used = counts->used;
    free(counts->places);
    *counts = larger;
    return true;
}

/* What is counted: an IPv4 address, or the /64 of an IPv6 one, which is one household's. */
static bool counted(const struct lws_context *context, const struct lws_address *peer,
                    uint8_t bytes[16]) {
    if (!context->options.max_connections_per_ip ||
        (peer->family != AF_INET && peer->family != AF_INET6)) {
        return false;
    }
    spell(peer, bytes);
    if (memcmp(bytes, mapped, sizeof mapped) != 0) {
        memset(bytes + 8, 0, 8);
    }
    return true;
}

bool lws_peer_count(struct lws_context *context, struct libwebsocket *wsi) {
    struct lws_counts *counts = &context->counts;
    uint8_t bytes[16];

    if (wsi->counted || !counted(context, &wsi->peer, bytes)) {
        return true;
    }
    if (2 * (counts->used + 1) > counts->size && !grow(counts)) {
        return true; /* without memory for the table there is no limit; the rest goes on */
    }

    struct lws_count *found = find_count(counts, bytes);

    if (found->count >= context->options.max_connections_per_ip) {
        return false;
    }
    if (found->count == 0) {
        memcpy(found->bytes, bytes, 16);
        counts->used++;
    }
    found->count++;
    wsi->counted = 1;
    return true;
}

void lws_peer_uncount(struct lws_context *context, struct libwebsocket *wsi) {
    struct lws_counts *counts = &context->counts;
    uint8_t bytes[16];

    if (!wsi->counted || !counted(context, &wsi->peer, bytes)) {
        return;
    }
    wsi->counted = 0;

    struct lws_count *found = find_count(counts, bytes);

    if (found->count == 0 || --found->count) {
        return;
    }
    counts->used--;

    /* The hole is closed: what stands behind it moves up, if its own place is not behind the hole.
     */
    uint32_t hole = (uint32_t)(found - counts->places);
    uint32_t mask = counts->size - 1;

    for (uint32_t at = (hole + 1) & mask; counts->places[at].count; at = (at + 1) & mask) {
        uint32_t own = place_of(counts, counts->places[at].bytes);

        if (((at - own) & mask) >= ((at - hole) & mask)) {
            counts->places[hole] = counts->places[at];
            counts->places[at].count = 0;
            hole = at;
        }
    }
}

void lws_peer_free_all(struct lws_context *context) {
    free(context->trusted);
    free(context->counts.places);
}
