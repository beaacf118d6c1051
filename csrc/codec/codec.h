/*
 * The codec: pure functions over memory that the caller supplies. No socket, no allocation, no
 * clock, no global state; any thread may call any function, and each is usable on its own from a
 * benchmark, a fuzz target or a test. It depends on libc alone.
 *
 * Two rules hold for every function. Memory belongs to the caller before, during and after the
 * call; nothing keeps a pointer. Memory passed by a pointer to const is only read, and never beyond
 * the length given with it. What else a function changes is said with it.
 *
 * The files, each using only those before it: fault.c, digest.c, base64.c, mask.c, utf8.c, frame.c,
 * head_scan.c, target.c, fields.c, head.c, status.c, handshake.c, proxy.c.
 */
#ifndef LWS_CODEC_H
#define LWS_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- Send buffers ----------------------------------------------------------------------- */

/*
 * A send buffer has room around its payload, so that a frame is made without moving a byte:
 *
 *      buf                 buf + LWS_SEND_BUFFER_PRE_PADDING
 *      |                   |
 *      | pre-padding (12)  | payload (length)             | post-padding (1) |
 *      |         [ header ][ payload                      ][ trailer ]       |
 *
 * The header ends where the payload begins (2, 4 or 10 bytes for RFC 6455, one for hixie-76); only
 * hixie-76 has a trailer, of one byte.
 */
#define LWS_SEND_BUFFER_PRE_PADDING 12
#define LWS_SEND_BUFFER_POST_PADDING 1

/* Protocol versions: hixie-76, or a Sec-WebSocket-Version. */
enum lws_version {
    LWS_VERSION_HTTP = 0, /* no upgrade: plain HTTP */
    LWS_VERSION_HYBI7 = 7,
    LWS_VERSION_HYBI8 = 8,
    LWS_VERSION_RFC6455 = 13,
    LWS_VERSION_HIXIE76 = 76,
};

/* ---- fault.c ------------------------------------------------------------------------------ */

/*
 * What a peer did wrong, or what happened to its connection. Codec functions return a fault
 * negated.
 */
enum lws_fault {
    LWS_FAULT_NONE = 0,
    LWS_FAULT_HTTP_LINE_TOO_LONG,
    LWS_FAULT_HTTP_HEADER_TOO_LONG,
    LWS_FAULT_HTTP_TOO_MANY_HEADERS,
    LWS_FAULT_HTTP_EOF_IN_HEAD,
    LWS_FAULT_HTTP_BAD_REQUEST_LINE,
    LWS_FAULT_HTTP_BAD_LINE_END,
    LWS_FAULT_HTTP_BAD_HEADER,
    LWS_FAULT_HTTP_OBS_FOLD,
    LWS_FAULT_HTTP_BAD_HOST,
    LWS_FAULT_HTTP_BAD_LENGTH,
    LWS_FAULT_HTTP_SMUGGLE,
    LWS_FAULT_HTTP_BODY_REFUSED, /* 413: a body by Content-Length */
    LWS_FAULT_HTTP_BODY_CHUNKED, /* 501: a body by Transfer-Encoding; logged as http-body-refused */
    LWS_FAULT_HTTP_EXPECT,       /* 417: an unknown expectation; logged as http-body-refused */
    LWS_FAULT_HTTP_METHOD,       /* 405: a method that is known but not served */
    LWS_FAULT_HTTP_METHOD_UNKNOWN, /* 501; logged as http-method */
    LWS_FAULT_HTTP_VERSION,        /* 505 */
    LWS_FAULT_HTTP_VERSION_SYNTAX, /* 400; logged as http-version */
    LWS_FAULT_HTTP_BAD_TARGET,
    LWS_FAULT_WS_BAD_UPGRADE,
    LWS_FAULT_WS_VERSION,        /* 426 */
    LWS_FAULT_WS_VERSION_SYNTAX, /* 400; logged as ws-version */
    LWS_FAULT_WS_BAD_KEY,
    LWS_FAULT_WS76_BAD_KEY,
    LWS_FAULT_WS_UNMASKED,
    LWS_FAULT_WS_RSV,
    LWS_FAULT_WS_OPCODE,
    LWS_FAULT_WS_LENGTH,
    LWS_FAULT_WS_TOO_BIG,
    LWS_FAULT_WS_CONTROL,
    LWS_FAULT_WS_FRAGMENT,
    LWS_FAULT_WS_UTF8,
    LWS_FAULT_WS_CLOSE_CODE,
    LWS_FAULT_WS_PROTOCOL_ERROR, /* a malformed hixie-76 frame */
    LWS_FAULT_WS_ABNORMAL,       /* the stream ended without a Close */
    LWS_FAULT_HANDSHAKE_TIMEOUT,
    LWS_FAULT_SEND_TIMEOUT,
    LWS_FAULT_CLOSE_TIMEOUT,
    LWS_FAULT_CONN_LIMIT,
    LWS_FAULT_ACCEPT_EMFILE,
    LWS_FAULT_ACCEPT_ERROR,
    LWS_FAULT_ALLOC_FAILED,
    LWS_FAULT_FILE_TRUNCATED,
    LWS_FAULT_PING_TIMEOUT,
    LWS_FAULT_CONN_LIMIT_IP,
    LWS_FAULT_PROXY_HEADER, /* the PROXY header was required, but missing or malformed */
    LWS_FAULT_WS_INFLATE,   /* compressed data that does not inflate */
    LWS_FAULT_TLS_HANDSHAKE_TIMEOUT,
    LWS_FAULT_COUNT
};

