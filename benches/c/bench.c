/*
 * bench: what the library costs a C program, in a process of its own.
 *
 *     bench load HOSTS PATH            the first load: its time, and the memory it takes
 *     bench read HOSTS PATH            reads of leaves, next to the C library's bsearch, and snapshots
 *     bench idle HOSTS PATH SECONDS    processor time while nothing happens
 *
 * Prints one figure a line, "name value"; the benches/numbers program, which runs this, makes a table of them.
 */
#define _GNU_SOURCE

#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <treecache.h>

enum { MAX_THREADS = 2, BLOCKS = 15, READS_A_BLOCK = 200000, SETTLE_MS = 1000 };

__attribute__((format(printf, 1, 2))) static _Noreturn void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void check(int32_t status, const char *what)
{
    if (status != TC_OK)
        die("%s: %s", what, tc_status_name(status));
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* --- A client and its cache ---------------------------------------------------------------------------------- */

struct subject {
    tc_client *client;
    tc_cache *cache;
};

/* Connected, and nothing read yet. */
static struct subject connect_to(const char *hosts, const char *path)
{
    struct subject subject;
    int64_t age_ms = -1;
    check(tc_client_new(hosts, NULL, &subject.client), "tc_client_new");
    check(tc_new(subject.client, path, NULL, &subject.cache), "tc_new");
    while (age_ms < 0) {
        tc_state state;
        sleep_ms(1);
        check(tc_get_state(subject.cache, &state, &age_ms), "tc_get_state");
    }
    return subject;
}

static void load(const struct subject *subject)
{
    tc_state state = TC_STATE_LOADING;
    int64_t age_ms;
    check(tc_start(subject->cache), "tc_start");
    check(tc_wait_initialized(subject->cache, 60000), "tc_wait_initialized");
    while (state != TC_STATE_IN_STEP) {
        check(tc_get_state(subject->cache, &state, &age_ms), "tc_get_state");
        sched_yield();
    }
}

static void release(const struct subject *subject)
{
    tc_free(subject->cache);
    tc_client_free(subject->client);
}

/* --- The first load ------------------------------------------------------------------------------------------ */

/* A figure in bytes from /proc/self/status, say "VmRSS". */
static long memory_of_process(const char *name)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kib = -1;
    size_t len = strlen(name);
    while (file != NULL && kib < 0 && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, len) == 0 && line[len] == ':')
            kib = strtol(line + len + 1, NULL, 10);
    }
    if (kib < 0)
        die("/proc/self/status has no %s", name);
    fclose(file);
    return kib * 1024;
}

/* What malloc has handed out. */
static long memory_of_heap(void)
{
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
    struct mallinfo2 info = mallinfo2();
    return (long)(info.uordblks + info.hblkhd);
#else
    return 0;
#endif
}

static void measure_load(const char *hosts, const char *path)
{
    struct subject subject = connect_to(hosts, path);
    long resident = memory_of_process("VmRSS"), heap = memory_of_heap();
    double began = seconds_now();
    load(&subject);
    printf("seconds %.6f\n", seconds_now() - began);

    sleep_ms(SETTLE_MS);
    const tc_snapshot *snapshot;
    check(tc_get_snapshot(subject.cache, &snapshot), "tc_get_snapshot");
    printf("nodes %zu\n", tc_snapshot_len(snapshot));
    tc_snapshot_free(snapshot);
    printf("resident_bytes %ld\n", memory_of_process("VmRSS") - resident);
    printf("peak_bytes %ld\n", memory_of_process("VmHWM") - resident);
    printf("heap_bytes %ld\n", memory_of_heap() - heap);
    release(&subject);
}

/* --- Reads --------------------------------------------------------------------------------------------------- */

/* Paths in the order in which they are read, one after the other in memory: what is measured is the look-up, not the
   fetching of its argument. */
struct paths {
    size_t len;
    char **at;
    char *bytes;
};

static int32_t collect_leaf(const char *path, size_t path_len, const tc_node *node, void *user)
{
    struct paths *paths = user;
    if (node->stat.num_children == 0 && node->data_len > 0) {
        paths->at = realloc(paths->at, (paths->len + 1) * sizeof *paths->at);
        if (paths->at == NULL || (paths->at[paths->len++] = strndup(path, path_len)) == NULL)
            die("out of memory");
    }
    return TC_WALK_CONTINUE;
}

static struct paths leaves_of(const tc_cache *cache, const char *path)
{
    struct paths leaves = {0};
    const tc_snapshot *snapshot;
    check(tc_get_snapshot(cache, &snapshot), "tc_get_snapshot");
    check(tc_snapshot_walk(snapshot, path, collect_leaf, &leaves), "tc_snapshot_walk");
    tc_snapshot_free(snapshot);
    if (leaves.len == 0)
        die("%s has no leaves with data", path);
    uint64_t random = 0x9E3779B97F4A7C15; /* the same order in every run */
    for (size_t i = leaves.len - 1; i > 0; i--) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        size_t j = random % (i + 1);
        char *path_i = leaves.at[i];
        leaves.at[i] = leaves.at[j], leaves.at[j] = path_i;
    }
    return leaves;
}

static struct paths first_of(const struct paths *all, size_t len)
{
    struct paths some = {.len = len < all->len ? len : all->len};
    size_t size = 0;
    for (size_t i = 0; i < some.len; i++)
        size += strlen(all->at[i]) + 1;
    some.at = malloc(some.len * sizeof *some.at);
    char *end = some.bytes = malloc(size);
    if (some.at == NULL || some.bytes == NULL)
        die("out of memory");
    for (size_t i = 0; i < some.len; i++) {
        some.at[i] = end;
        end = stpcpy(end, all->at[i]) + 1;
    }
    return some;
}

