/*
 * A request head. Limits, the oldest version and the cuts come from the first seven bytes, the head
 * is the rest. Cuts do not change the outcome; what is accepted keeps to what RFC 9112 says, looked
 * at a second time by a reader of our own; what is made of it lies inside it, and its reply is one.
 */
#include "fuzz.h"
#include "service/private.h"

#include <ctype.h>
#include <strings.h>

/* Scans len bytes as they come in steps; each time from memory that ends with them. */
static ptrdiff_t scan_cut(const uint8_t *bytes, size_t len, const struct lws_head_limits *limits,
                          uint32_t cuts) {
    struct lws_head_scan scan = {0};
    ptrdiff_t found = 0;
    size_t have = 0;

    for (unsigned n = 0; found == 0; n++) {
        size_t step = cuts ? cuts * (n + 1) * 2654435761u % (cuts + 1) : 1;
        uint8_t *data;

        /* A long head in single bytes would copy it too often. */
        if (n > 300) {
            step = len;
        }
        have += step < len - have ? step : len - have;
        data = exact_copy(bytes, have);
        found = lws_head_scan(data, have, limits, &scan);
        free(data);
        if (have == len) {
            break;
        }
    }
    return found;
}

static bool inside(struct lws_slice part, size_t size) {
    return part.offset <= size && part.length <= size - part.offset;
}

static bool is_token_byte(uint8_t byte) {
    return byte && (isalnum(byte) || strchr("!#$%&'*+-.^_`|~", byte)) && byte < 0x80;
}

/* Visible bytes; in the path "%" only before two digits, no "#"; a scheme that we serve. */
static void check_target(const uint8_t *head, const struct lws_request *request) {
    const uint8_t *target = head + request->target.offset;
    size_t length = request->target.length;
    const uint8_t *query = memchr(target, '?', length);
    size_t path = query ? (size_t)(query - target) : length;

    for (size_t i = 0; i < length; i++) {
        REQUIRE(target[i] > 0x20 && target[i] < 0x7f);
    }
    for (size_t i = 0; i < path; i++) {
        REQUIRE(target[i] != '#');
        REQUIRE(target[i] != '%' ||
                (path - i >= 3 && isxdigit(target[i + 1]) && isxdigit(target[i + 2])));
    }
    if (target[0] != '/') {
        size_t scheme = 0;

        while (scheme < path && target[scheme] != ':') {
            scheme++;
        }
        REQUIRE(path - scheme > 3 && memcmp(target + scheme, "://", 3) == 0);
        REQUIRE((scheme == 4 && strncasecmp((const char *)target, "http", 4) == 0) ||
                (scheme == 5 && strncasecmp((const char *)target, "https", 5) == 0) ||
                (scheme == 2 && strncasecmp((const char *)target, "ws", 2) == 0) ||
                (scheme == 3 && strncasecmp((const char *)target, "wss", 3) == 0));
        REQUIRE(request->count[LWS_FIELD_HOST] == 1);
    } else {
        REQUIRE(!request->empty_path);
    }
}

/* What may not be in a head that was accepted, whatever else is in it. */
static void check_accepted(const uint8_t *head, size_t size, const struct lws_head_limits *limits,
                           const struct lws_request *request) {
    size_t at = 0, fields = 0, hosts = 0, lengths = 0;

    while (size - at >= 2 && head[at] == '\r' && head[at + 1] == '\n') {
        at += 2;
    }
    REQUIRE(at <= 4 && size - at - 2 <= limits->head); /* the empty line at the end is free */
    for (size_t i = at; i < size; i++) {
        REQUIRE(head[i] != 0 && head[i] != 0x7f);
        if (head[i] < 0x20 && head[i] != '\t') {
            REQUIRE(head[i] == '\r' ? head[i + 1] == '\n' : i > at && head[i - 1] == '\r');
        }
    }
    for (size_t line = 0;; line++) {
        const uint8_t *end = memmem(head + at, size - at, "\r\n", 2);
        size_t length, name = 0;

        REQUIRE(end != NULL);
        length = (size_t)(end - head) - at;
        if (line == 0) {
            REQUIRE(length <= limits->request_line);
            REQUIRE(memcmp(head + at, "GET ", 4) == 0 || memcmp(head + at, "HEAD ", 5) == 0);
            REQUIRE(memcmp(end - 9, " HTTP/1.", 8) == 0);
        } else if (length == 0) {
            REQUIRE(at + 2 == size);
            break;
        } else {
            fields++;
            while (is_token_byte(head[at + name])) {
                name++;
            }
            REQUIRE(name > 0 && head[at + name] == ':');
            hosts += name == 4 && strncasecmp((const char *)head + at, "host", 4) == 0;
            lengths +=
                name == 14 && strncasecmp((const char *)head + at, "content-length", 14) == 0;
            REQUIRE(!(name == 17 &&
                      strncasecmp((const char *)head + at, "transfer-encoding", 17) == 0));
        }
        at += length + 2;
    }
    REQUIRE(fields <= limits->headers);
    REQUIRE(hosts == 1 || (hosts == 0 && request->minor == 0));
    REQUIRE(lengths <= 1);
    REQUIRE(request->kind == LWS_METHOD_GET || request->kind == LWS_METHOD_HEAD);
    REQUIRE(request->uri.length > 0);
    REQUIRE(head[request->uri.offset] == (request->empty_path ? '?' : '/'));
    check_target(head, request);
}

