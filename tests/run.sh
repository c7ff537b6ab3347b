#!/bin/bash
# Runs test programs and scripts, as many at a time as there are cores, and counts what passed.
#   run.sh programs PROGRAM...   cmocka programs; a .sh or .py counts as one test
#   run.sh all                   what `make test` runs: unit, integration, sanitizer build
# The last line says "N passed, N failed"; exit status 1 if anything failed.
set -u
cd "$(dirname "$0")/.." || exit 2
lanes=${TEST_LANES:-$(nproc)}
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
trap 'trap - TERM; kill 0' INT TERM # lanes end with us

# Said again at the end, since who reads a long log reads its end: which, and the lines around what went wrong.
remember() { # remember NAME STATUS LOG
    echo "failed: $1 (exit status $2)"
    { grep -a -B15 -A5 '^\[  FAILED  \] [a-z_0-9]*$' "$3" || tail -20 "$3"; } | tail -60 | sed 's/^/    /'
}

run_one() { # run_one PROGRAM: a line "PASSED FAILED" more in results
    local log name status good bad began=$SECONDS
    name=$(basename "$1")
    log=$(mktemp)
    env -u OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS=1 CMOCKA_MESSAGE_OUTPUT=stdout "$1" >"$log" 2>&1 7<&-
    status=$?
    if [[ $1 == *.sh || $1 == *.py ]]; then
        good=$((status == 0)); bad=$((status != 0))
    else
        good=$(grep -c '^\[       OK \]' "$log")
        bad=$(grep -c '^\[  FAILED  \] [a-z_0-9]*$' "$log")
        # cmocka lists each failure twice: when it happens and at the end.
        bad=$(((bad + 1) / 2))
        [ "$status" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
        [ "$status" -ne 0 ] || [ "$good" -gt 0 ] || { bad=1; echo "$name ran no test"; }
    fi
    { flock 9
      echo "$good $bad" >&9
      if [ "$bad" -gt 0 ]; then
          cat "$log"
          echo "$name: FAILED (exit status $status)"
          remember "$name" "$status" "$log" >>"$results/failed"
      else
          echo "$name: $good passed ($((SECONDS - began)) s)"
      fi; } 9>>"$results/counts"
    rm -f "$log"
}

# What is left is taken by whichever lane is free; reading is one lane's at a time.
next() {
    local program
    { flock 8
      read -r program <&7; } 8>>"$results/turn" && echo "$program"
}

lane() {
    local program
    while program=$(next); do
        run_one "$program"
    done
}

# A broker a lane: starting one takes longer than most tests, and some stop theirs for a while.
lane_with_broker() {
    . tests/integration/servers.sh
    servers_kafka || echo "no broker: each test tries to start its own"
    lane
    servers_stop
}

run_lanes() { # run_lanes FUNCTION PROGRAM..
    local run=$1
    shift
    for _ in $(seq "$lanes"); do
        "$run" &
    done 7< <(printf '%s\n' "$@")
    wait
}

run_list() {
    run_lanes lane "$@"
}

run_integration() {
    run_lanes lane_with_broker "$@"
}

built() { # built VARIANT TARGET-VARIABLE-DIRECTORY: the programs of that build
    find "build/$1/tests/$2" -maxdepth 1 -type f -name 'test_*' -perm -u+x 2>/dev/null | sort
}

case ${1:-} in
programs)
    shift
    if [[ " $*" == *tests/integration/* ]]; then
        run_integration "$@"
    else
        run_list "$@"
    fi
    ;;
all)
    jobs=$(nproc)
    make --no-print-directory -s -j"$jobs" build-tests || exit 1
    make --no-print-directory -s -j"$jobs" V=asan build-unit || exit 1
    # shellcheck disable=SC2046
    run_list $(built release unit) $(find tests/unit -name 'test_*.sh' -o -name 'test_*.py' | sort)
    # shellcheck disable=SC2046
    run_integration $(built release integration) $(find tests/integration -name 'test_*.sh' | sort)
    echo "sanitizer build:"
    # shellcheck disable=SC2046
    run_list $(built asan unit)
    ;;
*)
    echo "usage: run.sh all | programs PROGRAM..." >&2
    exit 64
    ;;
esac
[ ! -e "$results/failed" ] || cat "$results/failed"
awk '{ passed += $1; failed += $2 } END { print passed + 0 " passed, " failed + 0 " failed"; exit failed > 0 || NR == 0 }' \
    "$results/counts"