/*
 * The word under which a fault is logged ("http-bad-header"). Returns a static string; "unknown"
 * for a number outside the enum.
 */
const char *lws_fault_event(int fault);

/*
 * The HTTP status that answers a fault of a request (RFC 9110, section 15; RFC 6585). Returns 400
 * to 599; 0 for a fault that is not answered by a status, and outside the enum.
 */
int lws_fault_status(int fault);

/*
 * The close code that answers a fault of an established connection (RFC 6455, section 7.4.1).
 * Returns 1002 to 1011; 0 for a fault that is not answered by a code, and outside the enum.
 */
int lws_fault_close_code(int fault);

/* ---- digest.c --------------------------------------------------------------------------- */

/* Writes the MD5 (RFC 1321) of len bytes at data to digest. data may be NULL if len is 0. */
void lws_md5(const uint8_t *data, size_t len, uint8_t digest[16]);

/* Writes the SHA-1 (FIPS 180-4) of len bytes at data to digest. data may be NULL if len is 0. */
void lws_sha1(const uint8_t *data, size_t len, uint8_t digest[20]);

/* ---- base64.c --------------------------------------------------------------------------- */

/*
 * Writes len bytes at data as base64 (RFC 4648, section 4, with padding) to out, without a NUL.
 * Returns the number of characters written, 4 * ceil(len / 3); 0 if that is over room, and nothing
 * is written then, or if len is 0.
 */
size_t lws_base64_encode(const uint8_t *data, size_t len, char *out, size_t room);

/*
 * Decodes len characters of base64 (RFC 4648, section 4) at text to out. Refuses characters outside
 * the alphabet, white space among them, and wrong or missing padding. Bits under the padding are
 * ignored, as section 3.5 allows: the example key of RFC 6455, section 1.2, has them set. Returns
 * the number of bytes written (at most room), or -1 if text is refused or room is too small; out
 * may be partly written then.
 */
ptrdiff_t lws_base64_decode(const char *text, size_t len, uint8_t *out, size_t room);

/* ---- mask.c ------------------------------------------------------------------------------- */

/*
 * XORs len bytes at data, in place, with the four bytes of key repeated (RFC 6455, section 5.3).
 * phase is the number of payload bytes before data; only its value modulo 4 counts. A payload
 * masked in parts gives the same bytes as one masked whole. Nothing outside data[0..len) is
 * touched.
 */