static void check_slices(const uint8_t *head, size_t size, const struct lws_request *request) {
    struct lws_slice name, value;
    uint32_t cursor = 0;
    unsigned walked = 0, upgrades = 0;

    REQUIRE(inside(request->method, size) && inside(request->target, size));
    REQUIRE(inside(request->uri, size) && inside(request->headers, size));
    for (unsigned i = 0; i < LWS_FIELD_COUNT; i++) {
        REQUIRE(inside(request->field[i], size));
    }
    while (lws_head_next(head, request, &cursor, &name, &value)) {
        REQUIRE(inside(name, size) && inside(value, size));
        upgrades +=
            name.length == 7 && strncasecmp((const char *)head + name.offset, "upgrade", 7) == 0;
        walked++;
        REQUIRE(walked <= size);
    }
    REQUIRE(upgrades == request->count[LWS_FIELD_UPGRADE] || upgrades > 255);
    cursor = 0;
    while (lws_head_field(head, request, "Upgrade", 7, &cursor, &value)) {
        upgrades--;
    }
    REQUIRE(upgrades == 0);
    for (unsigned i = 0; i < LWS_FIELD_COUNT; i++) {
        (void)lws_head_has_token(head, request, (enum lws_field)i, "upgrade");
    }
}

/* What a session keeps of its fields is what they were, and no more. */
static void check_packing(const uint8_t *head, const struct lws_request *request) {
    uint32_t length = request->headers.length;
    uint8_t *fields = exact_copy(head + request->headers.offset, length);
    uint8_t *packed = malloc(length ? length : 1), *again = malloc(length ? length : 1);
    uint32_t size = lws_fields_pack(fields, length, packed);
    uint8_t *tight = exact_copy(packed, size);

    REQUIRE(size <= length);
    REQUIRE(lws_fields_unpack(tight, size, NULL) == length);
    REQUIRE(lws_fields_unpack(tight, size, again) == length);
    REQUIRE(memcmp(again, fields, length) == 0);
    free(tight);
    free(again);
    free(packed);
    free(fields);
}

/* The 101: fits the room that is promised to be enough, ends as a head does, says nothing twice. */
static void check_reply(const uint8_t *head, const struct lws_request *request) {
    static const uint8_t key3[8] = "^n:ds[4U";
    struct lws_handshake_extra extra = {.protocol = "chat", .protocol_length = 4};
    bool hixie = request->version == LWS_VERSION_HIXIE76;
    size_t room = 512 + request->field[LWS_FIELD_HOST].length +
                  request->field[LWS_FIELD_ORIGIN].length + request->uri.length + 4;
    uint8_t *out = malloc(room);
    ptrdiff_t length = lws_handshake_reply(head, request, hixie ? key3 : NULL, &extra, out, room);
    size_t text;
    uint8_t *tight;

    REQUIRE(length > 0 && (size_t)length <= room);
    text = (size_t)length - (hixie ? 16 : 0);
    REQUIRE(memcmp(out, "HTTP/1.1 101 ", 13) == 0);
    REQUIRE((const uint8_t *)memmem(out, text, "\r\n\r\n", 4) == out + text - 4);
    for (size_t i = 0; i < text; i++) {
        REQUIRE(out[i] >= 0x20 || out[i] == '\t' || out[i] == '\r' || out[i] == '\n');
    }
    for (size_t i = 0; i + 1 < text; i++) {
        REQUIRE((out[i] == '\r') == (out[i + 1] == '\n'));
    }

    tight = malloc((size_t)length);
    REQUIRE(lws_handshake_reply(head, request, hixie ? key3 : NULL, &extra, tight,
                                (size_t)length) == length);
    REQUIRE(memcmp(tight, out, (size_t)length) == 0);
    REQUIRE(lws_handshake_reply(head, request, hixie ? key3 : NULL, &extra, tight,
                                (size_t)length - 1) == -LWS_FAULT_HTTP_HEADER_TOO_LONG);
    free(tight);
    free(out);
}

