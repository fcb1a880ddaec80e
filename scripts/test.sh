#!/usr/bin/env bash
# Install foveal with its test tools into .venv, then run the linter, the type checker and the tests.
source "$(dirname "$0")/environment.sh" test
export OMP_NUM_THREADS=1
ruff check .
ruff format --check .
mypy
pytest -n 2 "$@"
