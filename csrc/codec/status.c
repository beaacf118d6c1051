/* HTTP statuses: their reasons, and the fixed refusals. */
#include "codec.h"
#include "writer.h"

#include <stdio.h>

/* RFC 9110, section 15, and RFC 6585: what a server of files and WebSockets may send. */
static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {101, "Switching Protocols"},
    {200, "OK"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

static const char *find_reason(int status) {
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return NULL;
}

const char *lws_http_reason(int status) {
    const char *reason = find_reason(status);

    return reason ? reason : "Status";
}

size_t lws_http_refusal(int status, bool with_body, bool keep_alive, char *out, size_t room) {
    struct writer reply = {.out = (uint8_t *)out, .room = room};
    char body[64], start[192];
    int body_length;

    /* Only an error has the body that Content-Length announces. */
    if (status < 400 || !find_reason(status)) {
        status = 500;
    }
    body_length = snprintf(body, sizeof body, "%d %s\n", status, find_reason(status));
    snprintf(start, sizeof start,
             "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n", status,
             find_reason(status), body_length);
    add_text(&reply, start);
    if (status == 405) {
        add_text(&reply, "Allow: GET, HEAD\r\n");
    }
    if (status == 426) {
        add_text(&reply, "Upgrade: websocket\r\nSec-WebSocket-Version: 13, 8, 7\r\n");
    }
    if (!keep_alive) {
        add_text(&reply, "Connection: close\r\n");
    }
    add_text(&reply, "\r\n");
    if (with_body) {
        add(&reply, body, (size_t)body_length);
    }
    return reply.length <= room ? reply.length : 0;
}
