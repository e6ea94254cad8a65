/* folder.h - a sink that makes a tree (tree.h) of the object store. */
#ifndef REPO_FOLDER_H
#define REPO_FOLDER_H

#include "artifact.h"
#include "id.h"
#include "repo.h"

struct folder;

/* Makes outputs/<task>/<attempt>/.work below `root`, and removes what earlier attempts of the
 * task have left: they own it no longer. */
int folder_begin(const char *root, const char *task_id, int attempt, struct folder **ret,
                 struct err *err);

/* An absolute path for other files of the work, on the same disk; the folder's. */
const char *folder_work_dir(const struct folder *f);

/* The key that the tree will have under this name. */
int folder_key(const struct folder *f, const char *name, char ret_key[ARTIFACT_KEY_MAX],
               struct err *err);

/* Files go to it here. */
struct repo_sink folder_sink(struct folder *f);

/* Makes it durable and visible, as <name>/ with <name>.json (`about`) beside, and frees f;
 * after a failure nothing is there, and f is freed too. */
int folder_commit_free(struct folder *f, const char *name, const char *about, struct err *err);

/* Removes all of it; NULL is fine. */
void folder_abort_free(struct folder *f);

#endif
