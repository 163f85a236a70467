#!/usr/bin/env bash
# Everything that CI runs, in order, with the time of each step. A failing build ends the run, a failing test step
# does not: the rest still says what it knows. The last line is "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/.."
JOBS=${JOBS:-$(nproc)}
LOGS=build/ci
FUZZ_SECONDS=${FUZZ_SECONDS:-30}
mkdir -p "$LOGS"
passed=0 failed=0
summary=()

finish() {
  echo
  printf '%s\n' "${summary[@]}"
  echo "total ${SECONDS} s"
  echo "$passed passed, $failed failed"
  [[ $failed -eq 0 && $passed -gt 0 ]]
  exit
}

# Adds the counts of a step to the totals: those of ctest where it ran, else the step itself counts as one.
count() {  # count LOG STATUS
  local line
  line=$(grep -E 'tests? passed, .* out of [0-9]+' "$1" | tail -1)
  if [[ $line =~ ,\ ([0-9]+)\ tests?\ failed\ out\ of\ ([0-9]+) ]]; then
    passed=$((passed + BASH_REMATCH[2] - BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[1]))
    [[ $2 -eq 0 || ${BASH_REMATCH[1]} -gt 0 ]] || failed=$((failed + 1))
  elif [[ $2 -eq 0 ]]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
}

step() {  # step NAME COMMAND...
  local name=$1 begin=$SECONDS status log
  shift
  log=$LOGS/${name// /_}.log
  echo "=== $name: $*"
  "$@" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  count "$log" "$status"
  summary+=("$(printf '%-28s %5d s  %s' "$name" $((SECONDS - begin)) "$([[ $status -eq 0 ]] && echo ok || echo FAILED)")")
  return "$status"
}

skip() { summary+=("$(printf '%-28s skipped: %s' "$1" "$2")"); }

build() {  # build PRESET [-D...] -- [TARGET...]
  local preset=$1 options=() targets=()
  shift
  while [[ $# -gt 0 && $1 != -- ]]; do options+=("$1"); shift; done
  shift
  [[ $# -gt 0 ]] && targets=(--target "$@")
  cmake --preset "$preset" "${options[@]}" && cmake --build --preset "$preset" -j "$JOBS" "${targets[@]}"
}

tests() { ctest --test-dir "build/$1" --output-on-failure -j "$JOBS" --no-tests=error "${@:2}"; }

checkers() {
  local status=0 name
  for name in format floors length docs; do python3 "tools/check_$name.py" || status=1; done
  return $status
}

# Model and engine on tables that the CPU would not choose by itself; the kernels' own tests run all of them anyway.
# Prompts of 4,000 tokens take minutes on the scalar one: it is tested on shorter ones.
isa_sweep() {
  local slow=()
  [[ $1 == scalar ]] && slow=(-E 'LongContexts|TrainedModel')
  LATENT8_ISA=$1 tests release -R '^(ops|model|engine)\.' "${slow[@]}"
}

# LeakSanitizer stops the world through ptrace, which some containers forbid: then leaks go unchecked, and we say so.
choose_leak_check() {
  local probe=$LOGS/leak_probe
  echo 'int main() { }' | clang++-19 -fsanitize=address -x c++ - -o "$probe" || return 0
  if ! ASAN_OPTIONS=detect_leaks=1 "$probe" >/dev/null 2>&1; then
    export ASAN_OPTIONS=detect_leaks=0
    skip "leak check" "LeakSanitizer cannot run here (ptrace forbidden?)"
  fi
}

whole_quantisations='^quant\.(Quantize(Test|Resume|Mtp|Rotation|Fallback|Memory)|Compat(Parity|Run|Resume|Memory|Calibration))\.'
sanitized_quantisations='^quant\.(QuantizeTest\.WritesACheckpointThatLoads|QuantizeResume\.(MayGoOnWithOtherThreads|NeverUsesABit)'
sanitized_quantisations+='|QuantizeMtp\.QuantisesTheMtpLayer|QuantizeRotation\.GoesOn|QuantizeFallback\.Passes|CompatParity\.SmoothingByM6|CompatRun\.Fp8)'

has_tests() { compgen -G "tests/$1/*_test.cpp" >/dev/null; }

step "checkers" checkers
step "build release" build release -- || finish
step "gates, unit, e2e" tests release -E '^gate\.(format|floors|length|docs)$'  # the checkers above

choose_leak_check
step "build asan ubsan" build dev -- unit_tests fuzz_targets || finish
# Long prompts, those of the trained model, and models on every table run the same code for minutes more (the kernels' own
# tests are on all tables). So does every quantisation of the trained model: small models pass through the whole quantiser in
# WrittenConfig and QuantizeFamily, the trained one in a run of each kind. The rest: make test-long.
step "unit asan ubsan" tests dev -L unit -E "LongContexts|EveryKernelTable|TrainedModel|$whole_quantisations"
step "quantise asan ubsan" tests dev -R "$sanitized_quantisations"
step "fuzz" tools/fuzz.sh "$FUZZ_SECONDS"

for isa in scalar avx2; do
  if [[ $isa == avx2 ]] && ! grep -qw avx512_vnni /proc/cpuinfo; then
    skip "isa $isa" "the CPU's own table, or none of this CPU"
  else
    step "isa $isa" isa_sweep "$isa"
  fi
done

step "build g++" build gcc -DLATENT8_TESTS=OFF -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O0 -- latent8 || finish

tsan_folders=(sys ops engine frontend)  # server and quant: make test-long
tsan_targets=()
for folder in "${tsan_folders[@]}"; do has_tests "$folder" && tsan_targets+=("${folder}_tests"); done
step "build tsan" build tsan -DLATENT8_XGRAMMAR=OFF -- "${tsan_targets[@]}" || finish
step "tsan" tests tsan -R "^($(IFS="|"; echo "${tsan_folders[*]}"))\."
finish
