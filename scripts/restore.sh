#!/usr/bin/env bash
# restore.sh - puts a backup of backup.sh where a task manager finds it.
#
#   restore.sh [--env FILE] FOLDER
#
# DATABASE_URL and STORAGE_URL say where to (see backup.sh): a database of the same kind that is
# empty or, for SQLite, a file that is not there; and a folder without objects. No task manager
# may run on them. Files come first, so that no row is ever without its file. Run it as the user
# that the programs run as, or hand the files over to that user afterwards.
#
# What happened after the backup is gone: tasks accepted since are not known, and those that ended
# since are done again. Leases of the time of the backup have run out and are taken back.
# Exit status: 0 everything is as in the backup, 1 it is not, 2 wrong usage.
set -euo pipefail
program=restore.sh
. "$(dirname "$(realpath "$0")")/backup_lib.sh"

env_file='' source=''
while [ $# -gt 0 ]; do
    case $1 in
    --env) env_file=${2:?} && shift ;;
    -*) usage ;;
    *) [ -z "$source" ] && source=$1 || usage ;;
    esac
    shift
done
[ -n "$source" ] || usage
read_settings
umask 0027

[ -e "$source/complete" ] || die "'$source' is no complete backup"
[ "$(cat "$source/complete")" = $kind ] ||
    die "the backup is of $(cat "$source/complete"), and DATABASE_URL is of $kind"
[ -z "$(list_objects "$store" | head -n 1)" ] || die "'$store' holds objects already"

require_empty_database() {
    if [ $kind = sqlite ]; then
        [ ! -e "$database" ] || die "'$database' is there already"
    else
        [ -z "$(query '' 'SHOW TABLES')" ] || die "the database '$name' holds tables already"
    fi
}

copy_database() {
    if [ $kind = sqlite ]; then
        mkdir -p "$(dirname "$database")"
        cp "$source/database.sqlite" "$database.part"
        sync "$database.part"
        mv "$database.part" "$database"
    else
        mysql_client mariadb --default-character-set=utf8mb4 "$name" <"$source/database.sql"
    fi
}

# What attempts wrote that the database does not know of yet: made between its copy and the last
# look at the files. The same attempt, made again, would find its place taken.
drop_later_outputs() {
    local list
    list=$(mktemp)
    awk -F '[/\t]' '
        NR == FNR { attempt[tolower($1)] = $2; next }
        {
            id = $2
            number = $3
            if (length(id) == 2) { # a folder that many share
                split($3, part, ".")
                id = part[1]
                number = part[2]
            }
            gsub(/-/, "", id)
            if (!(id in attempt) || number + 0 > attempt[id]) print
        }' <(query "$database" 'SELECT hex(id), attempt FROM task' && echo '-	0') \
        <(list_objects "$store" | grep -E '^(processed_data|outputs)/([0-9a-f]{2}/[0-9a-f-]{36}\.[0-9]+\.|[0-9a-f-]{36}/[0-9]+/)') >"$list"
    (cd "$store" && tr '\n' '\0' <"$list" | xargs -0 -r rm -f)
    find "$store" -mindepth 1 -type d -empty -delete
    wc -l <"$list"
    rm -f "$list"
}

require_empty_database
mkdir -p "$store"
count=$(copy_new "$source/files" "$store")
sync -f "$store"
copy_database
dropped=$(drop_later_outputs)
named=$(named_artifacts "$database")
wrong=$(check_artifacts "$store" <<<"$named")
[ -z "$wrong" ] || {
    printf '%s\n' "$wrong" | head -n 20 >&2
    die "$(wc -l <<<"$wrong") artifacts that rows name are not as they should be"
}
say "restored: $kind database, $((count - dropped)) files; $(grep -c . <<<"$named") artifacts are as their rows say"
