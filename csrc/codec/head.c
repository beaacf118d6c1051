/* The request head: its end, its parts, and whether it may be served (RFC 9110, RFC 9112). */
#include "codec.h"
#include "head_bytes.h"

#include <arpa/inet.h>
#include <string.h>

/* Name and value of a field line without the colon and the white space around the value. */
static size_t field_length(const uint8_t *line, size_t length) {
    const uint8_t *colon = memchr(line, ':', length);
    size_t name = colon ? (size_t)(colon - line) : length, value = name + 1;

    if (!colon) {
        return length;
    }
    while (value < length && is_blank(line[value])) {
        value++;
    }
    while (length > value && is_blank(line[length - 1])) {
        length--;
    }
    return name + (length - value);
}

/* ---- The end of the head ---------------------------------------------------------------- */

enum { SCAN_REQUEST_LINE = 0, SCAN_FIELDS = 1 };

/* Positions are 32 bits wide; a limit beyond them is this one. */
#define HEAD_MAX (UINT32_MAX - 16u)
#define EMPTY_LINES_MAX 2u

/*
 * Checks a line that is not empty, from scan->line to end, where its line end or the end of the
 * data is. The fault is that of the lowest bound that was crossed, so that cuts do not change it.
 */
static int check_line(const uint8_t *data, size_t end, bool ended,
                      const struct lws_head_limits *limits, const struct lws_head_scan *scan) {
    uint64_t head = limits->head < HEAD_MAX ? limits->head : HEAD_MAX;
    uint64_t head_bound = 2u * (uint64_t)scan->lines + head; /* skipped empty lines are free */
    size_t line = scan->line;

    if (scan->state == SCAN_REQUEST_LINE) {
        uint64_t line_bound = (uint64_t)line + limits->request_line;

        if (!is(data[line], IN_TOKEN)) {
            return LWS_FAULT_HTTP_BAD_REQUEST_LINE;
        }
        if (end > line_bound && line_bound + 2 <= head_bound) {
            return LWS_FAULT_HTTP_LINE_TOO_LONG;
        }
    } else if (scan->fields >= limits->headers || scan->fields == UINT16_MAX) {
        return LWS_FAULT_HTTP_TOO_MANY_HEADERS;
    }
    if ((uint64_t)end + 2 > head_bound) {
        return LWS_FAULT_HTTP_HEADER_TOO_LONG;
    }
    /* How much of a line is white space at its end shows only there. */
    if (ended && scan->state == SCAN_FIELDS && end - line > limits->header_line &&
        field_length(data + line, end - line) > limits->header_line) {
        return LWS_FAULT_HTTP_HEADER_TOO_LONG;
    }
    return 0;
}

ptrdiff_t lws_head_scan(const uint8_t *data, size_t len, const struct lws_head_limits *limits,
                        struct lws_head_scan *scan) {
    for (;;) {
        size_t line = scan->line;
        size_t end = scan->position < len ? find_line_end(data, scan->position, len) : len;

        if (end > line) {
            int fault = check_line(data, end, end < len, limits, scan);

            if (fault) {
                return -fault;
            }
        }
        /* A CR that is the last byte is looked at again with the byte behind it. */
        scan->position = (uint32_t)end;
        if (end == len) {
            return 0;
        }
        if (data[end] != '\r') {
            return -LWS_FAULT_HTTP_BAD_LINE_END;
        }
        if (end + 1 == len) {
            return 0;
        }
        if (data[end + 1] != '\n') {
            return -LWS_FAULT_HTTP_BAD_LINE_END;
        }

        if (end == line && scan->state == SCAN_FIELDS) {
            return (ptrdiff_t)(end + 2);
        }
        if (end == line) {
            if (scan->lines == EMPTY_LINES_MAX) {
                return -LWS_FAULT_HTTP_BAD_REQUEST_LINE;
            }
            scan->lines++;
        } else if (scan->state == SCAN_REQUEST_LINE) {
            /* Other protocols' greetings end here, instead of at a timeout. */
            if (!memchr(data + line, ' ', end - line)) {
                return -LWS_FAULT_HTTP_BAD_REQUEST_LINE;
            }
            scan->state = SCAN_FIELDS;
        } else {
            scan->fields++;
        }
        scan->position = scan->line = (uint32_t)(end + 2);
    }
}

