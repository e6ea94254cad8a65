#!/usr/bin/env bash
# backup.sh - a copy of the database and of every artifact that it names, taken while all runs.
#
#   backup.sh [--env FILE] [--since OLDER] FOLDER
#
# FOLDER becomes the backup; it must not be there yet, unless what is there is an unfinished one.
# Settings (DATABASE_URL, STORAGE_URL) come from the environment, else from FILE, .env or
# /etc/segue/segue.env. --since makes hard links to the files of an older backup on the same file
# system instead of copying them again: artifacts never change.
#
# The order is files, database, files. An artifact is there before a row names it, so the second
# look finds what came between the first one and the database's copy; and one that is removed
# while this runs (its task's RETENTION is over) is there from the first look. Then each file is
# compared with the size and SHA-256 that its row tells.
#
# Exit status: 0 the backup is complete, 1 it is not, 2 wrong usage.
set -euo pipefail
program=backup.sh
. "$(dirname "$(realpath "$0")")/backup_lib.sh"

env_file='' since='' target=''
while [ $# -gt 0 ]; do
    case $1 in
    --env) env_file=${2:?} && shift ;;
    --since) since=${2:?} && shift ;;
    -*) usage ;;
    *) [ -z "$target" ] && target=$1 || usage ;;
    esac
    shift
done
[ -n "$target" ] || usage
read_settings
umask 0077

[ ! -e "$target/complete" ] || die "'$target' is a complete backup already"
if [ -e "$target" ] && [ ! -e "$target/unfinished" ] && [ -n "$(ls -A "$target")" ]; then
    die "'$target' is there and holds something else"
fi
rm -rf "$target"
mkdir -p "$target/files"
touch "$target/unfinished"
if [ -n "$since" ]; then
    [ -e "$since/complete" ] || die "'$since' is no complete backup"
    cp -al "$since/files/." "$target/files/"
fi

# One transaction reads it all, so it is as it was at one moment, however much is written
# meanwhile. SQLite's .backup would start over at every write of another process.
copy_database() {
    if [ $kind = sqlite ]; then
        [ -f "$database" ] || die "there is no database '$database'"
        sqlite3 -batch -cmd '.timeout 60000' "$database" "VACUUM INTO '${target//\'/\'\'}/database.sqlite'"
        [ "$(sqlite3 "$target/database.sqlite" 'PRAGMA integrity_check')" = ok ] || die "the copy of the database is damaged"
    else
        mysql_client mariadb-dump --single-transaction --quick --skip-lock-tables --skip-add-locks --hex-blob \
            --default-character-set=utf8mb4 "$name" >"$target/database.sql"
        tail -n 1 "$target/database.sql" | grep -q 'Dump completed' || die "the dump of the database is cut off"
    fi
}

first=$(copy_new "$store" "$target/files")
copy_database
named_artifacts "$target/database.sqlite" >"$target/artifacts"
second=$(copy_new "$store" "$target/files")
say "$kind database, $first files before it and $second after"

wrong=$(check_artifacts "$target/files" <"$target/artifacts")
if [ -n "$wrong" ]; then
    printf '%s\n' "$wrong" | head -n 20 >&2
    die "$(wc -l <<<"$wrong") artifacts that rows name are not as they should be"
fi
sync -f "$target"
printf '%s\n' "$kind" >"$target/complete"
rm "$target/unfinished"
say "complete: $(wc -l <"$target/artifacts") artifacts are as their rows say"
