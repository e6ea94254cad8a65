/* out.h - putting other people's text on a terminal.
 *
 * What a server, a file name or a CSV says may hold escape sequences that move the cursor,
 * rename the window or reverse the reading direction. Nothing of that is passed on. */
#ifndef TASKCTL_OUT_H
#define TASKCTL_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "buf.h"

/* Appends text with control characters (C0, DEL, C1), direction overrides and bytes that are
 * no UTF-8 as \xNN or \uNNNN. */
void out_escape(struct buf *out, const char *text);

/* Writes text, escaped. A write error shows in ferror(to), here and below. */
void out_text(FILE *to, const char *text);

/* One line of JSON on `to`; pure ASCII, members in their order. */
void out_json(FILE *to, const json_t *value);

/* A member as text for people: strings as they are, null and missing as "-", anything nested
 * as JSON. */
void out_member(struct buf *out, const json_t *object, const char *key);

struct out_column {
    const char *title, *key;
    bool to_the_right;
};

/* Objects of the array as lines under a headline; columns ends with a NULL title. */
void out_table(FILE *to, const struct out_column *columns, const json_t *objects);

#endif
