/* azure_account.h - a storage account and the key to it, from a connection string.
 *
 *   DefaultEndpointsProtocol=https;AccountName=NAME;AccountKey=BASE64;EndpointSuffix=core.windows.net
 *   BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;AccountName=…;AccountKey=…
 *   UseDevelopmentStorage=true        Azurite's account at 127.0.0.1:10000
 *
 * Settings may come in any order, names in any case; further ones (QueueEndpoint, …) are passed
 * over. Private to this room. Pure. */
#ifndef OBJSTORE_AZURE_ACCOUNT_H
#define OBJSTORE_AZURE_ACCOUNT_H

#include <stddef.h>

#include "err.h"

enum { AZURE_NAME_MAX = 64, AZURE_KEY_MAX = 96, AZURE_ENDPOINT_MAX = 300 };

struct azure_account {
    char name[AZURE_NAME_MAX];
    char origin[AZURE_ENDPOINT_MAX]; /* "https://NAME.blob.core.windows.net" */
    char path[AZURE_ENDPOINT_MAX];   /* of the endpoint: "" or "/devstoreaccount1" */
    unsigned char key[AZURE_KEY_MAX];
    size_t key_len;
};

/* -E_BAD_VALUE says what is missing or wrong, never showing the text. */
int azure_account_parse(const char *connection, struct azure_account *ret, struct err *err);

#endif