/* ---- The request line --------------------------------------------------------------------- */

static struct lws_slice slice(size_t from, size_t to) {
    return (struct lws_slice){(uint32_t)from, (uint32_t)(to - from)};
}

static bool slice_is(const uint8_t *head, struct lws_slice part, const char *text) {
    return part.length == strlen(text) && memcmp(head + part.offset, text, part.length) == 0;
}

static enum lws_method method_kind(const uint8_t *head, struct lws_slice method) {
    static const char others[][8] = {"POST",  "PUT",     "DELETE", "OPTIONS",
                                     "TRACE", "CONNECT", "PATCH"};

    if (slice_is(head, method, "GET")) {
        return LWS_METHOD_GET;
    }
    if (slice_is(head, method, "HEAD")) {
        return LWS_METHOD_HEAD;
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (slice_is(head, method, others[i])) {
            return LWS_METHOD_OTHER;
        }
    }
    return LWS_METHOD_UNKNOWN;
}

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

/*
 * host [ ":" port ] (RFC 3986, section 3.2.2). Stricter in one point: no empty label but a last
 * one, as programs make directory names of hosts, and ".." is one.
 */
static bool host_valid(const uint8_t *host, size_t length) {
    size_t i = 0;

    if (length == 0) {
        return false;
    }
    if (host[0] == '[') {
        const uint8_t *close = memchr(host, ']', length);

        if (!close || !ipv6_valid(host + 1, (size_t)(close - host) - 1)) {
            return false;
        }
        i = (size_t)(close - host) + 1;
    } else {
        for (; i < length && host[i] != ':'; i++) {
            if (host[i] == '.' && (i == 0 || host[i - 1] == '.')) {
                return false;
            }
            if (is(host[i], IN_HOST)) {
                continue;
            }
            if (host[i] != '%' || length - i < 3 || !is(host[i + 1], IN_HEX) ||
                !is(host[i + 2], IN_HEX)) {
                return false;
            }
            i += 2;
        }
        if (i == 0) {
            return false;
        }
    }
    return i == length || (host[i] == ':' && port_valid(host + i + 1, length - i - 1));
}

static bool target_valid(const uint8_t *target, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (is(target[i], IN_TARGET)) {
            continue;
        }
        if (target[i] != '%' || length - i < 3 || !is(target[i + 1], IN_HEX) ||
            !is(target[i + 2], IN_HEX) || (target[i + 1] == '0' && target[i + 2] == '0')) {
            return false;
        }
        i += 2;
    }
    return true;
}

/* The scheme with its slashes, or 0 if it is not one that can be served. */
static size_t scheme_length(const uint8_t *target, size_t length) {
    if (length > 7 && equal_nocase(target, "http://", 7)) {
        return 7;
    }
    return length > 8 && equal_nocase(target, "https://", 8) ? 8 : 0;
}

/* The four forms of RFC 9112, section 3.2. *authority is set for the absolute form. */
static int parse_target(const uint8_t *head, struct lws_request *request,
                        struct lws_slice *authority) {
    const uint8_t *target = head + request->target.offset;
    size_t length = request->target.length, start = request->target.offset, scheme, host = 0;

    if (slice_is(head, request->method, "CONNECT")) {
        return memchr(target, ':', length) && host_valid(target, length)
                   ? 0
                   : LWS_FAULT_HTTP_BAD_TARGET;
    }
    if (slice_is(head, request->target, "*")) {
        return slice_is(head, request->method, "OPTIONS") ? 0 : LWS_FAULT_HTTP_BAD_TARGET;
    }
    if (length == 0 || !target_valid(target, length)) {
        return LWS_FAULT_HTTP_BAD_TARGET;
    }
    if (target[0] == '/') {
        request->uri = request->target;
        return 0;
    }

    scheme = scheme_length(target, length);
    while (scheme && scheme + host < length && target[scheme + host] != '/' &&
           target[scheme + host] != '?') {
        host++;
    }
    if (!scheme || !host_valid(target + scheme, host)) {
        return LWS_FAULT_HTTP_BAD_TARGET;
    }
    *authority = slice(start + scheme, start + scheme + host);
    if (scheme + host == length) {
        request->uri = slice(start + scheme - 1, start + scheme); /* an empty path is "/" */
    } else if (target[scheme + host] == '/') {
        request->uri = slice(start + scheme + host, start + length);
    } else {
        return LWS_FAULT_HTTP_BAD_TARGET; /* "/" before the query is nowhere in the head */
    }
    return 0;
}

