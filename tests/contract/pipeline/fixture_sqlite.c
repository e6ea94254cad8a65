#include "pipeline_fixture.h"

#include <ftw.h>
#include <segue/pipeline_sqlite.h>
#include <stdlib.h>

const bool fixture_is_shared = true;

int fixture_available(void)
{
    return 0;
}

int fixture_make_place(struct fixture *f)
{
    const char *temp = getenv("TMPDIR");

    snprintf(f->place, sizeof f->place, "%s/segue-pipeline.XXXXXX", temp ? temp : "/tmp");
    return mkdtemp(f->place) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

int fixture_remove_place(struct fixture *f)
{
    return nftw(f->place, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int fixture_open(struct fixture *f, struct pipeline_repository **ret, struct pipeline_err *err)
{
    char path[600];

    snprintf(path, sizeof path, "%s/pipelines.db", f->place);
    return pipeline_sqlite_open(path, ret, err);
}
