/* container_name.h - what a container of blobs may be called.
 *
 * The rule is Azure Blob Storage's, kept locally too so that a container can move: 1 to 63 of
 * the characters [a-z0-9-], no '-' at either end, no two in a row. (Azure itself refuses
 * names of fewer than 3 characters.) Pure; safe from any thread. */
#ifndef DOMAIN_CONTAINER_NAME_H
#define DOMAIN_CONTAINER_NAME_H

#include <stdbool.h>

enum { CONTAINER_NAME_MAX = 64 };

bool container_name_is_valid(const char *name);

/* The name of the container for the folder at `path`: its last segment in lower case, every
 * run of other characters one '-', none at the ends, cut to 63. Slashes at the end of the path
 * do not count. False, with "" in ret_name, when nothing is left. */
bool container_name_from_path(const char *path, char ret_name[CONTAINER_NAME_MAX]);

#endif
