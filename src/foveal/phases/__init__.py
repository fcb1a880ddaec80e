"""Phases of a training that begins with proposals: see `foveal.phases.sequence`."""
