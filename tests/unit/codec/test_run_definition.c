/* Definitions of pipelines: read strictly, bound to params, shown without secrets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "run_definition.h"

static bool is_foreign(void *arg, const char *type)
{
    (void)arg;
    return strcmp(type, "any") == 0;
}

static const struct run_def_rules rules = {is_foreign, NULL};

static struct run_def *parse(const char *text)
{
    struct run_def *d = NULL;
    struct err err = ERR_INIT;

    if (run_def_parse(text, strlen(text), "", "p", &rules, &d, NULL, &err))
        fail_msg("%s", err.text);
    return d;
}

/* The lines of all mistakes; of one step of type "any" with these params. */
static void assert_mistakes(const char *text, const char *lines)
{
    struct run_def *d = NULL;
    struct buf mistakes = BUF_INIT;
    struct err err = ERR_INIT;

    assert_int_equal(run_def_parse(text, strlen(text), "", "p", &rules, &d, &mistakes, &err),
                     -E_BAD_VALUE);
    assert_null(d);
    assert_true(err.text[0] != '\0');
    assert_string_equal(mistakes.data, lines);
    buf_release(&mistakes);
}

#define INPUT(spec, params)                                                                    \
    "{\"input\":" spec ",\"steps\":[{\"name\":\"a\",\"type\":\"any\",\"params\":" params "}]}"

static void a_definition_tells_its_steps(void **state)
{
    struct run_def *d =
        parse("{\"title\":\"T\",\"queue\":\"q\",\"steps\":["
              "{\"name\":\"a\",\"type\":\"noop\",\"max_attempts\":5,\"timeout_s\":2},"
              "{\"name\":\"b\",\"type\":\"any\",\"queue\":\"own\"}]}");

    (void)state;
    assert_string_equal(run_def_name(d), "p");
    assert_string_equal(run_def_title(d), "T");
    assert_int_equal(run_def_step_count(d), 2);
    struct run_def_step a = run_def_step(d, 0), b = run_def_step(d, 1);
    assert_string_equal(a.queue, "q");
    assert_int_equal(a.max_attempts, 5);
    assert_int_equal(a.timeout_ms, 2000);
    assert_string_equal(b.queue, "own");
    assert_false(run_def_has_secrets(d));
    char *text = run_def_text(d);
    assert_non_null(strstr(text, "\"name\":\"p\"")); /* the one that it took */
    free(text);
    run_def_free(d);
    d = parse("{\"steps\":[{\"name\":\"a\",\"type\":\"noop\"},"
              "{\"name\":\"b\",\"type\":\"any\"}]}");
    assert_string_equal(run_def_step(d, 0).queue, "default"); /* the type's */
    assert_string_equal(run_def_step(d, 1).queue, "any");     /* of a type of one's own */
    run_def_free(d);
}

static void mistakes_come_with_their_paths(void **state)
{
    (void)state;
    assert_mistakes("[]", "the definition: must be an object\n");
    assert_mistakes("{\"steps\":1}", "steps: must be an array\n");
    assert_mistakes("{\"name\":\"other\",\"steps\":[{\"name\":\"a.b\",\"type\":\"any\"}]}",
                    "name: must be 'p' or left out\n"
                    "steps[0].name: must be letters, digits, '_' or '-', at most 63\n");
}

static void an_http_step_has_no_type_of_its_own(void **state)
{
    static const char text[] = "{\"steps\":[{\"name\":\"a\",\"type\":\"any\",\"http\":{}}]}";
    struct run_def *d = NULL;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(run_def_parse(text, strlen(text), "", "p", &rules, &d, NULL, &err),
                     -E_BAD_VALUE);
    assert_non_null(strstr(err.text, "steps[0].http: stands in place of type and params"));
}

