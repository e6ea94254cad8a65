/* test_metrics.c - counting from many threads, and the text that Prometheus reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "metrics.h"

enum { THREADS = 4, ROUNDS = 20000 };

static void *count(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        metric_add(METRIC_TASKS_DONE, 1);
        metric_add(METRIC_HTTP_CONNECTIONS, i % 2 ? -1 : 1);
    }
    return NULL;
}

static void no_count_is_lost_between_threads(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metric_get(METRIC_TASKS_DONE), THREADS * ROUNDS);
    assert_int_equal(metric_get(METRIC_HTTP_CONNECTIONS), 0);
}

static void the_text_has_help_type_and_value_of_every_metric(void **state)
{
    struct buf text = BUF_INIT;
    int lines = 0;

    (void)state;
    metric_set(METRIC_BROKER_UP, 1);
    metric_set(METRIC_TASKS_WAITING, 1234567890123);
    metrics_text(&text);
    assert_true(buf_ok(&text));
    assert_non_null(strstr(text.data, "# HELP segue_broker_up 1 while the link to the broker "
                                      "is up\n# TYPE segue_broker_up gauge\n"
                                      "segue_broker_up 1\n"));
    assert_non_null(strstr(text.data, "# TYPE segue_tasks_failed_total counter\n"
                                      "segue_tasks_failed_total 0\n"));
    assert_non_null(strstr(text.data, "\nsegue_tasks_waiting 1234567890123\n"));
    for (const char *at = text.data; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    assert_int_equal(lines, 3 * METRIC__COUNT);
    buf_release(&text);
}

static void counters_end_in_total_and_gauges_do_not(void **state)
{
    static const char *const names[] = {
#define METRIC(id, kind, name, help) #kind " " name,
#include "metrics.def"
#undef METRIC
    };

    (void)state;
    for (int m = 0; m < METRIC__COUNT; m++) {
        size_t len = strlen(names[m]);
        int is_total = len > 6 && strcmp(names[m] + len - 6, "_total") == 0;
        assert_int_equal(is_total, strncmp(names[m], "COUNTER ", 8) == 0);
        assert_non_null(strstr(names[m], " segue_"));
    }
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(no_count_is_lost_between_threads),
        cmocka_unit_test(the_text_has_help_type_and_value_of_every_metric),
        cmocka_unit_test(counters_end_in_total_and_gauges_do_not),
    };

    return cmocka_run_group_tests(cases, NULL, NULL);
}
