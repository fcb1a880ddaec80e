"""A run that was trained is loaded as it was, and never executes what it finds."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

import foveal
from foveal.errors import UserError
from foveal.paper import recipes
from foveal.runs import run as runs
from foveal.runs.folder import RunFolder

SMALL = {"size": 64, "view": 48, "k": 2, "train": 2, "validation": 1, "test": 1}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run whose weights are those of step 0."""
    experiment = recipes.made("billiards_mini", SMALL)
    folder = RunFolder.create(tmp_path / "run")
    runs.record(folder, experiment)
    folder.save("last", experiment.model.state_dict())
    folder.save("best", experiment.model.state_dict())
    return folder.path


def change(run: Path, **entries: object) -> None:
    file = run / "recipe.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | entries))


def test_a_loaded_run_is_the_experiment_that_was_recorded(run: Path) -> None:
    loaded = foveal.load(run)
    assert loaded.experiment.settings == recipes.made("billiards_mini", SMALL).settings
    assert loaded.classes == tuple("123456789")
    assert not loaded.model.training
    assert "billiards_mini, 9 classes: 1, 2, 3, 4, 5, ..." in repr(loaded)
    stored = load_file(run / "checkpoints" / "best" / "model.safetensors")
    assert all(torch.equal(stored[name], w) for name, w in loaded.model.state_dict().items())


def test_the_last_weights_serve_where_none_were_judged_best(run: Path) -> None:
    (run / "checkpoints" / "best" / "model.safetensors").unlink()
    assert foveal.load(run).checkpoint == "last"


def test_results_are_those_of_the_model_whatever_the_images_come_as(
    run: Path, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    (tmp_path / "photos").mkdir()
    for number, each in enumerate(pixels):
        Image.fromarray(each).save(tmp_path / "photos" / f"{number}.png")
    loaded = foveal.load(run)
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    with torch.no_grad():
        probabilities = loaded.model(tensor).logits.double().softmax(dim=1)
    many = loaded.predict(tensor)
    for found in (many, loaded.predict(tmp_path / "photos"), loaded.predict(list(tensor))):
        for result, expected in zip(found, probabilities, strict=True):
            assert list(result.probabilities.values()) == pytest.approx(expected.tolist())
            assert result.label == loaded.classes[int(expected.argmax())]
            assert result.windows == many[found.index(result)].windows
    assert loaded.predict(tensor[0])[0].probabilities == pytest.approx(many[0].probabilities)


def test_a_bad_file_is_a_result_with_an_error_and_the_rest_go_on(run: Path, tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.png", tmp_path / "good.png"
    bad.write_bytes(b"nothing")
    Image.new("RGB", (64, 64)).save(good)
    first, second, third = foveal.load(run).predict([bad, good, tmp_path / "none.png"])
    assert first.error is not None
    assert second.error is None
    assert "no such file" in str(third.error)


def test_files_of_a_folder_come_in_natural_order(tmp_path: Path) -> None:
    for name in ("b10.png", "b9.png", "a/c.JPG", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in runs.files(tmp_path)]
    assert found == ["a/c.JPG", "b9.png", "b10.png"]


def test_a_folder_without_images_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no images in this folder"):
        runs.files(tmp_path)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"format": 2, "foveal": "9.1"}, "written by foveal 9.1"),
        ({"recipe": "bilards"}, "unknown recipe 'bilards'"),
        ({"recipe": None}, "damaged"),
        ({"settings": {"eyes": 2}}, "has no setting eyes"),
        ({"settings": {"tokens": 16}}, "do not fit the model"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(
    run: Path, entries: dict[str, object], said: str
) -> None:
    change(run, **entries)
    with pytest.raises(UserError, match=said) as caught:
        foveal.load(run)
    assert "\n" not in str(caught.value)


def test_there_must_be_a_run_and_weights(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        foveal.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no recipe\.yaml"):
        foveal.load(tmp_path)
    for file in run.rglob("model.safetensors"):
        file.unlink()
    with pytest.raises(UserError, match=r"no checkpoint yet.*--resume"):
        foveal.load(run)


def test_code_in_a_run_is_not_executed(run: Path, tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    (run / "recipe.yaml").write_text(f"!!python/object/apply:os.mkdir ['{trap}']")
    with pytest.raises(UserError, match="not valid YAML"):
        foveal.load(run)
    assert not trap.exists()


def test_a_pickle_in_the_place_of_weights_is_damage(run: Path) -> None:
    file = run / "checkpoints" / "best" / "model.safetensors"
    torch.save({"weights": torch.zeros(1)}, file)
    with pytest.raises(UserError, match="damaged"):
        foveal.load(run)


def test_weights_of_another_model_are_refused(run: Path) -> None:
    file = run / "checkpoints" / "best" / "model.safetensors"
    weights = load_file(file)
    weights.popitem()
    save_file(weights, file)
    with pytest.raises(UserError, match="do not fit the model"):
        foveal.load(run)
