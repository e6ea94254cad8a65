/* model_fixture.c - the model in the place of a database, for the contract suite. */
#include <stdlib.h>
#include <string.h>

#include "../contract/store/store_contract.h"
#include "clock.h"
#include "model_store.h"

struct model_fixture {
    struct fixture base;
    struct model_db db;
    struct model_conn conn;
};

static int64_t now(void *arg)
{
    (void)arg;
    return clock_wall_ms();
}

int fixture_ready(void **state)
{
    static const struct model_watch watch = {.now = now};
    struct model_fixture *f = calloc(1, sizeof *f);

    *state = f;
    if (!f)
        return -1;
    model_db_init(&f->db);
    model_connect(&f->conn, &f->db, &watch, NULL);
    f->base.s = &f->conn.base;
    return 0;
}

int fixture_end(void **state)
{
    struct model_fixture *f = *state;

    model_db_release(&f->db);
    free(f);
    return 0;
}

int main(void)
{
    return contract_tasks() + contract_attempts() + contract_moves() + contract_outbox() +
           contract_house() + contract_runs();
}
