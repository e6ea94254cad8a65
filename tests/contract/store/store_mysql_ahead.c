/* store_mysql_ahead.c - what is known of a queue: in the order of claims, never more than is
 * true, and always unknown rather than wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mysql_internal.h"

static const char *const names[] = {"a", "b"};

struct bench {
    struct my_ahead ahead;
    struct claim claim;
    struct candidate got[MY_AHEAD_MAX];
    bool is_known;
};

static int setup(void **state)
{
    static struct bench b;

    memset(&b, 0, sizeof b);
    assert_int_equal(my_ahead_init(&b.ahead, NULL), 0);
    b.claim = (struct claim){.worker = "w", .queues = names, .queue_count = 1, .limit = 1};
    *state = &b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;

    my_ahead_release(&b->ahead);
    return 0;
}

static struct candidate task(int64_t turn, unsigned number)
{
    struct candidate c = {.turn = turn};

    snprintf(c.id, sizeof c.id, "00000000-0000-7000-8000-%012u", number);
    return c;
}

static void look(struct bench *b, const char *queue, const struct candidate *seen, size_t count,
                 bool is_whole)
{
    struct my_ahead_mark mark = my_ahead_mark(&b->ahead, queue);

    my_ahead_fill(&b->ahead, queue, mark, seen, count, is_whole);
}

static size_t take(struct bench *b, size_t limit, bool any)
{
    return my_ahead_take(&b->ahead, &b->claim, limit, any, b->got, &b->is_known);
}

static void add(struct bench *b, const char *queue, struct candidate c)
{
    my_ahead_add(&b->ahead, queue, c.turn, c.id);
}

static void nothing_is_known_without_a_look(void **state)
{
    struct bench *b = *state;

    assert_int_equal(take(b, 1, false), 0);
    assert_false(b->is_known);
    add(b, "a", task(0, 1)); /* is in the database, and others may be, too */
    assert_int_equal(take(b, 1, false), 0);
    assert_false(b->is_known);
}

static void what_was_seen_is_taken_once_and_in_order(void **state)
{
    struct bench *b = *state;
    struct candidate seen[] = {task(-5, 9), task(0, 1), task(0, 2)};

    look(b, "a", seen, 3, true);
    assert_int_equal(take(b, 2, false), 2);
    assert_string_equal(b->got[0].id, seen[0].id);
    assert_string_equal(b->got[1].id, seen[1].id);
    assert_int_equal(take(b, 2, false), 1);
    assert_string_equal(b->got[0].id, seen[2].id);
    assert_true(b->is_known);
    assert_int_equal(take(b, 2, false), 0);
    assert_true(b->is_known);
}

static void a_look_that_did_not_see_all_is_not_taken_to_its_end(void **state)
{
    struct bench *b = *state;
    struct candidate seen[] = {task(0, 1), task(0, 2)};

    look(b, "a", seen, 2, false);
    assert_int_equal(take(b, 3, false), 0); /* the third is not known, so the two stay */
    assert_false(b->is_known);
    assert_int_equal(take(b, 2, false), 2);
    look(b, "a", seen, 2, false);
    assert_int_equal(take(b, 3, true), 2); /* all that is known will do */
}

static void a_submit_takes_its_place(void **state)
{
    struct bench *b = *state;
    struct candidate seen[] = {task(0, 1), task(0, 5)};

    look(b, "a", seen, 2, true);
    add(b, "a", task(0, 7));
    add(b, "a", task(-1, 8));
    add(b, "a", task(0, 3));
    add(b, "a", task(0, 3)); /* told twice */
    const struct candidate wanted[] = {task(-1, 8), task(0, 1), task(0, 3), task(0, 5),
                                       task(0, 7)};
    assert_int_equal(take(b, 9, false), 5);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(b->got[i].id, wanted[i].id);
}

static void behind_what_was_not_seen_a_submit_is_left_to_the_next_look(void **state)
{
    struct bench *b = *state;
    struct candidate seen[] = {task(0, 1), task(0, 5)};

    look(b, "a", seen, 2, false);
    add(b, "a", task(0, 3));
    add(b, "a", task(0, 7)); /* others may be between 5 and 7 */
    assert_int_equal(take(b, 3, false), 3);
    assert_string_equal(b->got[2].id, seen[1].id);
    assert_int_equal(take(b, 1, false), 0);
    assert_false(b->is_known);
}

