#include "pipeline_fixture.h"

const bool fixture_is_shared = false;

int fixture_available(void)
{
    return 0;
}

int fixture_make_place(struct fixture *f)
{
    (void)f;
    return 0;
}

int fixture_remove_place(struct fixture *f)
{
    (void)f;
    return 0;
}

int fixture_open(struct fixture *f, struct pipeline_repository **ret, struct pipeline_err *err)
{
    if (!f->r)
        return pipeline_memory_new(ret, err);
    *ret = f->r;
    return 0;
}
