/* sim.c - the seeded scheduler: what happens next, to whom, and with which fault.
 *
 *   sim [--seed S] [--schedules N] [--jobs J] [--steps N] [--trace]
 *
 * Runs schedules S to S + N - 1 and prints how many a minute it made. At a broken promise it
 * prints the seed and that schedule's trace and ends with 1; `--seed S --schedules 1 --trace`
 * prints the same trace again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "sim.h"

enum { STEPS = 200, AGAIN = 100, HEAL_ROUNDS = 300, HEAL_MAX_MS = 4000 };

struct sim the_sim;

/* -- chance, time and names: the linker puts these before the real ones -- */

uint64_t sim_random(struct sim *s)
{
    uint64_t z = s->chance += 0x9E3779B97F4A7C15U; /* splitmix64 */

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
    z = (z ^ z >> 27) * 0x94D049BB133111EBU;
    return z ^ z >> 31;
}

int sim_below(struct sim *s, int n)
{
    return (int)(sim_random(s) % (uint64_t)n);
}

bool sim_happens(struct sim *s, int per_mille)
{
    return !s->healed && per_mille > 0 && sim_below(s, 1000) < per_mille;
}

int64_t __wrap_clock_mono_ms(void);
int64_t __wrap_clock_wall_ms(void);
ssize_t __wrap_getrandom(void *out, size_t len, unsigned flags);
void __wrap_id_new(char ret_id[ID_TEXT_MAX]);
bool __wrap_rounds_wait(struct rounds *r, int64_t ms);

int64_t __wrap_clock_mono_ms(void)
{
    return the_sim.now;
}

int64_t __wrap_clock_wall_ms(void)
{
    return the_sim.now;
}

ssize_t __wrap_getrandom(void *out, size_t len, unsigned flags)
{
    (void)flags;
    for (size_t at = 0; at < len; at += sizeof(uint64_t)) {
        uint64_t word = sim_random(&the_sim);
        memcpy((char *)out + at, &word, len - at < sizeof word ? len - at : sizeof word);
    }
    return (ssize_t)len;
}

void __wrap_id_new(char ret_id[ID_TEXT_MAX])
{
    uint8_t bytes[ID_BYTES] = {0};
    uint64_t number = ++the_sim.ids;

    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    id_from_bytes(bytes, ret_id);
}

/* The pauses of a sweep. */
bool __wrap_rounds_wait(struct rounds *r, int64_t ms)
{
    (void)r, (void)ms;
    sim_meddle(&the_sim);
    return true;
}

/* -- the trace -- */

static void mix(struct sim *s, uint64_t value)
{
    s->hash = (s->hash ^ value) * 0x100000001B3U;
    s->hash ^= s->hash >> 29;
}

void sim_say(struct sim *s, const char *what, const char *who, int number, int detail)
{
    uint64_t word = 0;

    memcpy(&word, what, strnlen(what, sizeof word));
    mix(s, word);
    mix(s, (uint64_t)s->now << 24 ^ (uint64_t)(unsigned)number << 8 ^ (unsigned)detail);
    if (s->tell)
        printf("%7lld ms %*s%s %d: %s (%d)\n", (long long)(s->now - s->began), 2 * s->depth, "",
               who, number, what, detail);
}

void sim_break(struct sim *s, const char *rule, const char *what, int number)
{
    if (s->violation[0])
        return;
    snprintf(s->violation, sizeof s->violation, "%s: %s (%d)", rule, what, number);
    sim_say(s, "BROKEN", s->violation, number, 0);
}

/* -- what happens next -- */

static void pass_time(struct sim *s)
{
    int dice = sim_below(s, 100);

    s->now += dice < 60   ? 1 + sim_below(s, 20)
              : dice < 90 ? 20 + sim_below(s, 400)
              : dice < 98 ? sim_below(s, LEASE_MS)
                          : 2 * LEASE_MS;
}

