/* What the test programs need of a test framework: checks that say where they failed, a count of them, waiting, and a
 * run of named tests. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <time.h>
#include <treecache.h>

/* Checks run on the library's threads too. */
static int failures;
#define COUNT_FAILURE() ((void)__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED))

#define CHECK(condition)                                                                                           \
    do {                                                                                                           \
        if (!(condition)) {                                                                                        \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                              \
            COUNT_FAILURE();                                                                                       \
        }                                                                                                          \
    } while (0)

#define CHECK_STATUS(expected, call)                                                                               \
    do {                                                                                                           \
        int check_status = (call);                                                                                 \
        if (check_status != (expected)) {                                                                          \
            fprintf(stderr, "%s:%d: %s: %s instead of %s\n", __FILE__, __LINE__, #call,                            \
                    tc_status_name(check_status), #expected);                                                      \
            COUNT_FAILURE();                                                                                       \
        }                                                                                                          \
    } while (0)

#define CHECK_OK(call) CHECK_STATUS(TC_OK, call)

/* Against hanging only. */
enum { LONG_MS = 30000 };

static inline void sleep_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* Waits until `condition` holds, which may take locks of its own. */
#define WAIT_UNTIL(condition)                                                                                      \
    do {                                                                                                           \
        for (int waited = 0; !(condition); waited += 5) {                                                          \
            if (waited >= LONG_MS) {                                                                               \
                fprintf(stderr, "%s:%d: does not come: %s\n", __FILE__, __LINE__, #condition);                     \
                COUNT_FAILURE();                                                                                   \
                break;                                                                                             \
            }                                                                                                      \
            sleep_ms(5);                                                                                           \
        }                                                                                                          \
    } while (0)

typedef struct {
    void (*run)(void);
    const char *name;
} test;

#define TEST(name) {name, #name}

/* Runs tests and says how each went; returns what `main` is to return. */
static inline int run_tests(const test *tests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int before = failures;
        tests[i].run();
        printf("%s %s\n", failures == before ? "ok    " : "FAILED", tests[i].name);
        fflush(stdout);
    }
    return failures == 0 ? 0 : 1;
}

#endif
