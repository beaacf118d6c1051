/*
 * The codec: pure functions over memory that the caller supplies. No socket, no allocation, no
 * global state; every function may be called from any thread and is usable on its own from a
 * benchmark, a fuzz target or a test. It depends on libc alone.
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

/* ---- Faults ------------------------------------------------------------------------------- */

/*
 * What a peer did wrong, or what befell its connection. Codec functions return a fault negated.
 * lws_fault_event() gives the word under which it is logged.
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
    LWS_FAULT_HTTP_BODY_REFUSED,   /* 413: a body by Content-Length */
    LWS_FAULT_HTTP_BODY_CHUNKED,   /* 501: a chunked body; logged as http-body-refused */
    LWS_FAULT_HTTP_EXPECT,         /* 417: an unknown expectation; logged as http-body-refused */
    LWS_FAULT_HTTP_METHOD,         /* 405: a method known but not served */
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
    LWS_FAULT_WS_PROTOCOL_ERROR, /* hixie-76 frames that cannot be */
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
    LWS_FAULT_PROXY_HEADER, /* the PROXY protocol was due, and did not come */
    LWS_FAULT_WS_INFLATE,   /* compressed data that is none */
    LWS_FAULT_TLS_HANDSHAKE_TIMEOUT,
    LWS_FAULT_COUNT
};

/* The event word of a fault, a static string ("http-bad-header"); "unknown" outside the enum. */
const char *lws_fault_event(int fault);

/* The HTTP status that answers a fault of the request head; 0 for a fault that has none. */
int lws_fault_status(int fault);

/* The close code that answers a fault of an established connection; 0 for one that has none. */
int lws_fault_close_code(int fault);

/* ---- digest.c --------------------------------------------------------------------------- */

/* MD5 (RFC 1321) of len bytes at data, into digest. data is only read; may be NULL if len is 0. */
void lws_md5(const uint8_t *data, size_t len, uint8_t digest[16]);

/* SHA-1 (FIPS 180-4) of len bytes at data, into digest. data is only read. */
void lws_sha1(const uint8_t *data, size_t len, uint8_t digest[20]);

/*
 * Base64 (RFC 4648, section 4, with padding) of len bytes at data into out, without a NUL.
 * Returns the number of characters written, 4 * ceil(len / 3), or 0 if that is over room (nothing
 * is written then) or len is 0.
 */
size_t lws_base64_encode(const uint8_t *data, size_t len, char *out, size_t room);

/*
 * Strict base64 (RFC 4648, section 4): len characters at text into out. Refuses what is not in the
 * alphabet, wrong or missing padding, white space and non-zero bits under the padding.
 * Returns the number of bytes written (at most room), or -1 if refused or room is too small.
 */
ptrdiff_t lws_base64_decode(const char *text, size_t len, uint8_t *out, size_t room);

/* ---- mask.c ------------------------------------------------------------------------------- */

/*
 * XORs len bytes at data, in place, with the four-byte key repeated (RFC 6455, section 5.3). phase
 * is the number of payload bytes before data, modulo 4 or not: a payload masked in pieces gives the
 * same bytes as one masked whole. Touches nothing outside data[0..len).
 */
void lws_mask(uint8_t *data, size_t len, const uint8_t key[4], size_t phase);

/* The same, byte by byte: what the wide versions are tested against. */
void lws_mask_plain(uint8_t *data, size_t len, const uint8_t key[4], size_t phase);

/* ---- utf8.c ------------------------------------------------------------------------------- */

#define LWS_UTF8_COMPLETE 0u /* valid, and no code point is open: the start state too */
#define LWS_UTF8_INVALID 1u  /* not UTF-8 (RFC 3629): final */

/*
 * Validates len more bytes of UTF-8 from a state that an earlier call returned (LWS_UTF8_COMPLETE
 * at first), so that a text can be cut at any byte. Returns the new state: LWS_UTF8_COMPLETE,
 * LWS_UTF8_INVALID (at once when no continuation could make it valid), or another value inside a
 * code point. Surrogates, overlong forms and code points over U+10FFFF are invalid.
 */
uint32_t lws_utf8(uint32_t state, const uint8_t *data, size_t len);

/* The same by one table and a byte at a time: what the wide versions are tested against. */
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

/* Bits of the first byte of a frame; lws_frame_encode takes them or-ed to the opcode. */
#define LWS_FRAME_FIN 0x80u
#define LWS_FRAME_RSV1 0x40u