static int parse_version(const uint8_t *version, size_t length, struct lws_request *request) {
    if (length != 8 || memcmp(version, "HTTP/", 5) != 0 || version[5] < '0' || version[5] > '9' ||
        version[6] != '.' || version[7] < '0' || version[7] > '9') {
        return LWS_FAULT_HTTP_VERSION_SYNTAX;
    }
    if (version[5] != '1') {
        return LWS_FAULT_HTTP_VERSION;
    }
    request->minor = version[7] != '0';
    return 0;
}

/* The line from *position on; *position is moved behind its end. */
static int parse_request_line(const uint8_t *head, size_t size,
                              const struct lws_head_limits *limits, struct lws_request *request,
                              size_t *position, struct lws_slice *authority) {
    size_t line = *position, end = find_line_end(head, line, size), method = line, last = end;
    int fault;

    if (size - end < 2 || head[end] != '\r' || head[end + 1] != '\n') {
        return LWS_FAULT_HTTP_BAD_LINE_END;
    }
    if (end - line > limits->request_line) {
        return LWS_FAULT_HTTP_LINE_TOO_LONG;
    }
    while (is(head[method], IN_TOKEN)) {
        method++;
    }
    if (method == line || head[method] != ' ') {
        return LWS_FAULT_HTTP_BAD_REQUEST_LINE;
    }
    request->method = slice(line, method);
    request->kind = (uint8_t)method_kind(head, request->method);

    while (head[last - 1] != ' ') {
        last--;
    }
    if (last - 1 == method) {
        return LWS_FAULT_HTTP_VERSION_SYNTAX; /* one space: there is no version */
    }
    request->target = slice(method + 1, last - 1);
    fault = parse_version(head + last, end - last, request);
    if (fault) {
        return fault;
    }
    if (request->target.length > 0 && (head[method + 1] == ' ' || head[last - 2] == ' ')) {
        return LWS_FAULT_HTTP_VERSION_SYNTAX; /* two spaces beside the target, not in it */
    }
    *position = end + 2;
    return parse_target(head, request, authority);
}

/* ---- Fields ------------------------------------------------------------------------------- */

static const char *const field_names[LWS_FIELD_COUNT] = {
    [LWS_FIELD_HOST] = "host",
    [LWS_FIELD_CONNECTION] = "connection",
    [LWS_FIELD_UPGRADE] = "upgrade",
    [LWS_FIELD_ORIGIN] = "origin",
    [LWS_FIELD_WS_ORIGIN] = "sec-websocket-origin",
    [LWS_FIELD_WS_KEY] = "sec-websocket-key",
    [LWS_FIELD_WS_KEY1] = "sec-websocket-key1",
    [LWS_FIELD_WS_KEY2] = "sec-websocket-key2",
    [LWS_FIELD_WS_VERSION] = "sec-websocket-version",
    [LWS_FIELD_WS_PROTOCOL] = "sec-websocket-protocol",
    [LWS_FIELD_WS_EXTENSIONS] = "sec-websocket-extensions",
    [LWS_FIELD_CONTENT_LENGTH] = "content-length",
    [LWS_FIELD_TRANSFER_ENCODING] = "transfer-encoding",
    [LWS_FIELD_EXPECT] = "expect",
    [LWS_FIELD_RANGE] = "range",
    [LWS_FIELD_IF_RANGE] = "if-range",
    [LWS_FIELD_IF_MATCH] = "if-match",
    [LWS_FIELD_IF_NONE_MATCH] = "if-none-match",
    [LWS_FIELD_IF_MODIFIED_SINCE] = "if-modified-since",
    [LWS_FIELD_IF_UNMODIFIED_SINCE] = "if-unmodified-since",
    [LWS_FIELD_ACCEPT_ENCODING] = "accept-encoding",
};

/* The field of a name, or LWS_FIELD_COUNT. Names are told apart by their length, and by one byte.
 */
