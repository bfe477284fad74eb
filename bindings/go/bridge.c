#define _GNU_SOURCE /* F_DUPFD_CLOEXEC */

#include "bridge.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* Memory or the end, as in Go. */
static void *checked(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

int32_t tcgo_copy_data(const tc_cache *cache, const tc_snapshot *snapshot, const char *path, size_t path_len,
                       uint8_t *buffer, size_t capacity, size_t *data_len, tc_stat *stat)
{
    char usual[512];
    char *terminated = path_len < sizeof usual ? usual : checked(malloc(path_len + 1));
    memcpy(terminated, path, path_len);
    terminated[path_len] = '\0';
    int32_t status = cache != NULL ? tc_copy_data(cache, terminated, buffer, capacity, data_len, stat)
                                   : tc_snapshot_copy_data(snapshot, terminated, buffer, capacity, data_len, stat);
    if (terminated != usual) {
        free(terminated);
    }
    return status;
}

tcgo_queue *tcgo_queue_new(tc_queue *queue)
{
    tcgo_queue *q = checked(calloc(1, sizeof *q));
    q->queue = queue;
    return q;
}

static void free_batch(tcgo_queue *q)
{
    for (size_t i = 0; i < q->count; i++) {
        tc_item_free(q->items[i]);
    }
    q->count = 0;
}

int32_t tcgo_queue_take(tcgo_queue *q)
{
    free_batch(q);
    int32_t status = tc_queue_next(q->queue, 0, &q->items[0]);
    if (status != TC_OK) {
        return status;
    }
    size_t more = 0;
    /* If this fails, the next call says so. */
    (void)tc_queue_drain(q->queue, q->items + 1, TCGO_BATCH - 1, &more);
    q->count = 1 + more;
    for (size_t i = 0; i < q->count; i++) {
        q->events[i] = tc_item_event(q->items[i]);
        q->faults[i] = tc_item_fault(q->items[i]);
    }
    return TC_OK;
}

int tcgo_queue_dup_fd(tcgo_queue *q)
{
    int32_t fd;
    return tc_queue_fd(q->queue, &fd) == TC_OK ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
}

void tcgo_queue_free(tcgo_queue *q)
{
    free_batch(q);
    tc_queue_free(q->queue);
    free(q);
}

/* Moves *end past a copy of what is there, and returns the copy; NULL for NULL. */
static void *copy(char **end, const void *from, size_t size)
{
    if (from == NULL) {
        return NULL;
    }
    char *to = *end;
    *end += size;
    return memcpy(to, from, size);
}

/* A tc_diff_fn. One allocation holds the event and all that it points to: the Stats first, for their alignment. */
static int32_t keep(const tc_event *event, void *user)
{
    tcgo_diff *diff = user;
    if (diff->len == diff->capacity) {
        diff->capacity = diff->capacity == 0 ? 64 : 2 * diff->capacity;
        diff->events = checked(realloc(diff->events, diff->capacity * sizeof *diff->events));
    }
    tc_event *kept = checked(malloc(sizeof *kept + 2 * sizeof(tc_stat) + event->path_len + event->data_len +
                                    event->old_data_len));
    char *end = (char *)(kept + 1);
    kept->type = event->type;
    kept->flags = event->flags;
    kept->zxid = event->zxid;
    kept->stat = copy(&end, event->stat, sizeof *event->stat);
    kept->old_stat = copy(&end, event->old_stat, sizeof *event->old_stat);
    kept->path = copy(&end, event->path, event->path_len);
    kept->path_len = event->path_len;
    kept->data = copy(&end, event->data, event->data_len);
    kept->data_len = event->data_len;
    kept->old_data = copy(&end, event->old_data, event->old_data_len);
    kept->old_data_len = event->old_data_len;
    diff->events[diff->len++] = kept;
    return TC_WALK_CONTINUE;
}

int32_t tcgo_snapshot_diff(const tc_snapshot *old_snapshot, const tc_snapshot *new_snapshot, tcgo_diff *diff)
{
    return tc_snapshot_diff(old_snapshot, new_snapshot, keep, diff);
}

void tcgo_diff_clear(tcgo_diff *diff)
{
    for (size_t i = 0; i < diff->len; i++) {
        free(diff->events[i]);
    }
    free(diff->events);
    memset(diff, 0, sizeof *diff);
}
