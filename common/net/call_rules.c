#include "call_rules.h"

int call_rules_check_settings(const struct config *c, struct err *err)
{
    struct address_guard guard;

    if (web_hosts_check(c->repo_hosts, err) != 0)
        return err_wrap(err, "REPO_HOSTS");
    if (web_hosts_check(c->call_hosts, err) != 0)
        return err_wrap(err, "CALL_HOSTS");
    if (address_guard_init(&guard, c->allow_networks, err) != 0)
        return err_wrap(err, "ALLOW_NETWORKS");
    return 0;
}

/* A host that is an address needs no DNS to be judged. */
static int check_literal(const struct config *c, const struct web_url *url, const char *name,
                         struct err *err)
{
    struct sockaddr_storage address;
    struct address_guard guard;

    if (!address_parse(url->host, &address))
        return 0;
    int rc = address_guard_init(&guard, c->allow_networks, err);
    if (rc)
        return rc;
    const char *refusal = address_guard_refusal(&guard, (const struct sockaddr *)&address);
    return refusal ? err_set(err, -E_BAD_VALUE,
                             "%s: '%s' is %s, which ALLOW_NETWORKS does not "
                             "allow",
                             name, url->host, refusal)
                   : 0;
}

int call_rules_read_repo(const struct config *c, const char *text, const char *name,
                         struct repo_url *ret, struct err *err)
{
    int rc = repo_url_parse(text, name, ret, err);

    if (!rc)
        rc = web_url_check_host(&ret->web, name, c->repo_hosts, "REPO_HOSTS", err);
    return rc ? rc : check_literal(c, &ret->web, name, err);
}

int call_rules_read_url(const struct config *c, const char *text, const char *name,
                        struct web_url *ret, struct err *err)
{
    int rc = web_url_parse(text, name, ret, err);

    if (!rc)
        rc = web_url_check_host(ret, name, c->call_hosts, "CALL_HOSTS", err);
    return rc ? rc : check_literal(c, ret, name, err);
}
