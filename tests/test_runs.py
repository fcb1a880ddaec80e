"""A run that was trained is loaded as it was, and never executes what it finds."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

import foveal
import miniatures
from foveal.data.folder.listing import image_files
from foveal.errors import UserError
from foveal.planning.folder import folder
from foveal.runs.folder import RunFolder
from foveal.runs.record import record, stored_options
from foveal.settings import Augmentation, Model, Optimisation


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose weights are those of step 0."""
    place = tmp_path_factory.mktemp("made")
    random = np.random.default_rng(1)
    for part, label in itertools.product(("train", "val", "test"), ("ant", "bee")):
        (place / "photos" / part / label).mkdir(parents=True)
        for number in range(2):
            pixels = random.integers(0, 256, (64, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / "photos" / part / label / f"{number}.png")
    experiment = folder(
        data=place / "photos",
        model=Model(encoder="thin", view=(48, 48), patch=16, k=2),
        optimisation=Optimisation(steps=3, class_weights=(1.0, 2.0)),
        augmentation=Augmentation(flip=True),
    )
    run = RunFolder.create(place / "run")
    record(run, experiment)
    run.save("last", experiment.model.state_dict())
    run.save("best", experiment.model.state_dict())
    return run.path


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def change(file: Path, **entries: object) -> None:
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | entries))


def test_a_loaded_run_is_the_experiment_that_was_recorded(run: Path) -> None:
    loaded = foveal.load(run)
    assert loaded.classes == ("ant", "bee")
    assert not loaded.model.training
    assert loaded.experiment.training.optimisation.class_weights == (1.0, 2.0)
    assert loaded.experiment.training.augmentation == Augmentation(flip=True)
    assert "folder, 2 classes: ant, bee" in repr(loaded)
    stored = load_file(run / "checkpoints" / "best" / "model.safetensors")
    assert all(torch.equal(stored[name], w) for name, w in loaded.model.state_dict().items())


def test_what_was_asked_comes_back_in_the_types_of_the_recipe(run: Path) -> None:
    options = stored_options(RunFolder.open(run), folder)
    assert options["model"] == Model(
        encoder="thin",
        encoder_stage=-1,
        zoom=1.0,
        encoder_pool="mean",
        apart=0,
        aggregator="max",
        pretrained=False,
        view=(48, 48),
        patch=16,
        k=2,
    )
    assert options["optimisation"] == Optimisation(steps=3, class_weights=(1.0, 2.0))
    assert (options["data"] / "train" / "ant").is_dir()


def test_loading_executes_no_recipe_and_needs_no_images(run: Path) -> None:
    (run / "recipe.yaml").write_text("format: 2\nrecipe: renamed since\noptions: {eyes: 2}\n")
    change(
        run / "model.yaml",
        data={"function": "foveal.data.folder.read_folder", "arguments": {"path": "/nowhere"}},
    )
    assert foveal.load(run).classes == ("ant", "bee")


def test_the_last_weights_serve_where_none_were_judged_best(run: Path) -> None:
    (run / "checkpoints" / "best" / "model.safetensors").unlink()
    assert foveal.load(run).checkpoint == "last"


def test_results_are_those_of_the_model_whatever_the_images_come_as(
    run: Path, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (2, 64, 80, 3), dtype=np.uint8)
    (tmp_path / "photos").mkdir()
    for number, each in enumerate(pixels):
        Image.fromarray(each).save(tmp_path / "photos" / f"{number}.png")
    loaded = foveal.load(run)
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    with torch.no_grad():
        probabilities = loaded.model(tensor).logits.double().softmax(dim=1)
    many = loaded.predict(tensor)
    sources = (
        tmp_path / "photos",
        str(tmp_path / "photos" / "*.png"),
        list(tensor),
        (each for each in pixels),
        pixels,
        [Image.fromarray(each) for each in pixels],
    )
    for found in (many, *(loaded.predict(source, batch_size=1) for source in sources)):
        assert [result.windows for result in found] == [result.windows for result in many]
        for result, expected in zip(found, probabilities, strict=True):
            assert list(result.probabilities.values()) == pytest.approx(expected.tolist())
            assert result.label == loaded.classes[int(expected.argmax())]
    assert loaded.predict(tensor[0])[0].probabilities == pytest.approx(many[0].probabilities)


