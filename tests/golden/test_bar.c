/* The line that a terminal shows, for figures chosen by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bar.h"
#include "csv.h"

static void expect(double fraction, int64_t ms, const char *due)
{
    const struct csv_progress p = {.bytes_read = 250000000,
                                   .bytes_total = 1000000000,
                                   .rows = 7500000,
                                   .fraction = fraction};
    char text[BAR_TEXT_MAX];

    bar_text(&p, ms, text);
    assert_string_equal(text, due);
}

static void the_bar_shows_share_bytes_rows_rate_and_the_time_left(void **state)
{
    (void)state;
    expect(0.25, 1000,
           "[######..................]  25 %, 250 MB read, 7.5 million rows, 250 MB/s, "
           "0:00:03 left");
    expect(0.5, 3600 * 1000,
           "[############............]  50 %, 250 MB read, 7.5 million rows, 0 MB/s, "
           "1:00:00 left");
    expect(1, 2000,
           "[########################] 100 %, 250 MB read, 7.5 million rows, 125 MB/s, "
           "0:00:00 left");
}

static void what_nobody_knows_yet_is_not_shown(void **state)
{
    (void)state;
    expect(-1, 1000, "250 MB read, 7.5 million rows, 250 MB/s");
    expect(0, 1000,
           "[........................]   0 %, 250 MB read, 7.5 million rows, 250 MB/s");
    expect(0.02, INT64_C(100) * 3600 * 1000,
           "[........................]   2 %, 250 MB read, 7.5 million rows, 0 MB/s");
    expect(0.5, 0,
           "[############............]  50 %, 250 MB read, 7.5 million rows, 250000 MB/s, "
           "0:00:00 left");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bar_shows_share_bytes_rows_rate_and_the_time_left),
        cmocka_unit_test(what_nobody_knows_yet_is_not_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
