/* routes_task.c - tasks as clients see them: list, show, cancel, retry, status. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "json_read.h"
#include "params.h"
#include "routes.h"
#include "run_json.h"
#include "task_json.h"

enum { PAGE_SIZE = 50, PAGE_SIZE_LIMIT = 1000, PAGE_LIMIT = 1000000, SHOWN_EVENTS = 200 };

static void reply_task(struct exchange *x, const struct api *api, int rc, struct task *t,
                       struct err *err)
{
    json_t *object = NULL;

    if (!rc) {
        object = task_to_json(t);
        rc = run_hide_task(api, t, &object, err);
        task_release(t);
    }
    if (rc)
        reply_err(x, err);
    else
        reply_json_take(x, 200, json_text_take(object));
}

/* -- list -- */

bool route_number(struct exchange *x, const char *name, int64_t fallback, int64_t max,
                  int64_t *ret)
{
    const char *text = exchange_query(x, name);
    char *end;

    *ret = fallback;
    if (!text)
        return true;
    size_t digits = strspn(text, "0123456789");
    if (digits > 0 && digits < 10 && text[digits] == '\0')
        *ret = strtoll(text, &end, 10);
    if (digits > 0 && digits < 10 && text[digits] == '\0' && *ret >= 1 && *ret <= max)
        return true;
    reply_problem(x, 400, NULL, "%s: must be a whole number from 1 to %" PRId64, name, max);
    return false;
}

struct page {
    struct store_filter filter;
    const char *status;
    int64_t number, size;
};

static bool read_page(struct exchange *x, struct page *p)
{
    static const char *const known[] = {"page", "page_size", "status", "type", "queue", NULL};
    enum task_state state;

    if (!route_query_is_known(x, known) ||
        !route_number(x, "page", 1, PAGE_LIMIT, &p->number) ||
        !route_number(x, "page_size", PAGE_SIZE, PAGE_SIZE_LIMIT, &p->size))
        return false;
    p->status = exchange_query(x, "status");
    if (p->status && !task_state_parse(p->status, &state)) {
        reply_problem(x, 400, "Incorrect status",
                      "status: must be RECEIVED, PROCESSING, DONE, FAILED or CANCELLED");
        return false;
    }
    p->filter = (struct store_filter){
        .states = p->status ? 1U << state : 0,
        .type = exchange_query(x, "type"),
        .queue = exchange_query(x, "queue"),
        .offset = (p->number - 1) * p->size,
        .limit = (int)p->size,
    };
    if ((p->filter.type && !task_word_is_valid(p->filter.type)) ||
        (p->filter.queue && !task_word_is_valid(p->filter.queue))) {
        reply_problem(x, 400, NULL, "type, queue: must be a name");
        return false;
    }
    return true;
}

static json_t *page_url(struct exchange *x, const struct page *p, int64_t number)
{
    struct buf url = BUF_INIT;

    buf_printf(&url, "%s/v1/tasks?page=%" PRId64 "&page_size=%" PRId64, exchange_base_url(x),
               number, p->size);
    if (p->status)
        buf_printf(&url, "&status=%s", p->status);
    if (p->filter.type)
        buf_printf(&url, "&type=%s", p->filter.type);
    if (p->filter.queue)
        buf_printf(&url, "&queue=%s", p->filter.queue);
    json_t *text = buf_ok(&url) ? json_string(url.data) : NULL;
    buf_release(&url);
    return text;
}

void route_task_list(struct exchange *x, void *context)
{
    const struct api *api = context;
    struct page page;
    struct task_list list = {NULL, 0};
    struct err err = ERR_INIT;
    int64_t total = 0;

    if (!read_page(x, &page))
        return;
    if (store_list(service_store(api->service), &page.filter, &list, &total, &err)) {
        reply_err(x, &err);
        return;
    }
    json_t *tasks = json_array();
    for (size_t i = 0; i < list.count; i++)
        tasks = json_append_take(tasks, task_entry_to_json(&list.items[i]));
    task_list_release(&list);
    bool more = page.filter.offset + page.size < total;
    reply_json_take(x, 200,
                    json_text_take(json_pack(
                        "{s:o,s:o,s:o,s:I}", "tasks", tasks, "prev_url",
                        page.number > 1 ? page_url(x, &page, page.number - 1) : json_null(),
                        "next_url", more ? page_url(x, &page, page.number + 1) : json_null(),
                        "count", (json_int_t)total)));
}

