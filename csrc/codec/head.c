/* A whole request head: its request line, and whether its fields together allow an answer. */
#include "head_parts.h"

#include <string.h>

/* ---- The request line --------------------------------------------------------------------- */

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

/*
 * Parses the line at *position, and moves *position past its end. Method and target are filled
 * first, even of a line that is cut or too long, so that the log can show them.
 */
static int parse_request_line(const uint8_t *head, size_t size,
                              const struct lws_head_limits *limits, struct lws_request *request,
                              size_t *position, struct lws_slice *authority) {
    size_t line = *position, end = find_line_end(head, line, size), method = line, last = end;
    int fault;

    while (method < end && is(head[method], IN_TOKEN)) {
        method++;
    }
    if (method == line || method == end || head[method] != ' ') {
        return LWS_FAULT_HTTP_BAD_REQUEST_LINE;
    }
    request->method = slice(line, method);
    request->kind = (uint8_t)method_kind(head, request->method);

    while (head[last - 1] != ' ') {
        last--;
    }
    request->target = slice(method + 1, last - 1 == method ? end : last - 1);
    if (size - end < 2 || head[end] != '\r' || head[end + 1] != '\n') {
        return LWS_FAULT_HTTP_BAD_LINE_END;
    }
    if (end - line > limits->request_line) {
        return LWS_FAULT_HTTP_LINE_TOO_LONG;
    }
    if (last - 1 == method) {
        return LWS_FAULT_HTTP_VERSION_SYNTAX; /* one space: no version */
    }
    fault = parse_version(head + last, end - last, request);
    if (fault) {
        return fault;
    }
    if (request->target.length > 0 && (head[method + 1] == ' ' || head[last - 2] == ' ')) {
        return LWS_FAULT_HTTP_VERSION_SYNTAX; /* two spaces around the target, not in it */
    }
    *position = end + 2;
    return lws_target_parse(head, request, authority);
}

/* ---- What the fields say together --------------------------------------------------------- */

static int check_host(const uint8_t *head, struct lws_request *request,
                      struct lws_slice authority) {
    struct lws_slice *host = &request->field[LWS_FIELD_HOST];
    uint8_t *count = &request->count[LWS_FIELD_HOST];

    if (*count > 1 || (*count == 0 && request->minor > 0)) {
        return LWS_FAULT_HTTP_BAD_HOST;
    }
    if (*count == 1 && !lws_host_valid(head + host->offset, host->length)) {
        return LWS_FAULT_HTTP_BAD_HOST;
    }
    /* The host of an absolute target overrides the field (RFC 9112, section 3.2.2). */
    if (authority.length) {
        *host = authority;
        *count = 1;
    }
    return 0;
}

/* Whether every expectation is 100-continue (RFC 9110, section 10.1.1). */
static bool expect_known(const uint8_t *head, const struct lws_request *request) {
    struct lws_slice value, member;
    uint32_t cursor = 0;

    while (lws_fields_find(head, request, LWS_FIELD_EXPECT, &cursor, &value)) {
        const uint8_t *list = head + value.offset;
        size_t at = 0;

        while (lws_list_next(list, value.length, &at, &member)) {
            if (member.length != 12 || !equal_nocase(list + member.offset, "100-continue", 12)) {
                return false;
            }
        }
    }
    return true;
}

/* Reads a Content-Length: decimal digits only, under 2^63. Returns whether it is one. */
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

/* Whether the fields are those of a hixie-76 upgrade; lws_handshake_check then accepts or refuses
 * it. */
static bool asks_hixie76(const uint8_t *head, const struct lws_request *request) {
    const uint8_t *count = request->count;

    return request->kind == LWS_METHOD_GET && request->minor > 0 && count[LWS_FIELD_WS_KEY1] == 1 &&
           count[LWS_FIELD_WS_KEY2] == 1 && count[LWS_FIELD_WS_KEY] == 0 &&
           count[LWS_FIELD_WS_VERSION] == 0 &&
           lws_head_has_token(head, request, LWS_FIELD_UPGRADE, "websocket");
}

/*
 * Whether a Transfer-Encoding says where the body ends (RFC 9112, section 6.3): a list of codings,
 * of which chunked is the last and no other. What the others mean does not matter then.
 */
static bool codings_valid(const uint8_t *list, size_t length) {
    size_t cursor = 0;
    struct lws_slice member;
    bool chunked = false;

    while (lws_list_next(list, length, &cursor, &member)) {
        const uint8_t *name = list + member.offset;
        size_t size = 0, next;

        while (size < member.length && is(name[size], IN_TOKEN)) {
            size++;
        }
        for (next = size; next < member.length && is_blank(name[next]);) {
            next++;
        }
        /* A name and perhaps parameters, and nothing after chunked. */
        if (chunked || size == 0 || (next < member.length && name[next] != ';')) {
            return false;
        }
        chunked = size == 7 && equal_nocase(name, "chunked", 7);
        if (chunked && member.length != size) {
            return false;
        }
    }
    return chunked;
}

/* Whether the body's framing is unambiguous (RFC 9112, section 6.3), and whether there is one. */
static int check_body(const uint8_t *head, const struct lws_request *request) {
    struct lws_slice coding = request->field[LWS_FIELD_TRANSFER_ENCODING];
    struct lws_slice length = request->field[LWS_FIELD_CONTENT_LENGTH];
    unsigned codings = request->count[LWS_FIELD_TRANSFER_ENCODING];
    unsigned lengths = request->count[LWS_FIELD_CONTENT_LENGTH];
    bool expect = request->count[LWS_FIELD_EXPECT] && !expect_known(head, request);
    uint64_t body = 0;

    /* HTTP/1.0 had no transfer codings: another recipient may see the end elsewhere. */
    if (codings && (codings > 1 || lengths || request->minor == 0 ||
                    !codings_valid(head + coding.offset, coding.length))) {
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
    /* Some proxies of 2010 count the eight bytes after a hixie-76 head as its body. */
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
        fault = lws_fields_parse(head, size, limits, request, position);
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
