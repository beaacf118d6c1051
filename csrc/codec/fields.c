/* The field lines of a request head: parsed, walked, found by name, searched for list members. */
#include "head_parts.h"

#include <string.h>

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

/* The number of a field name, or LWS_FIELD_COUNT. Length and one byte leave a single candidate. */
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
    /* Lengths that no name has are zero in the table, and zero is Host. */
    if (field == LWS_FIELD_HOST && length != 4) {
        return LWS_FIELD_COUNT;
    }
    return equal_nocase(name, field_names[field], length) ? field : LWS_FIELD_COUNT;
}

/* ---- Parsing -------------------------------------------------------------------------------- */

/* Parses the field line at *position, and moves *position past its end. */
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
        /* Spaces are part of these keys, except the one that the draft puts after the colon. */
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

int lws_fields_parse(const uint8_t *head, size_t size, const struct lws_head_limits *limits,
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

/* ---- Walking and finding -------------------------------------------------------------------- */

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

bool lws_fields_find(const uint8_t *head, const struct lws_request *request, enum lws_field field,
                     uint32_t *cursor, struct lws_slice *value) {
    const char *name = field_names[field];

    return lws_head_field(head, request, name, strlen(name), cursor, value);
}

/* ---- Lists (RFC 9110, section 5.6.1) -------------------------------------------------------- */

bool lws_list_next(const uint8_t *list, size_t len, size_t *cursor, struct lws_slice *member) {
    while (*cursor < len) {
        const uint8_t *comma = memchr(list + *cursor, ',', len - *cursor);
        size_t end = comma ? (size_t)(comma - list) : len;

        *member = trim(list, *cursor, end);
        *cursor = end + 1;
        if (member->length) {
            return true;
        }
    }
    return false;
}

bool lws_list_has_token(const uint8_t *list, size_t len, const char *token) {
    size_t length = strlen(token), cursor = 0;
    struct lws_slice member;

    while (lws_list_next(list, len, &cursor, &member)) {
        if (member.length == length && equal_nocase(list + member.offset, token, length)) {
            return true;
        }
    }
    return false;
}

bool lws_head_has_token(const uint8_t *head, const struct lws_request *request,
                        enum lws_field field, const char *token) {
    struct lws_slice value = request->field[field];
    uint32_t cursor = 0;

    if (request->count[field] <= 1) {
        return request->count[field] &&
               lws_list_has_token(head + value.offset, value.length, token);
    }
    while (lws_fields_find(head, request, field, &cursor, &value)) {
        if (lws_list_has_token(head + value.offset, value.length, token)) {
            return true;
        }
    }
    return false;
}
