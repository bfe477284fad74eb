/* What cgo cannot do in one call, or must not do at all: have the library call into Go. */
#ifndef TC_GO_BRIDGE_H
#define TC_GO_BRIDGE_H

#include <treecache.h>

enum { TCGO_BATCH = 64 };

/* A queue, and what was taken out of it in one call. */
typedef struct tcgo_queue {
    tc_queue *queue;
    size_t count;
    const tc_item *items[TCGO_BATCH];
    const tc_event *events[TCGO_BATCH]; /* NULL where the item is a fault */
    const tc_fault *faults[TCGO_BATCH]; /* NULL where the item is an event */
} tcgo_queue;

/* Takes over the queue. */
tcgo_queue *tcgo_queue_new(tc_queue *queue);

/* Frees the batch before and takes out the next, without waiting: TC_OK with at least one, or as tc_queue_next. */
int32_t tcgo_queue_take(tcgo_queue *queue);

/* A descriptor of the caller's own for what tc_queue_fd is of, or -1. */
int tcgo_queue_dup_fd(tcgo_queue *queue);

void tcgo_queue_free(tcgo_queue *queue);

/*
 * tc_copy_data, or tc_snapshot_copy_data when there is no cache, with a path as Go has it: not NUL-terminated, but without
 * a NUL in it.
 */
int32_t tcgo_copy_data(const tc_cache *cache, const tc_snapshot *snapshot, const char *path, size_t path_len,
                       uint8_t *buffer, size_t capacity, size_t *data_len, tc_stat *stat);

/* The events of a difference, copied. */
typedef struct tcgo_diff {
    size_t len;
    size_t capacity;
    tc_event **events;
} tcgo_diff;

/* Fills a zeroed diff, which is to be cleared whatever this returns. */
int32_t tcgo_snapshot_diff(const tc_snapshot *old_snapshot, const tc_snapshot *new_snapshot, tcgo_diff *diff);

void tcgo_diff_clear(tcgo_diff *diff);

#endif
