/* azure_list.h - the blobs of a container of Azure, page by page. Private to this room. */
#ifndef OBJSTORE_AZURE_LIST_H
#define OBJSTORE_AZURE_LIST_H

#include "azure.h"
#include "container.h"

struct azure_list {
    struct azure *azure;
    const char *container, *prefix; /* the prefix as Azure knows it; the caller's */
    struct http_answer page;
    const char *at; /* within the page; NULL: none is there */
    char *marker;   /* of the next page; NULL after the last */
    bool begun;
};

struct azure_entry {
    char name[BLOB_NAME_MAX]; /* as Azure knows it */
    uint64_t size;
    char sha256[SHA256_TEXT_MAX]; /* "" when it is not noted */
    int64_t written_ms;           /* by Azure's clock, 0 when it is not told */
};

/* 1 and the next blob, 0 at the end, or a negative code: -E_NOT_FOUND for a container that is
 * not there. Start with a list of zeros and the first three members. */
int azure_list_entry(struct azure_list *l, struct azure_entry *ret, struct err *err);
void azure_list_release(struct azure_list *l);

/* "Fri, 31 Jan 2026 23:59:59 GMT" as milliseconds; false for anything else. */
bool azure_parse_date(const char *text, int64_t *ret_ms);

#endif
