/* The search for the end of a request head (RFC 9112, section 2.1), however the bytes arrive. */
#include "head_parts.h"

#include <string.h>

enum { SCAN_REQUEST_LINE = 0, SCAN_FIELDS = 1 };

/* Bytes of name and value in a field line, without the colon and the blanks around the value. */
static size_t field_length(const uint8_t *line, size_t length) {
    const uint8_t *colon = memchr(line, ':', length);
    size_t name = colon ? (size_t)(colon - line) : length;

    return colon ? name + trim(line, name + 1, length).length : length;
}

/*
 * Checks a line that is not empty, from scan->line to end: its line end, or the end of the data if
 * not ended. Reports the fault of the lowest limit that was crossed, so that the outcome does not
 * depend on how the head was cut.
 */
static int check_line(const uint8_t *data, size_t end, bool ended,
                      const struct lws_head_limits *limits, const struct lws_head_scan *scan) {
    uint64_t head = limits->head < HEAD_MAX ? limits->head : HEAD_MAX;
    uint64_t head_bound = 2u * (uint64_t)scan->skipped + head;
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
    /* How much of a line is trailing white space is known only at its end. */
    if (ended && scan->state == SCAN_FIELDS && end - line > limits->header_line &&
        field_length(data + line, end - line) > limits->header_line) {
        return LWS_FAULT_HTTP_HEADER_TOO_LONG;
    }
    return 0;
}

/* Moves scan past the line that ends at end. Returns 0, or a fault for a line that cannot be one.
 */
static int next_line(const uint8_t *data, size_t end, struct lws_head_scan *scan) {
    size_t line = scan->line;

    if (end == line) {
        if (scan->skipped == EMPTY_LINES_MAX) {
            return LWS_FAULT_HTTP_BAD_REQUEST_LINE;
        }
        scan->skipped++;
    } else if (scan->state == SCAN_REQUEST_LINE) {
        /* Greetings of other protocols are refused here, not at a timeout. */
        if (!memchr(data + line, ' ', end - line)) {
            return LWS_FAULT_HTTP_BAD_REQUEST_LINE;
        }
        scan->state = SCAN_FIELDS;
    } else {
        scan->fields++;
    }
    scan->position = scan->line = (uint32_t)(end + 2);
    return 0;
}

ptrdiff_t lws_head_scan(const uint8_t *data, size_t len, const struct lws_head_limits *limits,
                        struct lws_head_scan *scan) {
    for (;;) {
        size_t line = scan->line;
        size_t end = scan->position < len ? find_line_end(data, scan->position, len) : len;
        int fault = end > line ? check_line(data, end, end < len, limits, scan) : 0;

        if (fault) {
            return -fault;
        }
        /* A CR that is the last byte is looked at again together with the byte after it. */
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
        fault = next_line(data, end, scan);
        if (fault) {
            return -fault;
        }
    }
}
