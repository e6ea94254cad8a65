/* metrics.c - one atomic number per row of metrics.def, and their text. */
#include "metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>

enum kind { COUNTER, GAUGE };

static const struct {
    enum kind kind;
    const char *name, *help;
} table[METRIC__COUNT] = {
#define METRIC(id, kind, name, help) [METRIC_##id] = {kind, name, help},
#include "metrics.def"
#undef METRIC
};

static _Atomic int64_t values[METRIC__COUNT];

void metric_add(enum metric m, int64_t amount)
{
    assert(m < METRIC__COUNT);
    assert(amount >= 0 || table[m].kind == GAUGE);

    atomic_fetch_add_explicit(&values[m], amount, memory_order_relaxed);
}

void metric_set(enum metric m, int64_t value)
{
    assert(m < METRIC__COUNT && table[m].kind == GAUGE);

    atomic_store_explicit(&values[m], value, memory_order_relaxed);
}

int64_t metric_get(enum metric m)
{
    assert(m < METRIC__COUNT);

    return atomic_load_explicit(&values[m], memory_order_relaxed);
}

void metrics_text(struct buf *out)
{
    for (int m = 0; m < METRIC__COUNT; m++)
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %" PRId64 "\n", table[m].name,
                   table[m].help, table[m].name, table[m].kind == COUNTER ? "counter" : "gauge",
                   table[m].name, metric_get((enum metric)m));
}
