/* config.h - settings from defaults, .env, environment and flags, from one table.
 *
 * config.def is the table; this header turns it into a struct. Later sources win: default,
 * the file `.env` in the working directory, the environment, flags. Strings are owned by the
 * config until config_release. Not thread safe while loading; read-only afterwards. */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

enum config_program { CONFIG_MANAGER = 1, CONFIG_WORKER = 2, CONFIG_CLIENT = 4 };

enum config_type {
    CONFIG_STRING,
    CONFIG_INT,
    CONFIG_BYTES,
    CONFIG_MS,
    CONFIG_BOOL,
    CONFIG_LIST /* comma separated, kept as one string; see config_list_next */
};

struct config {
#define CONFIG_FIELD_STRING(f) char *f
#define CONFIG_FIELD_LIST(f)   char *f
#define CONFIG_FIELD_INT(f)    int64_t f
#define CONFIG_FIELD_BYTES(f)  int64_t f
#define CONFIG_FIELD_MS(f)     int64_t f
#define CONFIG_FIELD_BOOL(f)   int64_t f
#define C(field, type, programs, env, flag, def, min, max, secret, help)                       \
    CONFIG_FIELD_##type(field);
#include "config.def"
#undef C
    int arg_first; /* index in argv of the first argument that is no flag, or argc */
    bool want_help, want_check, want_version;
};

/* Fills *c for `program` from every source. `argv` from index 1; flags are `--name value` or
 * `--name=value`; `--help`, `--version` and `--check-config` set the wants; `--` or the first
 * other word ends the flags. `env_file` is ".env" or NULL for none; a missing file is fine.
 * E_BAD_VALUE names the setting, its source and what would be right; *c is then released. */
int config_load(struct config *c, enum config_program program, int argc, char *const *argv,
                const char *env_file, struct err *err);
void config_release(struct config *c);

/* The next word of a LIST: copies it to ret_word (cut at size) and returns the place to go on
 * from, or NULL at the end. Start with the list itself; spaces around words are dropped. */
const char *config_list_next(const char *at, char *ret_word, size_t size);

/* The settings of `program` as text for --help; as `NAME=value` lines with where each value
 * came from (secrets as ***) for --check-config; the whole table as docs/config.md. */
void config_help(enum config_program program, struct buf *out);
void config_dump(const struct config *c, enum config_program program, struct buf *out);
void config_markdown(struct buf *out);

/* "256M" to bytes, "1h" to milliseconds, as the table's types read them. */
bool config_parse_bytes(const char *text, int64_t *ret_bytes);
bool config_parse_ms(const char *text, int64_t *ret_ms);

#endif
