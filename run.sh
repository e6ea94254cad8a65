#!/usr/bin/env bash
# run.sh - from a bare Debian machine to a running Segue.
#
#   ./run.sh          installs packages, builds, starts the task manager with its workers on
#                     SQLite, sends it two sample uploads, checks the results and keeps serving
#   ./run.sh --once   the same on a free port with its data in a temporary folder, then stops;
#                     the exit code is 0 only when every result was right
#
# LISTEN=address:port chooses where to serve (default 127.0.0.1:5000); every other setting of
# docs/config.md works too. Data goes to local_storage/.
set -euo pipefail
cd "$(dirname "$0")"
readonly ROOT=$PWD BIN=$PWD/build/bin ROWS=1000000

once=false
case ${1:-} in
'') ;;
--once) once=true ;;
*)
    sed -n '2,/^$/{/^#/!d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
    ;;
esac

say() { printf '== %s\n' "$*"; }
die() {
    printf 'run.sh: %s\n' "$*" >&2
    exit 1
}
now_ms() {
    local now=${EPOCHREALTIME/[.,]/}
    echo $((now / 1000))
}

temp=$(mktemp -d "${TMPDIR:-/tmp}/segue-run.XXXXXX")
manager=
stop_manager() { # true when it ended by itself with 0
    local pid=$manager rc=0
    [ -n "$pid" ] || return 0
    manager=
    kill -TERM "$pid" 2>/dev/null || true
    # It may take STOP_GRACE for running work; a watchdog ends what is still there after that.
    (for _ in $(seq 450); do
        sleep 0.1
        kill -0 "$pid" 2>/dev/null || exit 0
    done
    kill -KILL "$pid") 2>/dev/null &
    wait "$pid" || rc=$?
    return $rc
}
end() {
    stop_manager || true
    rm -rf "$temp"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

build() {
    cmake --preset release -DSEGUE_TESTS=OFF &&
        cmake --build --preset release -j "$(nproc)" --target task_manager data_processor taskctl
}

is_open() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; } # HOST PORT

free_port() {
    local port
    for _ in $(seq 100); do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        is_open 127.0.0.1 $port || {
            echo $port
            return
        }
    done
    die "no free port"
}

# Sets host and port to where a client reaches the first address of LISTEN.
find_address() {
    local first=${1%%,*}
    host=${first%:*} port=${first##*:}
    host=${host#[} host=${host%]}
    case $host in '' | 0.0.0.0 | \*) host=127.0.0.1 ;; ::) host=::1 ;; esac
}

choose_address() {
    if $once; then
        # Nothing of a real installation: neither its .env (another working directory) nor
        # what the environment says about it.
        local name
        while read -r name; do
            unset "$name" "${name}_FILE"
        done < <(sed -n 's/^C([a-z_]*, [A-Z]*, [^,]*, "\([A-Z_]*\)".*/\1/p' common/base/config.def)
        LISTEN=127.0.0.1:$(free_port)
        export LISTEN DATABASE_URL="sqlite:$temp/segue.db" STORAGE_URL="file:$temp/storage"
        cd "$temp"
    fi
    local listen
    listen=$("$BIN/task_manager" --check-config | sed -n 's/^LISTEN=//p')
    find_address "${listen:-127.0.0.1:5000}"
    if [ "$port" = 0 ]; then
        port=$(free_port)
        export LISTEN=$host:$port
    fi
    ! is_open "$host" "$port" ||
        die "port $port of $host is taken; choose another address, e.g. LISTEN=127.0.0.1:5001 ./run.sh"
    case $host in *:*) url="http://[$host]:$port" ;; *) url=http://$host:$port ;; esac
    export TASK_MANAGER_URL=$url
}

start_manager() {
    log=$ROOT/local_storage/task_manager.log
    ! $once || log=$temp/task_manager.log
    mkdir -p "$(dirname "$log")"
    "$BIN/task_manager" >"$log" 2>&1 &
    manager=$!
    local until=$((SECONDS + 60))
    until curl -fsS --noproxy '*' --max-time 2 -o "$temp/ready" "$url/readyz" 2>/dev/null; do
        if ! kill -0 "$manager" 2>/dev/null || [ $SECONDS -ge $until ]; then
            tail -n 20 "$log" >&2
            die "the task manager did not become ready; its log is above"
        fi
        sleep 0.1
    done
}

