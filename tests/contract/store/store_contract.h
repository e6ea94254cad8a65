/* store_contract.h - the groups of the suite; each returns how many of its tests failed. */
#ifndef STORE_CONTRACT_H
#define STORE_CONTRACT_H

#include "store_help.h"

int contract_tasks(void);
int contract_attempts(void);
int contract_moves(void);
int contract_outbox(void);
int contract_schema(void);
int contract_house(void);
int contract_runs(void);

#define with_store(test) cmocka_unit_test_setup_teardown(test, fixture_ready, fixture_end)
#define with_empty(test) cmocka_unit_test_setup_teardown(test, fixture_empty, fixture_end)

#endif
