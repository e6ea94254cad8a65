# backup_lib.sh - what backup.sh and restore.sh share; to be sourced.

say() { printf '%s: %s\n' "$program" "$*" >&2; }
die() {
    say "$@"
    exit 1
}
usage() {
    sed -n '2,/^[^#]/{/^#/!d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
}

need() { command -v "$1" >/dev/null || die "$1 is missing: install the package $2"; }

# --- settings: the environment, else the file that the programs themselves would read ---

setting() { # NAME DEFAULT
    local name=$1 file_name=${1}_FILE value
    if [ -n "${!name:-}" ]; then
        echo "${!name}"
    elif [ -n "${!file_name:-}" ]; then
        head -n 1 "${!file_name}"
    else
        value=$(sed -nE "s/^(export +)?$name=//p" "$env_file" 2>/dev/null | tail -n 1 | tr -d "\"'")
        echo "${value:-$2}"
    fi
}

read_settings() {
    env_file=${env_file:-$([ -r .env ] && echo .env || echo /etc/segue/segue.env)}
    local storage
    database=$(setting DATABASE_URL sqlite:local_storage/segue.db)
    storage=$(setting STORAGE_URL file:local_storage)
    case $storage in
    file:*) store=${storage#file:} ;;
    *) die "STORAGE_URL is no folder: blobs are kept safe where they are, by the account's own versions and copies" ;;
    esac
    case $database in
    sqlite:*)
        kind=sqlite database=${database#sqlite:}
        need sqlite3 sqlite3
        ;;
    mysql://*)
        kind=mysql
        split_url "${database#mysql://}"
        need mariadb mariadb-client
        need mariadb-dump mariadb-client
        ;;
    *) die "DATABASE_URL is neither sqlite: nor mysql://" ;;
    esac
}

unescape() { # %XX
    local text=${1//\\/\\\\}
    printf '%b' "${text//%/\\x}"
}

split_url() { # user:password@host:port/database
    local who=${1%@*} where=${1##*@}
    user=$(unescape "${who%%:*}") name=$(unescape "${where#*/}")
    # not on a command line, where everybody on the machine could read it
    MYSQL_PWD=$(unescape "${who#*:}")
    export MYSQL_PWD
    where=${where%%/*} port=3306
    case $where in *:[0-9]*) port=${where##*:} where=${where%:*} ;; esac
    host=${where#[} host=${host%]}
}

# --- the database ---

mysql_client() { # PROGRAM ARGUMENTS...
    local client=$1
    shift
    "$client" --no-defaults --protocol=tcp --host="$host" --port="$port" --user="$user" "$@"
}

query() { # SQL: rows with tabs between the columns
    if [ $kind = sqlite ]; then
        sqlite3 -batch -separator $'\t' -cmd '.timeout 60000' "$1" "$2"
    else
        mysql_client mariadb --batch --skip-column-names --raw "$name" -e "$2"
    fi
}

# Every artifact that a row names: digest ("" when nobody knows it), size, key.
named_artifacts() { # DATABASE (a file, for SQLite)
    local valid='json_valid(result)' of='json_extract(result'
    [ $kind = sqlite ] || of='json_unquote(json_extract(result'
    local end=$([ $kind = sqlite ] && echo ')' || echo '))')
    query "$1" "
        SELECT input_sha256, input_size, input_key FROM task WHERE input_key <> ''
        UNION SELECT output_sha256, output_size, output_key FROM task WHERE output_key <> ''
        UNION SELECT $of, '\$.rejects.sha256'$end, $of, '\$.rejects.size'$end, $of, '\$.rejects.key'$end
              FROM task WHERE CASE WHEN $valid THEN $of, '\$.rejects.key'$end END IS NOT NULL" | sort -u
}

# --- files ---

# Objects below a folder, as keys, which all have a folder in them, and the key of sealed tokens.
# What is unfinished is no object, nor is the database, which may lie there as well; but below
# outputs/ are trees of others, with any names.
list_objects() { # FOLDER
    local other=()
    [ -d "$1" ] || return 0
    [ $kind != sqlite ] || other=(! -name "$(basename "$database")*")
    (cd "$1" && find . \( -type f -o -type l \) \( -path './outputs/*' -o -name .secret-key -o \
        -path './*/*' ! -name '*.part' "${other[@]}" \) -printf '%P\n') | LC_ALL=C sort
}

# Copies what the second folder does not have yet. Objects are never written to once they have
# their name, so one that is there is whole; one that goes meanwhile is needed by nobody.
copy_new() { # FROM TO
    local list
    list=$(mktemp)
    LC_ALL=C comm -23 <(list_objects "$1") <(list_objects "$2") >"$list"
    tar -C "$1" --ignore-failed-read --warning=no-failed-read --verbatim-files-from --files-from="$list" -cf - 2>/dev/null |
        tar -C "$2" -xpf - || true # what is missing afterwards is found by check_artifacts
    wc -l <"$list"
    rm -f "$list"
}

# Compares files with what rows say of them; prints the keys that are missing or wrong.
check_artifacts() { # FOLDER, rows on standard input
    local folder=$1 digest size key
    while IFS=$'\t' read -r digest size key; do
        [ -n "$key" ] || continue
        if [ ! -f "$folder/$key" ]; then
            echo "missing: $key"
        elif [ "$(stat -c %s "$folder/$key")" != "$size" ] && [ -n "$digest" ]; then
            echo "size: $key"
        elif [ -n "$digest" ]; then
            printf '%s  %s\n' "$digest" "$folder/$key" >&3
        fi
    done 3> >(sha256sum --check --quiet 2>/dev/null | sed -n 's/^\(.*\): FAILED.*/digest: \1/p')
    wait $! || true # what it found, it has said
}
