/* tree.h - results that are folders of plain files, in a store that is a folder itself.
 *
 *   ROOT/outputs/<task id>/<attempt>/<name>/...     a tree: whole or not there
 *                                    <name>.json    what is to be known about it
 *                                    .work/         where it is built
 *
 * Files in a tree have names that are no keys, so the object store neither lists nor sweeps
 * them: a tree is kept or removed as one, with all of its attempt's folder. Its key is
 * "outputs/<task id>/<attempt>/<name>", which is in the result of the task. Stores that are no
 * folder (objstore_root is NULL) have no trees: what lists finds none. Any thread; blocks on
 * the disk. */
#ifndef OBJSTORE_TREE_H
#define OBJSTORE_TREE_H

#include "id.h"
#include "objstore.h"

#define TREE_FOLDER    "outputs"
#define TREE_WORK      ".work"
#define TREE_UNNAMED   "-" /* the name in the key of an attempt that has none yet */
#define TREE_DEPTH_MAX 200 /* folders in folders, below a tree */

/* Calls visit for every attempt with a folder, of one task or (NULL) of all. age_ms: since
 * something in it was made, renamed or removed. A visit that returns non-zero ends the walk
 * with that value; it may remove the folder. */
typedef int tree_visit_fn(const char *key, const char *task_id, int attempt, int64_t age_ms,
                          void *arg);
int tree_list(struct objstore *s, const char *task_id, tree_visit_fn *visit, void *arg,
              struct err *err);

/* Removes an attempt's folder with all that is in it, unless it is younger than older_than_ms;
 * one that is not there is success. */
int tree_sweep(struct objstore *s, const char *task_id, int attempt, int64_t older_than_ms,
               bool *ret_removed, struct err *err);

/* Removes a file or folder with all that is in it, following no link; one that is not there is
 * success. */
int tree_erase(int dir_fd, const char *name, struct err *err);

#endif
