/* The faults: the word each is logged under, and what answers it. */
#include "codec.h"

struct fault {
    const char *event;
    uint16_t status;     /* HTTP, before the connection is a WebSocket */
    uint16_t close_code; /* once it is established */
};

static const struct fault faults[LWS_FAULT_COUNT] = {
    [LWS_FAULT_NONE] = {"none", 0, 0},
    [LWS_FAULT_HTTP_LINE_TOO_LONG] = {"http-line-too-long", 414, 0},
    [LWS_FAULT_HTTP_HEADER_TOO_LONG] = {"http-header-too-long", 431, 0},
    [LWS_FAULT_HTTP_TOO_MANY_HEADERS] = {"http-too-many-headers", 431, 0},
    /* Nobody is left to read an answer. */
    [LWS_FAULT_HTTP_EOF_IN_HEAD] = {"http-eof-in-head", 0, 0},
    [LWS_FAULT_HTTP_BAD_REQUEST_LINE] = {"http-bad-request-line", 400, 0},
    [LWS_FAULT_HTTP_BAD_LINE_END] = {"http-bad-line-end", 400, 0},
    [LWS_FAULT_HTTP_BAD_HEADER] = {"http-bad-header", 400, 0},
    [LWS_FAULT_HTTP_OBS_FOLD] = {"http-obs-fold", 400, 0},
    [LWS_FAULT_HTTP_BAD_HOST] = {"http-bad-host", 400, 0},
    [LWS_FAULT_HTTP_BAD_LENGTH] = {"http-bad-length", 400, 0},
    [LWS_FAULT_HTTP_SMUGGLE] = {"http-smuggle", 400, 0},
    [LWS_FAULT_HTTP_BODY_REFUSED] = {"http-body-refused", 413, 0},
    [LWS_FAULT_HTTP_BODY_CHUNKED] = {"http-body-refused", 501, 0},
    [LWS_FAULT_HTTP_EXPECT] = {"http-body-refused", 417, 0},
    [LWS_FAULT_HTTP_METHOD] = {"http-method", 405, 0},
    [LWS_FAULT_HTTP_METHOD_UNKNOWN] = {"http-method", 501, 0},
    [LWS_FAULT_HTTP_VERSION] = {"http-version", 505, 0},
    [LWS_FAULT_HTTP_VERSION_SYNTAX] = {"http-version", 400, 0},
    [LWS_FAULT_HTTP_BAD_TARGET] = {"http-bad-target", 400, 0},
    [LWS_FAULT_WS_BAD_UPGRADE] = {"ws-bad-upgrade", 400, 0},
    [LWS_FAULT_WS_VERSION] = {"ws-version", 426, 0},
    [LWS_FAULT_WS_VERSION_SYNTAX] = {"ws-version", 400, 0},
    [LWS_FAULT_WS_BAD_KEY] = {"ws-bad-key", 400, 0},
    [LWS_FAULT_WS76_BAD_KEY] = {"ws76-bad-key", 400, 0},
    [LWS_FAULT_WS_UNMASKED] = {"ws-unmasked", 0, 1002},
    [LWS_FAULT_WS_RSV] = {"ws-rsv", 0, 1002},
    [LWS_FAULT_WS_OPCODE] = {"ws-opcode", 0, 1002},
    [LWS_FAULT_WS_LENGTH] = {"ws-length", 0, 1002},
    [LWS_FAULT_WS_TOO_BIG] = {"ws-too-big", 0, 1009},
    [LWS_FAULT_WS_CONTROL] = {"ws-control", 0, 1002},
    [LWS_FAULT_WS_FRAGMENT] = {"ws-fragment", 0, 1002},
    [LWS_FAULT_WS_UTF8] = {"ws-utf8", 0, 1007},
    [LWS_FAULT_WS_CLOSE_CODE] = {"ws-close-code", 0, 1002},
    [LWS_FAULT_WS_PROTOCOL_ERROR] = {"ws-protocol-error", 0, 1002},
    /* The application sees 1006, which must never be sent. */
    [LWS_FAULT_WS_ABNORMAL] = {"ws-abnormal", 0, 0},
    [LWS_FAULT_HANDSHAKE_TIMEOUT] = {"handshake-timeout", 408, 0},
    [LWS_FAULT_SEND_TIMEOUT] = {"send-timeout", 0, 0},
    [LWS_FAULT_CLOSE_TIMEOUT] = {"close-timeout", 0, 0},
    [LWS_FAULT_CONN_LIMIT] = {"conn-limit", 503, 0},
    [LWS_FAULT_ACCEPT_EMFILE] = {"accept-emfile", 0, 0},
    [LWS_FAULT_ACCEPT_ERROR] = {"accept-error", 0, 0},
    [LWS_FAULT_ALLOC_FAILED] = {"alloc-failed", 500, 1011},
    [LWS_FAULT_FILE_TRUNCATED] = {"file-truncated", 0, 0},
    [LWS_FAULT_PING_TIMEOUT] = {"ping-timeout", 0, 1011},
    [LWS_FAULT_CONN_LIMIT_IP] = {"conn-limit-ip", 503, 0},
    [LWS_FAULT_PROXY_HEADER] = {"proxy-header", 0, 0},
    [LWS_FAULT_WS_INFLATE] = {"ws-inflate", 0, 1007},
    [LWS_FAULT_TLS_HANDSHAKE_TIMEOUT] = {"tls-handshake-timeout", 0, 0},
};

static const struct fault *find_fault(int fault) {
    return fault >= 0 && fault < LWS_FAULT_COUNT ? &faults[fault] : NULL;
}

const char *lws_fault_event(int fault) {
    const struct fault *found = find_fault(fault);

    return found ? found->event : "unknown";
}

int lws_fault_status(int fault) {
    const struct fault *found = find_fault(fault);

    return found ? found->status : 0;
}

int lws_fault_close_code(int fault) {
    const struct fault *found = find_fault(fault);

    return found ? found->close_code : 0;
}
