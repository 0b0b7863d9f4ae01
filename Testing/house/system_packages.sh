#!/usr/bin/env bash
# Makes sure that Debian or Ubuntu packages are there: those named as arguments, or else those that drawing without a
# screen needs (Testing/host/apt-packages.txt). Installs what is missing where it may, else says the command to run.
# Ends with 1 where something is still missing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

# Ubuntu 24.04 renamed some libraries to NAMEt64; apt still accepts the old name.
is_installed() {
  local name
  for name in "$1" "$1t64"; do
    if dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q '^install ok installed$'; then return 0; fi
  done
  return 1
}

wanted=("$@")
if [ ${#wanted[@]} -eq 0 ]; then
  list="$here/../host/apt-packages.txt"
  [ -f "$list" ] || exit 0
  mapfile -t wanted < <(sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "$list")
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "This is not Debian or Ubuntu, so install what your system calls ${wanted[*]} yourself if drawing fails." >&2
  exit 0
fi

missing=()
for name in "${wanted[@]}"; do is_installed "$name" || missing+=("$name"); done
[ ${#missing[@]} -gt 0 ] || exit 0

# `sudo -n` asks for no password: it works at once or not at all.
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
  else
    as_root=(none)
  fi
fi

if [ "${as_root[*]-}" != none ]; then
  echo "Installing system packages: ${missing[*]}"
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  apt_get() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" </dev/null >>"$log" 2>&1; }
  # A failed update still leaves the lists of the last one to install from.
  apt_get update || true
  if apt_get install -y --no-install-recommends "${missing[@]}"; then exit 0; fi
  tail -n 5 "$log" >&2
fi
echo "System packages are missing; install them with: sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
exit 1
