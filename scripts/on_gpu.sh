#!/usr/bin/env bash
# Measure on a GPU all that needs one, and write a report: bash scripts/on_gpu.sh FOLDER [OPTIONS].
# Needs no network: what a machine lacks is in .gpu, see scripts/pack_for_gpu.sh. A stage that is
# done in FOLDER/stages.json or .gpu/stages.json is not run again. --help lists the options.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
[ -x "$python" ] || python=python3
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if ! "$python" -c "import beartype, cyclopts, pydantic" 2>/dev/null; then
  for wheel in "$root"/.gpu/wheels/*.whl; do
    "$python" -m zipfile -e "$wheel" "$site"
  done
fi
export PYTHONPATH="$root/src:$site${PYTHONPATH:+:$PYTHONPATH}" OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
"$python" "$root/scripts/gpu_report.py" "$@"
