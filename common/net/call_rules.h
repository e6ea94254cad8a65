/* call_rules.h - may a URL that came with a task be called? By the settings REPO_HOSTS,
 * CALL_HOSTS and ALLOW_NETWORKS. Asked when the task is submitted and again when it runs, where
 * the addresses of a name are known, too. Pure; any thread. */
#ifndef NET_CALL_RULES_H
#define NET_CALL_RULES_H

#include "address_guard.h"
#include "config.h"
#include "repo_url.h"

/* Are those three settings well formed? E_BAD_VALUE names the one that is not. */
int call_rules_check_settings(const struct config *c, struct err *err);

/* Reads the URL of a repository or of a call and checks host and, when the host is an address,
 * that. E_BAD_VALUE, with `name` in front and without the URL. */
int call_rules_read_repo(const struct config *c, const char *text, const char *name,
                         struct repo_url *ret, struct err *err);
int call_rules_read_url(const struct config *c, const char *text, const char *name,
                        struct web_url *ret, struct err *err);

#endif
