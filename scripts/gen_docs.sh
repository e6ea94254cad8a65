#!/usr/bin/env bash
# gen_docs.sh - writes what the settings table (common/base/config.def) says into the pages
# that people read: the table in docs/config.md and packaging/segue.env.example.
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
{
    cat <<'HEAD'
# Settings of Segue. Copy to .env in the working directory of a program, or name it in
# EnvironmentFile= of a service, and take the # away from what you change. What is commented
# out is the default. docs/config.md says the same as a table.
HEAD
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
} >"$root/packaging/segue.env.example"