void lws_mask(uint8_t *data, size_t len, const uint8_t key[4], size_t phase);

/* The same, byte by byte: the reference that tests compare lws_mask with. */
void lws_mask_plain(uint8_t *data, size_t len, const uint8_t key[4], size_t phase);

/* ---- utf8.c ------------------------------------------------------------------------------- */

#define LWS_UTF8_COMPLETE 0u /* valid, and no code point is open; also the state to start with */
#define LWS_UTF8_INVALID 1u  /* not UTF-8: final */

/*
 * Validates len more bytes of UTF-8 (RFC 3629) at data, from a state that an earlier call returned,
 * so that a text can be cut at any byte. Surrogates, overlong forms and code points over U+10FFFF
 * are invalid. Returns the new state: LWS_UTF8_COMPLETE; LWS_UTF8_INVALID, as soon as no
 * continuation could make the text valid; or another value while a code point is open.
 */
uint32_t lws_utf8(uint32_t state, const uint8_t *data, size_t len);

/* The same, one table look-up a byte: the reference that tests compare lws_utf8 with. */
uint32_t lws_utf8_plain(uint32_t state, const uint8_t *data, size_t len);

/* ---- frame.c ------------------------------------------------------------------------------ */

enum lws_opcode {
    LWS_OPCODE_CONTINUATION = 0x0,
    LWS_OPCODE_TEXT = 0x1,
    LWS_OPCODE_BINARY = 0x2,
    LWS_OPCODE_CLOSE = 0x8,
    LWS_OPCODE_PING = 0x9,
    LWS_OPCODE_PONG = 0xa,
};

/* Bits of the first byte of a frame, which lws_frame_encode takes or-ed to the opcode. */
#define LWS_FRAME_FIN 0x80u
#define LWS_FRAME_RSV1 0x40u

#define LWS_FRAME_HEADER_MAX 14     /* bytes: a masked header with a 64-bit length */
#define LWS_CONTROL_PAYLOAD_MAX 125 /* bytes (RFC 6455, section 5.5) */

struct lws_frame {
    uint64_t length; /* bytes of the payload, under 2^63 */
    uint8_t mask[4];
    uint8_t header; /* bytes of the header, which the payload follows */
    uint8_t opcode; /* enum lws_opcode */
    uint8_t fin;    /* 0 or 1 */
    uint8_t rsv1;   /* 0 or 1 */
};

/*
 * Reads the header of a client's frame (RFC 6455, section 5.2) from len bytes at data. allowed_rsv
 * is 0, or LWS_FRAME_RSV1 where an extension uses that bit on the first frame of a data message.
 * Returns the size of the header in bytes (6 to 14) with *frame filled; 0 if more bytes are needed;
 * or a negated fault, as soon as the bytes that are there show it: LWS_FAULT_WS_RSV, _WS_OPCODE,
 * _WS_CONTROL (fragmented, or a length over 125), _WS_UNMASKED, _WS_LENGTH (not the shortest form,
 * or 2^63 and more). *frame is unchanged unless it is filled.
 */
int lws_frame_decode(const uint8_t *data, size_t len, unsigned allowed_rsv,
                     struct lws_frame *frame);

/*
 * Writes the unmasked header of a frame (RFC 6455, section 5.2) into the bytes before payload, so
 * that it ends where the payload begins. first is its first byte: an opcode, or-ed with
 * LWS_FRAME_FIN and LWS_FRAME_RSV1 as wanted; length counts bytes. The payload itself is neither
 * read nor changed. Returns the size of the header in bytes: 2, 4 or 10, and that many bytes before
 * payload are overwritten.
 */
size_t lws_frame_encode(uint8_t *payload, uint64_t length, unsigned first);

/* Writes the same header to out, which has room for 10 bytes, for a payload that is elsewhere. */
size_t lws_frame_header(uint8_t *out, uint64_t length, unsigned first);

