#!/usr/bin/env bash
# gen_docs.sh - writes what the settings table (common/base/config.def) says to where people
# and Compose read it: the table in docs/config.md, packaging/segue.env.example, .env.example
# and the lists of settings in docker-compose.yml.
#
#   scripts/gen_docs.sh [BIN] [ROOT]   BIN: folder with task_manager (default build/bin);
#                                      ROOT: the tree to write to (default: this one)
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
bin=${1:-$here/build/bin}
root=${2:-$here}

[ -x "$bin/task_manager" ] || {
    echo "gen_docs.sh: there is no $bin/task_manager; build first or name its folder" >&2
    exit 1
}
table=$(mktemp)
trap 'rm -f "$table" "$table.page"' EXIT
"$bin/task_manager" --config-markdown >"$table"

# The table between the markers, everything else as it is.
awk -v table="$table" '
    /^<!-- settings: end/ { skip = 0; found++ }
    !skip { print }
    /^<!-- settings: begin/ {
        skip = 1
        found++
        while ((getline line < table) > 0) print line
    }
    END { exit found != 2 }
' "$root/docs/config.md" >"$table.page" || {
    echo "gen_docs.sh: docs/config.md has lost its '<!-- settings: begin/end -->' lines" >&2
    exit 1
}
cat "$table.page" >"$root/docs/config.md"

# One commented line per setting, from the same rows.
settings_as_env() {
    awk -F ' [|] ' 'NR > 2 {
        name = $1
        sub(/^[|] `/, "", name)
        sub(/`.*/, "", name)
        value = $5
        if (value == "none") value = ""
        gsub(/`/, "", value)
        sub(/ [|]$/, "", $6)
        gsub(/ $/, "", $3)
        printf "\n# %s (%s)\n#%s=%s\n", $6, $3, name, value
    }' "$table"
}

{
    cat <<'HEAD'
# Settings of Segue. Copy to .env in the working directory of a program, or name it in
# EnvironmentFile= of a service, and take the # away from what you change. What is commented
# out is the default. docs/config.md says the same as a table.
HEAD
    settings_as_env
} >"$root/packaging/segue.env.example"

{
    cat "$here/packaging/compose/env.head"
    settings_as_env
} >"$root/.env.example"

# docker-compose.yml hands on what it does not say itself: NAME without a value.
awk -F ' [|] ' -v table="$table" '
    BEGIN {
        split("LISTEN DATABASE_URL AMQP_URL STORAGE_URL AZURE_STORAGE_CONNECTION_STRING SECRET_KEY " \
              "TASK_MANAGER_URL WORKERS SLOTS WORKER_NAME HEALTH_SOCKET SEGUE_SUPERVISED", words, " ")
        for (i in words) said[words[i]] = 1
        program["manager"] = "task_manager"
        program["worker"] = "data_processor"
    }
    /^  # settings: end/ { skip = 0; found++ }
    !skip { print }
    /^  # settings: begin/ {
        skip = 1
        found++
        split($0, words, " ")
        while ((getline line < table) > 0) {
            split(line, column, " [|] ")
            name = column[1]
            sub(/^[|] `/, "", name)
            sub(/`.*/, "", name)
            if (name ~ /^[A-Z_]+$/ && !(name in said) && index(column[3], program[words[4]]))
                print "  " name ":"
        }
        close(table)
    }
    END { exit found != 4 }
' "$root/docker-compose.yml" >"$table.page" || {
    echo "gen_docs.sh: docker-compose.yml has lost its '# settings: begin/end' lines" >&2
    exit 1
}
cat "$table.page" >"$root/docker-compose.yml"
