/* The opening handshake of all versions: the keys, what a request asks for, the 101. */
#include "codec.h"
#include "writer.h"

#include <string.h>

int lws_key76_number(const uint8_t *key, size_t len, uint32_t *number) {
    uint64_t digits = 0, spaces = 0;
    bool any = false;

    for (size_t i = 0; i < len; i++) {
        if (key[i] == ' ') {
            spaces++;
        } else if (key[i] >= '0' && key[i] <= '9') {
            if (digits > (UINT64_MAX - 9) / 10) {
                return -LWS_FAULT_WS76_BAD_KEY;
            }
            digits = 10 * digits + (uint64_t)(key[i] - '0');
            any = true;
        }
    }
    if (!any || spaces == 0 || digits % spaces != 0 || digits / spaces > UINT32_MAX) {
        return -LWS_FAULT_WS76_BAD_KEY;
    }
    *number = (uint32_t)(digits / spaces);
    return 0;
}

int lws_key76_digest(const uint8_t *key1, size_t len1, const uint8_t *key2, size_t len2,
                     const uint8_t key3[8], uint8_t digest[16]) {
    uint32_t numbers[2];
    uint8_t challenge[16];

    if (lws_key76_number(key1, len1, &numbers[0]) || lws_key76_number(key2, len2, &numbers[1])) {
        return -LWS_FAULT_WS76_BAD_KEY;
    }
    for (unsigned i = 0; i < 8; i++) {
        challenge[i] = (uint8_t)(numbers[i / 4] >> (24 - 8 * (i % 4)));
    }
    memcpy(challenge + 8, key3, 8);
    lws_md5(challenge, sizeof challenge, digest);
    return 0;
}

#define KEY_LENGTH 24u

static bool key_valid(const uint8_t *key, size_t len) {
    uint8_t nonce[16];

    return len == KEY_LENGTH &&
           lws_base64_decode((const char *)key, len, nonce, sizeof nonce) == sizeof nonce;
}

int lws_accept_key(const uint8_t *key, size_t len, char accept[LWS_ACCEPT_LENGTH]) {
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t text[KEY_LENGTH + sizeof guid - 1];
    uint8_t digest[20];

    if (!key_valid(key, len)) {
        return -LWS_FAULT_WS_BAD_KEY;
    }
    memcpy(text, key, KEY_LENGTH);
    memcpy(text + KEY_LENGTH, guid, sizeof guid - 1);
    lws_sha1(text, sizeof text, digest);
    lws_base64_encode(digest, sizeof digest, accept, LWS_ACCEPT_LENGTH);
    return 0;
}

/* ---- What a request asks for --------------------------------------------------------------- */

/* The age of a version, the newest being 1; 0 for a version that we do not speak. */
static int version_age(int version) {
    switch (version) {
    case LWS_VERSION_HIXIE76:
        return 4;
    case LWS_VERSION_HYBI7:
        return 3;
    case LWS_VERSION_HYBI8:
        return 2;
    case LWS_VERSION_RFC6455:
        return 1;
    default:
        return 0;
    }
}

static int check_hixie76(const uint8_t *head, struct lws_request *request) {
    struct lws_slice key1 = request->field[LWS_FIELD_WS_KEY1];
    struct lws_slice key2 = request->field[LWS_FIELD_WS_KEY2];
    uint32_t number;

    if (request->count[LWS_FIELD_WS_KEY1] != 1 || request->count[LWS_FIELD_WS_KEY2] != 1 ||
        lws_key76_number(head + key1.offset, key1.length, &number) ||
        lws_key76_number(head + key2.offset, key2.length, &number)) {
        return LWS_FAULT_WS76_BAD_KEY;
    }
    /* Both are repeated in the reply. */
    if (request->count[LWS_FIELD_HOST] == 0 || request->count[LWS_FIELD_ORIGIN] == 0) {
        return LWS_FAULT_WS_BAD_UPGRADE;
    }
    request->key3 = request->headers.offset + request->headers.length + 2;
    request->version = LWS_VERSION_HIXIE76;
    return 0;
}

/*
 * Reads a Sec-WebSocket-Version: as many digits as the ABNF of RFC 6455, section 4.3 allows,
 * without a leading zero. Returns -1 for any other text.
 */
static int version_number(const uint8_t *text, size_t length) {
    int value = 0;

    if (length == 0 || length > 3 || (length > 1 && text[0] == '0')) {
        return -1;
    }
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return -1;
        }
        value = 10 * value + (text[i] - '0');
    }
    return value;
}

static int check_hybi(const uint8_t *head, int oldest, struct lws_request *request) {
    struct lws_slice version = request->field[LWS_FIELD_WS_VERSION];
    struct lws_slice key = request->field[LWS_FIELD_WS_KEY];
    int number;

    if (request->count[LWS_FIELD_WS_VERSION] == 0) {
        return LWS_FAULT_WS_VERSION;
    }
    number = version_number(head + version.offset, version.length);
    if (request->count[LWS_FIELD_WS_VERSION] > 1 || number < 0) {
        return LWS_FAULT_WS_VERSION_SYNTAX;
    }
    /* 76 is the number of a draft, never a Sec-WebSocket-Version. */
    if (number == LWS_VERSION_HIXIE76 || version_age(number) == 0 ||
        version_age(number) > version_age(oldest)) {
        return LWS_FAULT_WS_VERSION;
    }
    if (request->count[LWS_FIELD_WS_KEY] != 1 || !key_valid(head + key.offset, key.length)) {
        return LWS_FAULT_WS_BAD_KEY;
    }
    request->version = (uint8_t)number;
    return 0;
}