/*
 * Reads the length of a hixie-76 frame of type 80 to ff (h76, section 5.3) from len bytes at data,
 * the first of which follows the type: base 128, with the high bit set on every byte except the
 * last. Returns the number of bytes that it takes (1 to 5) with *length filled (under 2^35); 0 if
 * more bytes are needed; or -LWS_FAULT_WS_PROTOCOL_ERROR if it has not ended after 5 bytes.
 */
int lws_frame76_length(const uint8_t *data, size_t len, uint64_t *length);

/* The payload of a Close frame, taken apart. */
struct lws_close {
    uint16_t code;         /* 1005 if the payload is empty (RFC 6455, section 7.1.5) */
    uint8_t reason_offset; /* of the reason in the payload, bytes */
    uint8_t reason_length; /* bytes */
};

/*
 * Checks the unmasked payload of a Close frame, of len bytes (RFC 6455, sections 5.5.1 and 7.4).
 * Returns 0 with *close filled; -LWS_FAULT_WS_CLOSE_CODE for one byte, over 125 bytes, or a code
 * that must not be sent; or -LWS_FAULT_WS_UTF8 for a reason that is not UTF-8.
 */
int lws_close_decode(const uint8_t *payload, size_t len, struct lws_close *close);

/*
 * Whether a code may be in a Close frame (RFC 6455, section 7.4): 1000 to 1003, 1007 to 1014, 3000
 * to 4999.
 */
bool lws_close_code_valid(unsigned code);

/*
 * Writes the payload of a Close frame (RFC 6455, section 5.5.1) to out, which has room for 125
 * bytes: the code, then length bytes of UTF-8 at reason, cut to at most 123 at the end of a code
 * point. reason may be NULL if length is 0. Returns the number of bytes written (2 to 125);
 * -LWS_FAULT_WS_CLOSE_CODE for a code that must not be sent; or -LWS_FAULT_WS_UTF8 for a reason
 * that is not UTF-8. Nothing is written with a fault.
 */
int lws_close_encode(uint8_t *out, unsigned code, const uint8_t *reason, size_t length);

/* ---- head_scan.c -------------------------------------------------------------------------- */

/* Sizes are in bytes. */
struct lws_head_limits {
    uint32_t request_line; /* max_request_line: without the line end */
    uint32_t header_line;  /* max_header_line: name and value, without the colon and white space */
    uint32_t headers;      /* max_headers: how many fields; over 65535 counts as 65535 */
    uint32_t head;         /* max_head: request line and fields with their line ends */
};

/* How far the search for the end of a head has come; all zero at the start. */
struct lws_head_scan {
    uint32_t position; /* bytes searched so far */
    uint32_t line;     /* where the current line begins */
    uint16_t fields;   /* complete field lines so far */
    uint8_t skipped;   /* empty lines before the request line */
    uint8_t state;     /* internal */
};

/*
 * Looks for the end of a request head (RFC 9112) in the len bytes at data, the first scan->position
 * of which earlier calls have searched (they may have been at another address). Each byte is
 * searched once, and the outcome does not depend on how the head was cut. Returns the size of the
 * head in bytes, including the empty line at its end; 0 if more bytes are needed; or a negated
 * fault: LWS_FAULT_HTTP_LINE_TOO_LONG, _HEADER_TOO_LONG, _TOO_MANY_HEADERS, _BAD_LINE_END, or
 * _BAD_REQUEST_LINE for a third empty line, a first byte that cannot begin a method, or a request
 * line without a space.
 */
ptrdiff_t lws_head_scan(const uint8_t *data, size_t len, const struct lws_head_limits *limits,
                        struct lws_head_scan *scan);

/* ---- head.c ------------------------------------------------------------------------------- */

/* A part of a head, in bytes from its first byte. What is absent has offset 0. */
struct lws_slice {
    uint32_t offset;
    uint32_t length;
};

