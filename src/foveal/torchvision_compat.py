"""The earlier name of a private module; goes with the next release."""

import foveal._torchvision  # noqa: F401
