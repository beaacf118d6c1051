#include "check.h"
#include "service/service.h"

#include <string.h>

int main(void) {
    /* Each fault has a word of its own kind, and no fault was added to the enum alone. */
    for (int fault = 0; fault < LWS_FAULT_COUNT; fault++) {
        const char *event = lws_fault_event(fault);

        CHECK(event && *event && strcmp(event, "unknown") != 0);
        CHECK(event && strspn(event, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(event));
        int status = lws_fault_status(fault), code = lws_fault_close_code(fault);
        CHECK(status == 0 || (status >= 400 && status <= 599));
        CHECK(status == 0 || strcmp(lws_http_reason(status), "Status") != 0);
        CHECK(code == 0 || lws_close_code_valid((unsigned)code));
        if (fault >= LWS_FAULT_HTTP_LINE_TOO_LONG && fault <= LWS_FAULT_WS76_BAD_KEY &&
            fault != LWS_FAULT_HTTP_EOF_IN_HEAD) {
            CHECK_NAMED(status != 0 && code == 0, event);
        }
        if (fault >= LWS_FAULT_WS_UNMASKED && fault <= LWS_FAULT_WS_PROTOCOL_ERROR) {
            CHECK_NAMED(status == 0 && code != 0, event);
        }
    }
    static const int outside[] = {-1, LWS_FAULT_COUNT, 1000000, -1000000};
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        CHECK(strcmp(lws_fault_event(outside[i]), "unknown") == 0);
        CHECK(lws_fault_status(outside[i]) == 0);
        CHECK(lws_fault_close_code(outside[i]) == 0);
    }
    CHECK(lws_fault_status(LWS_FAULT_HTTP_LINE_TOO_LONG) == 414);
    CHECK(lws_fault_status(LWS_FAULT_HTTP_HEADER_TOO_LONG) == 431);
    CHECK(lws_fault_status(LWS_FAULT_HTTP_TOO_MANY_HEADERS) == 431);
    CHECK(lws_fault_status(LWS_FAULT_HTTP_METHOD) == 405);
    CHECK(lws_fault_status(LWS_FAULT_HTTP_METHOD_UNKNOWN) == 501);
    CHECK(lws_fault_status(LWS_FAULT_WS_VERSION) == 426);
    CHECK(lws_fault_status(LWS_FAULT_HANDSHAKE_TIMEOUT) == 408);
    CHECK(lws_fault_status(LWS_FAULT_CONN_LIMIT) == 503);
    CHECK(lws_fault_close_code(LWS_FAULT_WS_UTF8) == 1007);
    CHECK(lws_fault_close_code(LWS_FAULT_WS_TOO_BIG) == 1009);
    CHECK(lws_fault_close_code(LWS_FAULT_WS_RSV) == 1002);
    CHECK(lws_fault_close_code(LWS_FAULT_PING_TIMEOUT) == 1011);
    CHECK(strcmp(lws_fault_event(LWS_FAULT_HTTP_EXPECT), "http-body-refused") == 0);
    CHECK(strcmp(lws_fault_event(LWS_FAULT_WS76_BAD_KEY), "ws76-bad-key") == 0);
    return check_report();
}