/* The fields that lws_head_parse finds. */
enum lws_field {
    LWS_FIELD_HOST,
    LWS_FIELD_CONNECTION,
    LWS_FIELD_UPGRADE,
    LWS_FIELD_ORIGIN,
    LWS_FIELD_WS_ORIGIN, /* Sec-WebSocket-Origin (versions 7 and 8) */
    LWS_FIELD_WS_KEY,
    LWS_FIELD_WS_KEY1,
    LWS_FIELD_WS_KEY2,
    LWS_FIELD_WS_VERSION,
    LWS_FIELD_WS_PROTOCOL,
    LWS_FIELD_WS_EXTENSIONS,
    LWS_FIELD_CONTENT_LENGTH,
    LWS_FIELD_TRANSFER_ENCODING,
    LWS_FIELD_EXPECT,
    /* The rest is for the application; LWS_FIELD_RANGE is the first of it. */
    LWS_FIELD_RANGE,
    LWS_FIELD_IF_RANGE,
    LWS_FIELD_IF_MATCH,
    LWS_FIELD_IF_NONE_MATCH,
    LWS_FIELD_IF_MODIFIED_SINCE,
    LWS_FIELD_IF_UNMODIFIED_SINCE,
    LWS_FIELD_ACCEPT_ENCODING,
    LWS_FIELD_COUNT
};

enum lws_method {
    LWS_METHOD_GET,
    LWS_METHOD_HEAD,
    LWS_METHOD_OTHER, /* known but not served: POST, PUT, DELETE, OPTIONS, TRACE, CONNECT, PATCH */
    LWS_METHOD_UNKNOWN,
};

struct lws_request {
    struct lws_slice method;
    struct lws_slice target;  /* as sent, in any form */
    struct lws_slice uri;     /* path with query: the target without scheme and authority. If
                                 empty_path, only "?" and the query, and "/" belongs before it */
    struct lws_slice headers; /* from the first field line to the last line's end */
    /* The first field of each name; for LWS_FIELD_HOST the authority of an absolute target, if
     * there is one. Of Key1 and Key2 only one space after the colon is removed: in them spaces
     * count. */
    struct lws_slice field[LWS_FIELD_COUNT];
    uint8_t count[LWS_FIELD_COUNT]; /* fields of each name, up to 255 */
    uint8_t kind;                   /* enum lws_method */
    uint8_t minor;                  /* HTTP/1.x: 0, or 1 for 1 and later */
    uint8_t keep_alive;             /* 1: the connection may be used again, as far as version and
                                       Connection say; the service clears it if it will close */
    uint8_t version;     /* enum lws_version: what it asks for; filled by lws_handshake_check */
    uint8_t empty_path;  /* 1: an absolute target has an empty path and a query ("http://h?q") */
    uint8_t conditional; /* 1: has a field from LWS_FIELD_RANGE to _IF_UNMODIFIED_SINCE */
    uint8_t plain; /* filled by the service; 1: GET of HTTP/1.1, not conditional, keep_alive */
    uint32_t key3; /* hixie-76: offset of the eight bytes after the head; otherwise 0 */
};

/*
 * Takes apart a complete head: size bytes at head, as lws_head_scan returned. All slices of
 * *request are offsets from head. Returns 0, or a negated fault (RFC 9110 and 9112) of the request
 * line, target, version, method, a field's syntax, Host, Content-Length, Transfer-Encoding or
 * Expect; *request is then filled as far as the head was understood. A method that is not served is
 * reported only if nothing else is wrong. A body is refused, except one of exactly 8 bytes with the
 * fields of a hixie-76 upgrade: some proxies counted its last eight bytes as a body.
 *
 * The path must be valid (RFC 3986, section 3.3: no "%" without two digits, no "#", no %00),
 * because it names a file. The query is the application's: any visible ASCII, as browsers send it.
 *
 * Bytes that lws_head_scan has refused, or not seen the end of, may be passed too, for their
 * method, kind and target, filled as far as they are there; the return value then means nothing.
 */
int lws_head_parse(const uint8_t *head, size_t size, const struct lws_head_limits *limits,
                   struct lws_request *request);

