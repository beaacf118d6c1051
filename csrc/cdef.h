/* What cffi sees of codec/codec.h and service/service.h. Plain declarations only: cffi does not preprocess. */

#define LWS_SEND_BUFFER_PRE_PADDING ...
#define LWS_SEND_BUFFER_POST_PADDING ...
#define LWS_ARENA_SIZE ...
#define LWS_PEER_SIZE ...
#define LWS_NO_SLOT ...
#define LWS_PIECE_NOT_FIRST ...
#define LWS_PIECE_NOT_FINAL ...
#define LWS_UTF8_COMPLETE ...
#define LWS_UTF8_INVALID ...
#define LWS_ACCEPT_LENGTH ...
#define LWS_FILE_IDENTITY ...
#define LWS_HTTP_DATE_LENGTH ...

struct lws_head_limits {
    uint32_t request_line;
    uint32_t header_line;
    uint32_t headers;
    uint32_t head;
};

struct lws_slice {
    uint32_t offset;
    uint32_t length;
};

enum lws_field {
    LWS_FIELD_HOST,
    LWS_FIELD_ORIGIN,
    LWS_FIELD_WS_ORIGIN,
    LWS_FIELD_WS_PROTOCOL,
    LWS_FIELD_WS_EXTENSIONS,
    LWS_FIELD_RANGE,
    LWS_FIELD_IF_RANGE,
    LWS_FIELD_IF_MATCH,
    LWS_FIELD_IF_NONE_MATCH,
    LWS_FIELD_IF_MODIFIED_SINCE,
    LWS_FIELD_IF_UNMODIFIED_SINCE,
    LWS_FIELD_ACCEPT_ENCODING,
    LWS_FIELD_COUNT,
    ...
};

enum lws_version {
    LWS_VERSION_HTTP, LWS_VERSION_HYBI7, LWS_VERSION_HYBI8, LWS_VERSION_RFC6455, LWS_VERSION_HIXIE76,
    ...
};

enum lws_method { LWS_METHOD_GET, LWS_METHOD_HEAD, ... };

struct lws_request {
    struct lws_slice method;
    struct lws_slice target;
    struct lws_slice uri;
    struct lws_slice headers;
    struct lws_slice field[...];
    uint8_t count[...];
    uint8_t kind;
    uint8_t minor;
    uint8_t keep_alive;
    uint8_t version;
    uint8_t empty_path;
    uint8_t conditional;
    uint8_t plain;
    ...;
};

enum lws_fault {
    LWS_FAULT_NONE,
    LWS_FAULT_COUNT,
    LWS_FAULT_HTTP_EOF_IN_HEAD,
    LWS_FAULT_WS_ABNORMAL,
    LWS_FAULT_WS_INFLATE,
    LWS_FAULT_WS_TOO_BIG,
    LWS_FAULT_WS_UTF8,
    LWS_FAULT_ALLOC_FAILED,
    ...
};

enum lws_error {
    LWS_ERROR_CLOSED,
    LWS_ERROR_FULL,
    LWS_ERROR_UTF8,
    LWS_ERROR_BINARY76,
    LWS_ERROR_STATE,
    LWS_ERROR_ARGUMENT,
    LWS_ERROR_MEMORY,
    LWS_ERROR_THREAD,
    LWS_ERROR_PROCESS,
    LWS_ERROR_CLOSE_CODE,
    LWS_ERROR_DEFLATE,
    ...
};

enum lws_event_kind {
    LWS_EVENT_TEXT,
    LWS_EVENT_BINARY,
    LWS_EVENT_TEXT_BUFFER,
    LWS_EVENT_BINARY_BUFFER,
    LWS_EVENT_SEND,
    LWS_EVENT_REQUEST,
    LWS_EVENT_CLOSED,
    LWS_EVENT_GONE,
    LWS_EVENT_FAULT,
    LWS_EVENT_WATCH,
    LWS_EVENT_WRITABLE,
    LWS_EVENT_PONG,
    LWS_EVENT_SECURE,
    LWS_EVENT_SECURE_END,
    LWS_EVENT_COMPRESSED,
    ...
};

struct lws_options {
    struct lws_head_limits head;
    uint32_t max_message;
    uint32_t max_send_buffer;
    uint32_t max_connections;
    uint32_t max_connections_per_ip;
    uint32_t proxy_protocol;
    uint32_t keepalive_requests;
    uint32_t handshake_timeout;
    uint32_t keepalive_timeout;
    uint32_t send_timeout;
    uint32_t close_timeout;
    uint32_t linger_timeout;
    uint32_t send_interval;
    uint32_t ping_interval;
    uint32_t pong_timeout;
    uint32_t keep_headers;
    uint32_t rx_fragments;
    uint32_t deflate_threshold;
    int oldest;
    ...;
};

struct lws_event {
    uint16_t kind;
    uint16_t code;
    uint32_t slot;
    uint32_t offset;
    uint32_t length;
};

struct lws_head_scan {
    uint32_t position;
    ...;
};

ptrdiff_t lws_head_scan(const uint8_t *data, size_t len, const struct lws_head_limits *limits,
                        struct lws_head_scan *scan);
int lws_head_parse(const uint8_t *head, size_t size, const struct lws_head_limits *limits,
                   struct lws_request *request);
const char *lws_fault_event(int fault);
int lws_fault_status(int fault);
int lws_fault_close_code(int fault);