/* -- one task -- */

static int add_history(const struct api *api, const char *id, json_t *object, struct err *err)
{
    struct attempt *attempts = NULL;
    struct task_event *events = NULL;
    size_t attempt_count = 0, event_count = 0;
    struct store *store = service_store(api->service);
    int rc = store_attempts(store, id, SHOWN_EVENTS, &attempts, &attempt_count, err);

    if (!rc)
        rc = store_events(store, id, STORE_LATEST, SHOWN_EVENTS, &events, &event_count, err);
    if (!rc &&
        (json_object_set_new(object, "attempts", attempts_to_json(attempts, attempt_count)) ||
         json_object_set_new(object, "events", events_to_json(events, event_count))))
        rc = err_set(err, -E_NO_MEMORY, "no memory for a task's history");
    free(attempts);
    free(events);
    return rc;
}

void route_task_show(struct exchange *x, void *context)
{
    const struct api *api = context;
    const char *id = route_id(x);
    struct task t;
    struct err err = ERR_INIT;

    if (!id)
        return;
    if (store_get(service_store(api->service), id, &t, &err)) {
        reply_err(x, &err);
        return;
    }
    json_t *object = task_to_json(&t);
    if (!object)
        err_set(&err, -E_NO_MEMORY, "no memory for a task");
    else if (add_history(api, id, object, &err) == 0)
        run_hide_task(api, &t, &object, &err);
    task_release(&t);
    if (err.code) {
        json_decref(object);
        reply_err(x, &err);
        return;
    }
    reply_json_take(x, 200, json_text_take(object));
}

void route_task_cancel(struct exchange *x, void *context)
{
    const struct api *api = context;
    const char *id = route_id(x);
    struct task t;
    struct err err = ERR_INIT;

    if (id)
        reply_task(x, api, service_cancel(api->service, id, &t, &err), &t, &err);
}

void route_task_retry(struct exchange *x, void *context)
{
    const struct api *api = context;
    const char *id = route_id(x);
    struct task t;
    struct err err = ERR_INIT;

    if (id)
        reply_task(x, api, service_retry(api->service, id, &t, &err), &t, &err);
}

/* -- status -- */

void route_status_get(struct exchange *x, void *context)
{
    const struct api *api = context;
    const char *id = route_id(x);
    struct task t;
    struct err err = ERR_INIT;
    char link[512];

    if (!id)
        return;
    if (store_get(service_store(api->service), id, &t, &err)) {
        reply_err(x, &err);
        return;
    }
    json_t *object = json_pack("{s:s}", "status", task_state_name(t.state));
    if (t.state == TASK_DONE && t.output.key[0]) {
        snprintf(link, sizeof link, "%.400s/v1/data_processor/download/%s",
                 exchange_base_url(x), id);
        object = json_member_take(object, "download_link", json_string(link));
    } else if (t.state == TASK_PROCESSING) {
        object = json_member_take(object, "progress", json_real(t.progress));
    } else if (t.state == TASK_FAILED) {
        object = json_member_take(object, "error", json_string(t.error.message));
        object = json_member_take(object, "error_class",
                                  json_string(error_class_name(t.error.class)));
    }
    task_release(&t);
    reply_json_take(x, 200, json_text_take(object));
}

void route_status_put(struct exchange *x, void *context)
{
    const struct api *api = context;
    const char *id = route_id(x);
    char name[32] = "";
    enum task_state to;
    struct task t;
    struct err err = ERR_INIT;
    json_t *root = NULL;
    size_t len;
    const struct json_field fields[] = {
        {"status", JSON_FIELD_STRING, true, name, sizeof name, 0, 0},
        {0},
    };

    if (!id)
        return;
    const char *body = exchange_body(x, &len);
    int rc = json_read_text(body, len, &root, &err);
    if (!rc)
        rc = json_read_object(root, "", fields, &err);
    json_decref(root);
    if (rc)
        reply_err(x, &err);
    else if (!task_state_parse(name, &to))
        reply_problem(x, 400, "Incorrect status",
                      "status: must be RECEIVED, PROCESSING, DONE, FAILED or CANCELLED");
    else
        reply_task(x, api, service_put_state(api->service, id, to, &t, &err), &t, &err);
}