/* ---- fields.c ----------------------------------------------------------------------------- */

/*
 * Finds the next field of a name (name_length bytes, compared without regard to case) in a parsed
 * head. *cursor is 0 at first and is moved on. Returns true with *value filled, without the white
 * space around it; false if there are no more.
 */
bool lws_head_field(const uint8_t *head, const struct lws_request *request, const char *name,
                    size_t name_length, uint32_t *cursor, struct lws_slice *value);

/*
 * Walks the fields of a parsed head in order. *cursor is 0 at first and is moved on. Returns true
 * with *name and *value filled, false at the end.
 */
bool lws_head_next(const uint8_t *head, const struct lws_request *request, uint32_t *cursor,
                   struct lws_slice *name, struct lws_slice *value);

/*
 * Walks a comma-separated list of len bytes (RFC 9110, section 5.6.1). *cursor is 0 at first and is
 * moved on. Returns true with *member filled, an offset from list, without the white space around
 * it; false at the end. Empty members are passed over (section 5.6.1.2). A comma in a quoted string
 * is a separator here: for lists of tokens.
 */
bool lws_list_next(const uint8_t *list, size_t len, size_t *cursor, struct lws_slice *member);

/*
 * Whether a comma-separated list of len bytes (RFC 9110, section 5.6.1) has the token as a member,
 * compared without regard to case. token ends with a NUL.
 */
bool lws_list_has_token(const uint8_t *list, size_t len, const char *token);

/* Whether any field of that name in a parsed head has the token in its list; as above. */
bool lws_head_has_token(const uint8_t *head, const struct lws_request *request,
                        enum lws_field field, const char *token);

/* ---- status.c ----------------------------------------------------------------------------- */

/*
 * The reason phrase of an HTTP status ("Not Found"; RFC 9110, RFC 6585). Returns a static string;
 * "Status" for a status that is not in the table.
 */
const char *lws_http_reason(int status);

#define LWS_HTTP_DATE_LENGTH 29 /* characters of a Date */
#define LWS_REFUSAL_MAX 320     /* bytes: room that is enough for any refusal */

/*
 * Writes a time, in seconds since 1970 (UTC), as a Date field has it (RFC 9110, section 5.6.7),
 * without a NUL: "Sun, 06 Nov 1994 08:49:37 GMT", in any locale. A time before 1970 or after 9999
 * is written as the nearest one within.
 */
void lws_http_date(int64_t seconds, char out[LWS_HTTP_DATE_LENGTH]);

/*
 * Writes the fixed refusal for an HTTP status to out; it repeats nothing that the peer sent: status
 * line, Date, Content-Length, a short body, Connection: close unless keep_alive, Allow for 405 (RFC
 * 9110, section 15.5.6), Upgrade and Sec-WebSocket-Version for 426 (section 15.5.22; RFC 6455,
 * section 4.4). now: the Date (section 6.6.1), in seconds since 1970. with_body false: the same
 * Content-Length but no body, for HEAD. A status under 400, or not in the table, is written as 500.
 * Returns the number of bytes written; 0 if room is under that, and out may be partly written then.
 */
size_t lws_http_refusal(int status, int64_t now, bool with_body, bool keep_alive, char *out,
                        size_t room);

/* ---- handshake.c -------------------------------------------------------------------------- */

/*
 * Computes the number of a hixie-76 key field of len bytes (h76, section 5.2): its digits, divided
 * by its spaces. Returns 0 with *number filled, or -LWS_FAULT_WS76_BAD_KEY: no space, no digit, not
 * a multiple, or over 2^32 - 1 after the division. Bytes over 7f are never digits.
 */
int lws_key76_number(const uint8_t *key, size_t len, uint32_t *number);

/*
 * Computes the hixie-76 reply to a challenge (h76, section 5.2): MD5 of both numbers, big-endian,
 * and the eight bytes of key3. Returns 0 with digest filled, or -LWS_FAULT_WS76_BAD_KEY.
 */
