/*
 * top: a look into a cache: how it stands to the server, and its tree, live.
 *
 *     top [--once] [--interval MS] [--config KEY=VALUE]... [--config-file FILE]... HOSTS PATH
 *     top localhost:2181 /services
 *
 * On a terminal it shows a screen; the keys are in its last line, and in docs/top.md. Where standard input or output is
 * no terminal it prints one line for each event, and one each second that sums up. With --once it waits for the first
 * load, prints the header and the whole tree, and ends.
 *
 * How it uses the library: the tree on the screen is a snapshot, taken anew for each frame, which costs nothing. What
 * changed comes out of a queue, by the queue's descriptor in a poll() beside the keyboard, and only that is remembered
 * here, until it has faded. The numbers in the header are tc_stats. So top holds no tree of its own, needs no thread of
 * its own, and draws at its own pace however fast the events come.
 *
 * Exit codes: 0 ended by a key or a signal, 1 failed, 2 wrong usage.
 */
#define _XOPEN_SOURCE 700

#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <treecache.h>
#include <unistd.h>
#include <wchar.h>

#include "shown.h"

enum {
    EXIT_USAGE = 2,
    DEFAULT_INTERVAL_MS = 250, /* between frames */
    FADE_MS = 5000,            /* how long a change is seen, and a node that went */
    HALF_LIFE_MS = 10000,      /* after which heat is half of what it was */
    MINUTE = 60,               /* what the sparklines show, in s */
    ESCAPE_MS = 50,            /* after which an ESC without more is the key of that name */
    DRAIN = 256,               /* items to take out of the queue before the keyboard is looked at again */
    DEFAULT_WIDTH = 100,       /* where there is no terminal, nor COLUMNS */
};

/* --- Memory and text ------------------------------------------------------------------------------------------ */

/* What top needs is small. When not even that is there, it ends; the terminal is restored by exit(). */
static void *grown(void *array, size_t count, size_t size)
{
    void *larger = count <= SIZE_MAX / size ? realloc(array, count * size) : NULL;
    if (larger == NULL) {
        fprintf(stderr, "top: out of memory\n");
        exit(EXIT_FAILURE);
    }
    return larger;
}

/* Makes room for one more in an array that holds `len`; the capacity doubles. */
static void *with_room(void *array, size_t len, size_t *capacity, size_t size)
{
    if (len < *capacity)
        return array;
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    return grown(array, *capacity, size);
}

/* Bytes that grow. NUL-terminated once something was appended. */
struct text {
    char *bytes;
    size_t len, capacity;
};

static void append(struct text *text, const char *bytes, size_t len)
{
    if (text->len + len >= text->capacity) {
        text->capacity = (text->len + len + 1) * 2;
        text->bytes = grown(text->bytes, text->capacity, 1);
    }
    memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
    text->bytes[text->len] = '\0';
}

static void cut_back(struct text *text, size_t len)
{
    text->len = len;
    if (text->bytes != NULL)
        text->bytes[len] = '\0';
}

static void set_text(struct text *text, const char *bytes, size_t len)
{
    cut_back(text, 0);
    append(text, bytes, len);
}

/* --- Numbers for people --------------------------------------------------------------------------------------- */

struct label {
    char text[96];
};

/* For texts whose length is bounded by what they are made of: numbers and words of this file. */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
static struct label label(const char *format, ...)
{
    struct label made;
    va_list values;
    va_start(values, format);
    vsnprintf(made.text, sizeof made.text, format, values);
    va_end(values);
    return made;
}

/* 1,234,567 */
static struct label grouped(uint64_t number)
{
    struct label made = number < 1000 ? label("%" PRIu64, number) : grouped(number / 1000);
    if (number >= 1000)
        snprintf(strchr(made.text, '\0'), 5, ",%03u", (unsigned)(number % 1000));
    return made;
}

/* 999, 1.2k, 34k, 5.6M */
static struct label rounded(double number)
{
    static const char units[] = " kMGT";
    size_t unit = 0;
    while (number >= 999.5 && units[unit + 1] != '\0') {
        number /= 1000;
        unit++;
    }
    if (unit == 0)
        return label("%.0f", number);
    return label("%.*f%c", number < 9.95 ? 1 : 0, number, units[unit]);
}

static struct label size_label(uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    if (bytes < 1024)
        return label("%" PRIu64 " B", bytes);
    double size = (double)bytes / 1024;
    size_t unit = 0;
    while (size >= 1023.5 && unit + 1 < sizeof units / sizeof units[0]) {
        size /= 1024;
        unit++;
    }
    return label("%.*f %s", size < 9.95 ? 1 : 0, size, units[unit]);
}

/* Negative for what never was. */
static struct label age_label(int64_t ms)
{
    if (ms < 0)
        return label("never");
    if (ms < 1000)
        return label("%" PRId64 " ms", ms);
    if (ms < 10 * 1000)
        return label("%.1f s", (double)(ms / 100) / 10);
    int64_t s = ms / 1000;
    if (s < 120)
        return label("%" PRId64 " s", s);
    if (s < 120 * 60)
        return label("%" PRId64 " min", s / 60);
    if (s < 48 * 3600)
        return label("%" PRId64 " h", s / 3600);
    return label("%" PRId64 " d", s / (24 * 3600));
}

static struct label ago_label(int64_t ms)
{
    return label(ms < 0 ? "%s" : "%s ago", age_label(ms).text);
}

static int64_t clock_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- Lines that are safe to show ------------------------------------------------------------------------------ */

enum palette { NO_TERMINAL, NO_COLOURS, FEW_COLOURS, MANY_COLOURS, PALETTES };

enum style {
    PLAIN, LABEL, TITLES, GOOD, BUSY, BAD, SPARK, DATA, LOCKED,
    ADDED, ADDED_LATELY, ADDED_BEFORE, UPDATED, UPDATED_LATELY, UPDATED_BEFORE, GONE, STRUCK, STYLES
};

/* ECMA-48 "select graphic rendition", for each palette but the first, which has none. */
static const char *const RENDITIONS[STYLES][PALETTES] = {
    [PLAIN] = {"", "", "", ""},
    [LABEL] = {"", "", "", "38;5;245"},
    [TITLES] = {"", "1;4", "1;4", "1;4;38;5;250"},
    [GOOD] = {"", "1", "1;32", "1;38;5;77"},
    [BUSY] = {"", "1", "1;33", "1;38;5;214"},
    [BAD] = {"", "1;7", "1;37;41", "1;38;5;231;48;5;160"},
    [SPARK] = {"", "", "36", "38;5;74"},
    [DATA] = {"", "", "", "38;5;248"},
    [LOCKED] = {"", "3", "35", "38;5;176"},
    [ADDED] = {"", "1", "30;42", "38;5;16;48;5;78"},
    [ADDED_LATELY] = {"", "1", "32", "38;5;78"},
    [ADDED_BEFORE] = {"", "", "32", "38;5;71"},
    [UPDATED] = {"", "1", "30;43", "38;5;16;48;5;214"},
    [UPDATED_LATELY] = {"", "1", "33", "38;5;214"},
    [UPDATED_BEFORE] = {"", "", "33", "38;5;179"},
    [GONE] = {"", "", "31", "38;5;167"},
    [STRUCK] = {"", "9", "9;31", "9;38;5;167"},
};

/* What the place that top writes to can show. */
struct look {
    enum palette palette;
    bool utf8;
};

struct signs {
    const char *ellipsis, *dot, *unfolded, *folded, *leaf, *separator, *enter, *move;
    const char *levels[8]; /* of sparklines and heat */
};

