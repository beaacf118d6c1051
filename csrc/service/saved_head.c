/*
 * What a session keeps of the request that opened it: its URI and its field lines. Those are much
 * the same from client to client, so what is common stands there as one byte: a control character,
 * as no head that was accepted has one but HTAB, CR and LF.
 */
#include "private.h"

#include <stdlib.h>
#include <string.h>

/* By the byte that stands for it. A word starts a line, or follows a word, a space or a "(". */
static const char *const words[0x20] = {
    [0x01] = "\r\n",
    [0x02] = "==\r\n",
    [0x03] = "Host: ",
    [0x04] = "Upgrade: websocket\r\n",
    [0x05] = "Connection: Upgrade\r\n",
    [0x06] = "Connection: keep-alive, Upgrade\r\n",
    [0x07] = "Sec-WebSocket-Key: ",
    [0x08] = "Sec-WebSocket-Version: 13\r\n",
    [0x0b] = "Sec-WebSocket-Extensions: permessage-deflate",
    [0x0c] = "; client_max_window_bits\r\n",
    [0x0e] = "Sec-WebSocket-Protocol: ",
    [0x0f] = "Origin: http",
    [0x10] = "Pragma: no-cache\r\n",
    [0x11] = "Cache-Control: no-cache\r\n",
    [0x12] = "Accept: */*\r\n",
    [0x13] = "Accept-Encoding: gzip, deflate",
    [0x14] = ", br, zstd\r\n",
    [0x15] = "Accept-Language: ",
    [0x16] = "User-Agent: ",
    [0x17] = "Mozilla/5.0 (",
    [0x18] = "Windows NT 10.0; Win64; x64) ",
    [0x19] = "Macintosh; Intel Mac OS X 10_15_7) ",
    [0x1a] = "X11; Linux x86_64) ",
    [0x1b] = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
    [0x1c] = "Safari/537.36\r\n",
    [0x1d] = "Sec-Fetch-",
    [0x1e] = "Cookie: ",
    [0x1f] = "X-Forwarded-For: ",
};

/* The byte that stands for the start of bytes, and how much of it it stands for; 0: none. */
static uint8_t find_word(const uint8_t *bytes, uint32_t length, uint32_t *taken) {
    for (uint8_t code = 0; code < 0x20; code++) {
        if (words[code] && (uint8_t)words[code][0] == bytes[0]) {
            size_t size = strlen(words[code]);

            if (size <= length && memcmp(words[code], bytes, size) == 0) {
                *taken = (uint32_t)size;
                return code;
            }
        }
    }
    return 0;
}

uint32_t lws_fields_pack(const uint8_t *fields, uint32_t length, uint8_t *to) {
    uint32_t size = 0;
    bool may_start = true;

    for (uint32_t at = 0; at < length;) {
        uint8_t byte = fields[at];
        uint32_t taken = 1;

        if (may_start || byte == '\r' || byte == '=') {
            uint8_t code = find_word(fields + at, length - at, &taken);

            may_start = code != 0;
            byte = code ? code : byte;
        }
        may_start = may_start || byte == ' ' || byte == '(';
        to[size++] = byte;
        at += taken;
    }
    return size;
}

uint32_t lws_fields_unpack(const uint8_t *packed, uint32_t length, uint8_t *to) {
    uint32_t size = 0;

    for (uint32_t i = 0; i < length; i++) {
        const char *word = packed[i] < 0x20 ? words[packed[i]] : NULL;
        uint32_t taken = word ? (uint32_t)strlen(word) : 1;

        if (to) {
            memcpy(to + size, word ? word : (const char *)packed + i, taken);
        }
        size += taken;
    }
    return size;
}

uint8_t *lws_scratch(struct lws_context *context, uint32_t size) {
    if (size > context->scratch_room) {
        uint8_t *larger = realloc(context->scratch, size);

        if (!larger) {
            return NULL;
        }
        context->scratch = larger;
        context->scratch_room = size;
    }
    return context->scratch;
}

struct lws_opening *lws_opening_new(struct lws_context *context, const uint8_t *head,
                                    const struct lws_request *request) {
    uint32_t fields = context->options.keep_headers ? request->headers.length : 0;
    uint32_t packed = 0;

    if (fields) {
        if (!lws_scratch(context, fields)) {
            return NULL;
        }
        packed = lws_fields_pack(head + request->headers.offset, fields, context->scratch);
    }

    uint32_t slash = request->empty_path;
    uint32_t uri = slash + request->uri.length;
    struct lws_opening *opening = malloc(sizeof *opening + uri + packed);

    if (opening) {
        opening->uri_length = uri;
        opening->packed_length = packed;
        opening->bytes[0] = '/';
        memcpy(opening->bytes + slash, head + request->uri.offset, request->uri.length);
        if (packed) {
            memcpy(opening->bytes + uri, context->scratch, packed);
        }
    }
    return opening;
}

const uint8_t *lws_opening_fields(struct lws_context *context, const struct lws_opening *opening,
                                  size_t *length) {
    const uint8_t *packed = opening->bytes + opening->uri_length;
    uint32_t size = lws_fields_unpack(packed, opening->packed_length, NULL);
    uint8_t *fields = lws_scratch(context, size ? size : 1);

    if (fields) {
        *length = lws_fields_unpack(packed, opening->packed_length, fields);
    }
    return fields;
}
