"""Real photographs and real weights, where they are at hand."""

from pathlib import Path

import pytest
import torch

from foveal.data.folder import read_folder
from foveal.field import TASKS, write
from foveal.models import PatchClassifier
from foveal.nn import aggregators, encoders, scorers, selectors
from foveal.paper import recipes

ROOT = Path(__file__).parent.parent.parent
SCENES = ROOT.parent / "shared" / "data" / "gtsdb"
WEIGHTS = ROOT.parent / "shared" / "data" / "weights" / "resnet18_imagenet1k_v1_to_layer3.pt"

needs_scenes = pytest.mark.skipif(
    not SCENES.exists(), reason="the street scenes of GTSDB are not in ../shared/data"
)
needs_weights = pytest.mark.skipif(
    not WEIGHTS.exists(), reason="the ResNet-18 weights are not in ../shared/data"
)


def labels(folder: Path, task: str) -> Path:
    write(folder, TASKS[task](source=SCENES))
    return folder / "labels.csv"


@needs_scenes
@needs_weights
def test_a_model_with_real_weights_looks_at_a_real_scene(tmp_path):
    splits = read_folder(labels(tmp_path, "street-prohibitory"))
    scene = next(splits.train[i] for i in range(50) if splits.train[i].boxes is not None)
    assert scene.image.size == (800, 1360)
    model = PatchClassifier(
        scorer=scorers.BackboneScorer("resnet18", weights=WEIGHTS, frozen=True),
        select=selectors.TopK(6),
        encoder=encoders.Backbone("resnet18", stage=3, weights=WEIGHTS),
        aggregate=aggregators.max,
        classes=2,
        view=(200, 340),
        patch=(64, 64),
    ).eval()
    with torch.inference_mode():
        prediction = model([scene.image])
    assert prediction.patches.shape == (1, 6, 3, 64, 64)
    assert prediction.logits.isfinite().all()
    assert prediction.patches.std() > 0.01


@needs_scenes
@pytest.mark.parametrize("name", ["traffic_signs", "traffic_signs_cnn"])
def test_the_papers_recipes_read_real_scenes(tmp_path, name):
    experiment = recipes.build(name, {"data": labels(tmp_path, "street-limit")})
    assert experiment.classes == ("30", "50", "70", "80", "none", "other")
    example = experiment.splits().test[0]
    with torch.inference_mode():
        prediction = experiment.model.eval()([example.image])
    assert prediction.logits.shape == (1, 6)
    assert prediction.logits.isfinite().all()
