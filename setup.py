"""The compiled loops; all else is in pyproject.toml.

Without a compiler the package installs all the same (`optional`) and computes the same in PyTorch.
A wheel for others must have the loops: FOVEAL_LOOPS=required makes their absence an error.
"""

import os
import sys

from setuptools import Extension, setup

NATIVE = Extension(
    "foveal._native",
    sources=[f"src/native/{name}.c" for name in ("module", "extraction", "reach", "selection")],
    depends=[
        f"src/native/{name}.h" for name in ("crops", "extraction", "numbers", "selection", "states")
    ],
    extra_compile_args=["/O2"] if sys.platform == "win32" else ["-O3", "-g0", "-fno-math-errno"],
    py_limited_api=True,
    optional=os.environ.get("FOVEAL_LOOPS") != "required",
)

setup(ext_modules=[NATIVE], options={"bdist_wheel": {"py_limited_api": "cp311"}})
