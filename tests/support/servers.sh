#!/usr/bin/env bash
# servers.sh - private MariaDB, RabbitMQ and Azurite (Azure Blob Storage) servers for the tests.
#
#   servers.sh start   mariadb|rabbitmq|azurite DIR   start one, wait until it serves, print its URL
#   servers.sh kill    mariadb|rabbitmq|azurite DIR   SIGKILL, as if the machine had died
#   servers.sh restart mariadb|rabbitmq|azurite DIR   start it again on the same port and data
#   servers.sh url     mariadb|rabbitmq|azurite DIR   print the URL of a started one again
#   servers.sh stop    DIR                    end everything that was started below DIR
#   servers.sh rabbitmqctl DIR ARGUMENT...    rabbitmqctl for the private broker
#
# start, restart and url print one line for a file of settings, or for `export`:
#   DATABASE_URL=mysql://segue:segue@127.0.0.1:PORT/segue_test
#   AMQP_URL=amqp://guest:guest@127.0.0.1:PORT/
#   AZURE_STORAGE_CONNECTION_STRING=...;BlobEndpoint=http://127.0.0.1:PORT/devstoreaccount1;
# The database user may also create and drop databases named segue_*.
#
# Everything lives in DIR/NAME: data, logs, ports, pids, cookie. Azurite itself is fetched with
# npm, once, to build/azurite, in the versions of azurite/package-lock.json. Nothing listens
# beyond loopback, no system service or file elsewhere is touched, and only
# processes started here are ended, by pid and start time. Works as root and as anyone else,
# with the packages of Debian 12 and 13. DIR itself is the caller's to make and delete.
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin
readonly START_TRIES=3 READY_SECONDS=${SEGUE_SERVERS_READY_SECONDS:-90} STOP_SECONDS=15

say() { printf 'servers.sh: %s\n' "$*" >&2; }
die() {
    say "$@"
    exit 1
}

need() {
    command -v "$1" >/dev/null || [ -x "$1" ] || die "$1 is missing: install the package $2"
}

# --- processes: a pid file holds "pid starttime", so a reused pid is never signalled -------

process_started() { # PID -> its start time in clock ticks, nothing when it is gone
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    stat=${stat##*) } # the name may hold spaces; what follows it starts with field 3
    case $stat in Z*) return 1 ;; esac
    set -- $stat
    echo "${20}"
}

is_running() { # PIDFILE
    local pid started
    read -r pid started 2>/dev/null <"$1" || return 1
    [ "$(process_started "$pid")" = "$started" ]
}

spawn() { # PIDFILE LOGFILE COMMAND...
    local pidfile=$1 log=$2 pid
    shift 2
    setsid "$@" </dev/null >>"$log" 2>&1 &
    pid=$!
    disown
    echo "$pid $(process_started "$pid" || echo 0)" >"$pidfile"
}

signal_and_wait() { # PIDFILE SIGNAL: true once the process is gone
    local pid rest until=$((SECONDS + STOP_SECONDS))
    is_running "$1" || return 0
    read -r pid rest <"$1"
    kill "-$2" "$pid" 2>/dev/null || true
    while is_running "$1"; do
        [ $SECONDS -lt $until ] || return 1
        sleep 0.05
    done
}

end_process() { # PIDFILE FIRST-SIGNAL
    [ -f "$1" ] || return 0
    signal_and_wait "$1" "$2" || signal_and_wait "$1" KILL ||
        die "process $(cut -d' ' -f1 "$1") does not end"
    rm -f "$1"
}

wait_ready() { # NAME PIDFILE LOGFILE PROBE...: waits for PROBE to succeed
    local name=$1 pidfile=$2 log=$3 until=$((SECONDS + READY_SECONDS)) why=
    shift 3
    until "$@" 2>/dev/null; do
        is_running "$pidfile" || why="$name ended while starting"
        [ $SECONDS -lt $until ] || why="$name did not serve within $READY_SECONDS s"
        if [ -n "$why" ]; then
            say "$why; the end of $log:"
            tail -n 40 "$log" >&2 || true
            return 1
        fi
        sleep 0.1
    done
}

