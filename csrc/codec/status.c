/* HTTP statuses: their reasons, dates, and the fixed refusals. */
#include "codec.h"
#include "writer.h"

#include <string.h>

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

/* ---- Dates ---------------------------------------------------------------------------------- */

#define DAY 86400
#define LAST_SECOND 253402300799 /* of the year 9999 */

static bool is_leap(int64_t year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static void put_digits(char *out, size_t count, int64_t number) {
    while (count--) {
        out[count] = (char)('0' + number % 10);
        number /= 10;
    }
}

/* Not strftime and gmtime_r: those look at the locale, and take the lock of the time zone. */
void lws_http_date(int64_t seconds, char out[LWS_HTTP_DATE_LENGTH]) {
    static const char weekdays[] = "ThuFriSatSunMonTueWed"; /* 1970 began on a Thursday */
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year = 1970, month = 0, day, second;

    seconds = seconds < 0 ? 0 : seconds > LAST_SECOND ? LAST_SECOND : seconds;
    day = seconds / DAY;
    second = seconds % DAY;
    memcpy(out, "Thu, 01 Jan 1970 00:00:00 GMT", LWS_HTTP_DATE_LENGTH);
    memcpy(out, weekdays + 3 * (day % 7), 3);

    for (; day >= 365 + is_leap(year); year++) {
        day -= 365 + is_leap(year);
    }
    for (; day >= lengths[month] + (month == 1 && is_leap(year)); month++) {
        day -= lengths[month] + (month == 1 && is_leap(year));
    }
    put_digits(out + 5, 2, day + 1);
    memcpy(out + 8, months + 3 * month, 3);
    put_digits(out + 12, 4, year);
    put_digits(out + 17, 2, second / 3600);
    put_digits(out + 20, 2, second / 60 % 60);
    put_digits(out + 23, 2, second % 60);
}

/* ---- Refusals ------------------------------------------------------------------------------- */

static void add_number(struct writer *writer, size_t number) {
    char digits[3];
    size_t count = number >= 100 ? 3 : number >= 10 ? 2 : 1;

    put_digits(digits, count, (int64_t)number);
    add(writer, digits, count);
}

size_t lws_http_refusal(int status, int64_t now, bool with_body, bool keep_alive, char *out,
                        size_t room) {
    struct writer reply = {.out = (uint8_t *)out, .room = room};
    char date[LWS_HTTP_DATE_LENGTH];
    const char *reason;

    /* Only an error has the body that Content-Length announces. */
    if (status < 400 || !find_reason(status)) {
        status = 500;
    }
    reason = find_reason(status);
    lws_http_date(now, date);

    add_text(&reply, "HTTP/1.1 ");
    add_number(&reply, (size_t)status);
    add_text(&reply, " ");
    add_text(&reply, reason);
    add_text(&reply, "\r\nDate: ");
    add(&reply, date, sizeof date);
    add_text(&reply, "\r\nContent-Type: text/plain\r\nContent-Length: ");
    add_number(&reply, strlen(reason) + 5); /* the status, a space, a line feed */
    add_text(&reply, "\r\n");
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
        add_number(&reply, (size_t)status);
        add_text(&reply, " ");
        add_text(&reply, reason);
        add_text(&reply, "\n");
    }
    return reply.length <= room ? reply.length : 0;
}
