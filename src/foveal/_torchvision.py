"""Import torchvision over a torch that it was not built with.

torchvision's wheels are built against one build of torch. Over another, a CPU-only torch under the
CUDA-built torchvision for instance, the compiled operators do not load and `import torchvision`
fails with ``operator torchvision::nms does not exist``; so do timm and torchmetrics, which import
it. foveal needs none of the compiled operators, so it declares the two schemas that the import
looks for and imports again. With a matching pair this does nothing. Calling the missing operators
still fails with torch's own message.

Import this module before timm, torchmetrics or torchvision.
"""

import sys

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _declare_missing_operators() -> torch.library.Library | None:
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for schema in _SCHEMAS:
            library.define(schema)  # type: ignore[no-untyped-call]
        import torchvision  # noqa: F401

        return library
    return None


# The declarations last as long as this object.
_library = _declare_missing_operators()