static const struct signs *signs(const struct look *look)
{
    static const struct signs utf8 = {
        "…", "●", "▾ ", "▸ ", "  ", " · ", "⏎", "↑↓", {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"},
    };
    static const struct signs ascii = {
        "~", "*", "- ", "+ ", "  ", " | ", "Enter", "j/k", {"_", ".", ":", "-", "=", "+", "*", "#"},
    };
    return look->utf8 ? &utf8 : &ascii;
}

/* One line being written from left to right, no wider than the screen. */
struct pen {
    const struct look *look;
    struct text *line;
    int column, width;
    bool reversed; /* styles are shown in reverse: the selected node */
};

static void use(struct pen *pen, enum style style)
{
    if (pen->look->palette == NO_TERMINAL)
        return;
    const char *rendition = RENDITIONS[style][pen->look->palette];
    append(pen->line, "\033[0", 3);
    if (*rendition != '\0')
        append(pen->line, ";", 1);
    append(pen->line, rendition, strlen(rendition));
    if (pen->reversed)
        append(pen->line, ";7", 2);
    append(pen->line, "m", 1);
}

/* One character as it is shown: as itself, or escaped when a terminal might obey it, or nobody could see it. */
struct glyph {
    char text[16];
    int columns;
};

/* Returns how many bytes the glyph stands for; there is at least one. */
static size_t next_glyph(const struct look *look, const char *bytes, size_t len, struct glyph *glyph)
{
    struct shown shown;
    size_t used = next_shown(bytes, len, look->utf8, &shown);
    glyph->columns = shown.escaped ? (int)strlen(shown.text) : wcwidth((wchar_t)shown.character);
    if (glyph->columns <= 0) {
        escape(&shown);
        glyph->columns = (int)strlen(shown.text);
    }
    memcpy(glyph->text, shown.text, sizeof glyph->text);
    return used;
}

/* Writes what fits into that many columns. Where not all fits, an ellipsis is the last. */
static void put_part(struct pen *pen, const char *bytes, size_t len, int columns)
{
    if (columns > pen->width - pen->column)
        columns = pen->width - pen->column;
    int end = pen->column + columns;
    size_t fits_len = pen->line->len; /* up to where there is still room for the ellipsis */
    int fits_column = pen->column;
    struct glyph glyph;
    for (size_t at = 0; at < len;) {
        at += next_glyph(pen->look, bytes + at, len - at, &glyph);
        if (pen->column + glyph.columns > end) {
            cut_back(pen->line, fits_len);
            pen->column = fits_column;
            if (columns > 0) {
                const char *ellipsis = signs(pen->look)->ellipsis;
                append(pen->line, ellipsis, strlen(ellipsis));
                pen->column++;
            }
            return;
        }
        append(pen->line, glyph.text, strlen(glyph.text));
        pen->column += glyph.columns;
        if (pen->column < end) {
            fits_len = pen->line->len;
            fits_column = pen->column;
        }
    }
}

static void put(struct pen *pen, const char *text)
{
    put_part(pen, text, strlen(text), INT_MAX);
}

static int columns_of(const struct look *look, const char *bytes, size_t len)
{
    int columns = 0;
    struct glyph glyph;
    for (size_t at = 0; at < len && columns < INT_MAX / 2; columns += glyph.columns)
        at += next_glyph(look, bytes + at, len - at, &glyph);
    return columns;
}

/* As put_part, but it is the beginning that is left out: the end of a path tells more. */
static void put_end_part(struct pen *pen, const char *bytes, size_t len, int columns)
{
    if (columns > pen->width - pen->column)
        columns = pen->width - pen->column;
    int all = columns_of(pen->look, bytes, len);
    if (all > columns && columns > 0) {
        size_t at = 0;
        for (struct glyph glyph; all > columns - 1 && at < len; all -= glyph.columns)
            at += next_glyph(pen->look, bytes + at, len - at, &glyph);
        put(pen, signs(pen->look)->ellipsis);
        bytes += at;
        len -= at;
    }
    put_part(pen, bytes, len, columns);
}

static void pad_to(struct pen *pen, int column)
{
    while (pen->column < column && pen->column < pen->width)
        put(pen, " ");
}

/* Right-aligned, to end before the column. */
static void put_before(struct pen *pen, int column, const char *text)
{
    pad_to(pen, column - columns_of(pen->look, text, strlen(text)));
    put(pen, text);
}

/* --- What is remembered of a path ----------------------------------------------------------------------------- */

/*
 * All that is not in the snapshot: how a node changed lately, and whether the user has folded it. A note is dropped
 * when it says nothing any more, so there are as many as nodes that changed within a minute or so.
 */
struct note {
    struct note *next; /* in the same bucket */
    size_t hash;
    enum { UNCHANGED, WAS_ADDED, WAS_UPDATED, WAS_REMOVED } change;
    int64_t changed_at;  /* on the monotonic clock, in ms */
    double heat;         /* changes, those of a half-life ago counted half, and so on */
    const tc_item *gone; /* of a node that was removed: its event, which has the last data and Stat */
    bool folded;
    size_t path_len;
    char path[];
};

struct notes {
    struct note **buckets;
    size_t bucket_count, len;
};

static size_t hash_of(const char *path, size_t len)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)path[i]) * 1099511628211u;
    return (size_t)(hash ^ hash >> 32);
}

static struct note *find_note(const struct notes *notes, const char *path, size_t len)
{
    if (notes->len == 0)
        return NULL;
    size_t hash = hash_of(path, len);
    struct note *note = notes->buckets[hash % notes->bucket_count];
    while (note != NULL && (note->hash != hash || note->path_len != len || memcmp(note->path, path, len) != 0))
        note = note->next;
    return note;
}

static void link_note(struct notes *notes, struct note *note)
{
    struct note **bucket = &notes->buckets[note->hash % notes->bucket_count];
    note->next = *bucket;
    *bucket = note;
}

static void resize_notes(struct notes *notes, size_t bucket_count)
{
    struct notes resized = {grown(NULL, bucket_count, sizeof *notes->buckets), bucket_count, notes->len};
    for (size_t i = 0; i < bucket_count; i++)
        resized.buckets[i] = NULL;
    for (size_t i = 0; i < notes->bucket_count; i++) {
        for (struct note *note = notes->buckets[i], *next; note != NULL; note = next) {
            next = note->next;
            link_note(&resized, note);
        }
    }
    free(notes->buckets);
    *notes = resized;
}

static struct note *find_or_add_note(struct notes *notes, const char *path, size_t len)
{
    struct note *note = find_note(notes, path, len);
    if (note != NULL)
        return note;
    if (notes->len >= notes->bucket_count)
        resize_notes(notes, notes->bucket_count == 0 ? 64 : notes->bucket_count * 2);
    note = grown(NULL, 1, sizeof *note + len + 1);
    *note = (struct note){.hash = hash_of(path, len), .path_len = len};
    memcpy(note->path, path, len);
    note->path[len] = '\0';
    link_note(notes, note);
    notes->len++;
    return note;
}

/* Lets notes cool down and fade, and drops those that say nothing any more. Returns whether a removed node has
 * faded. */
static bool fade_notes(struct notes *notes, int64_t now, int64_t elapsed_ms)
{
    double cooling = exp2(-(double)elapsed_ms / HALF_LIFE_MS);
    bool ghost_faded = false;
    for (size_t i = 0; i < notes->bucket_count; i++) {
        for (struct note **link = &notes->buckets[i], *note; (note = *link) != NULL;) {
            note->heat *= cooling;
            if (note->change != UNCHANGED && now - note->changed_at >= FADE_MS) {
                ghost_faded |= note->change == WAS_REMOVED;
                note->change = UNCHANGED;
                tc_item_free(note->gone);
                note->gone = NULL;
            }
            if (note->change == UNCHANGED && note->heat < 0.05 && !note->folded) {
                *link = note->next;
                free(note);
                notes->len--;
            } else {
                link = &note->next;
            }
        }
    }
    if (notes->bucket_count > 64 && notes->len < notes->bucket_count / 4)
        resize_notes(notes, notes->bucket_count / 2);
    return ghost_faded;
}

static void free_notes(struct notes *notes)
{
    for (size_t i = 0; i < notes->bucket_count; i++) {
        for (struct note *note = notes->buckets[i], *next; note != NULL; note = next) {
            next = note->next;
            tc_item_free(note->gone);
            free(note);
        }
    }
    free(notes->buckets);
}

/* --- What is known of the cache ------------------------------------------------------------------------------- */

enum { EVENTS, CHANGES, READS, BATCHES, CUTS, RATES };

static const char *const RATE_NAMES[RATES] = {"events", "changes", "reads", "batches", "cuts"};

struct model {
    tc_cache *cache;
    const char *root;
    const tc_snapshot *snapshot; /* NULL before the first frame */
    const tc_stats *stats;       /* NULL before the first look */
    int64_t taken_at, taken_wall; /* when the snapshot was taken, on the monotonic and on the wall clock, in ms */

    bool initialized;  /* INITIALIZED was told: from here on nodes that are added are new */
    bool tree_changed; /* nodes came or went since the rows were made */
    bool heat_changed;
    struct notes notes;
    uint64_t changes; /* of nodes, since the first load */

    uint64_t faults;
    struct text fault; /* the last one */
    int64_t fault_at;

    int64_t sampled_at;             /* 0: never */
    uint64_t sampled[RATES];        /* what was counted then */
    uint64_t seconds;               /* how many have been sampled */
    double rates[MINUTE][RATES];    /* for each of the last ones, at its number modulo MINUTE */
};

static void remember_change(struct model *model, const tc_item *item, bool *kept)
{
    const tc_event *event = tc_item_event(item);
    struct note *note = find_or_add_note(&model->notes, event->path, event->path_len);
    tc_item_free(note->gone);
    note->gone = NULL;
    note->change = event->type == TC_EVENT_NODE_ADDED     ? WAS_ADDED
                   : event->type == TC_EVENT_NODE_REMOVED ? WAS_REMOVED
                                                          : WAS_UPDATED;
    note->changed_at = clock_ms(CLOCK_MONOTONIC);
    note->heat += 1;
    model->heat_changed = true;
    if (note->change == WAS_REMOVED) {
        note->gone = item;
        *kept = true;
    }
}

static void remember_fault(struct model *model, const tc_fault *fault)
{
    const char *status = tc_status_name(fault->status);
    model->faults++;
    model->fault_at = clock_ms(CLOCK_MONOTONIC);
    set_text(&model->fault, status, strlen(status));
    append(&model->fault, ": ", 2);
    append(&model->fault, fault->message, strlen(fault->message));
    if (fault->path != NULL) {
        append(&model->fault, " at ", 4);
        append(&model->fault, fault->path, strlen(fault->path));
    }
}

