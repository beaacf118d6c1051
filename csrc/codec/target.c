/* The request target, and the host in it or in Host (RFC 9112, section 3.2). */
#include "head_parts.h"

#include <arpa/inet.h>
#include <string.h>

/* ---- host [ ":" port ] ---------------------------------------------------------------------- */

static bool port_valid(const uint8_t *port, size_t length) {
    unsigned value = 0;

    if (length > 5) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (port[i] < '0' || port[i] > '9') {
            return false;
        }
        value = 10 * value + (unsigned)(port[i] - '0');
    }
    return value <= 65535;
}

static bool ipv6_valid(const uint8_t *address, size_t length) {
    char text[INET6_ADDRSTRLEN];
    struct in6_addr binary;

    if (length >= sizeof text || memchr(address, 0, length)) {
        return false;
    }
    memcpy(text, address, length);
    text[length] = 0;
    return inet_pton(AF_INET6, text, &binary) == 1;
}

/* Whether a "%" begins two hexadecimal digits (RFC 3986, section 2.1); length bytes are there. */
static bool escape_valid(const uint8_t *percent, size_t length) {
    return length >= 3 && is(percent[1], IN_HEX) && is(percent[2], IN_HEX);
}

/* The length of the bracketed address or the name that host begins with; 0 if it is not valid. */
static size_t name_length(const uint8_t *host, size_t length) {
    size_t i = 0;

    if (host[0] == '[') {
        const uint8_t *close = memchr(host, ']', length);

        if (!close || !ipv6_valid(host + 1, (size_t)(close - host) - 1)) {
            return 0;
        }
        return (size_t)(close - host) + 1;
    }
    for (; i < length && host[i] != ':'; i++) {
        if (host[i] == '.' && (i == 0 || host[i - 1] == '.')) {
            return 0;
        }
        if (is(host[i], IN_HOST)) {
            continue;
        }
        if (host[i] != '%' || !escape_valid(host + i, length - i)) {
            return 0;
        }
        i += 2;
    }
    return i;
}

bool lws_host_valid(const uint8_t *host, size_t length) {
    size_t name = length ? name_length(host, length) : 0;

    return name && (name == length ||
                    (host[name] == ':' && port_valid(host + name + 1, length - name - 1)));
}

/* ---- The four forms ------------------------------------------------------------------------- */

/* The length of a target up to its query, or length; SIZE_MAX if a byte there is not allowed. */
static size_t path_length(const uint8_t *target, size_t length) {
    size_t i = 0;

    for (; i < length && target[i] != '?'; i++) {
        if (is(target[i], IN_TARGET)) {
            continue;
        }
        if (target[i] != '%' || !escape_valid(target + i, length - i) ||
            (target[i + 1] == '0' && target[i + 2] == '0')) {
            return SIZE_MAX;
        }
        i += 2;
    }
    return i;
}

/* Browsers send "%" and the like as they are: what a query means is for the application to say. */
static bool query_valid(const uint8_t *query, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (query[i] <= 0x20 || query[i] >= 0x7f) {
            return false;
        }
    }
    return true;
}

/* The length of a scheme that can be served and of "://" after it, or 0. */
static size_t scheme_length(const uint8_t *target, size_t length) {
    static const char *const schemes[] = {"http://", "https://", "ws://", "wss://"};

    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t size = strlen(schemes[i]);

        if (length > size && equal_nocase(target, schemes[i], size)) {
            return size;
        }
    }
    return 0;
}

/* scheme "://" authority [ path ] [ "?" query ]; path bytes of it are before the query. */
static int parse_absolute(const uint8_t *head, struct lws_request *request, size_t path,
                          struct lws_slice *authority) {
    const uint8_t *target = head + request->target.offset;
    size_t length = request->target.length, start = request->target.offset;
    size_t scheme = scheme_length(target, path), end = scheme;

    while (end < path && target[end] != '/') {
        end++;
    }
    if (!scheme || !lws_host_valid(target + scheme, end - scheme)) {
        return LWS_FAULT_HTTP_BAD_TARGET;
    }
    *authority = slice(start + scheme, start + end);
    if (end == length) {
        request->uri = slice(start + scheme - 1, start + scheme); /* an empty path is "/" */
        return 0;
    }
    request->uri = slice(start + end, start + length);
    request->empty_path = target[end] == '?';
    return 0;
}

int lws_target_parse(const uint8_t *head, struct lws_request *request,
                     struct lws_slice *authority) {
    const uint8_t *target = head + request->target.offset;
    size_t length = request->target.length, path;

    if (slice_is(head, request->method, "CONNECT")) {
        return memchr(target, ':', length) && lws_host_valid(target, length)
                   ? 0
                   : LWS_FAULT_HTTP_BAD_TARGET;
    }
    if (slice_is(head, request->target, "*")) {
        return slice_is(head, request->method, "OPTIONS") ? 0 : LWS_FAULT_HTTP_BAD_TARGET;
    }
    path = path_length(target, length);
    if (path == 0 || path == SIZE_MAX || !query_valid(target + path, length - path)) {
        return LWS_FAULT_HTTP_BAD_TARGET;
    }
    if (target[0] == '/') {
        request->uri = request->target;
        return 0;
    }
    return parse_absolute(head, request, path, authority);
}
