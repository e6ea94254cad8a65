/* repo_url.h - the address of a code repository, as repo_download takes it. Pure. */
#ifndef NET_REPO_URL_H
#define NET_REPO_URL_H

#include "web_url.h"

enum { REPO_NAME_MAX = 201 };

struct repo_url {
    struct web_url web;       /* rest: not set */
    char url[WEB_URL_MAX];    /* as cloned: https://host[:port]/owner/name.git */
    char name[REPO_NAME_MAX]; /* "owner-name": lower case, [a-z0-9._-], a segment of a key */
};

/* Reads https://host/owner/name with or without ".git" and a slash at the end; between owner
 * and name there may be more (groups of GitLab). E_BAD_VALUE says what is wrong, with `name` in
 * front and without the text. Whether the host may be called is another question
 * (web_hosts_allow, address_guard). */
int repo_url_parse(const char *text, const char *name, struct repo_url *ret, struct err *err);

#endif
