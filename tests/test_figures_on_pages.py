"""Figures on a page are about what the page says: which images, which classes."""

import json
import re
from pathlib import Path

import pytest

import miniatures
from foveal.cli.main import main
from foveal.planning.folder import folder
from foveal.runs import Run, RunFolder, load
from foveal.runs.record import record
from foveal.settings import Model, Optimisation

CLASSES = ("ant", "bee", "cow")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An untrained run; its test images are 9 ants, 6 bees and 3 cows."""
    place = tmp_path_factory.mktemp("run")
    for part, counts in (("train", (2, 2, 2)), ("val", (1, 1, 1)), ("test", (9, 6, 3))):
        images = dict(zip(CLASSES, counts, strict=True))
        miniatures.class_folders(place / "photos", images, size=(64, 64), parts=(part,))
    experiment = folder(
        data=place / "photos",
        model=Model(encoder="thin", view=(48, 48), patch=16, k=2),
        optimisation=Optimisation(steps=1),
    )
    made = RunFolder.create(place / "run")
    record(made, experiment)
    made.save("best", experiment.model.state_dict())
    return load(made.path)


def figures(page: Path) -> dict[str, str]:
    """The tiles of a page."""
    text = (page / "index.html").read_text(encoding="utf-8")
    return dict(re.findall(r'<div class="panel"><dt>(.*?)</dt><dd>([^<]*)', text))


@pytest.mark.parametrize("most", [1, 2, 5, 17, 18, 200])
def test_a_page_of_some_images_has_the_figures_of_all(run: Run, tmp_path: Path, most: int) -> None:
    assert main(["explain", str(run.path), "--most", str(most), "--output", str(tmp_path)]) == 0
    report = run.evaluate()
    assert figures(tmp_path)["Images evaluated"] == "18"
    assert figures(tmp_path)["Accuracy"] == f"{report.accuracy:.1%}"
    assert figures(tmp_path)["Balanced accuracy"] == f"{report.balanced_accuracy:.1%}"
    shown = len(list((tmp_path / "pictures").iterdir()))
    assert shown == min(most, 18)
    title = f"{shown} images of 18" if most < 18 else "18 images"
    assert f"<title>{run.path.name}: {title}</title>" in (tmp_path / "index.html").read_text()


def test_a_sample_is_spread_evenly(run: Run, tmp_path: Path) -> None:
    assert main(["explain", str(run.path), "--most", "6", "--output", str(tmp_path)]) == 0
    text = (tmp_path / "index.html").read_text()
    shown = {name: len(set(re.findall(rf"test/{name}/\d+\.png", text))) for name in CLASSES}
    assert shown == {"ant": 3, "bee": 2, "cow": 1}


@pytest.mark.parametrize("parts", [(), ("train", "test"), ("test",), ("train",)])
@pytest.mark.parametrize("present", [("ant",), ("bee", "cow"), CLASSES])
def test_explain_judges_what_evaluate_judges(
    run: Run,
    tmp_path: Path,
    parts: tuple[str, ...],
    present: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = miniatures.class_folders(
        tmp_path / "data", dict.fromkeys(present, 2), size=(64, 64), parts=parts
    )
    command = ["evaluate", str(run.path), "--data", str(data)]
    assert main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["per_class"]) == set(present)
    assert (
        sum(map(sum, report["confusion"]))
        == report["n"]
        == 2 * len(present) * max(1, len(parts) - ("test" in parts))
    )
    assert main(command) == 0
    text = capsys.readouterr().out
    assert [line.split()[0] for line in text.splitlines() if "no images" in line] == [
        name for name in CLASSES if name not in present
    ]
    page = tmp_path / "page"
    assert main(["explain", str(run.path), str(data), "--output", str(page)]) == 0
    assert figures(page)["Images evaluated"] == str(report["n"])
    assert figures(page)["Accuracy"] == f"{report['accuracy']:.1%}"
    html = (page / "index.html").read_text()
    absent = re.findall(r"<span>([^<]*)</span>", html.replace("</span>\n", "</span>"))
    assert absent.count("no images") == len(CLASSES) - len(present)
    for row, truth in zip(report["confusion"], CLASSES, strict=True):
        for count, label in zip(row, CLASSES, strict=True):
            button = f'data-truth="{truth}" data-label="{label}"'
            assert (button in html) == bool(count)


@pytest.mark.parametrize("most", ["0", "-3"])
def test_a_page_of_no_image_is_refused(run: Run, tmp_path: Path, most: str) -> None:
    page = tmp_path / "page"
    assert main(["explain", str(run.path), f"--most={most}", "--output", str(page)]) == 2
    assert not page.exists()


def test_a_run_says_which_images_of_other_data_it_has_seen(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [image.path for image in run.experiment.splits().train.images]  # type: ignore[attr-defined]
    for number, file in enumerate(files[:4]):
        copy = tmp_path / CLASSES[number // 2] / f"copy {number}.png"
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(file.read_bytes())
    miniatures.write(tmp_path / "cow" / "new.png", miniatures.pixels(64, 64, seed=77))
    assert main(["evaluate", str(run.path), "--data", str(tmp_path), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["seen_in_train"] == 4
    assert "4 of the 5 images" in err
    assert "trained on (ant/copy 0.png, ant/copy 1.png, bee/copy 2.png and 1 more)" in err
