#include "azure_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "azure_xml.h"
#include "clock.h"

enum { MARKER_MAX = 8192, NUMBER_MAX = 32, DATE_MAX = 64 };

/* A page of a thousand stays below AZURE_ANSWER_MAX even with the longest names. */
#define PAGE_SIZE "1000"

bool azure_parse_date(const char *text, int64_t *ret_ms)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char iso[CLOCK_TEXT_MAX], month[4] = "";

    if (strlen(text) != 29 || memcmp(text + 25, " GMT", 4) != 0)
        return false;
    memcpy(month, text + 8, 3);
    const char *at = strstr(months, month);
    if (!at || (at - months) % 3 != 0)
        return false;
    snprintf(iso, sizeof iso, "%.4s-%02d-%.2sT%.8sZ", text + 12, (int)((at - months) / 3) + 1,
             text + 5, text + 17);
    return clock_parse(iso, ret_ms);
}

void azure_list_release(struct azure_list *l)
{
    http_answer_release(&l->page);
    free(l->marker);
    l->marker = NULL;
}

static int note_marker(struct azure_list *l, struct err *err)
{
    const struct xml_part whole = {l->page.body.data, l->page.body.data + l->page.body.len};
    struct xml_part part;
    char *marker = NULL;

    if (xml_find(&whole, "NextMarker", &part, NULL) && part.end > part.at) {
        marker = malloc(MARKER_MAX);
        if (!marker)
            return err_set(err, -E_NO_MEMORY, "no memory to list a container");
        if (!xml_text(&part, marker, MARKER_MAX)) {
            free(marker);
            return err_set(err, -E_UNAVAILABLE, "Azure sent a list that cannot be read");
        }
    }
    free(l->marker);
    l->marker = marker;
    return 0;
}

static int fetch_page(struct azure_list *l, struct err *err)
{
    struct azure_pair query[7] = {{"restype", "container"},
                                  {"comp", "list"},
                                  {"include", "metadata"},
                                  {"maxresults", PAGE_SIZE}};
    size_t count = 4;

    if (*l->prefix)
        query[count++] = (struct azure_pair){"prefix", l->prefix};
    if (l->marker)
        query[count++] = (struct azure_pair){"marker", l->marker};
    const struct azure_request r = {.method = "GET", .container = l->container, .query = query};
    http_answer_release(&l->page);
    int rc = azure_call(l->azure, &r, &l->page, NULL, err);
    if (!rc && l->page.status != 200)
        rc = azure_unexpected(&r, &l->page, err);
    if (!rc)
        rc = note_marker(l, err);
    l->begun = true;
    l->at = rc ? NULL : l->page.body.data;
    return rc;
}

static void find_text(const struct xml_part *part, const char *name, char *ret, size_t size)
{
    struct xml_part text;

    if (!xml_find(part, name, &text, NULL) || !xml_text(&text, ret, size))
        *ret = '\0';
}

/* False for a name that no blob of ours can have. */
static bool read_entry(const struct xml_part *blob, struct azure_entry *ret)
{
    char number[NUMBER_MAX], date[DATE_MAX];
    struct xml_part name, meta;

    *ret = (struct azure_entry){.size = 0};
    if (!xml_find(blob, "Name", &name, NULL) || !xml_text(&name, ret->name, sizeof ret->name))
        return false;
    find_text(blob, "Content-Length", number, sizeof number);
    ret->size = strtoull(number, NULL, 10);
    find_text(blob, "Last-Modified", date, sizeof date);
    if (!azure_parse_date(date, &ret->written_ms))
        ret->written_ms = 0;
    if (xml_find(blob, "Metadata", &meta, NULL))
        find_text(&meta, "sha256", ret->sha256, sizeof ret->sha256);
    if (strspn(ret->sha256, "0123456789abcdef") != SHA256_TEXT_MAX - 1)
        ret->sha256[0] = '\0';
    return true;
}

int azure_list_entry(struct azure_list *l, struct azure_entry *ret, struct err *err)
{
    for (;;) {
        if (!l->at) {
            if (l->begun && !l->marker)
                return 0;
            int rc = fetch_page(l, err);
            if (rc)
                return rc;
        }
        const struct xml_part rest = {l->at, l->page.body.data + l->page.body.len};
        struct xml_part blob, after;
        if (!xml_find(&rest, "Blob", &blob, &after)) {
            l->at = NULL;
            continue;
        }
        l->at = after.at;
        if (read_entry(&blob, ret))
            return 1;
    }
}
