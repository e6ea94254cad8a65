#include "startup.h"

#include <signal.h>
#include <time.h>

#include "backoff.h"
#include "clock.h"
#include "log.h"

enum { PAUSE_BASE_MS = 200, PAUSE_CAP_MS = 3000, PAUSE_LEAST_MS = 50 };

static int open_store(const struct config *c, int connections, struct store **ret,
                      struct err *err)
{
    struct store *s = NULL;
    int rc = store_open(c->database_url, connections, &s, err);

    if (!rc)
        rc = store_upgrade(s, err);
    if (rc) {
        store_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

/* False when a signal asks to end meanwhile. */
static bool pause_ms(int64_t ms)
{
    sigset_t stops;
    struct timespec limit = {ms / 1000, (ms % 1000) * 1000000};

    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    return sigtimedwait(&stops, NULL, &limit) < 0;
}

int startup_open_store(const struct config *config, int connections, struct store **ret,
                       struct err *err)
{
    bool may_wait = store_is_remote(config->database_url);
    int64_t until_ms = clock_mono_ms() + config->startup_wait_ms;
    struct log_brake brake = {0};
    int64_t held;

    for (unsigned tries = 0;; tries++) {
        struct err why = ERR_INIT;
        int rc = open_store(config, connections, ret, &why);
        int64_t left_ms = until_ms - clock_mono_ms();
        if (!rc)
            return 0;
        if (!may_wait || err_class_of(rc) != ERR_TRANSIENT || left_ms <= 0)
            return err_set(err, rc, "%s", why.text);
        if (log_brake_pass(&brake, &held))
            log_warn("manager.waiting", LOG_S("for", "database"), LOG_S("error", why.text),
                     LOG_I("left_ms", left_ms));
        int64_t ms = PAUSE_LEAST_MS + backoff_ms(PAUSE_BASE_MS, PAUSE_CAP_MS, tries);
        if (!pause_ms(ms < left_ms ? ms : left_ms))
            return err_set(err, -E_CANCELLED, "asked to end while waiting for the database");
    }
}
