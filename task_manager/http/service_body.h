/* service_body.h - how the repository services read bodies and refuse them: as the services
 * that came before did (docs/services.md), with 422 and a list of every mistake, not with the
 * problem details of the rest of the API. */
#ifndef HTTP_SERVICE_BODY_H
#define HTTP_SERVICE_BODY_H

#include <jansson.h>

#include "routes.h"

enum service_field_kind {
    SERVICE_TEXT,          /* const char *, borrowed from the root */
    SERVICE_OPTIONAL_TEXT, /* the same; missing or null leaves it alone */
    SERVICE_OPTIONAL_BOOL /* bool; also 0, 1 and words such as "yes"; missing leaves it alone */
};

struct service_field {
    const char *name; /* NULL ends the table */
    enum service_field_kind kind;
    void *out;
};

/* Reads the JSON body, where members beyond the table are passed over. False after replying
 * 422; else json_decref *ret_root once the texts are of no use any more. */
bool service_body_read(struct exchange *x, const struct api *api,
                       const struct service_field *fields, json_t **ret_root);

/* A required parameter of the query; NULL after replying 422. */
const char *service_query_read(struct exchange *x, const struct api *api, const char *name);

/* Says which pages of other origins may read the reply (SERVICE_ORIGIN); before every reply. */
void service_allow_origin(struct exchange *x, const struct api *api);

/* 200 with this object, which may be NULL for want of memory; taken over. */
void service_reply(struct exchange *x, const struct api *api, json_t *object);

/* The problem of an err, for what is no answer of the services but a fault. */
void service_reply_err(struct exchange *x, const struct api *api, const struct err *err);

#endif