static void mistakes_in_references_come_with_their_paths(void **state)
{
    static const struct {
        const char *params, *line;
    } cases[] = {
        {"{\"x\":\"${\"}",
         "steps[0].params.x: a reference begins with \"${\" and has no \"}\"\n"},
        {"{\"x\":[{\"y\":\"a${input.q}b\"}]}",
         "steps[0].params.x[0].y: 'input.q': there is no input 'q'\n"},
        {"{\"x\":\"${steps.a.output}\"}",
         "steps[0].params.x: 'steps.a.output': step 'a' does not come before this one\n"},
    };
    static const char *const none[] = {
        "",          "input",    "input.",     "input..a",    "steps.a",  "steps.a.out",
        "run.when",  "run.id.x", "other.x",    " input.a",    "input.a.", "steps..output",
        "${input.a", "input.a[", "input.a[x]", "input.a[0]b", "input.a]"};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "{\"steps\":[{\"name\":\"a\",\"type\":\"any\",\"params\":%s}]}",
                 cases[i].params);
        assert_mistakes(text, cases[i].line);
    }
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        char text[256];
        struct run_def *d = NULL;
        struct err err = ERR_INIT;
        snprintf(text, sizeof text, INPUT("{\"a\":{\"type\":\"object\"}}", "{\"x\":\"${%s}\"}"),
                 none[i]);
        assert_int_equal(run_def_parse(text, strlen(text), "", "p", &rules, &d, NULL, &err),
                         -E_BAD_VALUE);
        assert_non_null(strstr(err.text, "is no reference"));
    }
}

/* Binds the last step; NULL and the sentence in `said` when that fails. */
static char said[ERR_TEXT_MAX];

static char *bind(const char *definition, const char *input, const char *output,
                  char **ret_shown)
{
    struct run_def *d = parse(definition);
    struct run_step steps[2] = {{.name = "a", .output = (char *)(uintptr_t)output},
                                {.name = "b"}};
    struct run r = {.name = "p", .steps = steps, .step_count = run_def_step_count(d)};
    struct err err = ERR_INIT;
    char *params = NULL, *shown = NULL;

    snprintf(r.id, sizeof r.id, "%s", "01890a5d-ac96-774b-bcce-b302099a8057");
    assert_int_equal(run_def_input(d, input, &r.input, NULL, &err), 0);
    if (run_def_bind(d, &r, r.step_count - 1, &params, &shown, &err))
        assert_int_equal(err.code, -E_BAD_INPUT);
    snprintf(said, sizeof said, "%s", err.text);
    if (ret_shown)
        *ret_shown = shown;
    else
        free(shown);
    free(r.input);
    run_def_free(d);
    return params;
}

static void assert_bound(const char *spec, const char *params, const char *input,
                         const char *want)
{
    char text[1024];

    snprintf(text, sizeof text, INPUT("%s", "%s"), spec, params);
    char *bound = bind(text, input, NULL, NULL);
    if (!bound)
        fail_msg("%s", said);
    assert_string_equal(bound, want);
    free(bound);
}

#define ALL                                                                                    \
    "{\"s\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"},\"f\":{\"type\":\"number\"},"   \
    "\"b\":{\"type\":\"boolean\"},\"o\":{\"type\":\"object\"},\"l\":{\"type\":\"array\"}}"

static void a_reference_alone_is_the_value_and_within_a_text_its_text(void **state)
{
    static const char input[] =
        "{\"s\":\"x\",\"n\":7,\"b\":true,\"o\":{\"k\":[1,{\"z\":null}]},"
        "\"l\":[\"p\",\"q\"]}";

    (void)state;
    assert_bound(ALL, "{\"v\":\"${input.n}\"}", input, "{\"v\":7}");
    assert_bound(ALL, "{\"v\":\"${input.b}\",\"w\":[\"${input.l}\"]}", input,
                 "{\"v\":true,\"w\":[[\"p\",\"q\"]]}");
    assert_bound(ALL, "{\"v\":\"${input.o.k.1}\"}", input, "{\"v\":{\"z\":null}}");
    assert_bound(ALL, "{\"v\":\"${input.o.k.1.z}\"}", input, "{\"v\":null}");
    assert_bound(ALL, "{\"v\":\"${input.o.k[1].z}\",\"w\":\"${input.l[0]}${input.l[1]}\"}",
                 input, "{\"v\":null,\"w\":\"pq\"}");
    assert_bound(ALL, "{\"v\":\"<${input.s}${input.n}-${input.b}>\"}", input,
                 "{\"v\":\"<x7-true>\"}");
    assert_bound(ALL, "{\"v\":\"$${input.s} $$ $ ${input.s}$\"}", input,
                 "{\"v\":\"${input.s} $$ $ x$\"}");
    assert_bound(ALL, "{\"v\":\"${run.name}/${run.id}\"}", input,
                 "{\"v\":\"p/01890a5d-ac96-774b-bcce-b302099a8057\"}");
}

