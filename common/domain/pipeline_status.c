#include "pipeline_status.h"

#include <assert.h>
#include <string.h>

static const struct {
    const char *name;
    bool final;
} facts[PIPELINE_STATUS__COUNT] = {
    [PIPELINE_CREATED] = {"created", false},  [PIPELINE_PENDING] = {"pending", false},
    [PIPELINE_FINISHED] = {"finished", true}, [PIPELINE_CANCELLED] = {"cancelled", true},
    [PIPELINE_FAILED] = {"failed", true},
};

const char *pipeline_status_name(enum pipeline_status status)
{
    assert(status < PIPELINE_STATUS__COUNT);

    return facts[status].name;
}

bool pipeline_status_parse(const char *name, enum pipeline_status *ret_status)
{
    for (unsigned i = 0; name && i < PIPELINE_STATUS__COUNT; i++) {
        if (strcmp(name, facts[i].name) == 0) {
            *ret_status = (enum pipeline_status)i;
            return true;
        }
    }
    return false;
}

bool pipeline_status_is_final(enum pipeline_status status)
{
    assert(status < PIPELINE_STATUS__COUNT);

    return facts[status].final;
}
