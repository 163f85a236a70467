#!/usr/bin/env bash
# Runs every fuzz target for its share of SECONDS, from fuzz/corpus and what earlier runs left in build/fuzz, and prints
# executions and coverage of each. What breaks one stays in build/fuzz/findings; the exit status is 1 then.
#
#   tools/fuzz.sh SECONDS      after: cmake --preset dev && cmake --build --preset dev
set -uo pipefail
cd "$(dirname "$0")/.."
programs=(build/dev/bin/*_fuzz)
seconds=$((${1:?seconds expected} / ${#programs[@]}))
seconds=$((seconds > 1 ? seconds : 2))
findings=build/fuzz/findings
mkdir -p "$findings"
status=0
printf '%-14s %12s %10s %10s %8s\n' target executions edges features corpus
for program in "${programs[@]}"; do
  name=$(basename "$program" _fuzz)
  log=build/fuzz/$name.log
  corpus=build/fuzz/corpus/$name
  mkdir -p "$corpus"
  seeds=()
  [[ -d fuzz/corpus/$name ]] && seeds=("fuzz/corpus/$name")
  if ! "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
      -artifact_prefix="$findings/$name-" "$corpus" "${seeds[@]}" >"$log" 2>&1; then
    status=1
    tail -40 "$log"
    echo "$name: FAILED, see $log and $findings"
  fi
  last=$(grep -aE '^#[0-9]+.*cov: ' "$log" | tail -1)
  value() { grep -aoE "$1 [0-9]+" <<<"$last" | grep -oE '[0-9]+$' || echo -; }
  printf '%-14s %12s %10s %10s %8s\n' "$name" "$(grep -aoE 'number_of_executed_units: *[0-9]+' "$log" | grep -oE '[0-9]+$' || echo -)" \
    "$(value cov:)" "$(value ft:)" "$(grep -aoE 'corp: [0-9]+' <<<"$last" | grep -oE '[0-9]+' || echo -)"
done
exit $status
