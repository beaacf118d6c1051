#include "heads.h"
#include "check.h"

#include <stdio.h>
#include <string.h>

const struct lws_head_limits default_limits = {
    .request_line = 8192, .header_line = 8192, .headers = 100, .head = 16384};

/* Over this length not every cut is tried, and not each against the guard page. */
#define SHORT 700u

static ptrdiff_t scan_by_bytes(const char *bytes, size_t len,
                               const struct lws_head_limits *limits) {
    struct lws_head_scan scan = {0};
    ptrdiff_t found = 0;

    for (size_t have = 0; have <= len && found == 0; have++) {
        const uint8_t *data = len <= SHORT ? guard_end(bytes, have) : (const uint8_t *)bytes;

        found = lws_head_scan(data, have, limits, &scan);
    }
    return found;
}

static ptrdiff_t scan_cut(const char *bytes, size_t at, size_t len,
                          const struct lws_head_limits *limits) {
    struct lws_head_scan scan = {0};
    ptrdiff_t found = lws_head_scan(guard_end(bytes, at), at, limits, &scan);

    return found ? found : lws_head_scan(guard_begin(bytes, len), len, limits, &scan);
}

int try_head(const char *bytes, size_t len, const struct lws_head_limits *limits,
             struct lws_request *request, const char *name) {
    struct lws_head_scan scan = {0};
    ptrdiff_t size = lws_head_scan(guard_end(bytes, len), len, limits, &scan);
    size_t step = len <= SHORT ? 1 : 211;

    CHECK_NAMED(scan_by_bytes(bytes, len, limits) == size, name);
    for (size_t at = 0; at <= len; at += step) {
        CHECK_NAMED(scan_cut(bytes, at, len, limits) == size, name);
    }
    if (size <= 0) {
        return size < 0 ? (int)-size : -1;
    }

    struct lws_request again;
    int fault = lws_head_parse(guard_end(bytes, (size_t)size), (size_t)size, limits, request);
    CHECK_NAMED(lws_head_parse(guard_begin(bytes, (size_t)size), (size_t)size, limits, &again) ==
                    fault,
                name);
    CHECK_NAMED(memcmp(request->field, again.field, sizeof again.field) == 0, name);
    return -fault;
}

int try_handshake(const char *bytes, size_t len, int oldest, struct lws_request *request,
                  const char *name) {
    int fault = try_head(bytes, len, &default_limits, request, name);

    return fault ? fault : -lws_handshake_check((const uint8_t *)bytes, oldest, request);
}

bool slice_is_text(const char *bytes, struct lws_slice slice, const char *text) {
    return slice.length == strlen(text) && memcmp(bytes + slice.offset, text, slice.length) == 0;
}
