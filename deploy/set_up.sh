#!/usr/bin/env bash
# Creates the virtual environment of this project with exactly the versions of requirements.lock.
#   PYTHON  interpreter, 3.11 or newer (python3)
#   VENV    where to (.venv)
#   WHEELS  a folder of ready wheels, looked into before anything is built (none)
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv=${VENV:-.venv}
wheels=${WHEELS:-}

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
fail() { printf 'set-up: %s\n' "$*" >&2; exit 1; }
pinned() { grep -E "^$1==" requirements.lock; }

command -v "$python" > /dev/null || fail "PYTHON=$python: no such interpreter; install Python 3.11 or newer"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || fail "PYTHON=$python is $("$python" -V); expected Python 3.11 or newer"
[ -z "$wheels" ] || [ -d "$wheels" ] || fail "WHEELS=$wheels: no such folder"

say "Virtual environment in $venv"
"$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip --disable-pip-version-check)
install=("${pip[@]}" install --quiet)
[ -z "$wheels" ] || install+=(--find-links "$wheels")

say "torch"
"${install[@]}" "$(pinned torch)" "$(pinned setuptools)" "$(pinned wheel)" "$(pinned ninja)" "$(pinned psutil)"

mmcv=$(pinned mmcv)
if ! "${pip[@]}" show --quiet mmcv 2> /dev/null; then
  # A wheel of ours or of pip's cache installs at once. PyPI has the source alone, so without one the ops are compiled.
  if [ -n "$wheels" ] && "${install[@]}" --no-deps --no-index "$mmcv" 2> /dev/null; then
    say "mmcv from a ready wheel"
  else
    command -v "${CXX:-c++}" > /dev/null || fail "mmcv is built from source: install a C++ compiler first"
    say "mmcv: building its compiled operators from source; this takes some minutes (about 10 on two cores), once"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    MMCV_WITH_OPS=1 MAX_JOBS=${MAX_JOBS:-$(nproc)} "${pip[@]}" install --verbose --no-deps --no-build-isolation "$mmcv" 2>&1 \
      | tee "$log" | awk 'match($0, /\[[0-9]+\/[0-9]+\]/) {
          split(substr($0, RSTART + 1, RLENGTH - 2), step, "/")
          if (step[1] * 20 / step[2] >= shown) { printf "    %d of %d files\n", step[1], step[2]; fflush(); shown = int(step[1] * 20 / step[2]) + 1 }
        }' || { tail -n 40 "$log" >&2; fail "mmcv did not build; its last lines are above"; }
  fi
fi

say "Everything else"
# --no-deps: the lock is complete, and mmengine's opencv-python is served by opencv-python-headless, which needs no display.
"${install[@]}" --no-deps --no-build-isolation --requirement requirements.lock
"${install[@]}" --no-deps --no-build-isolation --editable .
say "Ready"
