"""The model card of a run: what it tells apart, what it looks at, how good it is, how to use it."""

from typing import TYPE_CHECKING

from foveal import __version__
from foveal.models import PatchClassifier
from foveal.report.text import format_report

if TYPE_CHECKING:
    from foveal.evaluation import Report
    from foveal.runs.run import Run

_CARD = """\
---
library_name: foveal
pipeline_tag: image-classification
tags:
- foveal
- image-classification
---

# {title}

An image classifier made with foveal {version}, which looks at a few patches of large images at full
resolution.

| | |
|---|---|
{facts}

## Use

    pip install foveal
    foveal predict {address} IMAGES --output predictions.csv

```python
import foveal

run = foveal.load({address!r})
print(run.predict("image.jpg"))
run.explain("image.jpg")
```

## Measured

{measured}
"""


def model_card(run: "Run", report: "Report | None", address: str) -> str:
    """The card as Markdown with the header that the hub reads.

    Args:
        run: a loaded run.
        report: of images that it was not trained on; None: there are no figures.
        address: what others load it by.
    """
    facts = "\n".join(f"| {name} | {value} |" for name, value in _facts(run).items())
    if report is None:
        measured = "It came without figures."
    else:
        table = format_report(report, "Images of its own data that it was not trained on")
        measured = "\n".join(f"    {line}" for line in table.splitlines())
    return _CARD.format(
        title=address.partition(":")[2] or address,
        version=__version__,
        facts=facts,
        address=address,
        measured=measured,
    )


def _facts(run: "Run") -> dict[str, str]:
    several = ", any number per image" if run.multilabel else ""
    facts = {"classes": ", ".join(map(_cell, run.classes)) + several}
    model, optimisation = run.model, run.experiment.training.optimisation
    if isinstance(model, PatchClassifier):
        facts |= {
            "view": f"{model.view[0]} x {model.view[1]} px, of which all of an image is seen",
            "patches": f"{model.select.k} of {model.patch[0]} x {model.patch[1]} px",
            "scorer": _network(model.scorer),
            "encoder": _network(model.encoder),
        }
    else:
        facts["model"] = type(model).__name__
    parameters = sum(each.numel() for each in model.parameters())
    return facts | {
        "parameters": f"{parameters / 1e6:.3g} million",
        "training": f"{optimisation.steps} steps of {optimisation.batch} images",
    }


def _network(part: object) -> str:
    """What a network is called by timm, or its class."""
    name = getattr(part, "name", None)
    return name if isinstance(name, str) else type(part).__name__


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
