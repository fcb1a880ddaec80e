#!/usr/bin/env bash
# Build the documentation as a site into build/docs; a warning is an error. Arguments go to Sphinx.
source "$(dirname "$0")/environment.sh" docs
sphinx-build --builder html --conf-dir docs --fail-on-warning --keep-going --quiet . build/docs "$@"
echo "open $PWD/build/docs/index.html in a browser"
