/* routes_runs.c - runs of pipelines as clients see them: list, show, cancel, resume. */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "json_read.h"
#include "routes.h"
#include "run_json.h"

enum { PAGE_SIZE = 50, PAGE_SIZE_LIMIT = 1000, PAGE_LIMIT = 1000000 };

static const char *run_id_of(struct exchange *x)
{
    const char *id = exchange_param(x, 0);

    if (id_is_valid(id))
        return id;
    reply_problem(x, 400, "Malformed run id",
                  "a run id is 36 characters of lower-case hex and dashes, as in "
                  "01890a5d-ac96-774b-bcce-b302099a8057");
    return NULL;
}

/* Takes what r holds. */
static void reply_run(struct exchange *x, const struct api *api, int rc, struct run *r,
                      struct err *err)
{
    json_t *object = NULL;

    if (!rc)
        rc = run_to_json(api, r, &object, err);
    if (rc)
        reply_err(x, err);
    else
        reply_json_take(x, 200, json_text_take(object));
    run_release(r);
}

/* -- list -- */

struct page {
    struct run_filter filter;
    const char *status;
    int64_t number, size;
};

static bool read_page(struct exchange *x, struct page *p)
{
    static const char *const known[] = {"page", "page_size", "status", "pipeline", NULL};
    enum task_state state = TASK_RECEIVED;

    if (!route_query_is_known(x, known) ||
        !route_number(x, "page", 1, PAGE_LIMIT, &p->number) ||
        !route_number(x, "page_size", PAGE_SIZE, PAGE_SIZE_LIMIT, &p->size))
        return false;
    p->status = exchange_query(x, "status");
    if (p->status && (!task_state_parse(p->status, &state) || state == TASK_RECEIVED)) {
        reply_problem(x, 400, "Incorrect status",
                      "status: must be PROCESSING, DONE, FAILED or CANCELLED");
        return false;
    }
    p->filter = (struct run_filter){
        .states = p->status ? 1U << state : 0,
        .name = exchange_query(x, "pipeline"),
        .offset = (p->number - 1) * p->size,
        .limit = (int)p->size,
    };
    if (p->filter.name && !run_name_is_valid(p->filter.name)) {
        reply_problem(x, 400, NULL, "pipeline: must be a name");
        return false;
    }
    return true;
}

static json_t *page_url(struct exchange *x, const struct page *p, int64_t number)
{
    struct buf url = BUF_INIT;

    buf_printf(&url, "%s/v1/pipelines/runs?page=%" PRId64 "&page_size=%" PRId64,
               exchange_base_url(x), number, p->size);
    if (p->status)
        buf_printf(&url, "&status=%s", p->status);
    if (p->filter.name)
        buf_printf(&url, "&pipeline=%s", p->filter.name);
    json_t *text = buf_ok(&url) ? json_string(url.data) : NULL;
    buf_release(&url);
    return text;
}

void route_run_list(struct exchange *x, void *context)
{
    const struct api *api = context;
    struct page page;
    struct run_list list = {NULL, 0};
    struct err err = ERR_INIT;
    int64_t total = 0;

    if (!read_page(x, &page))
        return;
    if (store_run_list(service_store(api->service), &page.filter, &list, &total, &err)) {
        reply_err(x, &err);
        return;
    }
    json_t *runs = json_array();
    for (size_t i = 0; i < list.count; i++)
        runs = json_append_take(runs, run_entry_to_json(&list.items[i]));
    run_list_release(&list);
    bool more = page.filter.offset + page.size < total;
    reply_json_take(x, 200,
                    json_text_take(json_pack(
                        "{s:o,s:o,s:o,s:I}", "runs", runs, "prev_url",
                        page.number > 1 ? page_url(x, &page, page.number - 1) : json_null(),
                        "next_url", more ? page_url(x, &page, page.number + 1) : json_null(),
                        "count", (json_int_t)total)));
}

/* -- one run -- */

void route_run_show(struct exchange *x, void *context)
{
    const struct api *api = context;
    const char *id = run_id_of(x);
    struct run r;
    struct err err = ERR_INIT;

    if (id)
        reply_run(x, api, service_run_get(api->service, id, &r, &err), &r, &err);
}

void route_run_cancel(struct exchange *x, void *context)
{
    const struct api *api = context;
    const char *id = run_id_of(x);
    struct run r = {.definition = NULL};
    struct err err = ERR_INIT;

    if (id)
        reply_run(x, api, service_run_cancel(api->service, id, &r, &err), &r, &err);
}

/* Says what a resume would do, and does not do it. */
static void reply_plan(struct exchange *x, const struct api *api, const char *id,
                       const char *from)
{
    struct run r;
    struct err err = ERR_INIT;
    int index = 0, rc = service_run_get(api->service, id, &r, &err);

    if (!rc)
        rc = run_resume_point(&r, from, &index, &err);
    if (rc)
        reply_err(x, &err);
    else
        reply_json_take(x, 200, json_text_take(run_plan_to_json(&r, index)));
    run_release(&r);
}

static bool read_switch(struct exchange *x, const char *name, bool *ret)
{
    const char *text = exchange_query(x, name);

    *ret = text && (strcmp(text, "1") == 0 || strcmp(text, "true") == 0);
    if (!text || *ret || strcmp(text, "0") == 0 || strcmp(text, "false") == 0)
        return true;
    reply_problem(x, 400, NULL, "%s: must be 1 or 0", name);
    return false;
}

void route_run_resume(struct exchange *x, void *context)
{
    static const char *const known[] = {"from", "dry_run", NULL};
    const struct api *api = context;
    const char *id = run_id_of(x); /* NULL: answered, and x is gone */
    struct run r = {.definition = NULL};
    struct err err = ERR_INIT;
    bool is_dry = false;

    if (!id || !route_query_is_known(x, known) || !read_switch(x, "dry_run", &is_dry))
        return;
    const char *from = exchange_query(x, "from");
    if (is_dry)
        reply_plan(x, api, id, from);
    else
        reply_run(x, api, service_run_resume(api->service, id, from, &r, &err), &r, &err);
}