int lws_key76_digest(const uint8_t *key1, size_t len1, const uint8_t *key2, size_t len2,
                     const uint8_t key3[8], uint8_t digest[16]);

#define LWS_ACCEPT_LENGTH 28 /* characters of a Sec-WebSocket-Accept */

/*
 * Computes Sec-WebSocket-Accept, without a NUL, for a Sec-WebSocket-Key of len characters (RFC
 * 6455, section 4.2.2). Returns 0 with accept filled, or -LWS_FAULT_WS_BAD_KEY unless key is
 * base64 of 16 bytes (24 characters).
 */
int lws_accept_key(const uint8_t *key, size_t len, char accept[LWS_ACCEPT_LENGTH]);

/*
 * Determines what a parsed request asks for, and fills request->version: LWS_VERSION_HTTP if it is
 * not an upgrade to websocket, which HTTP/1.0 and HEAD cannot ask for; otherwise the version, once
 * Connection, keys and version fields have been checked (RFC 6455, section 4.2.1; h76,
 * section 5.2). oldest is the oldest version to accept (76, 7, 8 or 13). For hixie-76 it also fills
 * request->key3: the eight bytes after the head are part of the request, and are not read here.
 * Returns 0, or a negated fault: LWS_FAULT_WS_BAD_UPGRADE, _WS_VERSION, _WS_VERSION_SYNTAX,
 * _WS_BAD_KEY, _WS76_BAD_KEY.
 */
int lws_handshake_check(const uint8_t *head, int oldest, struct lws_request *request);

/* What the application adds to a 101. Pointers may be NULL with length 0; lengths are in bytes. */
struct lws_handshake_extra {
    const char *protocol; /* Sec-WebSocket-Protocol */
    size_t protocol_length;
    const char *extensions; /* Sec-WebSocket-Extensions; not sent to hixie-76 */
    size_t extensions_length;
    bool secure; /* wss in Sec-WebSocket-Location (hixie-76) */
};

/*
 * Writes the 101 that accepts a request (checked by lws_handshake_check) to out; for hixie-76 with
 * the digest after it, and key3 is then the eight bytes after the head, otherwise NULL. Returns the
 * number of bytes written; -LWS_FAULT_WS_BAD_KEY or -LWS_FAULT_WS76_BAD_KEY;
 * -LWS_FAULT_HTTP_BAD_HEADER for a control character in an extra; or
 * -LWS_FAULT_HTTP_HEADER_TOO_LONG if room is too small, and out may be partly written then. 512
 * bytes plus the lengths of the request's Host, Origin, URI and of the extras are always enough.
 */
ptrdiff_t lws_handshake_reply(const uint8_t *head, const struct lws_request *request,
                              const uint8_t *key3, const struct lws_handshake_extra *extra,
                              uint8_t *out, size_t room);

/* ---- proxy.c ------------------------------------------------------------------------------ */

/* A peer's address. */
struct lws_address {
    uint8_t bytes[16]; /* 4 or 16 bytes, in network order */
    uint16_t port;
    uint16_t family; /* AF_INET, AF_INET6, AF_UNIX; 0: unknown */
};

#define LWS_PROXY_MAX                                                                              \
    65551 /* bytes of the largest header: 16, and as many as 16 bits can count                     \
           */

/*
 * Reads a header of the PROXY protocol, version 1 or 2 (HAProxy Technologies, "The PROXY protocol",
 * sections 2.1 and 2.2), at the start of len bytes at data. *source becomes the client's address;
 * family 0 if the header names none (UNKNOWN, LOCAL, or not a TCP connection): who the client is
 * stays unknown. Returns the size of the header in bytes (at most 107 in version 1, LWS_PROXY_MAX
 * in version 2, whose further fields are skipped); 0 if more bytes are needed; or
 * -LWS_FAULT_PROXY_HEADER as soon as the bytes that are there cannot be one.
 */
ptrdiff_t lws_proxy_decode(const uint8_t *data, size_t len, struct lws_address *source);

#endif
