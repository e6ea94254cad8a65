#include "task.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char *const class_names[ERROR__COUNT] = {
    [ERROR_NONE] = "",       [ERROR_INPUT] = "input",     [ERROR_TRANSIENT] = "transient",
    [ERROR_CRASH] = "crash", [ERROR_TIMEOUT] = "timeout", [ERROR_CANCELLED] = "cancelled",
};

static const char *const outcome_names[ATTEMPT__COUNT] = {
    [ATTEMPT_RUNNING] = "running",   [ATTEMPT_DONE] = "done", [ATTEMPT_FAILED] = "failed",
    [ATTEMPT_RELEASED] = "released", [ATTEMPT_LOST] = "lost", [ATTEMPT_CANCELLED] = "cancelled",
};

static int find_name(const char *name, const char *const *names, int count)
{
    for (int i = 0; name && i < count; i++) {
        if (strcmp(name, names[i]) == 0)
            return i;
    }
    return -1;
}

const char *error_class_name(enum error_class class)
{
    return class_names[class];
}

bool error_class_parse(const char *name, enum error_class *ret_class)
{
    int found = find_name(name, class_names, ERROR__COUNT);

    if (found >= 0)
        *ret_class = (enum error_class)found;
    return found >= 0;
}

const char *attempt_outcome_name(enum attempt_outcome outcome)
{
    return outcome_names[outcome];
}

bool attempt_outcome_parse(const char *name, enum attempt_outcome *ret_outcome)
{
    int found = find_name(name, outcome_names, ATTEMPT__COUNT);

    if (found >= 0)
        *ret_outcome = (enum attempt_outcome)found;
    return found >= 0;
}

void task_release(struct task *t)
{
    if (!t)
        return;
    free(t->params);
    free(t->result);
    memset(t, 0, sizeof *t);
}

bool task_word_is_valid(const char *word)
{
    if (!word || !isalnum((unsigned char)word[0]) || strlen(word) >= TASK_QUEUE_MAX)
        return false;
    for (; *word; word++) {
        if (!isalnum((unsigned char)*word) && !strchr("_.-", *word))
            return false;
    }
    return true;
}
