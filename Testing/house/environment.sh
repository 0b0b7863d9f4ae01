#!/usr/bin/env bash
# Makes the virtual environment FOLDER with torch (the pip requirement TORCH) and the packages of the files that follow:
#   environment.sh FOLDER TORCH REQUIREMENTS...
# PYTHON chooses the interpreter, PIP_FLAGS goes to every pip call. A folder that works is completed, not made anew.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$1 torch=$2
shift 2

# True where the command starts and is new enough: a pyenv shim for a version that is not active exists but fails.
is_usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

choose_python() {
  local name
  if [ -n "${PYTHON:-}" ]; then
    if is_usable "$PYTHON"; then echo "$PYTHON"; return; fi
    echo "PYTHON=$PYTHON does not run or is older than Python 3.11; name one that is newer." >&2
    return 1
  fi
  for name in python3.12 python3.11 python3; do
    if command -v "$name" >/dev/null && is_usable "$name"; then echo "$name"; return; fi
  done
  echo "No Python 3.11 or newer was found; install one (on Debian 12 or Ubuntu 24.04: sudo apt-get install -y python3 python3-venv) or name it with PYTHON=/path/to/python." >&2
  return 1
}

if ! { [ -x "$folder/bin/python" ] && is_usable "$folder/bin/python" \
       && "$folder/bin/python" -m pip --version >/dev/null 2>&1; }; then
  python=$(choose_python)
  if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    # The package belongs to the system's own interpreter; it says itself what to type where it cannot install it.
    bash "$here/system_packages.sh" "python$version-venv"
  fi
  echo "Making $folder with $("$python" --version) (once; it takes some minutes)"
  rm -rf "$folder"
  "$python" -m venv "$folder"
fi

# shellcheck disable=SC2206  # PIP_FLAGS is a list of words
pip=("$folder/bin/python" -m pip install --quiet --disable-pip-version-check ${PIP_FLAGS:-})
echo "Installing $torch"
"${pip[@]}" "$torch"
requirements=()
for file in "$@"; do requirements+=(-r "$file"); done
echo "Installing the packages of $*"
"${pip[@]}" "${requirements[@]}"