# Uploads a file, waits, saves the result; prints the time it took.
process() { # INPUT OUTPUT
    local began
    began=$(now_ms)
    "$BIN/taskctl" upload "$1" -o "$2" >"$temp/taskctl.log" 2>&1 || {
        cat "$temp/taskctl.log" >&2
        tail -n 20 "$log" >&2
        die "the upload of $(basename "$1") failed"
    }
    took=$(($(now_ms) - began))
}

small_sample() {
    cat >"$temp/sample.csv" <<'CSV'
Song,Date,Number of Plays
Umbrella,2020-01-02,200
Umbrella,2020-01-01,100
In The End,2020-01-01,500
Umbrella,2020-01-01,50
In The End,2020-01-01,1000
Umbrella,2020-01-02,50
In The End,2020-01-02,500
CSV
    cat >"$temp/expected.csv" <<'CSV'
Song,Date,Number of Plays
In The End,2020-01-01,1500
In The End,2020-01-02,500
Umbrella,2020-01-01,150
Umbrella,2020-01-02,250
CSV
    process "$temp/sample.csv" "$temp/sample.out"
    diff -u "$temp/expected.csv" "$temp/sample.out" >&2 || die "the result of the sample is wrong"
    say "sample of 7 rows: right, $took ms"
    sed 's/^/   /' "$temp/sample.out"
}

# The sums once more by awk. A line up to its last comma names song and day, because both
# sides quote a song only where it has to be.
sums_by_awk() {
    awk 'NR > 1 {
        match($0, /,[^,]*$/)
        sum[substr($0, 1, RSTART - 1)] += substr($0, RSTART + 1)
    }
    END { for (k in sum) printf "%s,%.0f\n", k, sum[k] }' "$1"
}

# Strictly ascending by song, then by day: sorted, and nothing twice.
is_ascending() {
    awk 'NR > 1 {
        match($0, /,[^,]*,[^,]*$/)
        song = substr($0, 1, RSTART - 1)
        day = substr($0, RSTART + 1, 10)
        if (song ~ /^"/) {
            song = substr(song, 2, length(song) - 2)
            gsub(/""/, "\"", song)
        }
        if (NR > 2 && !(last_song "" < song "" || (last_song "" == song "" && last_day < day)))
            exit wrong = 1
        last_song = song
        last_day = day
    }
    END { exit wrong }' "$1"
}

large_sample() {
    "$BIN/taskctl" fake-songs --rows $ROWS --songs 1000 --days 365 --seed 1 >"$temp/large.csv"
    process "$temp/large.csv" "$temp/large.out"
    local large_ms=$took
    LC_ALL=C sums_by_awk "$temp/large.csv" | LC_ALL=C sort >"$temp/large.expected"
    tail -n +2 "$temp/large.out" | LC_ALL=C sort | cmp - "$temp/large.expected" >&2 ||
        die "the sums of the large sample are wrong"
    [ "$(head -n 1 "$temp/large.out")" = "Song,Date,Number of Plays" ] ||
        die "the result of the large sample has no header"
    LC_ALL=C is_ascending "$temp/large.out" || die "the result of the large sample is not sorted"
    say "generated file of $ROWS rows ($(($(wc -c <"$temp/large.csv") >> 20)) MiB): right, $large_ms ms from upload to download"
    head -n 6 "$temp/large.out" | sed 's/^/   /'
    echo "   ... $(wc -l <"$temp/large.out") lines"
}

scripts/packages.sh build run
say "build"
build >"$temp/build.log" 2>&1 || {
    tail -n 60 "$temp/build.log" >&2
    die "the build failed"
}
choose_address
start_manager
say "the task manager serves at $url"
small_sample
large_sample

if $once; then
    stop_manager || {
        tail -n 20 "$log" >&2
        die "the task manager did not stop cleanly"
    }
    say "stopped; all results were right"
    exit 0
fi
say "serving at $url (log: $log); Ctrl-C stops"
echo "   $BIN/taskctl --help"
rc=0
wait "$manager" || rc=$?
manager=
exit $rc
