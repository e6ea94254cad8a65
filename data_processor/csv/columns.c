/* The header row: which columns count, and what is wrong with it when it does not say. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "row.h"

static const char *const wanted[] = {"Song", "Date", "Number of Plays"};
enum { WANTED = sizeof wanted / sizeof *wanted };

static void trim(const char **at, size_t *len)
{
    while (*len && (**at == ' ' || **at == '\t')) {
        ++*at;
        --*len;
    }
    while (*len && ((*at)[*len - 1] == ' ' || (*at)[*len - 1] == '\t'))
        --*len;
}

/* The wanted name that this field is, or -1. */
static int wanted_index(const struct field *f)
{
    const char *at = f->at;
    size_t len = f->len;

    trim(&at, &len);
    for (int i = 0; i < WANTED; i++)
        if (len == strlen(wanted[i]) && strncasecmp(at, wanted[i], len) == 0)
            return i;
    return -1;
}

static int header_error(const struct columns *c, uint64_t line, const char *what,
                        struct err *err)
{
    char excerpt[EXCERPT_MAX];

    excerpt_make(excerpt, c->header, c->header_len);
    return err_set(err, -E_BAD_INPUT, "line %llu: in the header, %s: \"%s\"",
                   (unsigned long long)line, what, excerpt);
}

static int check_counts(const struct columns *c, const size_t seen[WANTED], struct err *err)
{
    char excerpt[EXCERPT_MAX];

    excerpt_make(excerpt, c->header, c->header_len);
    for (int i = 0; i < WANTED; i++) {
        if (seen[i] == 0)
            return err_set(err, -E_BAD_INPUT, "the header has no column \"%s\": \"%s\"",
                           wanted[i], excerpt);
        if (seen[i] > 1)
            return err_set(err, -E_BAD_INPUT,
                           "the header has the column \"%s\" more than once: \"%s\"", wanted[i],
                           excerpt);
    }
    return 0;
}

static int find_columns(struct columns *c, uint64_t line, struct err *err)
{
    const char *at = c->header, *end = c->header + c->header_len, *stop;
    size_t seen[WANTED] = {0}, place[WANTED] = {0};
    bool text_behind = false;

    for (;; at = stop + 1) {
        struct field f;
        stop = field_read(at, end, &f);
        text_behind = text_behind || f.text_behind;
        if (f.open_quote)
            return header_error(c, line, "a quote is still open at the end of the file", err);
        int name = wanted_index(&f);
        if (name >= 0) {
            seen[name]++;
            place[name] = c->count;
        }
        c->count++;
        if (stop == end)
            break;
    }
    if (text_behind) /* an open quote behind it would count for more */
        return header_error(c, line, "text follows a closing quote", err);
    c->song = place[0];
    c->date = place[1];
    c->plays = place[2];
    return check_counts(c, seen, err);
}

int columns_parse(struct columns *c, const char *row, size_t len, uint64_t line,
                  struct err *err)
{
    *c = (struct columns){.header = malloc(len + 1), .header_len = len};
    if (!c->header)
        return err_set(err, -E_NO_MEMORY, "no memory for the header");
    memcpy(c->header, row, len);
    c->header[len] = '\n';

    int rc = find_columns(c, line, err);
    if (rc)
        columns_release(c);
    return rc;
}

void columns_release(struct columns *c)
{
    free(c->header);
    *c = (struct columns){0};
}

void columns_name(const struct columns *c, int64_t column, char ret_name[EXCERPT_MAX])
{
    const char *at = c->header, *end = c->header + c->header_len, *stop;
    struct field f = {0};

    ret_name[0] = '\0';
    if (column < 0 || (uint64_t)column >= c->count)
        return;
    for (int64_t i = 0; i <= column; i++, at = stop + 1)
        stop = field_read(at, end, &f);
    const char *name = f.at;
    size_t len = f.len;
    trim(&name, &len);
    excerpt_make(ret_name, name, len);
}
