/* Counts monitor updates with nothing but libca: the physical limit that others are compared to.
 *
 * Reads "PREFIX CHANNELS WARM_UP SECONDS" lines from its input, the prefix of the channels' names
 * first; answers "ready" when all channels have sent a value, after the measurement "UPDATES
 * SECONDS CPU_SECONDS LOST", and at last "closed". Of a waveform each element counts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cadef.h>

#define MOST_CHANNELS 1000

typedef struct {
    chid channel;
    evid subscription;
    volatile long updates;
    volatile double first, last, sum;
} Counter;

static Counter counters[MOST_CHANNELS];

static void receive(struct event_handler_args arguments)
{
    Counter *counter = arguments.usr;
    const struct dbr_time_double *record = arguments.dbr;
    if (arguments.status != ECA_NORMAL || !arguments.count)
        return;
    const double *values = &record->value;
    if (!counter->updates)
        counter->first = values[0];
    counter->last = values[arguments.count - 1];
    /* Somebody would use the timestamp. */
    counter->sum += record->stamp.nsec;
    counter->updates += arguments.count;
}

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(void)
{
    int channels;
    double warm_up, seconds;
    char prefix[80];
    if (ca_context_create(ca_enable_preemptive_callback) != ECA_NORMAL)
        return 2;
    while (scanf("%79s %d %lf %lf", prefix, &channels, &warm_up, &seconds) == 4 &&
           channels <= MOST_CHANNELS) {
        for (int k = 0; k < channels; k++) {
            char name[100];
            snprintf(name, sizeof name, "%s%d", prefix, k);
            memset(&counters[k], 0, sizeof counters[k]);
            ca_create_channel(name, NULL, NULL, 0, &counters[k].channel);
        }
        if (ca_pend_io(10.0) != ECA_NORMAL)
            return 3;
        for (int k = 0; k < channels; k++)
            ca_create_subscription(DBR_TIME_DOUBLE, 0, counters[k].channel, DBE_VALUE | DBE_ALARM,
                                   receive, &counters[k], &counters[k].subscription);
        ca_flush_io();
        for (int k = 0; k < channels; k++)
            while (!counters[k].updates)
                usleep(1000);
        printf("ready\n");
        fflush(stdout);
        usleep((useconds_t)(warm_up * 1e6));
        double begin = seconds_of(CLOCK_MONOTONIC), cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
        for (int k = 0; k < channels; k++)
            counters[k].updates = 0;
        usleep((useconds_t)(seconds * 1e6));
        long updates = 0;
        double lost = 0;
        seconds = seconds_of(CLOCK_MONOTONIC) - begin;
        cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        for (int k = 0; k < channels; k++) {
            long received = counters[k].updates;
            updates += received;
            if (received)
                lost += counters[k].last - counters[k].first + 1 - (double)received;
        }
        printf("%ld %.6f %.6f %.0f\n", updates, seconds, cpu, lost < 0 ? 0 : lost);
        fflush(stdout);
        for (int k = 0; k < channels; k++)
            ca_clear_channel(counters[k].channel);
        ca_flush_io();
        printf("closed\n");
        fflush(stdout);
    }
    ca_context_destroy();
    return 0;
}