# --- ports: below the range that the kernel hands out by itself ----------------------------

is_port_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
    local port
    for _ in $(seq 200); do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        is_port_free "$port" && echo "$port" && return
    done
    die "no free port"
}

# --- MariaDB --------------------------------------------------------------------------------

mariadb_url() { echo "DATABASE_URL=mysql://segue:segue@127.0.0.1:$(cat "$1/mariadb/port")/segue_test"; }

mariadb_create() {
    local home=$1/mariadb
    need mariadbd mariadb-server
    mkdir -p "$home/tmp"
    cat >"$home/my.cnf" <<CNF
[mariadbd]
user = $(id -un)
datadir = $home/data
tmpdir = $home/tmp
socket = mariadb.sock
pid-file = $home/server.pid
bind-address = 127.0.0.1
skip-name-resolve
skip-log-bin
character-set-server = utf8mb4
collation-server = utf8mb4_bin
sql-mode = STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION
innodb-flush-log-at-trx-commit = 1
innodb-buffer-pool-size = 64M
innodb-log-file-size = 16M
innodb-fast-shutdown = 2
performance-schema = OFF
max-connections = 200
init-file = $home/init.sql
CNF
    cat >"$home/init.sql" <<'SQL'
CREATE DATABASE IF NOT EXISTS segue_test CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER IF NOT EXISTS 'segue'@'127.0.0.1' IDENTIFIED BY 'segue';
GRANT ALL PRIVILEGES ON `segue\_%`.* TO 'segue'@'127.0.0.1';
SQL
    if [ ! -d "$home/data/mysql" ] &&
        ! mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$home/data" \
            --auth-root-authentication-method=normal --skip-test-db --skip-name-resolve \
            --innodb-log-file-size=16M >"$home/install.log" 2>&1; then
        tail -n 40 "$home/install.log" >&2
        die "mariadb-install-db failed"
    fi
}

mariadb_serves() {
    mariadb --no-defaults --protocol=tcp -h 127.0.0.1 -P "$1" -u segue -psegue --skip-ssl \
        --connect-timeout=2 -e 'SELECT 1' segue_test >/dev/null
}

mariadb_pick_ports() { free_port >"$1/mariadb/port"; }

mariadb_launch() {
    local home=$1/mariadb port
    port=$(cat "$home/port")
    spawn "$home/pid" "$home/log" mariadbd --defaults-file="$home/my.cnf" --port="$port"
    wait_ready MariaDB "$home/pid" "$home/log" mariadb_serves "$port"
}

mariadb_end() { end_process "$1/mariadb/pid" "$2"; }

# --- RabbitMQ: the broker and an epmd (Erlang's port mapper) of its own ---------------------

rabbitmq_url() { echo "AMQP_URL=amqp://guest:guest@127.0.0.1:$(cut -d' ' -f1 "$1/rabbitmq/port")/"; }

readonly RABBITMQ_BIN=/usr/lib/rabbitmq/bin # the ones in PATH insist on root or rabbitmq