#define LWS_FRAME_HEADER_MAX 14     /* a masked header with a 64-bit length */
#define LWS_CONTROL_PAYLOAD_MAX 125 /* RFC 6455, section 5.5 */

struct lws_frame {
    uint64_t length; /* of the payload, under 2^63 */
    uint8_t mask[4];
    uint8_t header; /* bytes of the header: the payload begins behind them */
    uint8_t opcode; /* enum lws_opcode */
    uint8_t fin;    /* 0 or 1 */
    uint8_t rsv1;   /* 0 or 1 */
};

/*
 * Reads the header of a client's frame (RFC 6455, section 5.2) from len bytes at data, which are
 * only read. allowed_rsv is 0, or LWS_FRAME_RSV1 where an extension uses that bit on data frames
 * that begin a message. Returns the size of the header (6 to 14) with *frame filled; 0 if more
 * bytes are needed; or a negated fault, as soon as the bytes that are there show it:
 * LWS_FAULT_WS_RSV, _WS_OPCODE, _WS_CONTROL (fragmented, or a length over 125), _WS_UNMASKED,
 * _WS_LENGTH (not the shortest form, or 2^63 and more).
 */
int lws_frame_decode(const uint8_t *data, size_t len, unsigned allowed_rsv,
                     struct lws_frame *frame);

/*
 * Writes the unmasked header of a frame into the bytes before payload, ending where it begins.
 * first is the first byte: an opcode, or-ed with LWS_FRAME_FIN and LWS_FRAME_RSV1 as wanted.
 * The payload's own bytes are neither read nor changed; at most 10 bytes before it are written.
 * Returns the size of the header: 2, 4 or 10.
 */
size_t lws_frame_encode(uint8_t *payload, uint64_t length, unsigned first);

/* As lws_frame_encode, but writes the header at out (room for 10 bytes), for a payload elsewhere.
 */
size_t lws_frame_header(uint8_t *out, uint64_t length, unsigned first);

/*
 * Reads the length of a hixie-76 frame of type 80..ff (h76, section 5.3): base 128, high bit set on
 * all bytes but the last, from len bytes at data (the byte after the type).
 * Returns the number of bytes it takes (1 to 5) with *length filled (under 2^35); 0 if more are
 * needed; or -LWS_FAULT_WS_PROTOCOL_ERROR if it has not ended after 5 bytes.
 */
int lws_frame76_length(const uint8_t *data, size_t len, uint64_t *length);

/* What a Close frame's payload says. */
struct lws_close {
    uint16_t code;         /* 1005 if the payload is empty (RFC 6455, section 7.1.5) */
    uint8_t reason_offset; /* of the reason in the payload */
    uint8_t reason_length;
};

/*
 * Checks the (unmasked) payload of a Close frame (RFC 6455, sections 5.5.1, 7.4). payload is only
 * read. Returns 0 with *close filled, or -LWS_FAULT_WS_CLOSE_CODE (one byte, or a code that must
 * not be sent), or -LWS_FAULT_WS_UTF8.
 */
int lws_close_decode(const uint8_t *payload, size_t len, struct lws_close *close);

/* Whether a code may stand in a Close frame: 1000-1003, 1007-1014, 3000-4999 (section 7.4). */
bool lws_close_code_valid(unsigned code);

/*
 * Writes the payload of a Close frame into out (room for 125 bytes): the code, then the reason, cut
 * to at most 123 bytes at the end of a code point. reason is UTF-8 and is only read; NULL if length
 * is 0. Returns the number of bytes written (2 to 125), or -LWS_FAULT_WS_CLOSE_CODE for a code that
 * must not be sent, or -LWS_FAULT_WS_UTF8.
 */
int lws_close_encode(uint8_t *out, unsigned code, const uint8_t *reason, size_t length);

/* ---- head.c ------------------------------------------------------------------------------- */

struct lws_head_limits {
    uint32_t request_line; /* max_request_line: without the line end */
    uint32_t header_line;  /* max_header_line: name + value, without the colon and white space */
    uint32_t headers;      /* max_headers */
    uint32_t head;         /* max_head: request line and fields with their line ends */
};

/* Where the search for the end of a head stands; all zero at the start. */
struct lws_head_scan {
    uint32_t position; /* bytes already seen */
    uint32_t line;     /* where the present line begins */
    uint16_t fields;
    uint8_t lines; /* empty lines skipped, then the request line: internal */
    uint8_t state;
};