/* A list's tokens, read backwards. */
static void check_list(const uint8_t *bytes, size_t length) {
    static const char token[] = "a-b";
    uint8_t *list = exact_copy(bytes, length);
    bool wanted = false;
    size_t end = length;

    for (;;) {
        size_t begin = end, from, to = end;

        while (begin > 0 && list[begin - 1] != ',') {
            begin--;
        }
        from = begin;
        while (from < to && (list[from] == ' ' || list[from] == '\t')) {
            from++;
        }
        while (to > from && (list[to - 1] == ' ' || list[to - 1] == '\t')) {
            to--;
        }
        wanted =
            wanted || (to - from == 3 && strncasecmp((const char *)list + from, token, 3) == 0);
        if (begin == 0) {
            break;
        }
        end = begin - 1;
    }
    REQUIRE(lws_list_has_token(list, length, token) == wanted);
    free(list);
}

static void check_refusal(int fault) {
    char *out = malloc(LWS_REFUSAL_MAX);
    int status = lws_fault_status(fault);
    size_t with = lws_http_refusal(status, 0, true, false, out, LWS_REFUSAL_MAX);
    size_t without = lws_http_refusal(status, 0, false, false, out, LWS_REFUSAL_MAX);

    REQUIRE(status >= 400 && status < 600);
    REQUIRE(with > without && without > 0);
    REQUIRE(memcmp(out + without - 4, "\r\n\r\n", 4) == 0);
    REQUIRE(lws_http_refusal(status, 0, false, false, out, without - 1) == 0);
    REQUIRE(strcmp(lws_fault_event(fault), "unknown") != 0);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const int versions[] = {76, 7, 8, 13};
    struct input input = {data, size};
    uint32_t line = take8(&input), field = take8(&input), fields = take8(&input);
    uint32_t whole = take8(&input);
    struct lws_head_limits limits = {
        .request_line = line == 255 ? 8192 : 16 + 4 * line,
        .header_line = field == 255 ? 8192 : 16 + 4 * field,
        .headers = fields == 255 ? 100 : fields,
        .head = whole == 255 ? 16384 : 32 + 16 * whole,
    };
    int oldest = versions[take8(&input) & 3];
    uint32_t cuts = take16(&input);
    struct lws_head_scan scan = {0};
    struct lws_request request;
    uint8_t *bytes = exact_copy(input.at, input.left);
    ptrdiff_t found = lws_head_scan(bytes, input.left, &limits, &scan);
    uint8_t *head;
    int fault;

    REQUIRE(scan_cut(input.at, input.left, &limits, cuts) == found);
    REQUIRE(scan_cut(input.at, input.left, &limits, 0) == found);
    REQUIRE(found <= (ptrdiff_t)input.left && found > -LWS_FAULT_COUNT);
    check_list(input.at, input.left);
    free(bytes);
    if (found < 0) {
        check_refusal((int)-found);
    }
    if (found <= 0) {
        /* For the log: method and target, one space between them, as far as they are there. */
        head = exact_copy(input.at, input.left);
        (void)lws_head_parse(head, input.left, &limits, &request);
        REQUIRE(inside(request.method, input.left) && inside(request.target, input.left));
        REQUIRE(!request.target.offset ||
                request.target.offset == request.method.offset + request.method.length + 1);
        free(head);
        return 0;
    }

    head = exact_copy(input.at, (size_t)found);
    fault = lws_head_parse(head, (size_t)found, &limits, &request);
    REQUIRE(fault <= 0 && fault > -LWS_FAULT_COUNT);
    if (fault == 0) {
        check_accepted(head, (size_t)found, &limits, &request);
        check_slices(head, (size_t)found, &request);
        check_packing(head, &request);
        fault = lws_handshake_check(head, oldest, &request);
        REQUIRE(fault <= 0 && fault > -LWS_FAULT_COUNT);
        if (fault == 0 && request.version != LWS_VERSION_HTTP) {
            check_reply(head, &request);
        }
    }
    if (fault) {
        check_refusal(-fault);
    }
    REQUIRE(memcmp(head, input.at, (size_t)found) == 0);
    free(head);
    return 0;
}