int lws_handshake_check(const uint8_t *head, int oldest, struct lws_request *request) {
    const uint8_t *count = request->count;
    bool hixie = count[LWS_FIELD_WS_KEY1] || count[LWS_FIELD_WS_KEY2];
    bool hybi = count[LWS_FIELD_WS_KEY] || count[LWS_FIELD_WS_VERSION];
    int fault;

    request->version = LWS_VERSION_HTTP;
    request->key3 = 0;
    /*
     * HTTP/1.0 has no upgrades, and a handshake is a GET (RFC 6455, section 4.1): in any other
     * request the field is ignored, which is always allowed (RFC 9110, section 7.8), so that HEAD
     * is answered wherever GET is (section 9.3.2).
     */
    if (request->minor == 0 || request->kind != LWS_METHOD_GET ||
        !lws_head_has_token(head, request, LWS_FIELD_UPGRADE, "websocket")) {
        return 0;
    }
    if (!lws_head_has_token(head, request, LWS_FIELD_CONNECTION, "upgrade")) {
        return -LWS_FAULT_WS_BAD_UPGRADE;
    }
    if (hixie && hybi) {
        return -LWS_FAULT_WS_VERSION_SYNTAX;
    }
    if (hixie) {
        fault = version_age(oldest) < version_age(LWS_VERSION_HIXIE76)
                    ? LWS_FAULT_WS_VERSION
                    : check_hixie76(head, request);
    } else {
        fault = check_hybi(head, oldest, request);
    }
    return -fault;
}

/* ---- The 101 ----------------------------------------------------------------------------------
 */

static void add_slice(struct writer *reply, const uint8_t *head, struct lws_slice part) {
    add(reply, head + part.offset, part.length);
}

static void add_field(struct writer *reply, const char *name, const char *value, size_t length) {
    if (length == 0) {
        return;
    }
    add_text(reply, name);
    add(reply, value, length);
    add_text(reply, "\r\n");
}

static void reply_hixie76(struct writer *reply, const uint8_t *head,
                          const struct lws_request *request,
                          const struct lws_handshake_extra *extra, const uint8_t digest[16]) {
    add_text(reply, "HTTP/1.1 101 WebSocket Protocol Handshake\r\n"
                    "Upgrade: WebSocket\r\n"
                    "Connection: Upgrade\r\n"
                    "Sec-WebSocket-Origin: ");
    add_slice(reply, head, request->field[LWS_FIELD_ORIGIN]);
    add_text(reply, "\r\nSec-WebSocket-Location: ");
    add_text(reply, extra->secure ? "wss://" : "ws://");
    add_slice(reply, head, request->field[LWS_FIELD_HOST]);
    add_text(reply, request->empty_path ? "/" : "");
    add_slice(reply, head, request->uri);
    add_text(reply, "\r\n");
    add_field(reply, "Sec-WebSocket-Protocol: ", extra->protocol, extra->protocol_length);
    add_text(reply, "\r\n");
    add(reply, digest, 16);
}

static void reply_hybi(struct writer *reply, const struct lws_handshake_extra *extra,
                       const char accept[LWS_ACCEPT_LENGTH]) {
    add_text(reply, "HTTP/1.1 101 Switching Protocols\r\n"
                    "Upgrade: websocket\r\n"
                    "Connection: Upgrade\r\n");
    add_field(reply, "Sec-WebSocket-Accept: ", accept, LWS_ACCEPT_LENGTH);
    add_field(reply, "Sec-WebSocket-Protocol: ", extra->protocol, extra->protocol_length);
    add_field(reply, "Sec-WebSocket-Extensions: ", extra->extensions, extra->extensions_length);
    add_text(reply, "\r\n");
}

/* Whether a text can be a field value: a line end in it would forge another field. */
static bool value_clean(const char *value, size_t length) {
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = (uint8_t)value[i];

        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
            return false;
        }
    }
    return true;
}

ptrdiff_t lws_handshake_reply(const uint8_t *head, const struct lws_request *request,
                              const uint8_t *key3, const struct lws_handshake_extra *extra,
                              uint8_t *out, size_t room) {
    struct writer reply = {.out = out, .room = room};
    int fault;

    if (!value_clean(extra->protocol, extra->protocol_length) ||
        !value_clean(extra->extensions, extra->extensions_length)) {
        return -LWS_FAULT_HTTP_BAD_HEADER;
    }
    if (request->version == LWS_VERSION_HIXIE76) {
        struct lws_slice key1 = request->field[LWS_FIELD_WS_KEY1];
        struct lws_slice key2 = request->field[LWS_FIELD_WS_KEY2];
        uint8_t digest[16];

        fault = lws_key76_digest(head + key1.offset, key1.length, head + key2.offset, key2.length,
                                 key3, digest);
        if (!fault) {
            reply_hixie76(&reply, head, request, extra, digest);
        }
    } else {
        struct lws_slice key = request->field[LWS_FIELD_WS_KEY];
        char accept[LWS_ACCEPT_LENGTH];

        fault = lws_accept_key(head + key.offset, key.length, accept);
        if (!fault) {
            reply_hybi(&reply, extra, accept);
        }
    }
    if (fault) {
        return fault;
    }
    if (reply.length > room || reply.length > PTRDIFF_MAX) {
        return -LWS_FAULT_HTTP_HEADER_TOO_LONG;
    }
    return (ptrdiff_t)reply.length;
}
