/* health.c - the command `task_manager health`, for whoever watches over the process. */
#include "app.h"

#include <stdio.h>
#include <string.h>

#include "http_client.h"

enum { ADDRESS_MAX = 256, PATIENCE_MS = 5000 };

/* Where the listener is reached from its own machine: a wildcard is no destination. */
static int find_base(const struct config *c, char ret[ADDRESS_MAX + 32], struct err *err)
{
    char address[ADDRESS_MAX] = "";

    config_list_next(c->listen, address, sizeof address);
    const char *port = strrchr(address, ':');
    if (!port || strcmp(port, ":0") == 0)
        return err_set(err, -E_BAD_VALUE, "LISTEN: \"%s\" has no address to ask at", address);
    if (strncmp(address, "0.0.0.0:", 8) == 0)
        snprintf(ret, ADDRESS_MAX + 32, "http://127.0.0.1%s", port);
    else if (strncmp(address, "[::]:", 5) == 0)
        snprintf(ret, ADDRESS_MAX + 32, "http://[::1]%s", port);
    else
        snprintf(ret, ADDRESS_MAX + 32, "http://%s", address);
    return 0;
}

static int ask(struct http_client *http, struct err *err)
{
    const struct http_call call = {.method = "GET",
                                   .path = "/readyz",
                                   .max_answer_bytes = 65536,
                                   .connect_timeout_ms = PATIENCE_MS,
                                   .timeout_ms = PATIENCE_MS};
    struct http_answer answer;
    int rc = http_client_call(http, &call, &answer, err);

    if (!rc && answer.status == 200)
        printf("%s\n", answer.body.data);
    else if (!rc)
        rc = err_set(err, -E_BAD_STATE, "it answers with %d: %s", answer.status,
                     answer.body.data);
    buf_release(&answer.body);
    return rc;
}

int app_health(const struct config *config, struct err *err)
{
    char base[ADDRESS_MAX + 32];
    struct http_client *http = NULL;
    struct err why = ERR_INIT;
    int rc = find_base(config, base, err);

    if (!rc)
        rc = http_client_global_init(err);
    if (!rc)
        rc = http_client_new(base, &http, err);
    if (rc)
        return rc;
    rc = ask(http, &why);
    http_client_free(http);
    return rc ? err_set(err, -E_BAD_STATE, "%s", why.text) : 0; /* no is no, whatever it is */
}