static void a_submit_during_a_look_is_not_lost(void **state)
{
    struct bench *b = *state;

    look(b, "a", NULL, 0, true);
    struct my_ahead_mark mark = my_ahead_mark(&b->ahead, "a");
    add(b, "a", task(0, 1)); /* recorded after the look saw nothing */
    my_ahead_fill(&b->ahead, "a", mark, NULL, 0, true);
    assert_int_equal(take(b, 1, false), 1);

    my_ahead_forget(&b->ahead, "a");
    mark = my_ahead_mark(&b->ahead, "a");
    add(b, "a", task(0, 2)); /* nothing was known, so it could not be put anywhere */
    my_ahead_fill(&b->ahead, "a", mark, NULL, 0, true);
    assert_int_equal(take(b, 1, false), 0);
    assert_false(b->is_known);
}

static void what_was_known_before_a_look_and_was_not_seen_is_gone(void **state)
{
    struct bench *b = *state;
    struct candidate seen[] = {task(0, 1), task(0, 2)};

    look(b, "a", seen, 2, true);
    look(b, "a", seen + 1, 1, true); /* another manager claimed the first */
    assert_int_equal(take(b, 2, false), 1);
    assert_string_equal(b->got[0].id, seen[1].id);
}

static void the_best_of_several_queues_come_first(void **state)
{
    struct bench *b = *state;
    struct candidate in_a[] = {task(0, 2), task(0, 4)}, in_b[] = {task(-1, 9), task(0, 3)};

    b->claim.queue_count = 2;
    look(b, "a", in_a, 2, true);
    assert_int_equal(take(b, 1, false), 0); /* b may hold better ones */
    assert_false(b->is_known);
    look(b, "b", in_b, 2, true);
    assert_int_equal(take(b, 4, false), 4);
    const char *wanted[] = {in_b[0].id, in_a[0].id, in_b[1].id, in_a[1].id};
    const size_t queues[] = {1, 0, 1, 0};
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(b->got[i].id, wanted[i]);
        assert_int_equal(b->got[i].queue, queues[i]);
    }
}

static void a_full_one_leaves_the_last_to_the_next_look(void **state)
{
    static struct candidate seen[MY_AHEAD_MAX];
    struct bench *b = *state;

    for (unsigned i = 0; i < MY_AHEAD_MAX; i++)
        seen[i] = task(0, 10 + i);
    look(b, "a", seen, MY_AHEAD_MAX, true);
    add(b, "a", task(0, 1));
    assert_int_equal(take(b, MY_AHEAD_MAX, false), MY_AHEAD_MAX);
    assert_string_equal(b->got[1].id, seen[0].id);
    assert_string_equal(b->got[MY_AHEAD_MAX - 1].id, seen[MY_AHEAD_MAX - 2].id);
    assert_int_equal(take(b, 1, false), 0);
    assert_false(b->is_known);
}

static void many_queues_have_room_in_turn(void **state)
{
    struct bench *b = *state;
    struct candidate seen = task(0, 1);
    static char name[TASK_QUEUE_MAX];
    static const char *const queue = name;

    b->claim.queues = &queue;
    for (int i = 0; i < 2 * MY_AHEAD_QUEUES; i++) {
        snprintf(name, sizeof name, "q%d", i);
        look(b, name, &seen, 1, true);
        assert_int_equal(take(b, 1, false), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_known_without_a_look, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_seen_is_taken_once_and_in_order, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_look_that_did_not_see_all_is_not_taken_to_its_end,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_submit_takes_its_place, setup, teardown),
        cmocka_unit_test_setup_teardown(
            behind_what_was_not_seen_a_submit_is_left_to_the_next_look, setup, teardown),
        cmocka_unit_test_setup_teardown(a_submit_during_a_look_is_not_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_known_before_a_look_and_was_not_seen_is_gone,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(the_best_of_several_queues_come_first, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_one_leaves_the_last_to_the_next_look, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(many_queues_have_room_in_turn, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