static unsigned field_of(const uint8_t *name, size_t length) {
    static const uint8_t by_length[] = {
        [4] = LWS_FIELD_HOST,
        [5] = LWS_FIELD_RANGE,
        [6] = LWS_FIELD_ORIGIN,
        [7] = LWS_FIELD_UPGRADE,
        [8] = LWS_FIELD_IF_MATCH,
        [10] = LWS_FIELD_CONNECTION,
        [13] = LWS_FIELD_IF_NONE_MATCH,
        [14] = LWS_FIELD_CONTENT_LENGTH,
        [15] = LWS_FIELD_ACCEPT_ENCODING,
        [17] = LWS_FIELD_WS_KEY,
        [18] = LWS_FIELD_WS_KEY1,
        [19] = LWS_FIELD_IF_UNMODIFIED_SINCE,
        [20] = LWS_FIELD_WS_ORIGIN,
        [21] = LWS_FIELD_WS_VERSION,
        [22] = LWS_FIELD_WS_PROTOCOL,
        [24] = LWS_FIELD_WS_EXTENSIONS,
    };
    unsigned field;

    if (length < 4 || length >= sizeof by_length) {
        return LWS_FIELD_COUNT;
    }
    field = by_length[length];
    if (length == 6 && lower(name[0]) == 'e') {
        field = LWS_FIELD_EXPECT;
    } else if (length == 17 && lower(name[0]) == 't') {
        field = LWS_FIELD_TRANSFER_ENCODING;
    } else if (length == 17 && lower(name[0]) == 'i') {
        field = LWS_FIELD_IF_MODIFIED_SINCE;
    } else if (length == 8 && lower(name[3]) == 'r') {
        field = LWS_FIELD_IF_RANGE;
    } else if (length == 18 && name[17] == '2') {
        field = LWS_FIELD_WS_KEY2;
    }
    /* Host stands for the lengths that no name has, too. */
    if (field == LWS_FIELD_HOST && length != 4) {
        return LWS_FIELD_COUNT;
    }
    return equal_nocase(name, field_names[field], length) ? field : LWS_FIELD_COUNT;
}

static struct lws_slice trim(const uint8_t *head, size_t from, size_t to) {
    while (from < to && is_blank(head[from])) {
        from++;
    }
    while (to > from && is_blank(head[to - 1])) {
        to--;
    }
    return slice(from, to);
}

/* One field line from *position on; *position is moved behind its end. */
static int parse_field(const uint8_t *head, size_t size, const struct lws_head_limits *limits,
                       struct lws_request *request, size_t *position) {
    size_t line = *position, colon = line, end;
    struct lws_slice value;
    unsigned field;

    while (colon < size && is(head[colon], IN_TOKEN)) {
        colon++;
    }
    if (colon == line || colon == size || head[colon] != ':') {
        return LWS_FAULT_HTTP_BAD_HEADER;
    }
    field = field_of(head + line, colon - line);
    end = find_control(head, colon + 1, size);
    if (end < size && !is_line_end(head[end])) {
        return field == LWS_FIELD_TRANSFER_ENCODING ? LWS_FAULT_HTTP_SMUGGLE
                                                    : LWS_FAULT_HTTP_BAD_HEADER;
    }
    if (size - end < 2 || head[end] != '\r' || head[end + 1] != '\n') {
        return LWS_FAULT_HTTP_BAD_LINE_END;
    }

    value = trim(head, colon + 1, end);
    if (colon - line + value.length > limits->header_line) {
        return LWS_FAULT_HTTP_HEADER_TOO_LONG;
    }
    if (field < LWS_FIELD_COUNT) {
        /* In these spaces count: only the one that the draft puts behind the colon is none of
         * theirs. */
        if (field == LWS_FIELD_WS_KEY1 || field == LWS_FIELD_WS_KEY2) {
            value = slice(colon + 1 + (head[colon + 1] == ' '), end);
        }
        if (request->count[field] == 0) {
            request->field[field] = value;
        }
        if (request->count[field] < UINT8_MAX) {
            request->count[field]++;
        }
    }
    *position = end + 2;
    return 0;
}

