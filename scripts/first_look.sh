#!/usr/bin/env bash
# Install foveal into .venv, train the small billiards recipe (four to twelve minutes on two
# processor cores), and write a page that shows where the model looked. Arguments go to the training.
source "$(dirname "$0")/environment.sh" ""
foveal train billiards_mini --output runs/first_look "$@"
foveal explain runs/first_look --output runs/first_look/explained >/dev/null
echo "open $PWD/runs/first_look/explained/index.html in a browser"