static void an_input_that_was_not_given_is_left_out(void **state)
{
    (void)state;
    assert_bound(ALL, "{\"v\":\"${input.s}\",\"w\":{\"x\":\"${input.n}\"},\"k\":1}", "{}",
                 "{\"k\":1,\"w\":{}}");
    assert_bound(ALL, "{\"v\":[\"${input.s}\",2],\"t\":\"a${input.s}b\"}", NULL,
                 "{\"t\":\"ab\",\"v\":[null,2]}");
}

static void what_cannot_be_bound_names_step_path_and_reference(void **state)
{
    static const struct {
        const char *params, *output, *says;
    } cases[] = {
        {"{\"v\":\"${steps.a.output.x.1}\"}", "{\"x\":[1]}",
         "step 'b': params.v: 'steps.a.output.x.1' is not in the output"},
        {"{\"v\":\"${steps.a.output}\"}", NULL, "is not in the output"},
        {"{\"v\":[\"a${steps.a.output}\"]}", "{}",
         "step 'b': params.v[0]: 'steps.a.output' is an"},
        {"{\"v\":\"${steps.a.output.deep}\"}", "{\"deep\":[[[[[[[[[[[[[1]]]]]]]]]]]]]}",
         "nested deeper"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "{\"steps\":[{\"name\":\"a\",\"type\":\"any\"},"
                 "{\"name\":\"b\",\"type\":\"any\",\"params\":%s}]}",
                 cases[i].params);
        assert_null(bind(text, NULL, cases[i].output, NULL));
        if (!strstr(said, cases[i].says))
            fail_msg("%s", said);
    }
}

static void params_that_have_grown_too_large_are_refused(void **state)
{
    struct buf output = BUF_INIT;

    (void)state;
    buf_append_str(&output, "{\"x\":\"");
    for (int i = 0; i < RUN_TEXT_LIMIT / 2 / 16; i++)
        buf_append_str(&output, "0123456789abcdef");
    buf_append_str(&output, "\"}");
    static const char text[] =
        "{\"steps\":[{\"name\":\"a\",\"type\":\"any\"},{\"name\":\"b\",\"type\":\"any\","
        "\"params\":{\"v\":\"${steps.a.output.x}${steps.a.output.x}${steps.a.output.x}\"}}]}";
    assert_null(bind(text, NULL, output.data, NULL));
    assert_non_null(strstr(said, "larger than"));
    buf_release(&output);
}

static void secrets_are_hidden_wherever_they_stand(void **state)
{
    static const char definition[] =
        INPUT("{\"t\":{\"type\":\"string\",\"secret\":true},\"u\":{\"type\":\"string\","
              "\"secret\":true}}",
              "{\"a\":\"${input.t}\",\"b\":\"x${input.t}y\",\"c\":\"${input.u}\"}");
    char *shown = NULL;
    char *params = bind(definition, "{\"t\":\"hunter2\"}", NULL, &shown);

    (void)state;
    assert_string_equal(params, "{\"a\":\"hunter2\",\"b\":\"xhunter2y\"}");
    assert_string_equal(shown, "{\"a\":\"***\",\"b\":\"x***y\"}");
    free(params);
    free(shown);

    struct run_def *d = parse(definition);
    static const char input[] = "{\"t\":\"hunter2\",\"u\":\"ab\"}";
    char *text = run_def_shown_input(d, input);
    assert_string_equal(text, "{\"t\":\"***\",\"u\":\"***\"}");
    free(text);
    text = run_def_hide(d, input, "no: hunter2, hunter2!");
    assert_string_equal(text, "no: ***, ***!");
    free(text);
    text = run_def_hide(d, input, "a table is no secret, hunter22 is");
    assert_string_equal(text, "a table is no secret, ***2 is");
    free(text);
    /* What was cut may end with its beginning; a short text was not cut. */
    text = run_def_hide(d, input, "hunte");
    assert_string_equal(text, "hunte");
    free(text);
    char cut[128] = "";
    snprintf(cut, sizeof cut, "%0110d hunter2 hunte", 0);
    text = run_def_hide(d, input, cut);
    assert_null(strstr(text, "hunt"));
    assert_string_equal(text + 110, " *** ***");
    free(text);
    text = run_def_hide_json(d, input,
                             "{\"x\":[\"hunter2\",\"ab\",\"abc\",1,null],\"y\":{\"z\":"
                             "\"-hunter2\"}}");
    assert_string_equal(text,
                        "{\"x\":[\"***\",\"***\",\"abc\",1,null],\"y\":{\"z\":\"-***\"}}");
    free(text);
    run_def_free(d);
}

