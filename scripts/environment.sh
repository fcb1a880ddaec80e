# Sourced by the other scripts: a virtual environment in .venv with foveal, and the extras of $1.
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
extras=${1:-}
wanted=$(cat pyproject.toml setup.py constraints.txt src/native/* | cksum)
if [ "$(cat ".venv/installed-$extras" 2>/dev/null)" != "$wanted" ]; then
  .venv/bin/python -m pip install --quiet --disable-pip-version-check \
    -c constraints.txt --editable ".${extras:+[$extras]}"
  echo "$wanted" > ".venv/installed-$extras"
fi
export PATH="$PWD/.venv/bin:$PATH"
