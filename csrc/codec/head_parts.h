/* Private to the files that take a request head apart: head_scan.c, target.c, fields.c, head.c. */
#ifndef LWS_HEAD_PARTS_H
#define LWS_HEAD_PARTS_H

#include "codec.h"
#include "head_bytes.h"

#include <string.h>

/* Offsets are 32 bits wide; a larger max_head counts as this one. */
#define HEAD_MAX (UINT32_MAX - 16u)
/* Empty lines allowed before the request line (RFC 9112, section 2.2 asks for at least one). */
#define EMPTY_LINES_MAX 2u

static inline struct lws_slice slice(size_t from, size_t to) {
    return (struct lws_slice){(uint32_t)from, (uint32_t)(to - from)};
}

static inline bool slice_is(const uint8_t *head, struct lws_slice part, const char *text) {
    return part.length == strlen(text) && memcmp(head + part.offset, text, part.length) == 0;
}

/* head[from..to) without the spaces and tabs at its ends. */
static inline struct lws_slice trim(const uint8_t *head, size_t from, size_t to) {
    while (from < to && is_blank(head[from])) {
        from++;
    }
    while (to > from && is_blank(head[to - 1])) {
        to--;
    }
    return slice(from, to);
}

/* ---- target.c ----------------------------------------------------------------------------- */

/*
 * Whether length bytes at host are host [ ":" port ] (RFC 3986, section 3.2.2; the port at most
 * 65535 or empty). Stricter in one point: no empty label except a last one, because programs make
 * directory names of hosts, and ".." would be such a name. host is only read.
 */
bool lws_host_valid(const uint8_t *host, size_t length);

/*
 * Fills request->uri and request->empty_path from request->target, which may be in any of the four
 * forms of RFC 9112, section 3.2; for the absolute form sets *authority, otherwise leaves it alone.
 * head is only read. Returns 0 or LWS_FAULT_HTTP_BAD_TARGET.
 */
int lws_target_parse(const uint8_t *head, struct lws_request *request, struct lws_slice *authority);

/* ---- fields.c ----------------------------------------------------------------------------- */

/*
 * Parses the field lines of a head of size bytes from position to the empty line, and fills
 * request->headers, field and count. head is only read. Returns 0, or a fault:
 * LWS_FAULT_HTTP_TOO_MANY_HEADERS, _HEADER_TOO_LONG, _BAD_HEADER, _OBS_FOLD, _BAD_LINE_END,
 * _SMUGGLE (a control character in Transfer-Encoding).
 */
int lws_fields_parse(const uint8_t *head, size_t size, const struct lws_head_limits *limits,
                     struct lws_request *request, size_t position);

/* As lws_head_field, by the number of the field. */
bool lws_fields_find(const uint8_t *head, const struct lws_request *request, enum lws_field field,
                     uint32_t *cursor, struct lws_slice *value);

#endif
