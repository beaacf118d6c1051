/* Private to the codec: text written into a bounded buffer. */
#ifndef LWS_WRITER_H
#define LWS_WRITER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * length goes on counting when the room is used up, so one comparison at the end tells whether
 * everything fitted. Nothing is written outside out[0..room).
 */
struct writer {
    uint8_t *out;
    size_t room;
    size_t length;
};

static inline void add(struct writer *writer, const void *bytes, size_t length) {
    if (length && writer->length <= writer->room && length <= writer->room - writer->length) {
        memcpy(writer->out + writer->length, bytes, length);
    }
    writer->length = length <= SIZE_MAX - writer->length ? writer->length + length : SIZE_MAX;
}

static inline void add_text(struct writer *writer, const char *text) {
    add(writer, text, strlen(text));
}

#endif