static int parse_fields(const uint8_t *head, size_t size, const struct lws_head_limits *limits,
                        struct lws_request *request, size_t position) {
    size_t first = position;

    for (uint32_t fields = 0; position < size && head[position] != '\r'; fields++) {
        int fault;

        if (fields == limits->headers) {
            return LWS_FAULT_HTTP_TOO_MANY_HEADERS;
        }
        if (is_blank(head[position])) {
            return fields ? LWS_FAULT_HTTP_OBS_FOLD : LWS_FAULT_HTTP_BAD_HEADER;
        }
        fault = parse_field(head, size, limits, request, &position);
        if (fault) {
            return fault;
        }
        request->headers = slice(first, position);
    }
    request->headers = slice(first, position);
    return size - position == 2 && head[position + 1] == '\n' ? 0 : LWS_FAULT_HTTP_BAD_LINE_END;
}

bool lws_head_next(const uint8_t *head, const struct lws_request *request, uint32_t *cursor,
                   struct lws_slice *name, struct lws_slice *value) {
    size_t line = (size_t)request->headers.offset + *cursor, colon, end;
    size_t stop = (size_t)request->headers.offset + request->headers.length;

    if (line >= stop) {
        return false;
    }
    end = find_line_end(head, line, stop);
    for (colon = line; colon < end && head[colon] != ':';) {
        colon++;
    }
    *name = slice(line, colon);
    *value = colon < end ? trim(head, colon + 1, end) : slice(end, end);
    *cursor = (uint32_t)(end + 2 - request->headers.offset);
    return true;
}

bool lws_head_field(const uint8_t *head, const struct lws_request *request, const char *name,
                    size_t name_length, uint32_t *cursor, struct lws_slice *value) {
    struct lws_slice found;

    while (lws_head_next(head, request, cursor, &found, value)) {
        if (found.length == name_length && equal_nocase(head + found.offset, name, name_length)) {
            return true;
        }
    }
    return false;
}

bool lws_list_has_token(const uint8_t *list, size_t len, const char *token) {
    size_t length = strlen(token);

    for (size_t at = 0; at < len;) {
        const uint8_t *comma = memchr(list + at, ',', len - at);
        size_t end = comma ? (size_t)(comma - list) : len, from = at, to = end;

        while (from < to && is_blank(list[from])) {
            from++;
        }
        while (to > from && is_blank(list[to - 1])) {
            to--;
        }
        if (to - from == length && equal_nocase(list + from, token, length)) {
            return true;
        }
        at = end + 1;
    }
    return false;
}

bool lws_head_has_token(const uint8_t *head, const struct lws_request *request,
                        enum lws_field field, const char *token) {
    const char *name = field_names[field];
    struct lws_slice value = request->field[field];
    uint32_t cursor = 0;

    if (request->count[field] <= 1) {
        return request->count[field] &&
               lws_list_has_token(head + value.offset, value.length, token);
    }
    while (lws_head_field(head, request, name, strlen(name), &cursor, &value)) {
        if (lws_list_has_token(head + value.offset, value.length, token)) {
            return true;
        }
    }
    return false;
}

/* ---- What the fields say together --------------------------------------------------------- */

static int check_host(const uint8_t *head, struct lws_request *request,
                      struct lws_slice authority) {
    struct lws_slice *host = &request->field[LWS_FIELD_HOST];
    uint8_t *count = &request->count[LWS_FIELD_HOST];

    if (*count > 1 || (*count == 0 && request->minor > 0)) {
        return LWS_FAULT_HTTP_BAD_HOST;
    }
    if (*count == 1 && !host_valid(head + host->offset, host->length)) {
        return LWS_FAULT_HTTP_BAD_HOST;
    }
    /* The host of an absolute target goes before the field (RFC 9112, section 3.2.2). */
    if (authority.length) {
        *host = authority;
        *count = 1;
    }
    return 0;
}

/* Whether every expectation is 100-continue. */
static bool expect_known(const uint8_t *head, const struct lws_request *request) {
    const char *name = field_names[LWS_FIELD_EXPECT];
    struct lws_slice value;
    uint32_t cursor = 0;

    while (lws_head_field(head, request, name, strlen(name), &cursor, &value)) {
        if (value.length != 12 || !equal_nocase(head + value.offset, "100-continue", 12)) {
            return false;
        }
    }
    return true;
}

