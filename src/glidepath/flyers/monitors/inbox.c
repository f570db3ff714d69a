/* Keeps monitor updates where they arrive, on libca's threads, without Python's interpreter.
 *
 * One inbox per channel: libca's handlers below fill one page of it, and whoever empties it swaps
 * the pages. Used through ctypes by inbox.py. Needs the headers of neither EPICS nor Python: the
 * structures here are part of libca's binary interface (cadef.h, db_access.h), and inbox.py
 * compares them with those of the Python packages before anything else.
 */
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef _WIN32
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

enum { ECA_NORMAL = 1, CA_OP_CONN_DOWN = 7, DBR_TIME_DOUBLE = 20, INVALID_ALARM = 3 };

struct event_handler_args {
    void *usr;
    void *chid;
    long type;
    long count;
    const void *dbr;
    int status;
};

struct connection_handler_args {
    void *chid;
    long op;
};

struct dbr_time_double {
    int16_t status;
    int16_t severity;
    uint32_t seconds;
    uint32_t nanoseconds;
    int32_t padding;
    double values[];
};

/* One update; its values are as many as `count`, in the array beside. */
struct head {
    double arrival; /* POSIX s, this machine's clock */
    uint32_t seconds; /* since 1990 */
    uint32_t nanoseconds; /* LOST: the connection was lost, or the server could give no value */
    uint32_t count;
    uint32_t severity;
};

#define LOST UINT32_MAX

struct page {
    struct head *heads;
    double *values;
    size_t heads_used, heads_room;
    size_t values_used, values_room;
    size_t lost;
};

struct inbox {
    pthread_mutex_t mutex; /* holds for everything below */
    struct page pages[2];
    int filling; /* the page that takes what arrives; the other one is the reader's */
    size_t capacity; /* values per page; 0: closed, nothing is kept */
    size_t lost;
};

/* What the reader gets: its own until it takes the next. */
struct taken {
    const struct head *heads;
    const double *values;
    size_t heads_used, values_used, lost;
};

/* For the comparison by inbox.py. */
EXPORTED const size_t inbox_layout[] = {
    offsetof(struct event_handler_args, usr),
    offsetof(struct event_handler_args, chid),
    offsetof(struct event_handler_args, type),
    offsetof(struct event_handler_args, count),
    offsetof(struct event_handler_args, dbr),
    offsetof(struct event_handler_args, status),
    sizeof(struct event_handler_args),
    offsetof(struct connection_handler_args, chid),
    offsetof(struct connection_handler_args, op),
    sizeof(struct connection_handler_args),
    offsetof(struct dbr_time_double, status),
    offsetof(struct dbr_time_double, severity),
    offsetof(struct dbr_time_double, seconds),
    offsetof(struct dbr_time_double, padding),
    offsetof(struct dbr_time_double, values),
};

/* ca_puser of libca, set by inbox.py: this library is linked to nothing. */
EXPORTED void *(*inbox_of_channel)(void *chid);

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool has_room(void **memory, size_t *room, size_t needed, size_t size)
{
    if (needed <= *room)
        return true;
    size_t larger = *room ? *room : 256;
    while (larger < needed)
        larger *= 2;
    void *moved = realloc(*memory, larger * size);
    if (!moved)
        return false;
    *memory = moved;
    *room = larger;
    return true;
}

static bool append(struct page *page, struct head head, const double *values)
{
    size_t heads = page->heads_used + 1, all = page->values_used + head.count;
    if (!has_room((void **)&page->heads, &page->heads_room, heads, sizeof *page->heads) ||
        !has_room((void **)&page->values, &page->values_room, all, sizeof *page->values))
        return false;
    page->heads[page->heads_used] = head;
    memcpy(page->values + page->values_used, values, head.count * sizeof *values);
    page->heads_used = heads;
    page->values_used = all;
    return true;
}