/* A thread that does one thing over and over. */
struct reader {
    void (*block)(struct reader *reader);
    const tc_cache *cache;
    const struct paths *paths;  /* what is read */
    const struct paths *sorted; /* all there is */
    size_t first, end;          /* this thread's share of them; of a single one, each has the whole */
    pthread_barrier_t *start;
    double seconds[BLOCKS];
    uint64_t seen;
};

static void read_block(struct reader *reader)
{
    for (size_t i = 0, at = reader->first; i < READS_A_BLOCK; i++) {
        const tc_node *node;
        if (tc_get_data(reader->cache, reader->paths->at[at], &node) != TC_OK)
            die("%s is not there", reader->paths->at[at]);
        reader->seen += node->data[node->data_len - 1];
        tc_node_free(node);
        if (++at == reader->end)
            at = reader->first;
    }
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The yardstick: what it costs on this machine, now, to find a path among as many without a tree and without a cache
   that changes. */
static void bsearch_block(struct reader *reader)
{
    const struct paths *sorted = reader->sorted;
    for (size_t i = 0, at = reader->first; i < READS_A_BLOCK; i++) {
        char **found =
            bsearch(&reader->paths->at[at], sorted->at, sorted->len, sizeof *sorted->at, compare_paths);
        reader->seen += (uint64_t)(found - sorted->at);
        if (++at == reader->end)
            at = reader->first;
    }
}

static void snapshot_block(struct reader *reader)
{
    for (size_t i = 0; i < READS_A_BLOCK; i++) {
        const tc_snapshot *snapshot;
        check(tc_get_snapshot(reader->cache, &snapshot), "tc_get_snapshot");
        reader->seen += (uint64_t)tc_snapshot_zxid(snapshot);
        tc_snapshot_free(snapshot);
    }
}

static void *run_reader(void *argument)
{
    struct reader *reader = argument;
    for (int block = 0; block < BLOCKS; block++) {
        pthread_barrier_wait(reader->start);
        double began = seconds_now();
        reader->block(reader);
        reader->seconds[block] = seconds_now() - began;
    }
    return NULL;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Prints what one operation takes a thread, in ns, while all threads are at it: the median of all blocks. */
static void measure_blocks(const char *name, struct reader reader, int threads)
{
    struct reader readers[MAX_THREADS];
    pthread_t ids[MAX_THREADS];
    pthread_barrier_t start;
    double seconds[MAX_THREADS * BLOCKS];
    pthread_barrier_init(&start, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) {
        readers[i] = reader;
        readers[i].start = &start;
        size_t len = reader.paths != NULL ? reader.paths->len : 0;
        readers[i].first = len > 1 ? len * (size_t)i / (size_t)threads : 0;
        readers[i].end = len > 1 ? len * (size_t)(i + 1) / (size_t)threads : len;
        if (pthread_create(&ids[i], NULL, run_reader, &readers[i]) != 0)
            die("no thread");
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        memcpy(seconds + i * BLOCKS, readers[i].seconds, sizeof readers[i].seconds);
    }
    pthread_barrier_destroy(&start);
    size_t len = (size_t)threads * BLOCKS;
    qsort(seconds, len, sizeof *seconds, compare_doubles);
    printf("%s_%d %.1f\n", name, threads, seconds[len / 2] / READS_A_BLOCK * 1e9);
}

static void measure_all_reads(const char *hosts, const char *path)
{
    struct subject subject = connect_to(hosts, path);
    load(&subject);
    sleep_ms(SETTLE_MS);
    struct paths leaves = leaves_of(subject.cache, path);
    struct paths sorted = first_of(&leaves, leaves.len);
    qsort(sorted.at, sorted.len, sizeof *sorted.at, compare_paths);
    const struct {
        const char *name, *bsearch_name;
        struct paths paths;
    } cases[] = {
        {"hot", "bsearch_hot", first_of(&leaves, 1)},
        {"some", "bsearch_some", first_of(&leaves, 1000)},
        {"all", "bsearch_all", first_of(&leaves, leaves.len)},
    };
    for (int threads = 1; threads <= MAX_THREADS; threads++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct reader reader = {
                .block = read_block, .cache = subject.cache, .paths = &cases[i].paths, .sorted = &sorted};
            measure_blocks(cases[i].name, reader, threads);
            reader.block = bsearch_block;
            measure_blocks(cases[i].bsearch_name, reader, threads);
        }
        measure_blocks("snapshot", (struct reader){.block = snapshot_block, .cache = subject.cache}, threads);
    }
    release(&subject);
}

/* --- Idleness ------------------------------------------------------------------------------------------------ */

static double processor_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void measure_idleness(const char *hosts, const char *path, long seconds)
{
    struct subject subject = connect_to(hosts, path);
    load(&subject);
    sleep_ms(SETTLE_MS);
    double began = seconds_now(), used = processor_seconds();
    sleep_ms(seconds * 1000);
    printf("share_of_a_core %.6f\n", (processor_seconds() - used) / (seconds_now() - began));
    release(&subject);
}

int main(int argc, char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* whoever runs this has its reasons to end */
    if (argc == 4 && strcmp(argv[1], "load") == 0)
        measure_load(argv[2], argv[3]);
    else if (argc == 4 && strcmp(argv[1], "read") == 0)
        measure_all_reads(argv[2], argv[3]);
    else if (argc == 5 && strcmp(argv[1], "idle") == 0)
        measure_idleness(argv[2], argv[3], strtol(argv[4], NULL, 10));
    else
        die("usage: bench load|read HOSTS PATH, or bench idle HOSTS PATH SECONDS");
    return 0;
}
