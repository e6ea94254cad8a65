/* What all workers share: songs, days, the plays of each, and the order they end up in. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "parallel.h"
#include "totals.h"

static int add(struct table *t, struct sheet *s, const char *name, const char *date,
               uint128 plays)
{
    char text[BYTES_SLACK + 40] = {0}, day[BYTES_SLACK + 12] = {0};
    size_t len = strlen(name);

    memcpy(text, name, len);
    memcpy(day, date, strlen(date));
    int rc = table_reserve(t, s, 1, len);
    if (rc)
        return rc;
    uint64_t hash = songs_hash(&t->songs, text, len);
    uint32_t entry = songs_find(&t->songs, text, len, hash);
    if (entry == SONGS_NONE)
        entry = songs_add(&t->songs, &s->pen, text, len, hash);
    int id = dates_id(&s->dates, day, strlen(day));
    assert_true(id >= 0);
    return sheet_add(s, songs_entry(&t->songs, entry)->id, (uint32_t)id, plays);
}

struct sum_list {
    char song[64];
    struct group groups[8];
    size_t count, songs;
};

static int list_song(void *arg, const struct song *song, const struct group *groups,
                     size_t count, struct err *err)
{
    struct sum_list *l = arg;

    (void)err;
    assert_true(song->len < sizeof l->song);
    memcpy(l->song, song->bytes, song->len);
    l->song[song->len] = '\0';
    for (l->count = 0; l->count < count && l->count < 8; l->count++)
        l->groups[l->count] = groups[l->count];
    l->songs++;
    return 0;
}

/* The only song of a finished table. */
static void list_only(struct table *t, struct sum_list *ret)
{
    struct totals totals;
    struct sums sums;

    *ret = (struct sum_list){.songs = 0};
    assert_int_equal(table_finish(t), 0);
    assert_int_equal(totals_init(&totals, t), 0);
    assert_int_equal(sums_init(&sums, totals.day_count), 0);
    assert_int_equal(
        totals_range(&totals, 0, &sums, &(struct totals_sink){list_song, ret}, NULL), 0);
    assert_int_equal(ret->songs, 1);
    sums_release(&sums);
    totals_release(&totals);
}

static void songs_are_sorted_by_their_bytes_whatever_they_share(void **state)
{
    struct table t;
    struct sheet s;
    char name[40];

    (void)state;
    table_init(&t, SIZE_MAX / 4, 1, 42);
    table_join(&t, &s);
    for (unsigned i = 0; i < 20000; i++) {
        unsigned k = i * 7919 % 20011;
        /* names that are the start of others, high bytes, long common starts */
        snprintf(name, sizeof name, "%.*s%s%u", (int)(k % 23), "aaaaaaaaaaaaaaaaaaaaaaaa",
                 k % 3 ? "" : "\xC3\xA9", k % 5 ? k : 1);
        assert_int_equal(add(&t, &s, name, "2024-01-01", 1), 0);
    }
    assert_int_equal(table_finish(&t), 0);
    assert_true(t.song_count > 10000);
    for (uint32_t i = 1; i < t.song_count; i++)
        assert_true(entry_compare(songs_entry(&t.songs, t.order[i - 1].entry),
                                  songs_entry(&t.songs, t.order[i].entry)) < 0);
    table_release(&t);
}

static void a_table_reserves_no_more_than_its_budget(void **state)
{
    enum { BUDGET = 300 * 1024 };
    struct table t;
    struct sheet s;
    char name[32];
    int rc = 0;
    unsigned songs = 0;

    (void)state;
    table_init(&t, BUDGET, 1, 1);
    table_join(&t, &s);
    for (; rc == 0; songs++) {
        snprintf(name, sizeof name, "song %u", songs);
        rc = add(&t, &s, name, "2024-01-01", 1);
        assert_true(table_used(&t) - s.held + sheet_held(&s) <= BUDGET);
    }
    assert_int_equal(rc, TABLE_FULL);
    assert_true(songs > 1000);
    table_release(&t);
}

static void an_empty_table_takes_one_total_whatever_its_budget(void **state)
{
    struct table t;
    struct sheet s;

    (void)state;
    table_init(&t, 1, 1, 1);
    table_join(&t, &s);
    assert_int_equal(add(&t, &s, "a", "2024-01-01", 1), 0);
    assert_int_equal(add(&t, &s, "a", "2024-01-01", 1), TABLE_FULL);
    table_release(&t);
}

static void a_sum_past_128_bits_is_marked(void **state)
{
    struct table t;
    struct sheet s;
    struct sum_list l;

    (void)state;
    table_init(&t, SIZE_MAX / 4, 1, 9);
    table_join(&t, &s);
    assert_int_equal(add(&t, &s, "a", "2024-01-02", 1), 0);
    assert_int_equal(add(&t, &s, "a", "2024-01-01", (uint128)-1), 0);
    assert_int_equal(add(&t, &s, "a", "2024-01-01", 0), 0);
    assert_int_equal(add(&t, &s, "a", "2024-01-02", (uint128)-1), 0);
    assert_int_equal(add(&t, &s, "a", "2024-01-02", 1), 0);
    list_only(&t, &l);
    assert_int_equal(l.count, 2);
    assert_false(l.groups[0].overflowed);
    assert_true(l.groups[0].sum == (uint128)-1);
    assert_true(l.groups[1].overflowed);
    table_release(&t);
}