/* Note that from now on the value is not known. Kept even if the page is full. */
static void mark_loss(struct inbox *inbox)
{
    const double nothing = NAN;
    pthread_mutex_lock(&inbox->mutex);
    if (inbox->capacity)
        append(&inbox->pages[inbox->filling],
               (struct head){now(), LOST, LOST, 1, INVALID_ALARM}, &nothing);
    pthread_mutex_unlock(&inbox->mutex);
}

/* libca's handler of updates; the user argument is the inbox. */
EXPORTED void inbox_update(struct event_handler_args arguments)
{
    struct inbox *inbox = arguments.usr;
    const struct dbr_time_double *record = arguments.dbr;
    if (arguments.status != ECA_NORMAL || arguments.type != DBR_TIME_DOUBLE || !record) {
        mark_loss(inbox);
        return;
    }
    struct head head = {now(), record->seconds, record->nanoseconds, (uint32_t)arguments.count,
                        (uint32_t)record->severity};
    pthread_mutex_lock(&inbox->mutex);
    struct page *page = &inbox->pages[inbox->filling];
    if (inbox->capacity) {
        bool fits = page->heads_used < inbox->capacity &&
                    page->values_used + head.count <= inbox->capacity;
        /* What is lost follows all that is kept: the reader must know where the gap is. */
        if (page->lost || !fits || !append(page, head, record->values)) {
            page->lost += head.count;
            inbox->lost += head.count;
        }
    }
    pthread_mutex_unlock(&inbox->mutex);
}

/* libca's handler of connections; the user argument of the channel is the inbox.
 *
 * libca calls it, like all handlers of one context, one at a time: the mark is behind the last
 * update from before, and in front of the first one after.
 */
EXPORTED void inbox_connection(struct connection_handler_args arguments)
{
    if (arguments.op == CA_OP_CONN_DOWN)
        mark_loss(inbox_of_channel(arguments.chid));
}

/* Make an inbox that is closed; NULL if there is no memory. */
EXPORTED struct inbox *inbox_create(void)
{
    struct inbox *inbox = calloc(1, sizeof *inbox);
    if (inbox && pthread_mutex_init(&inbox->mutex, NULL)) {
        free(inbox);
        inbox = NULL;
    }
    return inbox;
}

/* Keep what arrives from now on, at most `capacity` values between two calls of inbox_take. */
EXPORTED void inbox_open(struct inbox *inbox, size_t capacity)
{
    pthread_mutex_lock(&inbox->mutex);
    inbox->capacity = capacity;
    inbox->lost = 0;
    pthread_mutex_unlock(&inbox->mutex);
}

/* Forget everything and keep nothing more. */
EXPORTED void inbox_close(struct inbox *inbox)
{
    pthread_mutex_lock(&inbox->mutex);
    inbox->capacity = 0;
    for (int k = 0; k < 2; k++) {
        free(inbox->pages[k].heads);
        free(inbox->pages[k].values);
        inbox->pages[k] = (struct page){0};
    }
    pthread_mutex_unlock(&inbox->mutex);
}

/* Free an inbox that no handler can be called with any more. */
EXPORTED void inbox_destroy(struct inbox *inbox)
{
    inbox_close(inbox);
    pthread_mutex_destroy(&inbox->mutex);
    free(inbox);
}

/* Hand over what was kept; what arrives meanwhile goes to the other page. */
EXPORTED void inbox_take(struct inbox *inbox, struct taken *taken)
{
    pthread_mutex_lock(&inbox->mutex);
    const struct page *page = &inbox->pages[inbox->filling];
    *taken = (struct taken){page->heads, page->values, page->heads_used, page->values_used,
                            page->lost};
    inbox->filling = !inbox->filling;
    struct page *next = &inbox->pages[inbox->filling];
    next->heads_used = next->values_used = next->lost = 0;
    pthread_mutex_unlock(&inbox->mutex);
}

/* Return how many values were thrown away since the inbox was opened. */
EXPORTED size_t inbox_lost(struct inbox *inbox)
{
    pthread_mutex_lock(&inbox->mutex);
    size_t lost = inbox->lost;
    pthread_mutex_unlock(&inbox->mutex);
    return lost;
}
