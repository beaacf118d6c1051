#include "check.h"
#include "service/service.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NOW 784111777 /* the example of RFC 9110, section 5.6.7 */

static void check_date(int64_t seconds, const char *expected) {
    char *out = (char *)guard_end(NULL, LWS_HTTP_DATE_LENGTH);

    lws_http_date(seconds, out);
    CHECK_NAMED(memcmp(out, expected, LWS_HTTP_DATE_LENGTH) == 0, expected);
}

/* Against the C library, which is right in the "C" locale. */
static void test_dates(void) {
    uint64_t seed = 9;

    check_date(NOW, "Sun, 06 Nov 1994 08:49:37 GMT");
    check_date(0, "Thu, 01 Jan 1970 00:00:00 GMT");
    check_date(951782399, "Mon, 28 Feb 2000 23:59:59 GMT");
    check_date(951782400, "Tue, 29 Feb 2000 00:00:00 GMT");
    check_date(4107542400, "Mon, 01 Mar 2100 00:00:00 GMT");
    check_date(-1, "Thu, 01 Jan 1970 00:00:00 GMT");
    check_date(INT64_MIN, "Thu, 01 Jan 1970 00:00:00 GMT");
    check_date(253402300799, "Fri, 31 Dec 9999 23:59:59 GMT");
    check_date(INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT");
    for (unsigned i = 0; i < 20000; i++) {
        time_t when = (time_t)(check_random(&seed) % 253402300800u);
        struct tm parts;
        char text[40];

        gmtime_r(&when, &parts);
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
        check_date(when, text);
    }
}

static void test_refusals(void) {
    static const int statuses[] = {400, 403, 404, 405, 408, 413, 414, 417,
                                   421, 426, 431, 500, 501, 503, 505};
    char out[LWS_REFUSAL_MAX];

    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        size_t full = lws_http_refusal(statuses[i], NOW, true, false, out, sizeof out);
        char first[80], length[64];
        const char *body, *stated;

        CHECK(full > 0 && full <= sizeof out);
        for (size_t room = 0; room < full; room++) {
            CHECK(lws_http_refusal(statuses[i], NOW, true, false, (char *)guard_end(NULL, room),
                                   room) == 0);
        }
        char *copy = (char *)guard_end(NULL, full);
        CHECK(lws_http_refusal(statuses[i], NOW, true, false, copy, full) == full);
        CHECK(memcmp(copy, out, full) == 0);
        CHECK(lws_http_refusal(statuses[i], NOW, true, false, out, sizeof out - 1) == full);
        out[full] = 0;
        snprintf(first, sizeof first, "HTTP/1.1 %d %s\r\n", statuses[i],
                 lws_http_reason(statuses[i]));
        CHECK_NAMED(strncmp(out, first, strlen(first)) == 0, out);
        body = strstr(out, "\r\n\r\n");
        stated = strstr(out, "Content-Length: ");
        CHECK(body && stated && stated < body);
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", body ? strlen(body + 4) : 0);
        CHECK_NAMED(strstr(out, length) != NULL, out);
        CHECK(strstr(out, "\r\nConnection: close\r\n") != NULL);
        CHECK(strstr(out, "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n") != NULL);
        CHECK((strstr(out, "\r\nAllow: GET, HEAD\r\n") != NULL) == (statuses[i] == 405));
        CHECK((strstr(out, "\r\nUpgrade: websocket\r\n") != NULL) == (statuses[i] == 426));
        CHECK((strstr(out, "\r\nSec-WebSocket-Version: 13, 8, 7\r\n") != NULL) ==
              (statuses[i] == 426));

        size_t short_form = lws_http_refusal(statuses[i], NOW, false, true, out, sizeof out - 1);
        out[short_form] = 0;
        CHECK(strstr(out, "Connection: close") == NULL && strstr(out, length) != NULL);
        CHECK(short_form > 4 && strcmp(out + short_form - 4, "\r\n\r\n") == 0);
    }
    size_t length = lws_http_refusal(299, NOW, true, false, out, sizeof out);
    CHECK(length > 12 && memcmp(out, "HTTP/1.1 500", 12) == 0);
    length = lws_http_refusal(200, NOW, true, false, out, sizeof out);
    CHECK(length > 12 && memcmp(out, "HTTP/1.1 500", 12) == 0);
    CHECK(strcmp(lws_http_reason(404), "Not Found") == 0 &&
          strcmp(lws_http_reason(999), "Status") == 0);
}

int main(void) {
    test_dates();
    test_refusals();
    return check_report();
}