static bool is_of_a_node(const tc_event *event)
{
    return event->type == TC_EVENT_NODE_ADDED || event->type == TC_EVENT_NODE_UPDATED ||
           event->type == TC_EVENT_NODE_REMOVED;
}

/* Takes what came out of the queue. An item is the program's own until it is freed; some are kept for a while. */
static void take_item(struct model *model, const tc_item *item)
{
    bool kept = false;
    const tc_event *event = tc_item_event(item);
    if (event == NULL) {
        remember_fault(model, tc_item_fault(item));
    } else if (is_of_a_node(event)) {
        model->tree_changed |= event->type != TC_EVENT_NODE_UPDATED;
        if (model->initialized) {
            model->changes++;
            remember_change(model, item, &kept);
        }
    } else if (event->type == TC_EVENT_INITIALIZED) {
        model->initialized = true;
    }
    if (!kept)
        tc_item_free(item);
}

/* Once a second: what was counted since the last time. */
static void sample_rates(struct model *model, int64_t now)
{
    const tc_stats *stats = model->stats;
    const uint64_t counted[RATES] = {
        [EVENTS] = stats->events, [CHANGES] = model->changes, [READS] = stats->reads,
        [BATCHES] = stats->batches, [CUTS] = stats->cuts,
    };
    if (model->sampled_at != 0) {
        double elapsed_s = (double)(now - model->sampled_at) / 1000;
        double *rates = model->rates[model->seconds++ % MINUTE];
        for (size_t i = 0; i < RATES; i++)
            rates[i] = (double)(counted[i] - model->sampled[i]) / elapsed_s;
    }
    memcpy(model->sampled, counted, sizeof counted);
    model->sampled_at = now;
}

static double last_rate(const struct model *model, size_t which)
{
    return model->seconds == 0 ? 0 : model->rates[(model->seconds - 1) % MINUTE][which];
}

/* Returns whether a second has gone since the last sample. */
static bool look_at_stats(struct model *model, int64_t now)
{
    const tc_stats *stats;
    if (tc_get_stats(model->cache, &stats) != TC_OK)
        return false;
    tc_stats_free(model->stats);
    model->stats = stats;
    if (model->sampled_at != 0 && now - model->sampled_at < 1000)
        return false;
    sample_rates(model, now);
    return true;
}

/* A snapshot costs nothing, so each frame has its own: what is seen together was there together. */
static void look_at_tree(struct model *model, int64_t now)
{
    const tc_snapshot *snapshot;
    if (tc_get_snapshot(model->cache, &snapshot) != TC_OK)
        return; /* closed: what is there stays on the screen */
    tc_snapshot_free(model->snapshot);
    model->snapshot = snapshot;
    if (model->taken_at != 0)
        model->tree_changed |= fade_notes(&model->notes, now, now - model->taken_at);
    model->taken_at = now;
    model->taken_wall = clock_ms(CLOCK_REALTIME);
}

static void free_model(struct model *model)
{
    free_notes(&model->notes);
    free(model->fault.bytes);
    tc_stats_free(model->stats);
    tc_snapshot_free(model->snapshot);
}

/* False only where the cache could not be asked. */
static bool has_looked(const struct model *model)
{
    return model->snapshot != NULL && model->stats != NULL;
}

static const char *state_name(tc_state state)
{
    switch (state) {
    case TC_STATE_LATENT: return "LATENT";
    case TC_STATE_LOADING: return "LOADING";
    case TC_STATE_IN_STEP: return "IN STEP";
    case TC_STATE_CATCHING_UP: return "CATCHING UP";
    case TC_STATE_SUSPENDED: return "SUSPENDED";
    case TC_STATE_LOST: return "LOST";
    case TC_STATE_CLOSED: return "CLOSED";
    case TC_STATE_HELD: return "HELD";
    default: return "UNKNOWN"; /* A newer library may know more. */
    }
}

static enum style state_style(tc_state state)
{
    switch (state) {
    case TC_STATE_IN_STEP: return GOOD;
    case TC_STATE_LATENT:
    case TC_STATE_LOADING:
    case TC_STATE_CATCHING_UP: return BUSY;
    default: return BAD;
    }
}

/* --- The rows: which nodes are shown, in which order ---------------------------------------------------------- */

struct row {
    size_t path; /* where in the view's paths */
    size_t path_len;
    size_t depth; /* below the root */
    double heat;
    enum { ALIVE, UNREADABLE, GHOST } kind;
};

/* What the user has chosen to see. Rows hold paths alone; what is on the screen is read from the snapshot. */
struct view {
    struct row *rows;
    size_t len, capacity;
    struct text paths; /* of all rows, each NUL-terminated */
    bool stale;        /* the rows are to be made anew, for another reason than a change of the tree */
    uint64_t versions; /* published when they were made */
    int64_t made_at;

    bool by_heat;
    struct text filter; /* a part of the path; empty for all */
    bool filtering;     /* it is being typed */
    bool paused;
    size_t top, selected; /* rows */
    struct text selected_path;
    size_t page; /* how many rows fit on the screen */
};

static const char *path_of(const struct view *view, const struct row *row)
{
    return view->paths.bytes + row->path;
}

static size_t depth_of(const char *path, size_t len)
{
    size_t depth = 0;
    for (size_t i = 0; i < len; i++)
        depth += path[i] == '/';
    return len == 1 ? 0 : depth; /* "/" */
}

/* Parents before their children, siblings by their bytes: a slash is before every other byte. */
static int in_tree_order(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    if (*a == '\0' || *b == '\0')
        return (*a != '\0') - (*b != '\0');
    return (*a == '/' ? 0 : (unsigned char)*a) - (*b == '/' ? 0 : (unsigned char)*b);
}

static int notes_in_tree_order(const void *a, const void *b)
{
    return in_tree_order((*(const struct note *const *)a)->path, (*(const struct note *const *)b)->path);
}

/* The hottest first; the rest as in the tree, whose order is that of the paths in memory. */
static int rows_by_heat(const void *a, const void *b)
{
    const struct row *left = a, *right = b;
    if (left->heat != right->heat)
        return left->heat > right->heat ? -1 : 1;
    return left->path < right->path ? -1 : 1;
}

static bool has_children(const struct model *model, const char *path)
{
    const tc_node *node;
    if (tc_snapshot_get_data(model->snapshot, path, &node) != TC_OK)
        return false;
    bool has = node->stat.num_children > 0;
    tc_node_free(node);
    return has;
}

static bool is_folded(const struct notes *notes, const struct view *view, const char *path, size_t len)
{
    const struct note *note = view->filter.len == 0 ? find_note(notes, path, len) : NULL;
    return note != NULL && note->folded;
}

static bool is_below_a_fold(const struct model *model, const struct view *view, const char *path, size_t len)
{
    for (size_t i = len; i-- > 0;) {
        if (path[i] == '/' && is_folded(&model->notes, view, path, i == 0 ? 1 : i))
            return true;
    }
    return false;
}

/* The nodes that went and have not faded, where they are not folded away. */
struct ghosts {
    const struct note **notes;
    size_t len, next;
};

static struct ghosts find_ghosts(const struct model *model, const struct view *view)
{
    struct ghosts ghosts = {0};
    size_t capacity = 0;
    for (size_t i = 0; i < model->notes.bucket_count; i++) {
        for (const struct note *note = model->notes.buckets[i]; note != NULL; note = note->next) {
            if (note->change != WAS_REMOVED || is_below_a_fold(model, view, note->path, note->path_len))
                continue;
            ghosts.notes = with_room(ghosts.notes, ghosts.len, &capacity, sizeof *ghosts.notes);
            ghosts.notes[ghosts.len++] = note;
        }
    }
    if (ghosts.len > 0)
        qsort(ghosts.notes, ghosts.len, sizeof *ghosts.notes, notes_in_tree_order);
    return ghosts;
}

static void add_row(struct view *view, const struct model *model, const char *path, size_t len, int kind)
{
    const struct note *note = view->by_heat ? find_note(&model->notes, path, len) : NULL;
    view->rows = with_room(view->rows, view->len, &view->capacity, sizeof *view->rows);
    view->rows[view->len++] = (struct row){
        .path = view->paths.len,
        .path_len = len,
        .depth = depth_of(path, len) - depth_of(model->root, strlen(model->root)),
        .heat = note != NULL ? note->heat : 0,
        .kind = kind,
    };
    append(&view->paths, path, len + 1);
}

/* Adds a node of the snapshot, and before it the ghosts whose place is there. Returns whether it is to be looked
 * into. */
static bool add_node(struct view *view, const struct model *model, struct ghosts *ghosts, const tc_visit *visit)
{
    for (; ghosts->next < ghosts->len; ghosts->next++) {
        const struct note *ghost = ghosts->notes[ghosts->next];
        int order = in_tree_order(ghost->path, visit->path);
        if (order > 0)
            break;
        if (order < 0) /* else it is here: the snapshot is newer than the last event */
            add_row(view, model, ghost->path, ghost->path_len, GHOST);
    }
    add_row(view, model, visit->path, visit->path_len, visit->node != NULL ? ALIVE : UNREADABLE);
    return !is_folded(&model->notes, view, visit->path, visit->path_len);
}

