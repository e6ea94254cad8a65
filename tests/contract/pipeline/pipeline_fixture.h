/* pipeline_fixture.h - a fresh repository for each test, of the backend that is linked. */
#ifndef TESTS_PIPELINE_FIXTURE_H
#define TESTS_PIPELINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <segue/pipeline.h>
#include <segue/pipeline_repository.h>

enum { FIXTURE_SKIP = 77 };

struct fixture {
    char place[512];               /* a folder, or the name of a database */
    struct pipeline_repository *r; /* opened by the setup */
};

/* -- of the backend: fixture_memory.c, fixture_sqlite.c, fixture_mysql.c -- */

extern const bool fixture_is_shared; /* do other processes see the same? */
int fixture_available(void);         /* 0, or what main returns instead */
int fixture_make_place(struct fixture *f);
int fixture_remove_place(struct fixture *f);
/* Another door to the same place; of memory it is f->r itself. */
int fixture_open(struct fixture *f, struct pipeline_repository **ret, struct pipeline_err *err);

/* -- of all -- */

int fixture_empty(void **state); /* without f->r */
int fixture_ready(void **state);
int fixture_end(void **state);
struct pipeline_repository *fixture_door(struct fixture *f); /* fails the test when it cannot */
void fixture_shut(struct fixture *f, struct pipeline_repository *r);

#endif