/*
 * Looks for the end of a request head (RFC 9112) in the len bytes at data, of which the first
 * scan->position were seen by earlier calls on the same bytes (at the same or another address).
 * Each byte is looked at once, however the head is cut, and the outcome does not depend on the
 * cuts. data is only read. Returns the size of the head, up to and with the empty line; 0 if more
 * bytes are needed; or a negated fault (LWS_FAULT_HTTP_LINE_TOO_LONG, _HEADER_TOO_LONG,
 * _TOO_MANY_HEADERS, _BAD_LINE_END, _BAD_REQUEST_LINE for a third empty line, a first byte that
 * begins no method, or a line without a space). limits->headers counts up to 65535 at most.
 */
ptrdiff_t lws_head_scan(const uint8_t *data, size_t len, const struct lws_head_limits *limits,
                        struct lws_head_scan *scan);

/* A piece of a head: offset from its first byte. Absent: offset 0. */
struct lws_slice {
    uint32_t offset;
    uint32_t length;
};

/* The fields that the parser finds at no further cost. */
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
    /* The core does not look at the rest itself; LWS_FIELD_RANGE is the first of these. */
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
    struct lws_slice target;  /* as sent, absolute form too */
    struct lws_slice uri;     /* path with query: the target less scheme and authority */
    struct lws_slice headers; /* from the first field line to the last line's end */
    /* The first of that name; for LWS_FIELD_HOST the authority of an absolute target, if there is
     * one. Of Key1 and Key2 only one space behind the colon is taken off: in them spaces count. */
    struct lws_slice field[LWS_FIELD_COUNT];
    uint8_t count[LWS_FIELD_COUNT]; /* how many of that name, up to 255 */
    uint8_t kind;                   /* enum lws_method */
    uint8_t minor;                  /* 0 or 1: HTTP/1.x; later minors read as 1 */
    uint8_t keep_alive;             /* by version and Connection, for the application also by
                                       keepalive_requests: may the connection be used again? */
    uint8_t version;     /* enum lws_version: what it asks for; filled by lws_handshake_check */
    uint8_t conditional; /* it has one of the fields from LWS_FIELD_RANGE to _IF_UNMODIFIED_SINCE */
    uint8_t plain; /* for the application: GET of HTTP/1.1, not conditional, the connection stays */
    uint32_t key3; /* offset of the eight bytes after the head; hixie-76 only, else 0 */
};

/*
 * Takes a complete head apart: size bytes at head, as lws_head_scan returned. head is only read;
 * all slices of *request are offsets from it. Returns 0, or a negated fault of the head (rows of
 * RFC 9110 and 9112): request line, target, version, method, field syntax, Host, Content-Length,
 * Transfer-Encoding, Expect. *request is filled as far as it was understood; kind is
 * LWS_METHOD_HEAD if the refusal must have no body. A method that is not served is reported after
 * all syntax faults; a body is refused (max_body is 0), but for a Content-Length of exactly 8 with
 * the fields of a hixie-76 upgrade, whose eight bytes some count.
 */
int lws_head_parse(const uint8_t *head, size_t size, const struct lws_head_limits *limits,
                   struct lws_request *request);

/*
 * Finds the next field of a name, without regard to case, in a head that was parsed: *cursor is 0
 * at first and is moved on. Returns true with *value filled (white space around it taken off), or
 * false.
 */
bool lws_head_field(const uint8_t *head, const struct lws_request *request, const char *name,
                    size_t name_length, uint32_t *cursor, struct lws_slice *value);

/*
 * Walks the fields of a parsed head in order: *cursor is 0 at first and is moved on. Returns true
 * with name and value filled, or false at the end.
 */
bool lws_head_next(const uint8_t *head, const struct lws_request *request, uint32_t *cursor,
                   struct lws_slice *name, struct lws_slice *value);

/* Whether a comma-separated list has the token, without regard to case (RFC 9110, section 5.6.1).
 */
bool lws_list_has_token(const uint8_t *list, size_t len, const char *token);

/* Whether any of a parsed head's fields of that name has the token in its list. */
bool lws_head_has_token(const uint8_t *head, const struct lws_request *request,
                        enum lws_field field, const char *token);

/* ---- handshake.c -------------------------------------------------------------------------- */

/*
 * The number of a hixie-76 key field (h76, section 5.2): its digits, divided by its spaces.
 * Returns 0 with *number filled, or -LWS_FAULT_WS76_BAD_KEY: no space, no digit, not a multiple, or
 * over 2^32 - 1 after the division. Bytes over 7f are never digits. key is only read.
 */