/* Walks the snapshot from the root down. tc_snapshot_walk() would leave out what may not be read. */
static void add_tree(struct view *view, const struct model *model, struct ghosts *ghosts)
{
    tc_walk *walk = NULL;
    const tc_visit *visit;
    if (tc_walk_new(model->snapshot, model->root, &walk) == TC_OK) {
        while (tc_walk_next(walk, &visit) == TC_OK && visit != NULL) {
            if (!add_node(view, model, ghosts, visit))
                tc_walk_skip(walk);
        }
        tc_walk_free(walk);
    }
    for (; ghosts->next < ghosts->len; ghosts->next++)
        add_row(view, model, ghosts->notes[ghosts->next]->path, ghosts->notes[ghosts->next]->path_len, GHOST);
}

/* Leaves the rows whose path has the filter in it and, in the tree, those above them. */
static void filter_rows(struct view *view)
{
    size_t kept = view->len; /* the kept ones gather at the end */
    for (size_t i = view->len; i-- > 0;) {
        bool is_above = !view->by_heat && kept < view->len && view->rows[kept].depth > view->rows[i].depth;
        if (is_above || strstr(path_of(view, &view->rows[i]), view->filter.bytes) != NULL)
            view->rows[--kept] = view->rows[i];
    }
    view->len -= kept;
    memmove(view->rows, view->rows + kept, view->len * sizeof *view->rows);
}

static void select_row(struct view *view, size_t selected)
{
    view->selected = view->len == 0 ? 0 : selected < view->len ? selected : view->len - 1;
    if (view->len > 0)
        set_text(&view->selected_path, path_of(view, &view->rows[view->selected]), view->rows[view->selected].path_len);
}

/* In the tree the selection stays with its node; among the hottest it stays at its place. */
static void select_again(struct view *view)
{
    size_t selected = view->selected;
    for (size_t i = 0; i < view->len && !view->by_heat; i++) {
        if (view->rows[i].path_len == view->selected_path.len &&
            memcmp(path_of(view, &view->rows[i]), view->selected_path.bytes, view->selected_path.len) == 0)
            selected = i;
    }
    select_row(view, selected);
}

static void make_rows(struct view *view, struct model *model, int64_t now)
{
    view->len = 0;
    cut_back(&view->paths, 0);
    struct ghosts ghosts = find_ghosts(model, view);
    add_tree(view, model, &ghosts);
    free(ghosts.notes);
    if (view->filter.len > 0)
        filter_rows(view);
    if (view->by_heat)
        qsort(view->rows, view->len, sizeof *view->rows, rows_by_heat);
    select_again(view);
    view->stale = model->tree_changed = model->heat_changed = false;
    view->versions = model->stats->versions;
    view->made_at = now;
}

/* Rows cost time for each node that is shown, so they are made only when they would differ. What the session may not
 * read comes and goes without an event: a new version is reason enough once a second. */
static void update_rows(struct view *view, struct model *model, int64_t now)
{
    if (view->stale || model->tree_changed || (view->by_heat && model->heat_changed) ||
        (view->versions != model->stats->versions && now - view->made_at >= 1000))
        make_rows(view, model, now);
}

static void free_view(struct view *view)
{
    free(view->rows);
    free(view->paths.bytes);
    free(view->filter.bytes);
    free(view->selected_path.bytes);
}

/* --- A frame -------------------------------------------------------------------------------------------------- */

/* Lines of text with their styles. */
struct frame {
    struct look look;
    struct text *lines;
    size_t len, capacity; /* lines beyond `len` keep their memory for the next frame */
    int width;
};

static struct pen begin_line(struct frame *frame)
{
    if (frame->len == frame->capacity) {
        size_t filled = frame->capacity;
        frame->lines = with_room(frame->lines, frame->len, &frame->capacity, sizeof *frame->lines);
        memset(frame->lines + filled, 0, (frame->capacity - filled) * sizeof *frame->lines);
    }
    struct text *line = &frame->lines[frame->len++];
    set_text(line, "", 0);
    return (struct pen){.look = &frame->look, .line = line, .width = frame->width};
}

static void free_frame(struct frame *frame)
{
    for (size_t i = 0; i < frame->capacity; i++)
        free(frame->lines[i].bytes);
    free(frame->lines);
}

/* Below each other: what is counted, and how fast. */
static int grid_of(const struct frame *frame)
{
    return frame->width > RATES * 12 ? (frame->width - 1) / RATES : 12;
}

/* A label with its value, in a grid: the next line is begun where this one is full. */
static void put_cell(struct frame *frame, struct pen *pen, const char *name, const char *value)
{
    int grid = grid_of(frame);
    int columns = columns_of(pen->look, name, strlen(name)) + 1 + columns_of(pen->look, value, strlen(value));
    if (pen->column > 1 && pen->column + columns > pen->width)
        *pen = begin_line(frame);
    pad_to(pen, 1);
    use(pen, LABEL);
    put(pen, name);
    put(pen, " ");
    use(pen, PLAIN);
    put(pen, value);
    put(pen, "  ");
    pad_to(pen, 1 + (pen->column - 1 + grid - 1) / grid * grid);
}

/* Whether the server has no such node as the root; a tree that is empty is one. */
static bool root_is_missing(const struct model *model)
{
    const tc_node *node = NULL;
    int32_t status = model->snapshot == NULL ? TC_ERR_NOT_READY
                                             : tc_snapshot_get_data(model->snapshot, model->root, &node);
    tc_node_free(node);
    return status == TC_ERR_NO_NODE;
}

static void draw_state(struct frame *frame, const struct model *model, const struct view *view)
{
    const tc_stats *stats = model->stats;
    struct pen pen = begin_line(frame);
    const char *dot = signs(pen.look)->dot;
    put(&pen, " ");
    use(&pen, state_style(stats->state));
    put(&pen, label("%s %s", dot, state_name(stats->state)).text);
    use(&pen, PLAIN);
    put(&pen, "  ");
    put(&pen, model->root);
    if (root_is_missing(model)) {
        put(&pen, "  ");
        use(&pen, BUSY);
        put(&pen, "the root does not exist");
        use(&pen, PLAIN);
    }
    if (view->paused) {
        put(&pen, "  ");
        use(&pen, BUSY);
        put(&pen, label("PAUSED %s", ago_label(clock_ms(CLOCK_MONOTONIC) - model->taken_at).text).text);
    }
}

static void draw_stats(struct frame *frame, const struct model *model)
{
    const tc_stats *stats = model->stats;
    struct pen pen = begin_line(frame);
    put_cell(frame, &pen, "server", stats->server != NULL ? stats->server : "none");
    put_cell(frame, &pen, "session", label("0x%" PRIx64, (uint64_t)stats->session_id).text);
    put_cell(frame, &pen, "connections", grouped(stats->connections).text);
    put_cell(frame, &pen, "contact", ago_label(stats->contact_age_ms).text);
    put_cell(frame, &pen, "cut", ago_label(stats->cut_age_ms).text);
    put_cell(frame, &pen, "zxid", label("0x%" PRIx64 "%s%s", (uint64_t)tc_snapshot_zxid(model->snapshot),
        signs(pen.look)->separator, tc_snapshot_is_cut(model->snapshot) ? "a cut" : "no cut").text);
    put_cell(frame, &pen, "nodes", grouped(stats->nodes).text);
    put_cell(frame, &pen, "data", size_label(stats->bytes).text);
    put_cell(frame, &pen, "versions", grouped(stats->versions).text);
    put_cell(frame, &pen, "resyncs", grouped(stats->resyncs).text);
    put_cell(frame, &pen, "lags", grouped(stats->lags).text);
    put_cell(frame, &pen, "faults", grouped(model->faults).text);
}

/* The last minute in so many columns. Each stands for the highest of some seconds, which stay together as they move. */
static void put_sparkline(struct pen *pen, const struct model *model, size_t which, int columns)
{
    if (columns < 1)
        return;
    uint64_t each = (uint64_t)((MINUTE + columns - 1) / columns);
    uint64_t first = model->seconds > MINUTE ? model->seconds - MINUTE : 0;
    double highest = 1;
    for (uint64_t second = first; second < model->seconds; second++)
        highest = fmax(highest, model->rates[second % MINUTE][which]);
    for (uint64_t group = (first + each - 1) / each; group * each < model->seconds; group++) {
        double rate = 0;
        for (uint64_t second = group * each; second < model->seconds && second < (group + 1) * each; second++)
            rate = fmax(rate, model->rates[second % MINUTE][which]);
        put(pen, signs(pen->look)->levels[(size_t)ceil(rate / highest * 7)]); /* the lowest is for nothing at all */
    }
}

