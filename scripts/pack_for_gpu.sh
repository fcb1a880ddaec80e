#!/usr/bin/env bash
# Collect in .gpu what scripts/on_gpu.sh needs on a machine without a network, under 64 MiB with the
# repository: bash scripts/pack_for_gpu.sh [--sources FOLDER] [--weights FILE] [--rehearse].
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ -z "${PYTHON:-}" ]; then
  source "$root/scripts/environment.sh" test
  PYTHON=$root/.venv/bin/python
fi
"$PYTHON" "$root/scripts/gpu_pack.py" "$@"