void lws_md5(const uint8_t *data, size_t len, uint8_t *digest);
void lws_sha1(const uint8_t *data, size_t len, uint8_t *digest);
void lws_mask(uint8_t *data, size_t len, const uint8_t *key, size_t phase);
uint32_t lws_utf8(uint32_t state, const uint8_t *data, size_t len);
size_t lws_frame_encode(uint8_t *payload, uint64_t length, unsigned first);
int lws_key76_digest(const uint8_t *key1, size_t len1, const uint8_t *key2, size_t len2,
                     const uint8_t *key3, uint8_t *digest);
int lws_accept_key(const uint8_t *key, size_t len, char *accept);
bool lws_head_field(const uint8_t *head, const struct lws_request *request, const char *name,
                    size_t name_length, uint32_t *cursor, struct lws_slice *value);
bool lws_head_next(const uint8_t *head, const struct lws_request *request, uint32_t *cursor,
                   struct lws_slice *name, struct lws_slice *value);
const char *lws_http_reason(int status);
void lws_http_date(int64_t seconds, char *out);

enum lws_file_kind { LWS_FILE_OTHER, LWS_FILE_REGULAR, LWS_FILE_FOLDER, ... };

struct lws_file {
    uint64_t inode;
    uint64_t size;
    int64_t mtime_ns;
    uint8_t kind;
    uint8_t form;
    int fd;
    ...;
};

int lws_open_beneath(int folder, const char *path, int flags);
int lws_open_by_steps(int folder, const char *path, int flags);
int lws_file_open(const char *root, const char *path, const char *suffixes, struct lws_file *file);
void lws_file_close(struct lws_file *file);

struct lws_context *lws_context_create(const struct lws_options *options, uint8_t *arena);
void lws_context_destroy(struct lws_context *context);
int lws_set_arena(struct lws_context *context, uint8_t *arena);
int lws_listen(struct lws_context *context, int fd, bool secure);
int lws_watch(struct lws_context *context, int fd, uint32_t events, uint32_t number);
int lws_service(struct lws_context *context, int timeout_ms);
struct lws_event *lws_events(struct lws_context *context);
uint32_t lws_events_room(const struct lws_context *context);
int lws_flush(struct lws_context *context);
int lws_fileno(struct lws_context *context);
uint8_t *lws_message(struct lws_context *context, uint32_t number);
uint8_t *lws_message_keep(struct lws_context *context, uint32_t number);
void lws_message_free(uint8_t *payload);
const struct lws_request *lws_request(struct lws_context *context, uint32_t slot);
const uint8_t *lws_request_head(struct lws_context *context, uint32_t slot);
const uint8_t *lws_uri(struct lws_context *context, uint32_t slot, size_t *length);
const uint8_t *lws_fields(struct lws_context *context, uint32_t slot, size_t *length);
int64_t lws_sent(struct lws_context *context, uint32_t slot);
int lws_version(struct lws_context *context, uint32_t slot);
int lws_peer(struct lws_context *context, uint32_t slot, char *text);
struct lws_address {
    uint8_t bytes[16];
    uint16_t port;
    uint16_t family;
};

ptrdiff_t lws_proxy_decode(const uint8_t *data, size_t len, struct lws_address *source);
int lws_trust(struct lws_context *context, const uint8_t *address, unsigned prefix);
bool lws_trusted(struct lws_context *context, uint32_t slot);
int lws_set_peer(struct lws_context *context, uint32_t slot, const struct lws_address *peer,
                 bool secure, struct lws_address *before);
int lws_upgrade(struct lws_context *context, uint32_t slot, const char *protocol,
                size_t protocol_length, const char *extensions, size_t extensions_length,
                bool compressed);
int lws_refuse(struct lws_context *context, uint32_t slot, int status, bool keep_alive);
int lws_reply_end(struct lws_context *context, uint32_t slot, bool keep_alive);
int lws_reply_file(struct lws_context *context, uint32_t slot, const uint8_t *head, size_t length,
                   struct lws_file *file, uint64_t offset, uint64_t size);
int lws_write(struct lws_context *context, uint32_t slot, uintptr_t payload, size_t length,
              int protocol);
int lws_write_arena(struct lws_context *context, uint32_t slot, uint32_t offset, size_t length,
                    int protocol);
int lws_write_copy(struct lws_context *context, uint32_t slot, const uint8_t *payload,
                   size_t length, int protocol);
int lws_close(struct lws_context *context, uint32_t slot, unsigned code, const uint8_t *reason,
              size_t length);
int lws_fail_message(struct lws_context *context, uint32_t slot, int fault);
int lws_abort(struct lws_context *context, uint32_t slot);
int64_t lws_queued(struct lws_context *context, uint32_t slot);
int lws_broadcast(struct lws_context *context, uintptr_t payload, size_t length, int protocol);
int lws_want_writable(struct lws_context *context, uint32_t slot);
int lws_rx_flow_control(struct lws_context *context, uint32_t slot, bool enable);
int64_t lws_latency(struct lws_context *context, uint32_t slot);
int lws_wake_in(struct lws_context *context, int ms);
int lws_stop(struct lws_context *context);
int lws_abort_all(struct lws_context *context);
uint32_t lws_connections(const struct lws_context *context);
int lws_feed(struct lws_context *context, uint32_t slot, uint32_t offset, uint32_t length,
             bool ended);
uint32_t lws_event_count(const struct lws_context *context);
uint32_t lws_secure_next(struct lws_context *context, const uint8_t **bytes, uint32_t *length);
int lws_secure_send(struct lws_context *context, uint32_t slot, const uint8_t *records,
                    size_t length);
int lws_secure_fail(struct lws_context *context, uint32_t slot);
