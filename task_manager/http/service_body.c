#include "service_body.h"

#include <string.h>
#include <strings.h>

#include "json_read.h"

void service_allow_origin(struct exchange *x, const struct api *api)
{
    const char *origin = api->config->service_origin;

    if (!origin[0])
        return;
    exchange_set_header(x, "Access-Control-Allow-Origin", origin);
    exchange_set_header(x, "Access-Control-Allow-Credentials", "true");
}

void service_reply(struct exchange *x, const struct api *api, json_t *object)
{
    service_allow_origin(x, api);
    reply_json_take(x, 200, json_text_take(object));
}

void service_reply_err(struct exchange *x, const struct api *api, const struct err *err)
{
    service_allow_origin(x, api);
    reply_err(x, err);
}

/* -- 422 -- */

/* One more mistake; place: where in `source` ("body", "query"), taken over, NULL for all of it.
 */
static json_t *add_mistake(json_t *detail, const char *source, json_t *place,
                           const char *message, const char *type)
{
    json_t *loc = json_append_take(json_array(), json_string(source));

    if (place)
        loc = json_append_take(loc, place);
    return json_append_take(
        detail, json_pack("{s:o, s:s, s:s}", "loc", loc, "msg", message, "type", type));
}

static void refuse(struct exchange *x, const struct api *api, json_t *detail)
{
    service_allow_origin(x, api);
    reply_json_take(x, 422, json_text_take(json_member_take(json_object(), "detail", detail)));
}

/* No type counts as JSON, too. */
static bool is_json(const char *content_type)
{
    size_t len = content_type ? strcspn(content_type, "; \t") : 0;

    return !content_type ||
           (len == 16 && strncasecmp(content_type, "application/json", 16) == 0) ||
           (len > 17 && strncasecmp(content_type, "application/", 12) == 0 &&
            strncasecmp(content_type + len - 5, "+json", 5) == 0);
}

/* The words that stand for a boolean in JSON strings and numbers. */
static bool read_bool(const json_t *value, bool *ret)
{
    static const struct {
        const char *word;
        bool is_true;
    } words[] = {{"1", true}, {"0", false}, {"true", true}, {"false", false},
                 {"t", true}, {"f", false}, {"yes", true},  {"no", false},
                 {"y", true}, {"n", false}, {"on", true},   {"off", false}};
    const char *word = json_string_value(value);

    if (json_is_boolean(value)) {
        *ret = json_is_true(value);
        return true;
    }
    if (json_is_number(value)) {
        double number = json_number_value(value);
        *ret = number > 0.5;
        return number == 0 || number == 1;
    }
    for (size_t i = 0; word && i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(words[i].word, word) != 0)
            continue;
        *ret = words[i].is_true;
        return true;
    }
    return false;
}

/* Appends to *detail what is wrong with the member. */
static void read_member(const json_t *root, const struct service_field *f, json_t **detail)
{
    const json_t *value = json_object_get(root, f->name);
    bool is_text = f->kind != SERVICE_OPTIONAL_BOOL;

    if (!value && f->kind != SERVICE_TEXT)
        return;
    if (json_is_null(value) && f->kind == SERVICE_OPTIONAL_TEXT)
        return;
    if (!value)
        *detail =
            add_mistake(*detail, "body", json_string(f->name), "Field required", "missing");
    else if (is_text && json_is_string(value))
        *(const char **)f->out = json_string_value(value);
    else if (is_text)
        *detail = add_mistake(*detail, "body", json_string(f->name),
                              "Input should be a valid string", "string_type");
    else if (!read_bool(value, f->out))
        *detail = add_mistake(*detail, "body", json_string(f->name),
                              "Input should be a valid boolean, unable to interpret input",
                              "bool_parsing");
}

bool service_body_read(struct exchange *x, const struct api *api,
                       const struct service_field *fields, json_t **ret_root)
{
    static const char no_object[] =
        "Input should be a valid dictionary or object to extract fields from";
    json_t *detail = json_array(), *root = NULL;
    json_error_t wrong;
    size_t len;
    const char *body = exchange_body(x, &len);

    if (len == 0) {
        refuse(x, api, add_mistake(detail, "body", NULL, "Field required", "missing"));
        return false;
    }
    if (!is_json(exchange_header(x, "Content-Type"))) {
        refuse(x, api, add_mistake(detail, "body", NULL, no_object, "model_attributes_type"));
        return false;
    }
    root = json_loadb(body, len, JSON_DECODE_ANY, &wrong);
    if (!root) {
        refuse(x, api,
               add_mistake(detail, "body", json_integer(wrong.position), "JSON decode error",
                           "json_invalid"));
        return false;
    }
    if (json_is_null(root))
        detail = add_mistake(detail, "body", NULL, "Field required", "missing");
    else if (!json_is_object(root))
        detail = add_mistake(detail, "body", NULL, no_object, "model_attributes_type");
    for (const struct service_field *f = fields; json_is_object(root) && f->name; f++)
        read_member(root, f, &detail);
    if (!detail || json_array_size(detail) > 0) {
        json_decref(root);
        refuse(x, api, detail);
        return false;
    }
    json_decref(detail);
    *ret_root = root;
    return true;
}

const char *service_query_read(struct exchange *x, const struct api *api, const char *name)
{
    const char *value = exchange_query(x, name);

    if (!value)
        refuse(
            x, api,
            add_mistake(json_array(), "query", json_string(name), "Field required", "missing"));
    return value;
}

/* -- calls from web pages of other origins -- */

void route_service_preflight(struct exchange *x, void *context)
{
    const struct api *api = context;
    const char *headers = exchange_header(x, "Access-Control-Request-Headers");

    service_allow_origin(x, api);
    if (api->config->service_origin[0]) {
        exchange_set_header(x, "Access-Control-Allow-Methods",
                            "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");
        if (headers)
            exchange_set_header(x, "Access-Control-Allow-Headers", headers);
        exchange_set_header(x, "Access-Control-Max-Age", "600");
        exchange_set_header(x, "Vary", "Origin");
    }
    reply_text(x, 200, "text/plain; charset=utf-8", "OK");
}

void route_service_status(struct exchange *x, void *context)
{
    service_reply(x, context, json_pack("{s:s}", "message", "Ok"));
}
