#!/usr/bin/env bash
# check_failpoints.sh [BIN] - programs for users know nothing of failpoints: none of the places
# of common/base/failpoint.def is named in them. BIN is the folder of a release build.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${1:-build/bin}

bad=0
for program in "$bin"/task_manager "$bin"/data_processor "$bin"/taskctl; do
    [ -x "$program" ] || { echo "failpoints: there is no $program" >&2 && exit 1; }
    found=$(grep -aoFf <(echo FAILPOINT && sed -n 's/^F(\([a-z_]*\),.*/\1/p' common/base/failpoint.def) \
        "$program" | sort -u | tr '\n' ' ' || true)
    [ -z "$found" ] || { echo "failpoints: $program holds $found" >&2 && bad=1; }
done
[ $bad -eq 0 ] && echo "failpoints: none in $bin"
exit $bad