static void draw_rates(struct frame *frame, const struct model *model)
{
    int columns = grid_of(frame);
    struct pen pen = begin_line(frame);
    for (int i = 0; i < RATES; i++) {
        pad_to(&pen, 1 + i * columns);
        use(&pen, LABEL);
        put_part(&pen, RATE_NAMES[i], strlen(RATE_NAMES[i]), columns - 1);
        use(&pen, PLAIN);
        struct label rate = label(" %s/s", rounded(last_rate(model, (size_t)i)).text);
        put_part(&pen, rate.text, strlen(rate.text), 1 + (i + 1) * columns - 1 - pen.column);
    }
    pen = begin_line(frame);
    use(&pen, SPARK);
    for (int i = 0; i < RATES; i++) {
        pad_to(&pen, 1 + i * columns);
        put_sparkline(&pen, model, (size_t)i, columns - 2);
    }
}

static void draw_fault(struct frame *frame, const struct model *model, int64_t now)
{
    struct pen pen = begin_line(frame);
    if (model->faults == 0)
        return;
    int64_t age = now - model->fault_at;
    use(&pen, age < FADE_MS ? BAD : LABEL);
    put(&pen, label(" %s: ", ago_label(age).text).text);
    put_part(&pen, model->fault.bytes, model->fault.len, INT_MAX);
    put(&pen, " ");
}

/* Where the columns of the tree end. */
struct columns {
    int path, version, size, age, children, mark;
};

static struct columns columns_in(int width)
{
    int path = (width - 33) / 2;
    path = path < 20 ? 20 : path;
    return (struct columns){path, path + 6, path + 15, path + 23, path + 29, path + 32};
}

static void draw_titles(struct frame *frame, const struct view *view)
{
    struct columns at = columns_in(frame->width);
    struct pen pen = begin_line(frame);
    use(&pen, TITLES);
    put(&pen, view->by_heat ? "   NODE, HOTTEST FIRST" : "   NODE");
    put_before(&pen, at.version, "VERS");
    put_before(&pen, at.size, "SIZE");
    put_before(&pen, at.age, "CHANGED");
    put_before(&pen, at.children, "KIDS");
    pad_to(&pen, at.mark);
    put(&pen, "DATA");
    pad_to(&pen, frame->width);
}

/* A change is bright at first, then fades. */
static enum style change_style(const struct note *note, int64_t now)
{
    if (note == NULL || note->change == UNCHANGED)
        return PLAIN;
    if (note->change == WAS_REMOVED)
        return GONE;
    int64_t age = now - note->changed_at;
    int step = age < 1000 ? 0 : age < FADE_MS / 2 ? 1 : 2;
    return (note->change == WAS_ADDED ? ADDED : UPDATED) + (enum style)step;
}

/* What happened to the node lately, and how much. */
static void put_change(struct pen *pen, const struct note *note)
{
    static const char *const happened[] = {" ", "+", "~", "-"};
    put(pen, note != NULL ? happened[note->change] : " ");
    int level = note != NULL && note->heat >= 0.5 ? (int)log2(note->heat * 2) : -1;
    put(pen, level < 0 ? " " : signs(pen->look)->levels[level < 7 ? level : 7]);
    put(pen, " ");
}

static void put_name(struct pen *pen, const struct model *model, const struct view *view, const struct row *row,
                     bool has_children, int end)
{
    const char *path = path_of(view, row);
    if (view->by_heat) {
        put_end_part(pen, path, row->path_len, end - pen->column);
        return;
    }
    /* A name far down keeps half of the room. */
    size_t indent = row->depth * 2, most = (size_t)(end - pen->column) / 2;
    pad_to(pen, pen->column + (int)(indent < most ? indent : most));
    const struct signs *sign = signs(pen->look);
    bool folded = is_folded(&model->notes, view, path, row->path_len);
    put(pen, !has_children ? sign->leaf : folded ? sign->folded : sign->unfolded);
    const char *name = row->depth == 0 ? path : strrchr(path, '/') + 1;
    put_part(pen, name, strlen(name), end - pen->column);
}

static void put_stat(struct pen *pen, const struct columns *at, const tc_stat *stat, int64_t age_ms)
{
    put_before(pen, at->version, label("%" PRId32, stat->version).text);
    put_before(pen, at->size, size_label((uint64_t)stat->data_length).text);
    put_before(pen, at->age, age_label(age_ms < 0 ? 0 : age_ms).text); /* the server's clock may be ahead of ours */
    if (stat->num_children > 0)
        put_before(pen, at->children, rounded(stat->num_children).text);
    pad_to(pen, at->children + 1);
    put(pen, stat->ephemeral_owner != 0 ? "E" : " ");
}

static void draw_row(struct frame *frame, const struct model *model, const struct view *view, const struct row *row,
                     bool selected)
{
    struct columns at = columns_in(frame->width);
    struct pen pen = begin_line(frame);
    pen.reversed = selected;
    const char *path = path_of(view, row);
    const struct note *note = find_note(&model->notes, path, row->path_len);
    const tc_node *node = NULL;
    const tc_stat *stat = NULL;
    const uint8_t *data = NULL;
    size_t data_len = 0;
    int64_t age_ms = 0;
    if (row->kind == GHOST && note != NULL && note->gone != NULL) {
        const tc_event *event = tc_item_event(note->gone);
        stat = event->stat;
        data = event->data;
        data_len = event->data_len;
        age_ms = model->taken_at - note->changed_at;
    } else if (tc_snapshot_get_data(model->snapshot, path, &node) == TC_OK) {
        stat = &node->stat;
        data = node->data;
        data_len = node->data_len;
        age_ms = model->taken_wall - stat->mtime;
    }

    enum style style = selected                  ? PLAIN
                       : row->kind == UNREADABLE ? LOCKED
                                                 : change_style(note, model->taken_at);
    bool is_gone = row->kind == GHOST;
    use(&pen, style);
    put_change(&pen, note);
    use(&pen, is_gone ? STRUCK : style);
    put_name(&pen, model, view, row, stat != NULL && stat->num_children > 0, at.path);
    use(&pen, style); /* no line through what is empty */
    if (stat != NULL)
        put_stat(&pen, &at, stat, age_ms);
    pad_to(&pen, at.mark);
    use(&pen, is_gone ? STRUCK : style == PLAIN && !selected ? DATA : style);
    if (row->kind == UNREADABLE)
        put(&pen, "(not ours to read)");
    put_part(&pen, (const char *)data, data_len, INT_MAX);
    use(&pen, style);
    if (selected || style == ADDED || style == UPDATED)
        pad_to(&pen, frame->width);
    tc_node_free(node);
}

/* All about the selected node that the columns have no room for. */
static void draw_selected(struct frame *frame, const struct model *model, const struct view *view)
{
    struct pen pen = begin_line(frame);
    if (view->len == 0) {
        use(&pen, LABEL);
        put(&pen, view->filter.len > 0 ? " No path has that in it" : " There is no such node");
        return;
    }
    const char *path = path_of(view, &view->rows[view->selected]);
    const tc_node *node;
    struct label stat = label("  gone");
    if (tc_snapshot_get_data(model->snapshot, path, &node) == TC_OK) {
        stat = label("  czxid 0x%" PRIx64 "  mzxid 0x%" PRIx64 "%s", (uint64_t)node->stat.czxid,
                     (uint64_t)node->stat.mzxid, node->stat.ephemeral_owner != 0 ? "  owner " : "");
        if (node->stat.ephemeral_owner != 0)
            snprintf(strchr(stat.text, '\0'), 20, "0x%" PRIx64, (uint64_t)node->stat.ephemeral_owner);
        tc_node_free(node);
    }
    put(&pen, " ");
    put_end_part(&pen, path, strlen(path), frame->width - 2 - (int)strlen(stat.text));
    use(&pen, LABEL);
    put(&pen, stat.text);
}

static void draw_keys(struct frame *frame, const struct view *view)
{
    struct pen pen = begin_line(frame);
    const struct signs *sign = signs(pen.look);
    if (view->filtering) {
        use(&pen, BUSY);
        put(&pen, " /");
        put_end_part(&pen, view->filter.bytes, view->filter.len, frame->width - 30);
        put(&pen, "_");
        use(&pen, LABEL);
        put(&pen, label("  %s keep  Esc all", sign->enter).text);
        return;
    }
    struct label place = label("%s of %s ", grouped(view->len == 0 ? 0 : view->selected + 1).text,
                               grouped(view->len).text);
    use(&pen, LABEL);
    put(&pen, label(" %s move  %s fold  s %s  / filter  p %s  q quit", sign->move, sign->enter,
                    view->by_heat ? "tree" : "heat", view->paused ? "go on" : "pause").text);
    if (view->filter.len > 0) {
        use(&pen, BUSY);
        put(&pen, "  /");
        put_end_part(&pen, view->filter.bytes, view->filter.len,
                     frame->width - pen.column - (int)strlen(place.text) - 2);
    }
    use(&pen, LABEL);
    put_before(&pen, frame->width, place.text);
}

static void draw_header(struct frame *frame, const struct model *model, const struct view *view, int64_t now)
{
    frame->len = 0;
    draw_state(frame, model, view);
    draw_stats(frame, model);
    draw_rates(frame, model);
    draw_fault(frame, model, now);
    draw_titles(frame, view);
}

