# services.sh - the services of the tree `$tree`: under a systemd of its own, or, where that
# cannot boot, started the way their units say. To be sourced by run.

services=(task-manager data-processor)
nspawn=

services_mode() {
    if $plain; then echo "started by hand as the units say, without their sandbox"; else echo "under systemd $systemd_version"; fi
}

# A command in the tree while its services may run.
inside() {
    if $plain; then
        tree_run "$tree" "$@"
    else
        nsenter -t "$leader" -m -u -i -n -p -r env -i -C / PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
            LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

services_log() {
    if $plain; then cat "$SEGUE_TREES"/*.service.log; else inside journalctl --no-pager -q -u task-manager -u data-processor; fi
}

# --- systemd ---

is_booted() {
    leader=$(cat "/proc/$nspawn/task/$nspawn/children" 2>/dev/null) || return 1
    leader=${leader%% *}
    [ -n "$leader" ] || return 1
    inside systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'
}

boot() { # FURTHER WORDS FOR INIT
    systemd-nspawn --quiet --directory="$tree" --machine=segue-test --register=no --keep-unit --private-network \
        --bind="$cache/debs-$suite:/var/cache/apt/archives" --bind-ro=/dev/null:/etc/systemd/system/console-getty.service \
        --boot "$@" </dev/null >"$SEGUE_TREES/boot.log" 2>&1 &
    nspawn=$!
    local until=$((SECONDS + 60))
    until is_booted; do
        if ! kill -0 $nspawn 2>/dev/null || [ $SECONDS -ge $until ]; then
            kill -KILL $nspawn 2>/dev/null
            wait $nspawn 2>/dev/null
            return 1
        fi
        sleep 0.2
    done
}

services_begin() {
    if ! $plain; then
        rm "$tree/usr/sbin/policy-rc.d" # here the package may start its services
        tree_unmount "$tree"
        umount "$tree/var/cache/apt/archives"
        # A host with cgroups of the first kind needs the second way with a new systemd.
        if boot || boot SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1; then
            systemd_version=$(inside systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p')
            passed "systemd $systemd_version has booted in the tree"
            return
        fi
        say "systemd does not boot here: $(tail -n 3 "$SEGUE_TREES/boot.log" | tr '\n' ' ')"
        plain=true
        tree_mount "$tree"
        mount --bind "$cache/debs-$suite" "$tree/var/cache/apt/archives"
    fi
}

# --- by hand ---

declare -A pids=()

# The values of a key in a unit, one a line; an empty value empties the list, as in systemd.
unit_values() { # UNIT KEY
    sed -n "s/^$2=//p" "$tree/usr/lib/systemd/system/$1.service"
}

start_by_hand() { # UNIT
    local unit=$1 line settings=() without=()
    local file=$tree/etc/segue/segue.env
    while read -r line; do settings+=("${line//%t//run}"); done < <(unit_values "$unit" Environment)
    while read -r line; do settings+=("$line"); done < <(grep -E '^[A-Z_]+=' "$file")
    for line in $(unit_values "$unit" UnsetEnvironment); do without+=(-u "$line"); done
    for line in $(unit_values "$unit" RuntimeDirectory); do
        inside install -d -o "$(unit_values "$unit" User)" -g "$(unit_values "$unit" Group)" "/run/$line"
    done
    # shellcheck disable=SC2046
    (
        umask "$(unit_values "$unit" UMask)"
        exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "${settings[@]}" chroot "$tree" \
            setpriv --reuid "$(unit_values "$unit" User)" --regid "$(unit_values "$unit" Group)" --init-groups \
            --no-new-privs --bounding-set=-all \
            env -C "$(unit_values "$unit" WorkingDirectory)" "${without[@]}" $(unit_values "$unit" ExecStart)
    ) >>"$SEGUE_TREES/$unit.service.log" 2>&1 </dev/null &
    pids[$unit]=$!
}

stop_by_hand() { # UNIT
    local rc=0
    [ -n "${pids[$1]:-}" ] || return 0
    kill -TERM "${pids[$1]}"
    wait "${pids[$1]}" || rc=$?
    [ $rc -eq 0 ] || die "$1 ended with $rc"
    unset "pids[$1]"
}

# --- both ---

is_active() { inside systemctl is-active --quiet "$1"; }

services_expect_started() {
    local unit
    $plain || for unit in "${services[@]}"; do
        wait_until 30 "$unit is active after the installation" is_active "$unit"
        inside systemctl is-enabled --quiet "$unit" || die "$unit is not enabled"
    done
}

services_restart() {
    local unit
    if ! $plain; then
        inside systemctl restart "${services[@]}"
        return
    fi
    for unit in data-processor task-manager; do stop_by_hand $unit; done
    for unit in "${services[@]}"; do start_by_hand "$unit"; done
}

services_after_upgrade() {
    local unit
    if $plain; then
        services_restart
        return
    fi
    for unit in "${services[@]}"; do
        wait_until 30 "$unit is active after the upgrade" is_active "$unit"
    done
}

services_expect_gone() {
    local unit
    if $plain; then
        for unit in data-processor task-manager; do stop_by_hand $unit; done
        return
    fi
    ! inside sh -c 'cat /proc/[0-9]*/comm 2>/dev/null' | grep -E '^(task_manager|data_processor)' ||
        die "a program still runs"
}

services_end() {
    $plain && return
    # asked to end by itself, as a machine that is turned off
    kill -RTMIN+4 "$leader"
    local until=$((SECONDS + 40))
    while kill -0 $nspawn 2>/dev/null && [ $SECONDS -lt $until ]; do sleep 0.2; done
    kill -KILL $nspawn 2>/dev/null || true
    wait $nspawn 2>/dev/null || true
}

# --- what only systemd can show ---

main_pid() { inside systemctl show -p MainPID --value "$1"; }

restarts() { inside systemctl show -p NRestarts --value "$1"; }

has_restarted() { [ "$(restarts "$1")" -gt "$2" ] && is_active "$1"; }

override() { # UNIT LINE...
    local unit=$1
    shift
    inside mkdir -p "/etc/systemd/system/$unit.service.d"
    printf '%s\n' '[Service]' "$@" | inside tee "/etc/systemd/system/$unit.service.d/test.conf" >/dev/null
    inside systemctl daemon-reload
    inside systemctl restart "$unit"
}

field() { # ID NAME: of a task
    client show "$1" --json | tr ',{' '\n\n' | sed -n "s/^\"$2\":\"\{0,1\}\([^\"}]*\).*/\1/p" | head -n 1
}

is_status() { [ "$(field "$1" status)" = "$2" ]; }

services_try() {
    $plain && return
    say "under systemd"
    local before id unit
    inside grep -q '^NoNewPrivs:.1' "/proc/$(main_pid data-processor)/status" || die "the worker may get privileges"
    inside grep -q '^Seccomp:.2' "/proc/$(main_pid task-manager)/status" || die "no system call filter is at work"
    passed "the sandbox is on"

    before=$(restarts task-manager)
    inside systemctl kill --kill-whom=main -s KILL task-manager
    wait_until 30 "a killed manager is started anew" has_restarted task-manager "$before"
    before=$(restarts data-processor)
    inside systemctl kill --kill-whom=main -s KILL data-processor
    wait_until 30 "a killed worker is started anew" has_restarted data-processor "$before"
    upload
    passed "killed, both come back, and an upload is done"

    for unit in "${services[@]}"; do
        override "$unit" WatchdogSec=2
        before=$(restarts "$unit")
        inside systemctl kill --kill-whom=main -s STOP "$unit"
        wait_until 60 "the watchdog ends $unit, which hangs" has_restarted "$unit" "$before"
    done
    wait_until 60 "the task manager answers" client health
    upload
    passed "the watchdog finds both when they hang, and an upload is done"

    wait_until 30 "the task manager answers" client health
    id=$(client submit noop --params '{"sleep_ms":600000}')
    wait_until 30 "a long task runs" is_status "$id" PROCESSING
    inside systemctl stop data-processor
    expect "the result of the stopped unit" "$(inside systemctl show -p Result --value data-processor)" success
    is_status "$id" RECEIVED || die "a stopped worker has not handed back its task: $(client show "$id")"
    passed "a stopped worker hands its task back at once and ends well"
    client cancel "$id" >/dev/null
    inside systemctl start data-processor

    inside sed -i 's/^DATABASE_URL=/#&/' /etc/segue/segue.env
    inside mkdir -p /etc/segue/secrets
    echo 'sqlite:/var/lib/segue/db/segue.db' | inside tee /etc/segue/secrets/database_url >/dev/null
    inside chmod 600 /etc/segue/secrets/database_url
    override task-manager LoadCredential=database_url:/etc/segue/secrets/database_url \
        Environment=DATABASE_URL_FILE=%d/database_url
    wait_until 30 "the task manager answers" client health
    is_status "$id" CANCELLED || die "with a credential it is another database"
    passed "the database's URL from a credential"
    inside rm -r /etc/segue/secrets /etc/systemd/system/{task-manager,data-processor}.service.d
    inside sed -i 's/^#DATABASE_URL=/DATABASE_URL=/' /etc/segue/segue.env
    inside systemctl daemon-reload
    inside systemctl restart task-manager data-processor
    wait_until 30 "the task manager answers" client health
}
