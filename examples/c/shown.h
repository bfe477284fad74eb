/*
 * Foreign text, as it is shown: paths and data may hold escape sequences, which a terminal obeys, line breaks, which
 * make one line two, invalid UTF-8, and characters that turn the direction of writing, so that a name looks like
 * another. ZooKeeper takes nearly all of these in a path.
 */
#ifndef SHOWN_H
#define SHOWN_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* One character: as itself, or as what stands for it. */
struct shown {
    char text[16];
    uint32_t character; /* where it is as itself */
    bool escaped;
};

/* Decodes one character of UTF-8. Returns its length; 0 where there is none. */
static inline size_t decode_utf8(const char *text, size_t len, uint32_t *character)
{
    static const uint32_t shortest[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = (unsigned char)text[0];
    size_t size = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
    if (size == 0 || size > len)
        return 0;
    *character = size == 1 ? first : first & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        unsigned char next = (unsigned char)text[i];
        if (next >> 6 != 2)
            return 0;
        *character = *character << 6 | (next & 0x3f);
    }
    bool is_surrogate = *character >= 0xd800 && *character <= 0xdfff;
    return *character < shortest[size] || *character > 0x10ffff || is_surrogate ? 0 : size;
}

/* Whether a character does something where it is shown, or cannot be seen there: controls, ends of lines, marks that
 * turn the direction or have no width. The library has the same ones in its messages. */
static inline bool acts(uint32_t character)
{
    static const uint32_t ranges[][2] = {
        {0, 0x1f},         {0x7f, 0x9f},       {0xad, 0xad},         {0x61c, 0x61c},
        {0x180e, 0x180e},  {0x200b, 0x200f},   {0x2028, 0x202e},     {0x2060, 0x206f},
        {0xfeff, 0xfeff},  {0xfff9, 0xfffb},   {0xe0000, 0xe007f},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (character >= ranges[i][0] && character <= ranges[i][1])
            return true;
    }
    return false;
}

static inline void escape(struct shown *shown)
{
    shown->escaped = true;
    snprintf(shown->text, sizeof shown->text, "\\u{%" PRIx32 "}", shown->character);
}

/* The first character of a text that is not empty; without `utf8`, no more than ASCII is shown as itself. Returns how
 * many bytes it stands for, which is at least one. */
static inline size_t next_shown(const char *text, size_t len, bool utf8, struct shown *shown)
{
    unsigned char first = (unsigned char)text[0];
    size_t used = utf8 || first < 0x80 ? decode_utf8(text, len, &shown->character) : 0;
    shown->escaped = true;
    if (first == '\n' || first == '\r' || first == '\t' || first == '\\') {
        char name = first == '\n' ? 'n' : first == '\r' ? 'r' : first == '\t' ? 't' : '\\';
        snprintf(shown->text, sizeof shown->text, "\\%c", name);
    } else if (used == 0 || (first < 0x80 && acts(first))) {
        snprintf(shown->text, sizeof shown->text, "\\x%02x", first);
    } else if (acts(shown->character)) {
        escape(shown);
    } else {
        shown->escaped = false;
        memcpy(shown->text, text, used);
        shown->text[used] = '\0';
    }
    return used == 0 ? 1 : used;
}

/* Writes all of a text that ends with a NUL. */
static inline void print_shown(FILE *file, const char *text)
{
    struct shown shown;
    for (size_t at = 0, len = strlen(text); at < len; fputs(shown.text, file))
        at += next_shown(text + at, len - at, true, &shown);
}

#endif