/* What a screen of so many lines shows. */
static void draw_screen(struct frame *frame, const struct model *model, struct view *view, int height, int64_t now)
{
    enum { FOOTER = 2 };
    draw_header(frame, model, view, now);
    if (frame->len > (size_t)height / 2) { /* the tree comes first */
        frame->len = 0;
        draw_state(frame, model, view);
    }
    size_t taken = frame->len + FOOTER;
    view->page = (size_t)height > taken ? (size_t)height - taken : 1;
    if (view->selected < view->top)
        view->top = view->selected;
    if (view->selected >= view->top + view->page)
        view->top = view->selected - view->page + 1;
    if (view->top + view->page > view->len)
        view->top = view->len > view->page ? view->len - view->page : 0;
    for (size_t i = 0; i < view->page; i++) {
        size_t row = view->top + i;
        if (row < view->len)
            draw_row(frame, model, view, &view->rows[row], row == view->selected);
        else
            begin_line(frame);
    }
    draw_selected(frame, model, view);
    draw_keys(frame, view);
}

/* --- The terminal --------------------------------------------------------------------------------------------- */

static void write_all(const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, len);
        if (written <= 0)
            return; /* The terminal is gone; SIGHUP or the keyboard's end says so too. */
        bytes += written;
        len -= (size_t)written;
    }
}

/* The one thing that has to be undone however the program ends, so exit() must be able to find it. */
static struct {
    struct termios before;
    bool taken;
} terminal;

static void give_back_terminal(void)
{
    if (!terminal.taken)
        return;
    static const char undo[] = "\033[0m\033[?7h\033[?25h\033[?1049l"; /* wrap, cursor, the screen before */
    terminal.taken = false;
    write_all(undo, sizeof undo - 1);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal.before);
}

/* Also when it was taken before, and somebody else has changed its settings since. */
static void take_terminal(void)
{
    static const char take[] = "\033[?1049h\033[?25l\033[?7l\033[2J";
    struct termios raw = terminal.before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | IEXTEN); /* Ctrl-C and Ctrl-Z stay signals. */
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    if (!terminal.taken)
        write_all(take, sizeof take - 1);
    terminal.taken = true;
}

/* Stops as any program does, with the terminal as it was before. Returns when it is continued. */
static void stop_for_shell(void)
{
    give_back_terminal();
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    raise(SIGTSTP); /* blocked: it stops once it is let through */
    sigprocmask(SIG_UNBLOCK, &stop, NULL);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    take_terminal();
}

static struct look look_of_output(void)
{
    struct look look = {.palette = NO_TERMINAL, .utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0};
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR"), *colorterm = getenv("COLORTERM");
    if (!isatty(STDOUT_FILENO) || term == NULL || strcmp(term, "dumb") == 0)
        return look;
    if ((no_color != NULL && *no_color != '\0') || strncmp(term, "vt", 2) == 0)
        look.palette = NO_COLOURS;
    else if (strstr(term, "256color") != NULL || (colorterm != NULL && *colorterm != '\0'))
        look.palette = MANY_COLOURS;
    else
        look.palette = FEW_COLOURS;
    return look;
}

static int columns_of_environment(void)
{
    const char *value = getenv("COLUMNS");
    long columns = value != NULL ? strtol(value, NULL, 10) : 0;
    return columns > 0 && columns < INT_MAX ? (int)columns : DEFAULT_WIDTH;
}

/* What the terminal shows, so that only lines that differ are sent. */
struct screen {
    struct frame frame, shown;
    int height;
    struct text output; /* one write for each frame */
};

static void measure_screen(struct screen *screen)
{
    struct winsize size = {0};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
        size = (struct winsize){.ws_col = 80, .ws_row = 24};
    screen->frame.width = size.ws_col;
    screen->height = size.ws_row;
    screen->shown.len = 0; /* the terminal may have moved anything */
}

static void show(struct screen *screen)
{
    struct frame *frame = &screen->frame, *shown = &screen->shown;
    cut_back(&screen->output, 0);
    if (shown->len == 0)
        append(&screen->output, "\033[0m\033[2J", 8);
    for (size_t i = 0; i < frame->len && i < (size_t)screen->height; i++) {
        const struct text *line = &frame->lines[i];
        if (i < shown->len && shown->lines[i].len == line->len &&
            memcmp(shown->lines[i].bytes, line->bytes, line->len) == 0)
            continue;
        /* Erased first: behind a full line the cursor is still on its last character. */
        struct label place = label("\033[%zu;1H\033[0m\033[K", i + 1);
        append(&screen->output, place.text, strlen(place.text));
        append(&screen->output, line->bytes, line->len);
    }
    write_all(screen->output.bytes, screen->output.len);
    struct frame swapped = *shown;
    *shown = *frame;
    *frame = swapped;
    frame->width = shown->width;
    frame->look = shown->look;
}

/* --- The keyboard --------------------------------------------------------------------------------------------- */

enum key {
    NO_KEY = -1, /* up to 255, a byte is its own key */
    ESCAPE = 27,
    DELETE = 127,
    UP = 256,
    DOWN,
    LEFT,
    RIGHT,
    PAGE_UP,
    PAGE_DOWN,
    HOME,
    END,
    UNKNOWN_KEY,
};

/* What was typed and not understood yet: escape sequences may come in pieces. */
struct keyboard {
    unsigned char bytes[64];
    size_t len;
    int64_t typed_at;
};

static enum key key_of_sequence(unsigned char first, unsigned char last)
{
    switch (last) {
    case 'A': return UP;
    case 'B': return DOWN;
    case 'C': return RIGHT;
    case 'D': return LEFT;
    case 'H': return HOME;
    case 'F': return END;
    case '~':
        switch (first) {
        case '1':
        case '7': return HOME;
        case '4':
        case '8': return END;
        case '5': return PAGE_UP;
        case '6': return PAGE_DOWN;
        }
    }
    return UNKNOWN_KEY;
}

/* Takes one key out of what was typed; NO_KEY when the rest of a sequence is still to come. */
static enum key next_key(struct keyboard *keyboard, bool no_more)
{
    const unsigned char *bytes = keyboard->bytes;
    enum key key = UNKNOWN_KEY;
    size_t used = 1;
    if (keyboard->len == 0)
        return NO_KEY;
    if (bytes[0] != ESCAPE) {
        key = bytes[0];
    } else if (keyboard->len == 1) {
        if (!no_more)
            return NO_KEY;
        key = ESCAPE;
    } else if (bytes[1] == '[' || bytes[1] == 'O') {
        for (used = 2; used < keyboard->len && bytes[used] < 0x40;)
            used++; /* parameters */
        if (used < keyboard->len)
            key = key_of_sequence(bytes[2], bytes[used++]);
        else if (!no_more && keyboard->len < sizeof keyboard->bytes)
            return NO_KEY;
    } else {
        key = ESCAPE;
    }
    keyboard->len -= used;
    memmove(keyboard->bytes, keyboard->bytes + used, keyboard->len);
    return key;
}

static void type_filter(struct view *view, enum key key)
{
    struct text *filter = &view->filter;
    if (key == '\n' || key == '\r') {
        view->filtering = false;
        return;
    }
    if (key == ESCAPE) {
        view->filtering = false;
        cut_back(filter, 0);
    } else if (key == DELETE || key == '\b') {
        while (filter->len > 0 && ((unsigned char)filter->bytes[filter->len - 1] & 0xc0) == 0x80)
            cut_back(filter, filter->len - 1);
        if (filter->len > 0)
            cut_back(filter, filter->len - 1);
    } else if (key >= ' ' && key <= 255) {
        append(filter, &(char){(char)key}, 1);
    }
    view->stale = true;
}

/* ENTER folds and unfolds, RIGHT unfolds, LEFT folds; where there is nothing to fold, it goes to the parent. */
static void fold(struct model *model, struct view *view, enum key key)
{
    if (view->len == 0)
        return;
    const struct row *row = &view->rows[view->selected];
    const char *path = path_of(view, row);
    const struct note *known = find_note(&model->notes, path, row->path_len);
    bool is_open = has_children(model, path) && (known == NULL || !known->folded);
    if (key == LEFT && !is_open) {
        for (size_t i = view->selected; i-- > 0 && !view->by_heat;) {
            if (view->rows[i].depth < row->depth) {
                select_row(view, i);
                return;
            }
        }
    } else if (is_open != (key == RIGHT) && has_children(model, path)) {
        find_or_add_note(&model->notes, path, row->path_len)->folded = is_open;
        view->stale = true;
    }
}

static void move_by(struct view *view, size_t rows, bool down)
{
    if (down)
        select_row(view, view->selected + rows);
    else
        select_row(view, view->selected > rows ? view->selected - rows : 0);
}

