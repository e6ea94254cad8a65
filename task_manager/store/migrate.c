/* migrate.c - which migrations to run; how one is run is the backend's business. */
#include "failpoint.h"
#include "store_internal.h"

static int refuse_newer(const struct migration_list *list, int version, struct err *err)
{
    if (version < 0 || (size_t)version > list->count)
        return err_set(err, -E_UNSUPPORTED,
                       "the database is at version %d, this program knows versions up to %zu: "
                       "run the newer program",
                       version, list->count);
    return 0;
}

int migrate_up(const struct migration_list *list, const struct migration_driver *driver,
               void *ctx, struct err *err)
{
    int version = 0;
    int rc = driver->version(ctx, &version, err);

    if (!rc)
        rc = refuse_newer(list, version, err);
    for (size_t i = (size_t)version; !rc && i < list->count; i++) {
        rc = FAILPOINT_ERR(migration_begun, -E_UNAVAILABLE, err);
        if (!rc)
            rc = driver->apply(ctx, &list->items[i], true, err);
        if (!rc)
            rc = FAILPOINT_ERR(migration_applied, -E_UNAVAILABLE, err);
        if (rc)
            err_wrap(err, "migration %d '%s'", list->items[i].version, list->items[i].name);
    }
    return rc;
}

int migrate_down(const struct migration_list *list, const struct migration_driver *driver,
                 void *ctx, struct err *err)
{
    int version = 0;
    int rc = driver->version(ctx, &version, err);

    if (!rc)
        rc = refuse_newer(list, version, err);
    if (rc)
        return rc;
    if (version == 0)
        return err_set(err, -E_BAD_STATE, "the database is empty: there is nothing to undo");

    const struct migration *m = &list->items[version - 1];
    rc = driver->apply(ctx, m, false, err);
    if (rc)
        err_wrap(err, "undoing migration %d '%s'", m->version, m->name);
    return rc;
}
