/* Posts updates of records faster than any interpreter can: the load for the benchmarks.
 *
 * Compiled at run time by load_server.py into a library of the IOC's process.
 */
#include <math.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include <aiRecord.h>
#include <dbAccess.h>
#include <dbLock.h>
#include <waveformRecord.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void sleep_for(double seconds)
{
    struct timespec t = {(time_t)seconds, 0};
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    nanosleep(&t, NULL);
}

/* Find a record; NULL if there is none of that name. */
dbCommon *load_find(const char *name)
{
    DBADDR address;
    return dbNameToAddr(name, &address) ? NULL : address.precord;
}

static void post_scalar(dbCommon *common)
{
    aiRecord *record = (aiRecord *)common;
    dbScanLock(common);
    record->val += 1.0;
    record->udf = 0;
    dbProcess(common);
    dbScanUnlock(common);
}

/* The elements go on counting where the waveform before ended. */
static void post_waveform(dbCommon *common)
{
    waveformRecord *record = (waveformRecord *)common;
    double *elements = record->bptr;
    epicsUInt32 n = record->nelm;
    dbScanLock(common);
    double last = record->nord ? elements[n - 1] : 0.0;
    for (epicsUInt32 k = 0; k < n; k++)
        elements[k] = last + 1.0 + (double)k;
    record->nord = n;
    record->udf = 0;
    dbProcess(common);
    dbScanUnlock(common);
}

/* Post updates of all records in turn until *stop is set, once at least; return how many were
 * posted.
 *
 * rate: updates per second of all records together; 0 posts as fast as possible.
 * A counter per record goes up by one with each update.
 */
long load_publish(dbCommon **records, int count, int waveforms, double rate, volatile int *stop)
{
    void (*post)(dbCommon *) = waveforms ? post_waveform : post_scalar;
    long posted = 0;
    double begin = now();
    prctl(PR_SET_TIMERSLACK, 1000UL, 0, 0, 0);
    do {
        if (rate > 0) {
            double wait = begin + (double)posted / rate - now();
            if (wait > 0)
                sleep_for(fmin(wait, 0.05));
            if (wait > 0.05)
                continue;
        }
        for (int k = 0; k < count; k++)
            post(records[k]);
        posted += count;
    } while (!*stop);
    return posted;
}
