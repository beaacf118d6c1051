/* The C libwebsockets of the system: echo, and files. Arguments: port, folder. */
#include <libwebsockets.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A message that is put together, then waits until it can be written. */
struct message {
    struct message *next;
    size_t length, room;
    bool binary;
    unsigned char *bytes; /* LWS_PRE bytes of room, then the payload */
};

struct session {
    struct message *first, *last, *growing;
};

static const char *folder;

static bool grow(struct message *message, const void *in, size_t length) {
    if (message->room < message->length + length) {
        size_t room = message->length + length + message->length / 2;
        unsigned char *bytes = realloc(message->bytes, LWS_PRE + room);

        if (!bytes) {
            return false;
        }
        message->bytes = bytes;
        message->room = room;
    }
    memcpy(message->bytes + LWS_PRE + message->length, in, length);
    message->length += length;
    return true;
}

static void free_message(struct message *message) {
    if (message) {
        free(message->bytes);
    }
    free(message);
}

static int receive(struct lws *wsi, struct session *session, const void *in, size_t length) {
    struct message *message = session->growing;

    if (!message) {
        message = session->growing = calloc(1, sizeof *message);
        if (!message) {
            return -1;
        }
        message->binary = lws_frame_is_binary(wsi);
    }
    if (!grow(message, in, length)) {
        return -1;
    }
    if (!lws_is_final_fragment(wsi) || lws_remaining_packet_payload(wsi)) {
        return 0;
    }
    session->growing = NULL;
    if (session->last) {
        session->last->next = message;
    } else {
        session->first = message;
    }
    session->last = message;
    lws_callback_on_writable(wsi);
    return 0;
}

static int writable(struct lws *wsi, struct session *session) {
    struct message *message = session->first;

    if (!message) {
        return 0;
    }
    if (lws_write(wsi, message->bytes + LWS_PRE, message->length,
                  message->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT) < 0) {
        return -1;
    }
    session->first = message->next;
    if (!session->first) {
        session->last = NULL;
    }
    free_message(message);
    if (session->first) {
        lws_callback_on_writable(wsi);
    }
    return 0;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t length) {
    char path[512];

    switch (reason) {
    case LWS_CALLBACK_RECEIVE:
        return receive(wsi, user, in, length);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return writable(wsi, user);
    case LWS_CALLBACK_CLOSED: {
        struct session *session = user;

        while (session->first) {
            struct message *next = session->first->next;

            free_message(session->first);
            session->first = next;
        }
        free_message(session->growing);
        return 0;
    }
    case LWS_CALLBACK_HTTP:
        snprintf(path, sizeof path, "%s%s", folder, (const char *)in);
        return lws_serve_http_file(wsi, path, "text/html", NULL, 0) < 0 ? -1 : 0;
    default:
        return lws_callback_http_dummy(wsi, reason, user, in, length);
    }
}

int main(int argc, char **argv) {
    static const struct lws_protocols protocols[] = {
        {"echo", callback, sizeof(struct session), 64 * 1024, 0, NULL, 0},
        {NULL, NULL, 0, 0, 0, NULL, 0},
    };
    struct lws_context_creation_info info;
    struct lws_context *context;

    if (argc < 3) {
        return 2;
    }
    folder = argv[2];
    lws_set_log_level(LLL_ERR, NULL);
    memset(&info, 0, sizeof info);
    info.port = atoi(argv[1]);
    info.iface = "127.0.0.1";
    info.protocols = protocols;
    info.keepalive_timeout = 60;
    info.fd_limit_per_thread = 16384;
    context = lws_create_context(&info);
    if (!context) {
        return 1;
    }
    while (lws_service(context, 0) >= 0) {
    }
    lws_context_destroy(context);
    return 0;
}
