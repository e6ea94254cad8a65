#include "azure_account.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "azure_sign.h"

enum { VALUE_MAX = 512 };

/* Of Azurite and of the emulators before it; printed in their manuals. */
static const char development[] =
    "AccountName=devstoreaccount1;AccountKey="
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1";

static int wrong(struct err *err, const char *what)
{
    return err_set(err, -E_BAD_VALUE, "the Azure connection string %s", what);
}

/* The value of a setting; false when it is not there or too long. */
static bool find(const char *connection, const char *name, char ret_value[VALUE_MAX])
{
    size_t name_len = strlen(name);

    for (const char *at = connection; *at;) {
        at += strspn(at, "; \t\r\n");
        size_t len = strcspn(at, ";\r\n");
        if (len > name_len && at[name_len] == '=' && strncasecmp(at, name, name_len) == 0) {
            size_t value_len = len - name_len - 1;
            while (value_len > 0 && isspace((unsigned char)at[name_len + value_len]))
                value_len--;
            if (value_len >= VALUE_MAX)
                return false;
            memcpy(ret_value, at + name_len + 1, value_len);
            ret_value[value_len] = '\0';
            return value_len > 0;
        }
        at += len;
    }
    return false;
}

static bool is_word(const char *text, const char *further)
{
    for (; *text; text++) {
        if (!isalnum((unsigned char)*text) && !strchr(further, *text))
            return false;
    }
    return true;
}

static int read_endpoint(const char *endpoint, struct azure_account *ret, struct err *err)
{
    const char *host = strncmp(endpoint, "http://", 7) == 0    ? endpoint + 7
                       : strncmp(endpoint, "https://", 8) == 0 ? endpoint + 8
                                                               : NULL;

    if (!host || !*host || *host == '/' || !is_word(host, ".-:[]/_"))
        return wrong(err, "has a BlobEndpoint that is no http(s)://host[:port][/path]");
    const char *slash = strchr(host, '/');
    size_t origin_len = slash ? (size_t)(slash - endpoint) : strlen(endpoint);
    size_t path_len = strlen(endpoint) - origin_len;

    while (path_len > 0 && endpoint[origin_len + path_len - 1] == '/')
        path_len--;
    if (origin_len >= sizeof ret->origin || path_len >= sizeof ret->path)
        return wrong(err, "has a BlobEndpoint that is too long");
    memcpy(ret->origin, endpoint, origin_len);
    ret->origin[origin_len] = '\0';
    memcpy(ret->path, endpoint + origin_len, path_len);
    ret->path[path_len] = '\0';
    return 0;
}

static int make_endpoint(const char *connection, struct azure_account *ret, struct err *err)
{
    char value[VALUE_MAX], protocol[VALUE_MAX], endpoint[VALUE_MAX * 3];

    if (find(connection, "BlobEndpoint", value))
        return read_endpoint(value, ret, err);
    if (!find(connection, "DefaultEndpointsProtocol", protocol))
        snprintf(protocol, sizeof protocol, "https");
    if (!find(connection, "EndpointSuffix", value))
        snprintf(value, sizeof value, "core.windows.net");
    if (strcmp(protocol, "http") != 0 && strcmp(protocol, "https") != 0)
        return wrong(err, "has a DefaultEndpointsProtocol that is neither http nor https");
    snprintf(endpoint, sizeof endpoint, "%s://%s.blob.%s", protocol, ret->name, value);
    return read_endpoint(endpoint, ret, err);
}

int azure_account_parse(const char *connection, struct azure_account *ret, struct err *err)
{
    char value[VALUE_MAX];
    struct azure_account account = {.name = ""};

    if (find(connection, "UseDevelopmentStorage", value) && strcasecmp(value, "true") == 0)
        connection = development;
    if (!find(connection, "AccountName", value))
        return wrong(err, "has no AccountName");
    if (strlen(value) >= sizeof account.name || !is_word(value, "-"))
        return wrong(err, "has an AccountName of other than letters and digits");
    memcpy(account.name, value, strlen(value) + 1);
    if (!find(connection, "AccountKey", value))
        return wrong(err, find(connection, "SharedAccessSignature", value)
                              ? "has a SharedAccessSignature, where an AccountKey is needed"
                              : "has no AccountKey");
    if (!azure_base64_decode(value, account.key, sizeof account.key, &account.key_len))
        return wrong(err, "has an AccountKey that is no base64");
    int rc = make_endpoint(connection, &account, err);
    if (!rc)
        *ret = account;
    return rc;
}
