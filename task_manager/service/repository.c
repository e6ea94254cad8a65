/* repository.c - what the calls of the repository services need to know beyond tasks: which
 * addresses may be cloned, and which paths are downloads. */
#include <stdio.h>
#include <string.h>

#include "call_rules.h"
#include "params.h"
#include "service_internal.h"

static bool ends_in_git(const char *url)
{
    size_t len = strlen(url);

    return len > 4 && strcmp(url + len - 4, ".git") == 0;
}

/* As it is written, else as the hosts themselves would redirect it, which repo_download does
 * not follow: to https. */
int service_repository_url(struct service *s, const char *text,
                           char ret_url[REPOSITORY_URL_MAX], struct err *err)
{
    const struct config *c = s->parts.config;
    struct repo_url parsed;

    if (!ends_in_git(text))
        return err_set(err, -E_BAD_VALUE, "repository: does not end in .git");
    if (strlen(text) >= REPOSITORY_URL_MAX - 1)
        return err_set(err, -E_BAD_VALUE, "repository: is too long");
    snprintf(ret_url, REPOSITORY_URL_MAX, "%s", text);
    int rc = call_rules_read_repo(c, text, "repository", &parsed, err);
    if (rc && strncmp(text, "http://", 7) == 0) {
        snprintf(ret_url, REPOSITORY_URL_MAX, "https://%s", text + 7);
        rc = call_rules_read_repo(c, ret_url, "repository", &parsed, NULL);
    }
    return rc;
}

/* -- paths of downloads -- */

static int no_download(const char *path, struct err *err)
{
    return err_set(err, -E_NOT_FOUND, "there is no downloaded repository at '%.300s'", path);
}

/* The task in …/<task>/<attempt>/<name>. */
static bool task_of_path(const char *path, char ret_id[ID_TEXT_MAX])
{
    const char *at = path + strlen(path);

    for (int slashes = 0; at > path; at--) {
        if (at[-1] == '/' && ++slashes == 3)
            break;
    }
    size_t len = strcspn(at, "/");
    if (len != ID_TEXT_MAX - 1)
        return false;
    memcpy(ret_id, at, len);
    ret_id[len] = '\0';
    return id_is_valid(ret_id);
}

static int read_download(const struct task *t, const char *path, struct download *ret,
                         struct err *err)
{
    struct params *result = NULL;
    int rc = params_open(t->result, &result, err);

    if (rc)
        return rc;
    const char *key = params_word(result, "key", "");
    if (!*key || (strcmp(path, key) != 0 && strcmp(path, params_word(result, "path", "")) != 0))
        rc = no_download(path, err);
    else if (snprintf(ret->key, sizeof ret->key, "%s", key) >= (int)sizeof ret->key)
        rc = no_download(path, err);
    snprintf(ret->commit, sizeof ret->commit, "%s", params_word(result, "commit", ""));
    params_close(result);
    return rc;
}

int service_find_download(struct service *s, const char *path, struct download *ret,
                          struct err *err)
{
    char trimmed[DOWNLOAD_PATH_MAX], id[ID_TEXT_MAX];
    struct task t;

    if (snprintf(trimmed, sizeof trimmed, "%s", path) >= (int)sizeof trimmed)
        return no_download(path, err);
    for (size_t end = strlen(trimmed); end > 0 && trimmed[end - 1] == '/'; end--)
        trimmed[end - 1] = '\0';
    if (!task_of_path(trimmed, id))
        return no_download(path, err);
    int rc = store_get(s->parts.store, id, &t, err);
    if (rc)
        return rc == -E_NOT_FOUND ? no_download(path, err) : rc;
    if (strcmp(t.type, "repo_download") == 0 && t.state == TASK_DONE)
        rc = read_download(&t, trimmed, ret, err);
    else
        rc = no_download(path, err);
    task_release(&t);
    return rc;
}
