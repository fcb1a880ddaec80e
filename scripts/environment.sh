# Sourced by the other scripts: a virtual environment in .venv with foveal and the extras named in $1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ ! -x .venv/bin/python ]; then
  for python in python3.12 python3.13 python3.11 python3; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi
    python=
  done
  [ -n "$python" ] || { echo "foveal needs Python 3.11 or newer on the path" >&2; exit 2; }
  "$python" -m venv .venv
fi
built=$(cat pyproject.toml setup.py constraints.txt src/native/* | cksum)
[ "$(head -n 1 .venv/installed 2>/dev/null)" = "$built" ] || rm -f .venv/installed
if ! grep -qx "$1" .venv/installed 2>/dev/null; then
  .venv/bin/python -m pip install --quiet --disable-pip-version-check \
    -c constraints.txt --editable ".[$1]"
  [ -f .venv/installed ] || echo "$built" > .venv/installed
  echo "$1" >> .venv/installed  # beside the extras of other scripts
fi
export PATH="$PWD/.venv/bin:$PATH"
