/* store_contract.c - runs the suite that every store has to pass against STORE_BACKEND. */
#include "store_contract.h"

int main(void)
{
    static int (*const groups[])(void) = {
        contract_tasks, contract_attempts, contract_moves,  contract_outbox,
        contract_house, contract_runs,     contract_schema,
    };
    int failed = help_available();

    if (failed)
        return failed;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        failed += groups[i]();
    return failed;
}