/* Returns false when the user wants to quit. */
static bool obey_key(struct model *model, struct view *view, enum key key)
{
    if (view->filtering) {
        type_filter(view, key);
        return true;
    }
    switch ((int)key) {
    case 'q': return false;
    case 'k':
    case UP: move_by(view, 1, false); break;
    case 'j':
    case DOWN: move_by(view, 1, true); break;
    case PAGE_UP: move_by(view, view->page, false); break;
    case ' ':
    case PAGE_DOWN: move_by(view, view->page, true); break;
    case 'g':
    case HOME: select_row(view, 0); break;
    case 'G':
    case END: select_row(view, SIZE_MAX); break;
    case '\n':
    case '\r':
    case LEFT:
    case RIGHT: fold(model, view, key); break;
    case 's':
        view->by_heat = !view->by_heat;
        view->stale = true;
        if (view->by_heat)
            view->selected = 0;
        break;
    case '/': view->filtering = true; break;
    case ESCAPE:
        cut_back(&view->filter, 0);
        view->stale = true;
        break;
    case 'p': view->paused = !view->paused; break;
    }
    return true;
}

/* --- Lines, where there is no terminal ------------------------------------------------------------------------ */

static void put_number(struct pen *pen, const char *name, const char *value)
{
    put(pen, "  ");
    put(pen, name);
    put(pen, " ");
    put(pen, value);
}

static void print_line(FILE *file, struct text *line)
{
    append(line, "\n", 1);
    fwrite(line->bytes, 1, line->len, file);
    fflush(file);
    cut_back(line, 0);
}

static void print_item(FILE *file, const struct look *look, struct text *line, const tc_item *item)
{
    static const char *const names[] = {
        [TC_EVENT_NODE_ADDED] = "added",
        [TC_EVENT_NODE_UPDATED] = "updated",
        [TC_EVENT_NODE_REMOVED] = "removed",
        [TC_EVENT_CONNECTION_SUSPENDED] = "suspended",
        [TC_EVENT_CONNECTION_RECONNECTED] = "reconnected",
        [TC_EVENT_CONNECTION_LOST] = "lost",
        [TC_EVENT_INITIALIZED] = "initialized",
        [TC_EVENT_IN_STEP] = "in step",
    };
    struct pen pen = {.look = look, .line = line, .width = INT_MAX};
    const tc_event *event = tc_item_event(item);
    if (event == NULL) {
        const tc_fault *fault = tc_item_fault(item);
        put(&pen, label("fault        %s: ", tc_status_name(fault->status)).text);
        put(&pen, fault->message);
        if (fault->path != NULL)
            put_number(&pen, "at", fault->path);
    } else {
        bool known = event->type >= 0 && (size_t)event->type < sizeof names / sizeof names[0];
        put(&pen, known ? names[event->type] : label("event %" PRId32, event->type).text);
        if (is_of_a_node(event)) {
            pad_to(&pen, 13);
            put(&pen, event->path);
            put_number(&pen, "version", label("%" PRId32, event->stat->version).text);
            put_number(&pen, "size", size_label((uint64_t)event->stat->data_length).text);
            if (event->data_len > 0)
                put(&pen, "  ");
            put_part(&pen, (const char *)event->data, event->data_len, DEFAULT_WIDTH / 2);
        }
    }
    print_line(file, line);
}

static void print_summary(const struct look *look, struct text *line, const struct model *model)
{
    const tc_stats *stats = model->stats;
    struct pen pen = {.look = look, .line = line, .width = INT_MAX};
    put(&pen, "--");
    put_number(&pen, "state", state_name(stats->state));
    if (root_is_missing(model))
        put_number(&pen, "root", "does not exist");
    put_number(&pen, "server", stats->server != NULL ? stats->server : "none");
    put_number(&pen, "contact", ago_label(stats->contact_age_ms).text);
    put_number(&pen, "cut", ago_label(stats->cut_age_ms).text);
    put_number(&pen, "zxid", label("0x%" PRIx64, (uint64_t)stats->zxid).text);
    put_number(&pen, "nodes", grouped(stats->nodes).text);
    put_number(&pen, "data", size_label(stats->bytes).text);
    for (size_t i = 0; i < RATES; i++)
        put_number(&pen, RATE_NAMES[i], label("%s/s", rounded(last_rate(model, i)).text).text);
    print_line(stdout, line);
}

/* --- The loop ------------------------------------------------------------------------------------------------- */

struct options {
    const char *hosts, *path;
    bool once;
    int interval_ms;
    tc_config *config; /* for the client, the cache and the queue: each reads its own keys */
};

enum mode { SCREEN, LINES, ONCE };

struct top {
    enum mode mode;
    int interval_ms;
    tc_queue *queue;
    struct model model;
    struct view view;
    struct screen screen;
    struct keyboard keyboard;
    struct text line;
    int32_t ended; /* why the queue has: a status, or TC_OK while it has not */
};

/* Takes out what is there, but not for so long that a key would wait. */
static void drain(struct top *top)
{
    const tc_item *items[DRAIN];
    size_t count;
    top->ended = tc_queue_drain(top->queue, items, DRAIN, &count);
    for (size_t i = 0; top->ended == TC_OK && i < count; i++) {
        if (top->mode == LINES)
            print_item(stdout, &top->screen.frame.look, &top->line, items[i]);
        else if (top->mode == ONCE && tc_item_fault(items[i]) != NULL)
            print_item(stderr, &top->screen.frame.look, &top->line, items[i]);
        take_item(&top->model, items[i]);
    }
}

static void draw(struct top *top, int64_t now)
{
    bool second_has_gone = look_at_stats(&top->model, now);
    if (top->mode == LINES) {
        if (second_has_gone)
            print_summary(&top->screen.frame.look, &top->line, &top->model);
        return;
    }
    if (!top->view.paused || top->model.snapshot == NULL)
        look_at_tree(&top->model, now);
    if (!has_looked(&top->model))
        return;
    update_rows(&top->view, &top->model, now);
    draw_screen(&top->screen.frame, &top->model, &top->view, top->screen.height, now);
    show(&top->screen);
}

/* The header and the whole tree, whatever the screen's height. */
static void draw_once(struct top *top, int64_t now)
{
    struct frame *frame = &top->screen.frame;
    look_at_stats(&top->model, now);
    look_at_tree(&top->model, now);
    if (!has_looked(&top->model))
        return;
    make_rows(&top->view, &top->model, now);
    draw_header(frame, &top->model, &top->view, now);
    for (size_t i = 0; i < top->view.len; i++)
        draw_row(frame, &top->model, &top->view, &top->view.rows[i], false);
    for (size_t i = 0; i < frame->len; i++) {
        while (frame->lines[i].len > 0 && frame->lines[i].bytes[frame->lines[i].len - 1] == ' ')
            cut_back(&frame->lines[i], frame->lines[i].len - 1);
        if (frame->look.palette != NO_TERMINAL)
            append(&frame->lines[i], "\033[0m", 4);
        print_line(stdout, &frame->lines[i]);
    }
}

/* Returns false when top is to end. */
static bool obey_signal(struct top *top, int signals)
{
    struct signalfd_siginfo info;
    if (read(signals, &info, sizeof info) != (ssize_t)sizeof info)
        return true;
    switch ((int)info.ssi_signo) {
    case SIGTSTP:
        if (top->mode == SCREEN)
            stop_for_shell();
        else
            raise(SIGSTOP);
        break;
    case SIGCONT: /* after a SIGSTOP that nobody could notice */
        if (top->mode == SCREEN)
            take_terminal();
        break;
    case SIGWINCH: break;
    default: return false;
    }
    if (top->mode == SCREEN)
        measure_screen(&top->screen);
    return true;
}

/* Returns false when top is to end. */
static bool obey_keyboard(struct top *top, bool readable)
{
    struct keyboard *keyboard = &top->keyboard;
    int64_t now = clock_ms(CLOCK_MONOTONIC);
    if (readable) {
        keyboard->typed_at = now;
        ssize_t len = read(STDIN_FILENO, keyboard->bytes + keyboard->len, sizeof keyboard->bytes - keyboard->len);
        if (len <= 0)
            return false;
        keyboard->len += (size_t)len;
    }
    for (enum key key; (key = next_key(keyboard, now - keyboard->typed_at >= ESCAPE_MS)) != NO_KEY;) {
        if (!obey_key(&top->model, &top->view, key))
            return false;
        if (top->view.stale && has_looked(&top->model)) /* before the next key, which may mean one of the new rows */
            update_rows(&top->view, &top->model, now);
    }
    return true;
}

/* Whether the first load is done, or never will be. */
static bool is_loaded(struct top *top)
{
    int32_t status = tc_wait_initialized(top->model.cache, 0);
    if (status != TC_OK && status != TC_ERR_TIMEOUT)
        top->ended = status;
    return status == TC_OK;
}