/* Small plays by the log and by sums in place, then plays that fill those sums over and over.
 */
static void sums_are_exact_by_every_way_a_row_may_take(void **state)
{
    static const uint64_t steps[] = {0,
                                     1,
                                     1000,
                                     UINT64_C(1) << 34,
                                     UINT64_C(1) << 35,
                                     UINT64_C(1) << 61,
                                     UINT64_C(1) << 62,
                                     UINT64_MAX};
    struct table t;
    struct sheet s;
    struct sum_list l;
    uint128 due = 0;

    (void)state;
    table_init(&t, SIZE_MAX / 4, 1, 9);
    table_join(&t, &s);
    for (unsigned i = 0; i < 4000; i++) {
        uint128 plays = steps[i * 7 / 3 % 8] + (i % 97 == 0 ? (uint128)i << 64 : 0);
        assert_int_equal(add(&t, &s, "a", "2024-01-01", plays), 0);
        due += plays;
    }
    for (unsigned day = 10; day < 30; day++) { /* a day without plays is a total too */
        char date[12];
        snprintf(date, sizeof date, "2024-02-%02u", day);
        if (day != 20)
            assert_int_equal(add(&t, &s, "b", date, 1), 0);
    }
    assert_int_equal(add(&t, &s, "a", "2024-02-20", 0), 0);
    assert_int_equal(s.dense_count, 1);
    assert_int_equal(table_finish(&t), 0);

    struct totals totals;
    struct sums sums;
    assert_int_equal(totals_init(&totals, &t), 0);
    assert_int_equal(totals.day_count, 21);
    assert_int_equal(sums_init(&sums, totals.day_count), 0);
    l.songs = 0;
    for (size_t i = 0; i < totals.ranges && l.songs == 0; i++)
        assert_int_equal(
            totals_range(&totals, i, &sums, &(struct totals_sink){list_song, &l}, NULL), 0);
    if (l.songs == 1) {
        assert_string_equal(l.song, "a");
        assert_int_equal(l.count, 2);
        assert_true(l.groups[0].sum == due);
        assert_true(l.groups[1].sum == 0);
    }
    sums_release(&sums);
    totals_release(&totals);
    table_release(&t);
}

/* Workers that meet the same songs and days at the same time, each in an order of its own. */
enum { WORKERS = 4, NAMES = 5000, ROUNDS = 3 };

struct crowd {
    struct table table;
    struct sheet sheets[WORKERS];
    atomic_int failed;
};

static void add_all(void *arg, size_t me)
{
    static const size_t steps[WORKERS] = {1, 4999, 1237, 3761}; /* prime to NAMES */
    struct crowd *c = arg;
    char name[40], date[12];

    gate_enter(&c->table.gate);
    for (size_t i = 0; i < (size_t)NAMES * ROUNDS; i++) {
        size_t song = i * steps[me] % NAMES;
        snprintf(name, sizeof name, "a song with the number %zu", song);
        snprintf(date, sizeof date, "2024-01-%02zu", 1 + song % 28);
        if (add(&c->table, &c->sheets[me], name, date, song) != 0)
            atomic_store(&c->failed, 1);
    }
    gate_leave(&c->table.gate);
}

static int check_sum(void *arg, const struct song *song, const struct group *groups,
                     size_t count, struct err *err)
{
    unsigned *seen = arg, number = 0;

    (void)err;
    for (uint32_t i = 0; i < song->len; i++)
        if (song->bytes[i] >= '0' && song->bytes[i] <= '9')
            number = 10 * number + (unsigned)(song->bytes[i] - '0');
    assert_int_equal(count, 1);
    assert_true(groups[0].sum == (uint128)number * WORKERS * ROUNDS);
    *seen += 1;
    return 0;
}

static void a_song_that_many_add_at_once_is_there_once(void **state)
{
    static struct crowd c;
    struct totals totals;
    struct sums sums;
    unsigned seen = 0;

    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        atomic_store(&c.failed, 0);
        table_init(&c.table, round ? 64 << 20 : SIZE_MAX / 4, WORKERS, round);
        for (size_t i = 0; i < WORKERS; i++)
            table_join(&c.table, &c.sheets[i]);
        parallel_run(WORKERS, add_all, &c);
        assert_int_equal(atomic_load(&c.failed), 0);
        assert_int_equal(table_finish(&c.table), 0);
        assert_int_equal(c.table.song_count, NAMES);
        assert_int_equal(totals_init(&totals, &c.table), 0);
        assert_int_equal(totals.day_count, 28);
        assert_int_equal(sums_init(&sums, totals.day_count), 0);
        seen = 0;
        for (size_t i = 0; i < totals.ranges; i++)
            assert_int_equal(
                totals_range(&totals, i, &sums, &(struct totals_sink){check_sum, &seen}, NULL),
                0);
        assert_int_equal(seen, NAMES);
        sums_release(&sums);
        totals_release(&totals);
        table_release(&c.table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(songs_are_sorted_by_their_bytes_whatever_they_share),
        cmocka_unit_test(a_table_reserves_no_more_than_its_budget),
        cmocka_unit_test(an_empty_table_takes_one_total_whatever_its_budget),
        cmocka_unit_test(a_sum_past_128_bits_is_marked),
        cmocka_unit_test(sums_are_exact_by_every_way_a_row_may_take),
        cmocka_unit_test(a_song_that_many_add_at_once_is_there_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