static void trouble(struct sim *s)
{
    int worker = sim_below(s, WORKERS), kind = sim_below(s, 9);

    if (s->faults == 0 && s->meddling == 0)
        return; /* a schedule in fine weather */
    sim_say(s, "trouble", "world", kind, 0);
    switch (kind) {
    case 0:
        manager_kill(s, sim_below(s, MANAGERS));
        break;
    case 1:
        worker_kill(s, worker);
        break;
    case 2:
    case 3:
        s->workers[worker].paused_until = s->now + sim_below(s, 3 * LEASE_MS);
        break;
    case 4:
        s->workers[worker].is_stopping = true;
        break;
    case 5:
        s->db_down_until = s->now + sim_below(s, 2 * LEASE_MS);
        break;
    case 6:
        s->broker_down_until = s->now + sim_below(s, 2 * LEASE_MS);
        s->broker.is_up = false;
        break;
    case 7:
        broker_lose_some(s);
        break;
    default: /* the worker's link; it learns of it when it looks */
        s->workers[worker].hints.link =
            s->workers[worker].hints.link == HINTS_UP ? HINTS_DOWN : HINTS_PAUSED;
        s->workers[worker].hints.held = 0;
        consumer_lose(s, worker);
    }
}

void sim_step(struct sim *s)
{
    int dice = sim_below(s, 100);

    s->steps++;
    if (!s->broker.is_up && s->now >= s->broker_down_until)
        s->broker.is_up = true;
    if (dice < 20)
        pass_time(s);
    else if (dice < 45)
        manager_step(s, sim_below(s, MANAGERS));
    else if (dice < 84)
        worker_step(s, sim_below(s, WORKERS));
    else if (dice < 94)
        client_step(s, sim_below(s, CLIENTS));
    else if (dice < 97)
        late_step(s);
    else
        trouble(s);
    check_step(s);
}

void sim_meddle(struct sim *s)
{
    if (s->depth >= DEPTH || !sim_happens(s, s->meddling))
        return;
    s->depth++;
    sim_step(s);
    s->depth--;
}

/* -- one schedule -- */

static void begin(struct sim *s, uint64_t seed)
{
    static const int faults[] = {0, 10, 60, 150}, meddling[] = {0, 50, 200, 400};

    s->seed = seed;
    s->chance = seed * 0x2545F4914F6CDD1DU + 1;
    s->hash = 0xCBF29CE484222325U;
    s->began = s->now = 1700000000000;
    s->healed = false;
    s->depth = s->steps = 0;
    s->db_down_until = s->broker_down_until = 0;
    s->ids = 0;
    s->violation[0] = '\0';
    s->faults = faults[sim_below(s, 4)];
    s->meddling = meddling[sim_below(s, 4)];
    model_db_clear(&s->db);
    broker_reset(&s->broker);
    objects_open(s);
    check_begin(s);
    for (int i = 0; i < LATE; i++)
        s->late[i].used = false;
    clients_begin(s);
    for (int i = 0; i < MANAGERS; i++)
        manager_start(s, i);
    for (int i = 0; i < WORKERS; i++)
        worker_start(s, i);
}

static void heal(struct sim *s)
{
    sim_say(s, "heals", "world", 0, 0);
    s->healed = true;
    s->db_down_until = 0;
    s->broker.is_up = true;
    for (int i = 0; i < MANAGERS; i++) {
        if (!s->managers[i].life)
            manager_start(s, i);
    }
    for (int i = 0; i < LATE; i++)
        late_step(s);
    for (int i = 0; i < WORKERS; i++) {
        if (s->workers[i].is_stopping)
            worker_kill(s, i);
        if (!s->workers[i].is_alive)
            worker_start(s, i);
        s->workers[i].paused_until = 0;
    }
}

/* Everybody once or more; every thread of everybody has its turn within a few rounds. */
static void healed_round(struct sim *s)
{
    for (int i = 0; i < CLIENTS; i++)
        client_step(s, i);
    for (int turn = 0; turn < 6; turn++) {
        for (int i = 0; i < MANAGERS && turn < 3; i++)
            manager_step(s, i);
        for (int i = 0; i < WORKERS; i++)
            worker_step(s, i);
    }
    check_step(s);
}

static void run_schedule(struct sim *s, uint64_t seed, int steps)
{
    int64_t pause = 50;
    uint64_t events;

    begin(s, seed);
    while (s->steps < steps && !s->violation[0])
        sim_step(s);
    if (!s->violation[0])
        heal(s);
    for (int i = 0; i < HEAL_ROUNDS && !s->violation[0] && !check_is_over(s); i++) {
        events = s->db.event_count;
        healed_round(s);
        /* Nothing happened: what everybody waits for is further away. */
        pause = s->db.event_count > events ? 50 : pause < HEAL_MAX_MS ? pause * 2 : HEAL_MAX_MS;
        s->now += pause;
    }
    if (!s->violation[0] && !check_is_over(s))
        sim_break(s, "I11", "not at its end long after healing", (int)s->db.outbox_count);
    if (!s->violation[0])
        check_end(s);
    mix(s, s->db.event_count);
    workers_end(s);
    managers_end(s);
}

