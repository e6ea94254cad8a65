/* secrets.c - tokens in params: encrypted in the database, open for the worker alone.
 *
 * Which params are secrets says task_param.def. The key comes from SECRET_KEY, or else from a
 * file in the object store's folder, where every task manager finds the same; it is fetched
 * when it is first needed. With neither, a task with a secret is refused. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "log.h"
#include "params.h"
#include "seal.h"
#include "service_internal.h"

enum { KEY_LEN_LEAST = 16 };

static pthread_mutex_t key_lock = PTHREAD_MUTEX_INITIALIZER;

int secrets_check_key(const struct config *config, struct err *err)
{
    size_t len = strlen(config->secret_key);

    if (len > 0 && len < KEY_LEN_LEAST)
        return err_set(err, -E_BAD_VALUE, "SECRET_KEY: shorter than %d characters",
                       KEY_LEN_LEAST);
    return 0;
}

static int fetch_key(struct service *s, struct seal_key *ret, struct err *err)
{
    const char *password = s->parts.config->secret_key;
    const char *root = s->parts.objects ? objstore_root(s->parts.objects) : NULL;

    if (password && *password)
        return seal_key_of(password, ret, err);
    if (root)
        return seal_key_of_file(root, ret, err);
    return err_set(err, -E_BAD_VALUE,
                   "this server has no key to keep it secret with: SECRET_KEY is not set");
}

/* Under the lock for the first time only as long as a small file takes. */
static int find_key(struct service *s, struct seal_key *ret, struct err *err)
{
    int rc = 0;

    pthread_mutex_lock(&key_lock);
    if (!s->has_secret_key)
        rc = fetch_key(s, &s->secret_key, err);
    s->has_secret_key = rc == 0;
    if (!rc)
        *ret = s->secret_key;
    pthread_mutex_unlock(&key_lock);
    return rc;
}

char *secrets_seal_text(struct service *s, const char *context, const char *plain,
                        struct err *err)
{
    struct seal_key key;
    char *sealed = find_key(s, &key, err) ? NULL : seal_text(&key, context, plain, err);

    seal_wipe(&key, sizeof key);
    return sealed;
}

char *secrets_open_text(struct service *s, const char *context, const char *sealed,
                        struct err *err)
{
    struct seal_key key;
    char *plain = find_key(s, &key, err) ? NULL : seal_open(&key, context, sealed, err);

    seal_wipe(&key, sizeof key);
    return plain;
}

struct change {
    struct service *service;
    const char *type; /* bound to the text: a sealed token is of no use in another type */
};

static char *seal(void *arg, const char *text, struct err *err)
{
    const struct change *c = arg;

    return secrets_seal_text(c->service, c->type, text, err);
}

static char *unseal(void *arg, const char *text, struct err *err)
{
    const struct change *c = arg;

    return secrets_open_text(c->service, c->type, text, err);
}

int secrets_seal(struct service *s, const char *type, const char *params, char **ret_sealed,
                 struct err *err)
{
    struct change c = {s, type};

    return params_seal(type, params, seal, &c, ret_sealed, err);
}

char *secrets_seal_whole(struct service *s, const char *task_id, const char *params,
                         struct err *err)
{
    struct buf text = BUF_INIT;
    char *sealed = secrets_seal_text(s, task_id, params, err);

    if (!sealed)
        return NULL;
    buf_append_str(&text, SEAL_WHOLE_PREFIX);
    buf_append_str(&text, sealed + sizeof SEAL_PREFIX - 1);
    buf_append_str(&text, SEAL_WHOLE_SUFFIX);
    free(sealed);
    if (buf_ok(&text))
        return buf_steal(&text);
    buf_release(&text);
    err_set(err, -E_NO_MEMORY, "no memory to encrypt params");
    return NULL;
}

static int open_whole(struct service *s, const char *task_id, const char *params,
                      char **ret_opened, struct err *err)
{
    const size_t before = sizeof SEAL_WHOLE_PREFIX - sizeof SEAL_PREFIX;
    size_t len = strlen(params) - before;
    char *sealed = strndup(params + before, len - (sizeof SEAL_WHOLE_SUFFIX - 1));

    *ret_opened = sealed ? secrets_open_text(s, task_id, sealed, err) : NULL;
    if (!sealed)
        err_set(err, -E_NO_MEMORY, "no memory to decrypt params");
    free(sealed);
    return *ret_opened ? 0 : err->code;
}

void secrets_open(struct service *s, const char *task_id, const char *type, char **params)
{
    struct change c = {s, type};
    struct err why = ERR_INIT;
    char *opened = NULL;
    int rc = *params && seal_is_whole(*params)
                 ? open_whole(s, task_id, *params, &opened, &why)
                 : params_unseal(type, *params, unseal, &c, &opened, &why);

    if (rc) {
        log_warn("secrets.not_opened", LOG_S("type", type), LOG_S("reason", why.text));
        return;
    }
    if (!opened)
        return;
    free(*params);
    *params = opened;
}