/* Waits for the queue, a signal, a key or the next frame, whatever is first; over and over. */
static void loop(struct top *top, int queue, int signals)
{
    enum { QUEUE, SIGNALS, KEYBOARD, SOURCES };
    enum { SYNC_MS = 1000 };
    int64_t next_frame = 0;
    for (;;) {
        int64_t now = clock_ms(CLOCK_MONOTONIC);
        if (top->mode == ONCE && is_loaded(top)) {
            /* All that was committed before it is looked at; without a connection, what there is. */
            (void)tc_sync(top->model.cache, SYNC_MS);
            draw_once(top, clock_ms(CLOCK_MONOTONIC));
            return;
        }
        if (top->ended != TC_OK)
            return;
        if (now >= next_frame && top->mode != ONCE) {
            draw(top, now);
            next_frame = now + top->interval_ms;
        }

        /* A negative descriptor is not looked at. What waits in the queue while it is paused is the library's: past
         * `events.capacity`, top will go on by difference. */
        struct pollfd sources[SOURCES] = {
            [QUEUE] = {.fd = top->view.paused ? -1 : queue, .events = POLLIN},
            [SIGNALS] = {.fd = signals, .events = POLLIN},
            [KEYBOARD] = {.fd = top->mode == SCREEN ? STDIN_FILENO : -1, .events = POLLIN},
        };
        int64_t wait = top->mode == ONCE ? top->interval_ms : next_frame - clock_ms(CLOCK_MONOTONIC);
        if (top->keyboard.len > 0 && wait > ESCAPE_MS)
            wait = ESCAPE_MS;
        if (poll(sources, SOURCES, wait > 0 ? (int)wait : 0) < 0 && errno != EINTR)
            return;
        if (sources[QUEUE].revents != 0)
            drain(top);
        if (sources[SIGNALS].revents != 0) {
            if (!obey_signal(top, signals))
                return;
            next_frame = 0;
        }
        if (sources[KEYBOARD].revents != 0 || top->keyboard.len > 0) {
            if (!obey_keyboard(top, sources[KEYBOARD].revents != 0))
                return;
            next_frame = 0; /* keys are seen at once */
        }
    }
}

/* --- The whole ------------------------------------------------------------------------------------------------ */

static int failed(const char *what, int32_t status)
{
    fprintf(stderr, "top: %s: %s\n", what, tc_status_name(status));
    return EXIT_FAILURE;
}

/* As `failed`, of a constructor, which may have told why; frees that. */
static int failed_with(const tc_error *error, const char *what, int32_t status)
{
    if (error == NULL)
        return failed(what, status);
    fprintf(stderr, "top: %s: %s\n", what, error->message);
    tc_error_free(error);
    return EXIT_FAILURE;
}

static int follow(struct top *top, int signals)
{
    int32_t status;
    int queue;
    if ((status = tc_queue_fd(top->queue, &queue)) != TC_OK)
        return failed("cannot wait for the queue", status);
    if ((status = tc_start(top->model.cache)) != TC_OK)
        return failed("cannot start", status);
    if (top->mode == SCREEN) {
        take_terminal();
        measure_screen(&top->screen);
    }
    loop(top, queue, signals);
    give_back_terminal();
    return top->ended == TC_OK ? EXIT_SUCCESS : failed("cannot go on", top->ended);
}

static int look_into(tc_cache *cache, const struct options *options, int signals)
{
    struct top top = {
        .mode = options->once ? ONCE : LINES,
        .interval_ms = options->interval_ms,
        .model = {.cache = cache, .root = options->path},
        .view = {.stale = true, .page = 1},
        .screen.frame = {.look = look_of_output(), .width = columns_of_environment()},
    };
    const tc_error *error;
    int32_t status = tc_queue_open_or_error(cache, options->config, &top.queue, &error);
    if (status != TC_OK)
        return failed_with(error, "cannot open a queue", status);
    if (!options->once && top.screen.frame.look.palette != NO_TERMINAL &&
        tcgetattr(STDIN_FILENO, &terminal.before) == 0)
        top.mode = SCREEN;
    else if (!options->once || !isatty(STDOUT_FILENO))
        top.screen.frame.look.palette = NO_TERMINAL;
    else
        measure_screen(&top.screen);

    int exit_code = follow(&top, signals);
    free_frame(&top.screen.frame);
    free_frame(&top.screen.shown);
    free(top.screen.output.bytes);
    free(top.line.bytes);
    free_view(&top.view);
    free_model(&top.model);
    tc_queue_free(top.queue);
    return exit_code;
}

static int run(const struct options *options, int signals)
{
    tc_client *client;
    const tc_error *error;
    int32_t status = tc_client_new_or_error(options->hosts, options->config, &client, &error);
    if (status != TC_OK)
        return failed_with(error, options->hosts, status);
    int exit_code;
    tc_cache *cache;
    if ((status = tc_new_or_error(client, options->path, options->config, &cache, &error)) != TC_OK) {
        exit_code = failed_with(error, options->path, status);
    } else {
        exit_code = look_into(cache, options, signals);
        tc_free(cache);
    }
    tc_client_free(client);
    return exit_code;
}

/* Blocked, and told by a descriptor: no handler has to know what is safe to call in it. */
static int open_signals(void)
{
    static const int wanted[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH};
    sigset_t signals;
    sigemptyset(&signals);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        sigaddset(&signals, wanted[i]);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC);
}

static const char USAGE[] = "usage: top [--once] [--interval MS] [--config KEY=VALUE]... "
                            "[--config-file FILE]... HOSTS PATH";

#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
static bool wrong(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    fputs("top: ", stderr);
    vfprintf(stderr, format, values);
    fprintf(stderr, "\n%s\n", USAGE);
    va_end(values);
    return false;
}

/* A setting, KEY=VALUE. What is no setting is not repeated: it may be a password that was put in the wrong place. */
static bool set_config(tc_config *config, const char *setting, bool secrets, const char *why_not)
{
    const char *equals = strchr(setting, '=');
    if (equals == NULL)
        return wrong("a setting is KEY=VALUE");
    struct text key = {0};
    append(&key, setting, (size_t)(equals - setting));
    bool is_secret = strcmp(key.bytes, "auth") == 0 || strcmp(key.bytes, "sasl.password") == 0;
    if (is_secret && !secrets) {
        wrong("%s is a secret, and %s", key.bytes, why_not);
        free(key.bytes);
        return false;
    }
    int32_t status = tc_config_set(config, key.bytes, equals + 1);
    free(key.bytes);
    if (status == TC_OK)
        return true;
    const tc_error *error = NULL;
    tc_config_get_error(config, &error);
    wrong("%s", error != NULL ? error->message : tc_status_name(status));
    tc_error_free(error);
    return false;
}

/* A setting in each line of a file, but for those that are empty or begin with '#'. */
static bool read_config(tc_config *config, const char *name)
{
    struct stat stat;
    FILE *file = fopen(name, "re");
    if (file == NULL || fstat(fileno(file), &stat) != 0) {
        int error = errno;
        if (file != NULL)
            fclose(file);
        return wrong("%s: %s", name, strerror(error));
    }
    bool is_private = (stat.st_mode & (S_IRWXG | S_IRWXO)) == 0;
    char *line = NULL;
    size_t size = 0;
    bool good = true;
    while (good && getline(&line, &size, file) >= 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (*line != '\0' && *line != '#')
            good = set_config(config, line, is_private, "others may read its file: chmod 600 it");
    }
    free(line);
    fclose(file);
    return good;
}

static bool set_interval(struct options *options, const char *value)
{
    char *end;
    errno = 0;
    long ms = strtol(value, &end, 10);
    if (end == value || *end != '\0' || errno != 0 || ms < 10 || ms > 60000)
        return wrong("--interval needs a number of ms from 10 to 60000, not %s", value);
    options->interval_ms = (int)ms;
    return true;
}

static bool read_options(struct options *options, int argc, char **argv)
{
    int next = 1;
    for (; next < argc && strncmp(argv[next], "--", 2) == 0; next++) {
        const char *option = argv[next];
        if (strcmp(option, "--once") == 0) {
            options->once = true;
            continue;
        }
        bool is_config = strcmp(option, "--config") == 0;
        bool is_file = strcmp(option, "--config-file") == 0;
        if (!is_config && !is_file && strcmp(option, "--interval") != 0)
            return wrong("there is no option %s", option);
        if (++next == argc)
            return wrong("%s needs a value", option);
        const char *value = argv[next];
        const char *why_not = "all who list processes would see it: put it into a file, --config-file";
        bool good = is_config ? set_config(options->config, value, false, why_not)
                    : is_file ? read_config(options->config, value)
                              : set_interval(options, value);
        if (!good)
            return false;
    }
    if (argc - next != 2)
        return wrong("HOSTS and PATH are needed, and nothing after them");
    options->hosts = argv[next];
    options->path = argv[next + 1];
    return true;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, ""); /* whether the terminal takes UTF-8, and how wide a character is */
    atexit(give_back_terminal);
    struct options options = {.interval_ms = DEFAULT_INTERVAL_MS, .config = tc_config_new()};
    int exit_code = EXIT_USAGE;
    /* Faults are to be seen here; and who looks should not change what is there. */
    tc_config_set(options.config, "queue.faults", "true");
    tc_config_set(options.config, "root.create", "false");
    if (read_options(&options, argc, argv)) {
        int signals = open_signals();
        exit_code = run(&options, signals);
        close(signals);
    }
    tc_config_free(options.config);
    return exit_code;
}
