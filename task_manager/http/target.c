/* target.c - path and query of a request, each decoded exactly once. */
#include "target.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

bool target_init(struct target *t, const char *raw)
{
    *t = (struct target){.raw = strdup(raw)};
    return t->raw != NULL;
}

static void parse_query(struct target *t, const char *query, char *memory)
{
    while (*query && t->query_count < GATE_QUERY_MAX) {
        size_t len = strcspn(query, "&");
        size_t name_len = strcspn(query, "=&");
        if (len > 0) {
            struct target_query *q = &t->query[t->query_count++];
            q->name = memory;
            memory += text_percent_decode(query, name_len, true, memory) + 1;
            const char *value = query + name_len + (name_len < len);
            q->value = memory;
            memory +=
                text_percent_decode(value, len - name_len - (name_len < len), true, memory) + 1;
        }
        query += len + (query[len] == '&');
    }
}

bool target_parse(struct target *t)
{
    size_t path_len = strcspn(t->raw, "?");
    size_t query_len = strlen(t->raw + path_len);

    /* Two paths, and for the query at most one more NUL per parameter than it has bytes. */
    t->path = malloc(2 * (path_len + 1) + query_len + 2 * GATE_QUERY_MAX + 1);
    if (t->path == NULL)
        return false;
    size_t size = text_percent_decode(t->raw, path_len, false, t->path);
    if (size > 1 && t->path[size - 1] == '/')
        t->path[--size] = '\0';
    t->path_parts = t->path + path_len + 1;
    memcpy(t->path_parts, t->path, size + 1);
    if (query_len > 0)
        parse_query(t, t->raw + path_len + 1, t->path_parts + path_len + 1);
    return true;
}

void target_release(struct target *t)
{
    free(t->raw);
    free(t->path);
    *t = (struct target){0};
}

const char *target_query(const struct target *t, const char *name)
{
    for (size_t i = 0; i < t->query_count; i++)
        if (strcmp(t->query[i].name, name) == 0)
            return t->query[i].value;
    return NULL;
}

const char *target_repeated(const struct target *t)
{
    for (size_t i = 1; i < t->query_count; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(t->query[i].name, t->query[j].name) == 0)
                return t->query[i].name;
    return NULL;
}