/* The whole number of Content-Length, under 2^63. */
static bool parse_length(const uint8_t *text, size_t length, uint64_t *value) {
    *value = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9' || *value > (uint64_t)INT64_MAX / 10) {
            return false;
        }
        *value = 10 * *value + (uint64_t)(text[i] - '0');
    }
    return length > 0 && *value <= INT64_MAX;
}

/* A request that lws_handshake_check finds to be hixie-76, or refuses for good. */
static bool asks_hixie76(const uint8_t *head, const struct lws_request *request) {
    const uint8_t *count = request->count;

    return request->kind == LWS_METHOD_GET && request->minor > 0 && count[LWS_FIELD_WS_KEY1] == 1 &&
           count[LWS_FIELD_WS_KEY2] == 1 && count[LWS_FIELD_WS_KEY] == 0 &&
           count[LWS_FIELD_WS_VERSION] == 0 &&
           lws_head_has_token(head, request, LWS_FIELD_UPGRADE, "websocket");
}

/* How the message is framed: at most one plain Content-Length, or one Transfer-Encoding: chunked.
 */
static int check_body(const uint8_t *head, const struct lws_request *request) {
    struct lws_slice coding = request->field[LWS_FIELD_TRANSFER_ENCODING];
    struct lws_slice length = request->field[LWS_FIELD_CONTENT_LENGTH];
    unsigned codings = request->count[LWS_FIELD_TRANSFER_ENCODING];
    unsigned lengths = request->count[LWS_FIELD_CONTENT_LENGTH];
    bool expect = request->count[LWS_FIELD_EXPECT] && !expect_known(head, request);
    uint64_t body = 0;

    /* HTTP/1.0 had no transfer codings: whoever sends one may frame it in two ways. */
    if (codings && (codings > 1 || lengths || request->minor == 0 || coding.length != 7 ||
                    !equal_nocase(head + coding.offset, "chunked", 7))) {
        return LWS_FAULT_HTTP_SMUGGLE;
    }
    if (lengths > 1 || (lengths && !parse_length(head + length.offset, length.length, &body))) {
        return LWS_FAULT_HTTP_BAD_LENGTH;
    }
    if (expect) {
        return LWS_FAULT_HTTP_EXPECT;
    }
    if (codings) {
        return LWS_FAULT_HTTP_BODY_CHUNKED;
    }
    /* Some proxies of 2010 count the eight bytes behind a hixie-76 head as its body. */
    if (body == 0 || (body == 8 && asks_hixie76(head, request))) {
        return 0;
    }
    return LWS_FAULT_HTTP_BODY_REFUSED;
}

static int check_method(const struct lws_request *request) {
    switch (request->kind) {
    case LWS_METHOD_GET:
    case LWS_METHOD_HEAD:
        return 0;
    case LWS_METHOD_OTHER:
        return LWS_FAULT_HTTP_METHOD;
    default:
        return LWS_FAULT_HTTP_METHOD_UNKNOWN;
    }
}

int lws_head_parse(const uint8_t *head, size_t size, const struct lws_head_limits *limits,
                   struct lws_request *request) {
    struct lws_slice authority = {0, 0};
    size_t position = 0;
    int fault;

    *request = (struct lws_request){.kind = LWS_METHOD_UNKNOWN};
    if (size > HEAD_MAX) {
        return -LWS_FAULT_HTTP_HEADER_TOO_LONG;
    }
    while (position < 2 * EMPTY_LINES_MAX && size - position >= 2 && head[position] == '\r' &&
           head[position + 1] == '\n') {
        position += 2;
    }

    fault = parse_request_line(head, size, limits, request, &position, &authority);
    if (!fault) {
        fault = parse_fields(head, size, limits, request, position);
    }
    if (!fault) {
        fault = check_host(head, request, authority);
    }
    if (!fault) {
        fault = check_body(head, request);
    }
    if (!fault) {
        fault = check_method(request);
    }
    if (fault) {
        return -fault;
    }

    for (unsigned field = LWS_FIELD_RANGE; field <= LWS_FIELD_IF_UNMODIFIED_SINCE; field++) {
        if (request->count[field]) {
            request->conditional = 1;
        }
    }
    request->keep_alive = !lws_head_has_token(head, request, LWS_FIELD_CONNECTION, "close") &&
                          (request->minor > 0 ||
                           lws_head_has_token(head, request, LWS_FIELD_CONNECTION, "keep-alive"));
    return 0;
}
