#!/usr/bin/env bash
# test.sh - everything that is checked about Segue, from a bare Debian machine on.
#
#   ./test.sh                  packages, build (gcc, Debug), private MariaDB, RabbitMQ and
#                              Azurite (npm) in a temporary folder, house rules, all tests
#   ./test.sh --preset NAME    another build of CMakePresets.json: asan, tsan, clang, release
#   ./test.sh --quick          unit tests only, without servers
#   ./test.sh -R REGEX         only the tests whose name matches
#
# Runs as root or as anyone else. Ends with ctest's closing line; the exit code is 0 when
# every test and every check passed. A test that failed beside others and passes alone is
# reported as UNSTEADY.
set -euo pipefail
cd "$(dirname "$0")"

preset=dev quick=false ctest_args=()
usage() { sed -n '2,/^$/{/^#/!d;s/^# \{0,1\}//;p}' "$0"; }
while [ $# -gt 0 ]; do
    case $1 in
    --preset)
        [ $# -ge 2 ] || { usage >&2 && exit 2; }
        preset=$2
        shift
        ;;
    --quick) quick=true ;;
    -R)
        [ $# -ge 2 ] || { usage >&2 && exit 2; }
        ctest_args+=(-R "$2")
        shift
        ;;
    -h | --help)
        usage
        exit
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    shift
done

build=build/$preset
[ "$preset" != release ] || build=build

say() { printf '== %s\n' "$*"; }

temp=$(mktemp -d "${TMPDIR:-/tmp}/segue-test.XXXXXX")
end() {
    $quick || tests/support/servers.sh stop "$temp" || true
    rm -rf "$temp"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

quietly() { # NAME COMMAND...: shows the output only when the command fails
    local name=$1
    shift
    "$@" >"$temp/log" 2>&1 && return
    tail -n 60 "$temp/log" >&2
    echo "test.sh: $name failed" >&2
    exit 1
}

scripts/packages.sh build test

say "build ($preset)"
quietly "configuring" cmake --preset "$preset" -DSEGUE_TESTS=ON
quietly "the build" cmake --build "$build" -j "$(nproc)"

# What the caller's shell says about a real installation is not for the tests.
while read -r name; do
    unset "$name" "${name}_FILE"
done < <(sed -n 's/^C([a-z_]*, [A-Z]*, [^,]*, "\([A-Z_]*\)".*/\1/p' common/base/config.def)

# Inherited by the daemons that tests start.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=1:strict_string_checks=1:detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}

if $quick; then
    ctest_args+=(-L unit)
else
    say "start MariaDB, RabbitMQ and Azurite"
    for server in mariadb rabbitmq azurite; do
        settings=$(tests/support/servers.sh start $server "$temp")
        export "TEST_${settings?}" # TEST_DATABASE_URL=..., TEST_AMQP_URL=..., ...
    done
    export TEST_SERVERS_DIR=$temp   # for the tests that kill and restart the servers
    export SEGUE_TEST_REQUIRE_ALL=1 # with all servers there, a skipped test is a failure
fi

say "check the house rules"
checks=0
scripts/check_layers.sh || checks=1
scripts/check_format.sh || checks=1
scripts/check_docs.sh "$build/bin" || checks=1

say "test"
tests=0
ctest --test-dir "$build" -j "$(nproc)" --output-on-failure "${ctest_args[@]}" 2>&1 | tee "$temp/ctest" || tests=$?

# Tests run side by side on a machine that may be busy. What failed is tried once more, alone:
# what fails again is broken; what passes then is named, since it needs mending all the same.
if [ $tests -ne 0 ] && grep -q 'The following tests FAILED' "$temp/ctest"; then
    say "once more, alone"
    sed -n '/The following tests FAILED/,$p' "$temp/ctest" | grep -E '^[[:space:]]+[0-9]+ - ' >"$temp/unsteady" || true
    mv "$temp/ctest" "$temp/first"
    tests=0
    ctest --test-dir "$build" --rerun-failed --output-on-failure 2>&1 | tee "$temp/ctest" || tests=$?
    echo "test.sh: UNSTEADY: $(grep -E 'tests passed' "$temp/first") side by side; these were tried again, alone:"
    cat "$temp/unsteady"
fi

[ $checks -eq 0 ] || echo "test.sh: a house rule is broken, see above"
[ $tests -ne 0 ] || tests=$checks
grep -E 'tests passed|No tests were found' "$temp/ctest" || true
exit $tests