def test_a_bad_file_is_a_result_with_an_error_and_the_rest_go_on(run: Path, tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.png", tmp_path / "good.png"
    bad.write_bytes(b"nothing")
    Image.new("RGB", (64, 64)).save(good)
    first, second, third = foveal.load(run).predict([bad, good, tmp_path / "none.png"])
    assert first.error is not None
    assert second.error is None
    assert "no such file" in str(third.error)


def _bad_pixels(tmp_path: Path) -> list[object]:
    """Pixels in memory that no model can take, one of each kind."""
    cut = tmp_path / "cut.png"
    Image.effect_noise((64, 64), 50).save(cut)
    cut.write_bytes(cut.read_bytes()[:1000])
    return [
        np.zeros((64, 64, 3), np.int64),
        np.full((64, 64, 3), 255.0),
        np.full((64, 64), np.nan),
        torch.zeros(3, 64, 64, dtype=torch.int32),
        torch.zeros(64, 64),
        torch.zeros(4, 64, 64),
        torch.zeros(3, 0, 64),
        Image.new("F", (64, 64)),
        Image.open(cut),
    ]


@pytest.mark.usefixtures("unchecked")
def test_the_error_of_an_image_in_memory_names_its_number(run: Path, tmp_path: Path) -> None:
    loaded, good = foveal.load(run), torch.zeros(3, 64, 64)
    bad = _bad_pixels(tmp_path)
    results = loaded.predict([each for one in bad for each in (good, one)])
    bad[-1].close()  # type: ignore[attr-defined]
    for number, result in enumerate(results):
        if number % 2 == 0:
            assert result.error is None
        else:
            assert result.file == f"image {number}"
            assert str(result.error).startswith(f"image {number}: ")
    with pytest.raises(TypeError, match=r"^image 2: not an image: int"):
        loaded.predict([good, good, 7])  # type: ignore[list-item]
    with pytest.raises(UserError, match=r"^image 0: "):
        loaded.explain(np.full((64, 64, 3), 255.0))


def test_every_error_names_its_file(run: Path, tmp_path: Path) -> None:
    bad = miniatures.bad_images(tmp_path)
    del bad["folder"]
    tiny = miniatures.write(tmp_path / "tiny.png", miniatures.pixels(2, 300))
    for file, result in zip(
        (*bad.values(), tiny), foveal.load(run).predict([*bad.values(), tiny]), strict=True
    ):
        assert result.error is None or str(file) in result.error


def test_files_of_a_folder_come_in_natural_order(tmp_path: Path) -> None:
    for name in ("b10.png", "b9.png", "a/c.JPG", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in image_files(tmp_path)]
    assert found == ["a/c.JPG", "b9.png", "b10.png"]


def test_a_folder_without_images_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no images in this folder"):
        image_files(tmp_path)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"format": 3, "foveal": "9.1"}, r"format 3, written by foveal 9\.1.*update"),
        ({"format": "two"}, r"model\.yaml: format: .*integer"),
        ({"format": True}, r"model\.yaml: format: .*integer"),
        ({"format": None}, r"model\.yaml: format"),
        ({"model": None}, "describes no model"),
        ({"model": {"class": "foveal.nn.encoders.Eye"}}, "is not a class of this version"),
        ({"model": {"class": "os.system", "arguments": {}}}, "is not a class of this version"),
        ({"model": {"class": "foveal.models.PatchClassifier"}}, "PatchClassifier: missing"),
        ({"data": {"function": "os.mkdir", "arguments": {"path": "x"}}}, "is not a function"),
        ({"data": {"function": "foveal._files.write", "arguments": {}}}, "is not a function"),
        ({"classes": 3}, r"model\.yaml: classes"),
        ({"training": {"optimisation": {"steps": "many"}}}, r"training\.optimisation\.steps"),
        ({"training": {"augmentation": {"shift": -1}}}, "shift must be 0 or more"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(
    run: Path, entries: dict[str, object], words: str
) -> None:
    change(run / "model.yaml", **entries)
    with pytest.raises(UserError, match=words) as caught:
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
    (run / "model.yaml").write_text(f"!!python/object/apply:os.mkdir ['{trap}']")
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


def test_a_run_evaluates_its_own_test_images_or_others(run: Path, made: Path) -> None:
    loaded = foveal.load(run)
    own = loaded.evaluate()
    assert own.n == 4
    assert loaded.evaluate(made.parent / "photos").summary() == own.summary()


def test_an_explanation_is_a_picture_that_a_notebook_shows(run: Path) -> None:
    picture = foveal.load(run).explain(Image.new("RGB", (80, 64), "green"))
    assert isinstance(picture, Image.Image)
    assert min(picture.size) > 64
    assert hasattr(picture, "_repr_png_")


def test_a_run_moves_to_a_device_and_says_itself(run: Path) -> None:
    loaded = foveal.load(run, device="cpu")
    assert loaded.to("meta") is loaded
    assert next(loaded.model.parameters()).device.type == "meta"
