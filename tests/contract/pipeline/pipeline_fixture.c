#include "pipeline_fixture.h"

#include <stdlib.h>

int fixture_empty(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    *state = f;
    return f ? fixture_make_place(f) : -1;
}

int fixture_ready(void **state)
{
    struct pipeline_err err = {0};

    if (fixture_empty(state))
        return -1;
    struct fixture *f = *state;
    if (fixture_open(f, &f->r, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    return 0;
}

int fixture_end(void **state)
{
    struct fixture *f = *state;

    pipeline_repository_free(f->r);
    int rc = fixture_remove_place(f);
    free(f);
    return rc;
}

struct pipeline_repository *fixture_door(struct fixture *f)
{
    struct pipeline_repository *r = NULL;
    struct pipeline_err err = {0};

    if (fixture_open(f, &r, &err))
        fail_msg("%s", err.text);
    return r;
}

void fixture_shut(struct fixture *f, struct pipeline_repository *r)
{
    if (r != f->r)
        pipeline_repository_free(r);
}
