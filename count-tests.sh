#!/bin/bash
# Says how many tests ran, by kind: count-tests.sh UNIT_LOG END_TO_END_LOG [SKIPPED_LOG]
# UNIT_LOG has the output of `cargo test`, END_TO_END_LOG that of `testbed test`, SKIPPED_LOG a line for each test that
# was skipped.
set -euo pipefail
skipped=0
[ ! -s "${3:-}" ] || skipped=$(sort -u "$3" | wc -l)
cat "$1" "$2" | awk -v skipped="$skipped" '
  /^ +Running unittests / { kind = "unit" }
  /^ +Running tests\//    { kind = "program" }
  /^ +Doc-tests /         { kind = "doc" }
  /^test result:/         { passed[kind] += $4; failed += $6; ignored += $8 }
  /^scenario .* \.\.\. ok/ { passed["qemu"]++ }
  /^scenario .* \.\.\. FAILED/ { failed++ }
  END {
    printf "\ntests that ran\n"
    printf "  %5d  unit tests, inside the crates\n", passed["unit"]
    printf "  %5d  test programs: whole commands, real tools, files, loop devices\n", passed["program"]
    printf "  %5d  examples in the documentation\n", passed["doc"]
    printf "  %5d  installations in QEMU, end to end\n", passed["qemu"]
    printf "  (%d slow ones wait for their names: make test-ramdisk, make test-slow)\n", ignored
    total = passed["unit"] + passed["program"] + passed["doc"] + passed["qemu"]
    printf "%d passed, %d failed, %d skipped\n", total, failed, skipped
    exit failed > 0
  }'
[ "$skipped" -eq 0 ] || { echo "skipped, and why:"; sort -u "$3" | sed 's/^/  /'; }