rabbitmq_create() {
    local home=$1/rabbitmq
    need "$RABBITMQ_BIN/rabbitmq-server" rabbitmq-server
    need epmd erlang-base
    mkdir -p "$home/mnesia"
    echo '[].' >"$home/enabled_plugins"
    : >"$home/rabbitmq-env.conf"
    if [ ! -f "$home/.erlang.cookie" ]; then
        (umask 077 && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$home/.erlang.cookie")
        chmod 400 "$home/.erlang.cookie"
    fi
}

rabbitmq_pick_ports() { echo "$(free_port) $(free_port) $(free_port)" >"$1/rabbitmq/port"; }

# The private node's settings, for the server and for rabbitmqctl alike.
rabbitmq_env=()
rabbitmq_load_env() { # HOME
    local home=$1 port epmd dist
    local loopback='-kernel inet_dist_use_interface {127,0,0,1}'
    read -r port epmd dist <"$home/port"
    rabbitmq_env=(
        -u NOTIFY_SOCKET -u ERL_LIBS HOME="$home"
        ERL_EPMD_PORT="$epmd" ERL_EPMD_ADDRESS=127.0.0.1
        RABBITMQ_NODENAME="segue$port@localhost" RABBITMQ_DIST_PORT="$dist"
        RABBITMQ_CONF_ENV_FILE="$home/rabbitmq-env.conf"
        RABBITMQ_CONFIG_FILE="$home/rabbitmq.conf" RABBITMQ_CONFIG_FILES="$home/conf.d/*.conf"
        RABBITMQ_ADVANCED_CONFIG_FILE="$home/advanced.config"
        RABBITMQ_ENABLED_PLUGINS_FILE="$home/enabled_plugins"
        RABBITMQ_MNESIA_BASE="$home/mnesia" RABBITMQ_LOG_BASE="$home"
        RABBITMQ_LOGS="$home/server.log" RABBITMQ_GENERATED_CONFIG_DIR="$home/generated"
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="$loopback" RABBITMQ_CTL_ERL_ARGS="$loopback"
        RUNNING_UNDER_SYSTEMD=true # makes the server's script exec: the pid is then Erlang's
    )
}

# Open for AMQP once it answers the protocol header with a method frame (first byte 1).
rabbitmq_serves() ( # PORT
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
    printf 'AMQP\0\0\011\001' >&3 || exit 1
    IFS= read -r -t 2 -N 1 first <&3 && [ "$first" = $'\001' ]
)

rabbitmq_launch() {
    local home=$1/rabbitmq port epmd rest
    read -r port epmd rest <"$home/port"
    cat >"$home/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$port
num_acceptors.tcp = 2
disk_free_limit.absolute = 50MB
log.file.level = info
CONF
    rabbitmq_load_env "$home"
    is_running "$home/epmd.pid" ||
        spawn "$home/epmd.pid" "$home/epmd.log" epmd -port "$epmd" -address 127.0.0.1
    # Mnesia leaves its core files where it was started
    spawn "$home/pid" "$home/server.log" \
        env -C "$home" "${rabbitmq_env[@]}" "$RABBITMQ_BIN/rabbitmq-server"
    wait_ready RabbitMQ "$home/pid" "$home/server.log" rabbitmq_serves "$port"
}

rabbitmq_end() {
    end_process "$1/rabbitmq/pid" "$2"
    end_process "$1/rabbitmq/epmd.pid" TERM
}

# --- Azurite --------------------------------------------------------------------------------

# Its account and the key to it are the same everywhere, printed in its manual.
readonly AZURITE_ACCOUNT=devstoreaccount1
readonly AZURITE_KEY=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==
readonly AZURITE_SOURCE=$(cd "$(dirname "$0")/azurite" && pwd)
readonly AZURITE_HOME=$AZURITE_SOURCE/../../../build/azurite

azurite_url() {
    local port
    port=$(cat "$1/azurite/port")
    echo "AZURE_STORAGE_CONNECTION_STRING=DefaultEndpointsProtocol=http;AccountName=$AZURITE_ACCOUNT;AccountKey=$AZURITE_KEY;BlobEndpoint=http://127.0.0.1:$port/$AZURITE_ACCOUNT;"
}

azurite_is_fetched() { cmp -s "$AZURITE_SOURCE/package-lock.json" "$AZURITE_HOME/fetched"; }

azurite_fetch() {
    local name
    need npm npm
    for name in package.json package-lock.json .npmrc; do
        cp "$AZURITE_SOURCE/$name" "$AZURITE_HOME/"
    done
    rm -f "$AZURITE_HOME/fetched"
    say "fetching Azurite with npm"
    if ! (cd "$AZURITE_HOME" && npm ci --ignore-scripts --omit=optional) >"$AZURITE_HOME/log" 2>&1; then
        tail -n 40 "$AZURITE_HOME/log" >&2
        die "npm could not fetch Azurite"
    fi
    cp "$AZURITE_SOURCE/package-lock.json" "$AZURITE_HOME/fetched"
}

azurite_create() {
    need node nodejs
    mkdir -p "$1/azurite/data" "$AZURITE_HOME"
    (
        flock 9 # several may start at once
        azurite_is_fetched || azurite_fetch
    ) 9>"$AZURITE_HOME/lock"
}

azurite_pick_ports() { free_port >"$1/azurite/port"; }

azurite_serves() { # PORT: it answers, if only to say that the request is not signed
    curl -s -o /dev/null --max-time 2 "http://127.0.0.1:$1/$AZURITE_ACCOUNT?comp=list"
}

azurite_launch() {
    local home=$1/azurite port
    port=$(cat "$home/port")
    spawn "$home/pid" "$home/log" node "$AZURITE_HOME/node_modules/azurite/dist/src/blob/main.js" \
        --blobHost 127.0.0.1 --blobPort "$port" --location "$home/data" --silent \
        --disableTelemetry --skipApiVersionCheck
    wait_ready Azurite "$home/pid" "$home/log" azurite_serves "$port"
}

azurite_end() { end_process "$1/azurite/pid" "$2"; }

# --- commands -------------------------------------------------------------------------------

start() { # NAME DIR
    local name=$1 dir=$2
    if [ -f "$dir/$name/pid" ] && is_running "$dir/$name/pid"; then
        "${name}_url" "$dir"
        return
    fi
    mkdir -p "$dir"
    "${name}_create" "$dir"
    for _ in $(seq $START_TRIES); do # someone else may take a port between pick and bind
        "${name}_pick_ports" "$dir"
        if "${name}_launch" "$dir"; then
            "${name}_url" "$dir"
            return
        fi
        is_running "$dir/$name/pid" && break # slow or stuck: other ports would not help
        "${name}_end" "$dir" KILL
    done
    "${name}_end" "$dir" KILL
    die "$name could not be started in $dir"
}

restart() { # NAME DIR
    [ -f "$2/$1/port" ] || die "$1 was never started in $2"
    "$1_end" "$2" TERM
    "$1_launch" "$2" || die "$1 could not be started again in $2"
    "$1_url" "$2"
}

stop() { # DIR
    local name
    for name in rabbitmq mariadb azurite; do
        [ ! -d "$1/$name" ] || "${name}_end" "$1" TERM
    done
}

usage() { die "usage: servers.sh start|kill|restart|url mariadb|rabbitmq|azurite DIR | stop DIR | rabbitmqctl DIR ..."; }

command=${1:-}
case $command in
stop)
    [ $# -eq 2 ] && [ -d "$2" ] || usage
    stop "$(cd "$2" && pwd)"
    exit
    ;;
rabbitmqctl)
    [ $# -ge 3 ] && [ -f "$2/rabbitmq/port" ] || usage
    rabbitmq_load_env "$(cd "$2/rabbitmq" && pwd)"
    shift 2
    exec env "${rabbitmq_env[@]}" "$RABBITMQ_BIN/rabbitmqctl" "$@"
    ;;
esac

[ $# -eq 3 ] || usage
case $2 in mariadb | rabbitmq | azurite) ;; *) usage ;; esac
[ "$command" != start ] || mkdir -p "$3"
[ -d "$3" ] || die "there is no folder $3"
dir=$(cd "$3" && pwd)
case $dir in *[[:space:]]*) die "mariadb-install-db cannot work in a path with blanks: $dir" ;; esac
case $command in
start) start "$2" "$dir" ;;
kill) end_process "$dir/$2/pid" KILL ;;
restart) restart "$2" "$dir" ;;
url) "$2_url" "$dir" ;;
*) usage ;;
esac
