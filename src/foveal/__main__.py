"""`python -m foveal` is the command `foveal`."""

import sys

from foveal.cli.main import main

sys.exit(main())
