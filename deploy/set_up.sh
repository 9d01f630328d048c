#!/usr/bin/env bash
# Creates the virtual environment of this project with exactly the versions of requirements.lock. What is missing for
# that is named, with what to do about it, before anything slow begins.
#   PYTHON  interpreter, 3.11 or newer (python3)
#   VENV    where to (.venv)
#   WHEELS  a folder of ready wheels, looked into before anything is built (none)
# Variables of pip hold as well: with PIP_EXTRA_INDEX_URL set to PyTorch's index of CPU wheels, torch comes without the
# gigabytes of CUDA's libraries.
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
version=$("$python" -c 'import sys; print(*sys.version_info[:2], sep=".")')
"$python" -c 'import venv, ensurepip' 2> /dev/null \
  || fail "PYTHON=$python cannot make virtual environments; on Debian and Ubuntu: apt install python$version-venv"

# mmcv has no wheel on PyPI: without a ready one its operators are compiled, for GPUs where there are some.
nvcc=$(command -v nvcc || echo "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc")
has_gpu() { [ "${CUDA_VISIBLE_DEVICES-all}" != "" ] && nvidia-smi -L > /dev/null 2>&1; }
check_compilers() {
  "$python" -c 'import sys; sys.exit(sys.version_info >= (3, 13))' \
    || fail "PYTHON=$python is $("$python" -V), with which mmcv cannot be compiled; expected Python 3.11 or 3.12"
  command -v "${CXX:-c++}" > /dev/null \
    || fail "mmcv has to be compiled, without a C++ compiler; on Debian and Ubuntu: apt install g++"
  local include
  include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
  [ -e "$include/Python.h" ] \
    || fail "mmcv has to be compiled, without $include/Python.h; on Debian and Ubuntu: apt install python$version-dev"
  ! has_gpu || [ -x "$nvcc" ] \
    || fail "mmcv has to be compiled for a GPU, without nvcc; install CUDA's toolkit of the major version that torch has," \
      "or put CUDA_VISIBLE_DEVICES= in front and go on without the GPU"
}
{ compgen -G "$wheels/mmcv-*.whl" || "$venv/bin/python" -c 'import mmcv'; } > /dev/null 2>&1 || check_compilers

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
    check_compilers
    cuda=$("$venv/bin/python" -c 'import torch; print(torch.version.cuda or "")')
    if [ -n "$cuda" ] && has_gpu; then
      toolkit=$("$nvcc" --version | sed -nE 's/.*release ([0-9.]+).*/\1/p')
      [ "${cuda%%.*}" = "${toolkit%%.*}" ] \
        || fail "torch was built with CUDA $cuda, and $nvcc is of CUDA $toolkit; install the toolkit of CUDA ${cuda%%.*}"
    fi
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