int lws_key76_number(const uint8_t *key, size_t len, uint32_t *number);

/*
 * The hixie-76 reply to a challenge: MD5 of both numbers, big-endian, and the eight bytes of key3.
 * Returns 0 with digest filled, or -LWS_FAULT_WS76_BAD_KEY.
 */
int lws_key76_digest(const uint8_t *key1, size_t len1, const uint8_t *key2, size_t len2,
                     const uint8_t key3[8], uint8_t digest[16]);

#define LWS_ACCEPT_LENGTH 28

/*
 * Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455, section 4.2.2): 28 characters, no NUL.
 * Returns 0, or -LWS_FAULT_WS_BAD_KEY unless the key is strict base64 of 16 bytes (24 characters).
 */
int lws_accept_key(const uint8_t *key, size_t len, char accept[LWS_ACCEPT_LENGTH]);

/*
 * Says what a parsed request asks for and fills request->version: LWS_VERSION_HTTP for no upgrade
 * to websocket, else the version, checked: method, Connection, keys, version fields. oldest is the
 * oldest version to accept (76, 7, 8 or 13). For hixie-76 the eight bytes behind the head (head +
 * size) are part of the request and are not looked at here. Returns 0, or a negated fault:
 * LWS_FAULT_WS_BAD_UPGRADE, _WS_VERSION, _WS_VERSION_SYNTAX, _WS_BAD_KEY, _WS76_BAD_KEY,
 * _HTTP_METHOD.
 */
int lws_handshake_check(const uint8_t *head, int oldest, struct lws_request *request);

/* What the application adds to a 101; pointers may be NULL with length 0. */
struct lws_handshake_extra {
    const char *protocol; /* Sec-WebSocket-Protocol */
    size_t protocol_length;
    const char *extensions; /* Sec-WebSocket-Extensions; not for hixie-76 */
    size_t extensions_length;
    bool secure; /* wss in Sec-WebSocket-Location */
};

/*
 * Writes the 101 that accepts a request (checked by lws_handshake_check) into out, for hixie-76
 * with the digest behind it; key3 is the eight bytes after the head, NULL for the others. Returns
 * the number of bytes written; or -LWS_FAULT_WS_BAD_KEY or -LWS_FAULT_WS76_BAD_KEY,
 * -LWS_FAULT_HTTP_BAD_HEADER for a control character in an extra, or
 * -LWS_FAULT_HTTP_HEADER_TOO_LONG if room is too small (out may be partly written then). A room of
 * 512 bytes and the lengths of the request's Host, Origin, URI and the extras is always enough.
 */
ptrdiff_t lws_handshake_reply(const uint8_t *head, const struct lws_request *request,
                              const uint8_t *key3, const struct lws_handshake_extra *extra,
                              uint8_t *out, size_t room);

/*
 * Writes the fixed refusal for an HTTP status (hostile peers get nothing of theirs back): status
 * line, Content-Length, a short body, Connection: close unless keep_alive, Allow for 405,
 * Sec-WebSocket-Version for 426. with_body false: no body bytes (HEAD), the same Content-Length.
 * Returns the number of bytes written, or 0 if room (256 is always enough) is too small. A status
 * not in its table, or under 400, is written as 500.
 */
size_t lws_http_refusal(int status, bool with_body, bool keep_alive, char *out, size_t room);

/* The reason phrase of an HTTP status ("Not Found"), a static string; "Status" if unknown. */
const char *lws_http_reason(int status);

/* ---- proxy.c ------------------------------------------------------------------------------ */

/* An address: its family (AF_INET, AF_INET6, AF_UNIX, 0: unknown), the port, 4 or 16 bytes. */
struct lws_address {
    uint8_t bytes[16]; /* in the order of the network */
    uint16_t port;
    uint16_t family;
};

/*
 * Reads a header of the PROXY protocol, version 1 or 2, at the start of len bytes at data, which
 * are only read. *source is the client's address; family 0 where the header names none (UNKNOWN,
 * LOCAL, or no stream of a network): the address of the connection stands then. Returns the size of
 * the header (at most 107 in version 1, 4096 in version 2); 0 if more bytes are needed; or
 * -LWS_FAULT_PROXY_HEADER as soon as the bytes that are there can be none.
 */
ptrdiff_t lws_proxy_decode(const uint8_t *data, size_t len, struct lws_address *source);

#endif
