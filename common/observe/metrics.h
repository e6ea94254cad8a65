/* metrics.h - counters and gauges of a process, as Prometheus text.
 *
 * metrics.def lists every metric once: name, kind, unit, help. Counting is one relaxed
 * atomic add; safe from any thread. Text follows the Prometheus exposition format 0.0.4. */
#ifndef OBSERVE_METRICS_H
#define OBSERVE_METRICS_H

#include <stdint.h>

#include "buf.h"

enum metric {
#define METRIC(id, kind, name, help) METRIC_##id,
#include "metrics.def"
#undef METRIC
    METRIC__COUNT
};

/* A counter only rises; a gauge goes both ways and can be set. */
void metric_add(enum metric m, int64_t amount);
void metric_set(enum metric m, int64_t value);
int64_t metric_get(enum metric m);

/* Appends all metrics, with HELP and TYPE lines. */
void metrics_text(struct buf *out);

#endif