static long peak_kib(void)
{
    struct rusage u;

    assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
    return u.ru_maxrss;
}

/* Some KiB of text that stand for hundreds of MiB. */
static void references_do_not_multiply_memory(void **state)
{
    enum { VALUE = 60000, TIMES = 5000, MOST_KIB = 64 * 1024 };
    struct buf text = BUF_INIT, input = BUF_INIT;

    (void)state;
    buf_append_str(&text, "{\"input\":{\"x\":{\"type\":\"string\"}},\"steps\":[{\"name\":\"a\","
                          "\"type\":\"any\",\"params\":{\"p\":[0");
    for (int i = 0; i < TIMES; i++)
        buf_append_str(&text, i % 2 ? ",\"${input.x}\"" : ",\"-${input.x}\"");
    buf_append_str(&text, "]}}]}");
    buf_append_str(&input, "{\"x\":\"");
    for (int i = 0; i < VALUE; i++)
        buf_append_char(&input, 'y');
    buf_append_str(&input, "\"}");
    assert_true(buf_ok(&text) && buf_ok(&input));
    long before = peak_kib();
    assert_null(bind(text.data, input.data, NULL, NULL));
    assert_non_null(strstr(said, "larger than 1048576 bytes"));
    assert_in_range(peak_kib() - before, 0, MOST_KIB);
    buf_release(&text);
    buf_release(&input);
}

/* A name may be cut anywhere, and hold a line end: what is said stays text, one line each. */
static void mistakes_are_lines_of_text_whatever_names_hold(void **state)
{
    (void)state;
    assert_mistakes(
        "{\"steps\":[{\"name\":\"a\",\"type\":\"any\"}],"
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xC3\xA9\":1}",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?: "
        "unknown member\n");
    assert_mistakes("{\"steps\":[{\"name\":\"a\",\"type\":\"any\"}],\"b\\nc\":1}",
                    "b c: unknown member\n");
}

static void an_input_is_checked_and_filled_in(void **state)
{
    struct run_def *d = parse(INPUT("{\"m\":{\"type\":\"string\",\"required\":true},\"n\":"
                                    "{\"type\":\"integer\",\"default\":3},\"o\":{\"type\":"
                                    "\"object\"}}",
                                    "{}"));
    struct buf mistakes = BUF_INIT;
    struct err err = ERR_INIT;
    char *text = NULL;

    (void)state;
    assert_int_equal(run_def_input(d, "{\"m\":\"x\",\"o\":null}", &text, NULL, &err), 0);
    assert_string_equal(text, "{\"m\":\"x\",\"n\":3}");
    free(text);
    assert_int_equal(run_def_input(d, "{\"n\":\"4\",\"p\":1}", &text, &mistakes, &err),
                     -E_BAD_VALUE);
    assert_string_equal(mistakes.data, "input.n: must be of the type 'integer'\n"
                                       "input.p: this pipeline has no such input\n"
                                       "input.m: is missing\n");
    buf_release(&mistakes);
    run_def_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_definition_tells_its_steps),
        cmocka_unit_test(mistakes_come_with_their_paths),
        cmocka_unit_test(an_http_step_has_no_type_of_its_own),
        cmocka_unit_test(mistakes_in_references_come_with_their_paths),
        cmocka_unit_test(a_reference_alone_is_the_value_and_within_a_text_its_text),
        cmocka_unit_test(an_input_that_was_not_given_is_left_out),
        cmocka_unit_test(what_cannot_be_bound_names_step_path_and_reference),
        cmocka_unit_test(params_that_have_grown_too_large_are_refused),
        cmocka_unit_test(secrets_are_hidden_wherever_they_stand),
        cmocka_unit_test(references_do_not_multiply_memory),
        cmocka_unit_test(mistakes_are_lines_of_text_whatever_names_hold),
        cmocka_unit_test(an_input_is_checked_and_filled_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