/* -- many -- */

struct options {
    uint64_t seed, schedules;
    int jobs, steps;
    bool trace;
};

static void show(struct sim *s, uint64_t seed, int steps)
{
    s->tell = true;
    run_schedule(s, seed, steps);
    s->tell = false;
    printf("seed %llu: %d steps, trace %016llx, %s\n", (unsigned long long)seed, s->steps,
           (unsigned long long)s->hash, s->violation[0] ? s->violation : "every promise kept");
}

/* Every jobs-th schedule from the first on; 1 when one broke a promise. */
static int run_some(struct sim *s, const struct options *o, uint64_t first)
{
    for (uint64_t i = first; i < o->schedules; i += (uint64_t)o->jobs) {
        if (o->trace) {
            show(s, o->seed + i, o->steps);
            continue;
        }
        run_schedule(s, o->seed + i, o->steps);
        uint64_t hash = s->hash;
        if (i % AGAIN == 0) {
            run_schedule(s, o->seed + i, o->steps);
            if (hash != s->hash)
                sim_break(s, "simulation", "the same seed made another schedule", 0);
        }
        if (!s->violation[0])
            continue;
        show(s, o->seed + i, o->steps);
        printf("again: sim --seed %llu --schedules 1 --trace%s\n",
               (unsigned long long)(o->seed + i),
               hash == s->hash ? "" : " (NOT the same trace: the simulation is at fault)");
        return 1;
    }
    return 0;
}

static int run_jobs(struct sim *s, const struct options *o)
{
    int failed = 0, status;

    if (o->jobs == 1)
        return run_some(s, o, 0);
    for (int i = 0; i < o->jobs; i++) {
        pid_t pid = fork();
        if (pid < 0)
            abort();
        if (pid == 0) {
            int rc = run_some(s, o, (uint64_t)i);
            fflush(stdout);
            _exit(rc);
        }
    }
    while (wait(&status) > 0)
        failed |= status != 0;
    return failed;
}

static bool read_options(int argc, char **argv, struct options *o)
{
    *o = (struct options){.seed = 1, .schedules = 1000, .jobs = 1, .steps = STEPS};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--trace") == 0) {
            o->trace = true;
            continue;
        }
        if (strcmp(argv[i], "--seed") == 0)
            o->seed = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--schedules") == 0)
            o->schedules = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--jobs") == 0)
            o->jobs = (int)strtol(value, NULL, 10);
        else if (strcmp(argv[i], "--steps") == 0)
            o->steps = (int)strtol(value, NULL, 10);
        else
            return false;
        i++;
    }
    return o->jobs > 0 && o->steps > 0;
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Of the processor, by this process and the jobs that have ended. */
static double busy_seconds(void)
{
    static const int whose[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
    double sum = 0;

    for (size_t i = 0; i < 2; i++) {
        struct rusage u;
        getrusage(whose[i], &u);
        sum += (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    }
    return sum;
}

int main(int argc, char **argv)
{
    struct sim *s = &the_sim;
    struct options o;
    struct err err = ERR_INIT;

    if (!read_options(argc, argv, &o)) {
        fprintf(stderr, "usage: sim [--seed S] [--schedules N] [--jobs J] [--steps N] "
                        "[--trace]\n");
        return 2;
    }
    if (config_load(&s->config, CONFIG_MANAGER, 1, argv, NULL, &err)) {
        fprintf(stderr, "sim: %s\n", err.text);
        return 2;
    }
    s->config.lease_ms = LEASE_MS;
    s->config.foreign_lease_ms = 5 * LEASE_MS;
    s->config.retry_base_ms = 100;
    s->config.retry_cap_ms = 2000;
    log_setup(LOG__COUNT, LOG_TEXT);
    model_db_init(&s->db);

    double began = seconds();
    int failed = run_jobs(s, &o);
    double took = seconds() - began;
    if (!failed && !o.trace)
        printf(
            "%llu schedules of %d steps and their healing, seeds from %llu on, every promise "
            "kept: %.0f a minute, %.0f a minute of processor time\n",
            (unsigned long long)o.schedules, o.steps, (unsigned long long)o.seed,
            (double)o.schedules / took * 60, (double)o.schedules / busy_seconds() * 60);
    model_db_release(&s->db);
    config_release(&s->config);
    return failed;
}
