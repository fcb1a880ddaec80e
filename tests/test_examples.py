"""The examples are programs, and what one serves is what the run answers."""

import asyncio
import base64
import importlib.util
import io
import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import foveal
import miniatures
from fixtures import format1
from foveal.nn.backbones import backbone

EXAMPLES = Path(__file__).parent.parent / "examples"
RUN = Path(format1.__file__).parent / "run_format1_folder" / "run"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_compiles(path: Path) -> None:
    compile(path.read_text(), path, "exec")


def posted(served: Any, body: bytes) -> Any:
    """What the server makes of a picture that was dropped on its page."""
    from fastapi import Request

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    return asyncio.run(served.predict(request))


def test_the_page_answers_with_class_probability_and_windows_at_the_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fastapi = pytest.importorskip("fastapi", reason="FastAPI is not installed")
    picture = miniatures.write(tmp_path / "a.png", miniatures.pixels(96, 128) // 8)
    run = foveal.load(shutil.copytree(RUN, tmp_path / "run"))
    (usual,) = run.predict(picture)
    always = {threshold: run.predict(picture, threshold=threshold)[0] for threshold in (0.0, 1.0)}
    ((asked, result),) = [each for each in always.items() if each[1].label != usual.label]
    monkeypatch.setenv("RUN", str(run.path))
    monkeypatch.setenv("THRESHOLD", str(asked))
    spec = importlib.util.spec_from_file_location("serve", EXAMPLES / "serve.py")
    assert spec is not None
    assert spec.loader is not None
    served = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(served)
    answer = posted(served, picture.read_bytes())
    assert answer["label"] == result.label
    assert answer["probability"] == pytest.approx(result.probability)
    shown = Image.open(io.BytesIO(base64.b64decode(answer["picture"].split(",")[1])))
    assert shown.size == (128, 96)
    reds = sum(r > 128 > g for r, g, _ in np.asarray(shown).reshape(-1, 3).astype(int))
    assert reds > 100  # the picture itself is dark
    with pytest.raises(fastapi.HTTPException) as refusal:
        posted(served, b"no picture")
    assert refusal.value.detail.startswith("the picture: not an image")


def test_proposals_are_mined_and_judged_from_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    labels, boxes = ["file,label,split"], ["file,x0,y0,x1,y1"]
    for number in range(16):
        pixels = random.integers(0, 60, (128, 160, 3), dtype=np.uint8)
        label, split = ("none", "red")[number % 2], ("train", "train", "val", "test")[number // 4]
        if label == "red":
            top, left = random.integers(8, 80, 2).tolist()
            pixels[top : top + 32, left : left + 32, 0] = 255
            boxes.append(f"{number}.png,{left},{top},{left + 32},{top + 32}")
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        labels.append(f"{number}.png,{label},{split}")
    (tmp_path / "labels.csv").write_text("\n".join(labels))
    (tmp_path / "boxes.csv").write_text("\n".join(boxes))
    weights = tmp_path / "weights.pt"
    torch.save(backbone("resnet18", 3).state_dict(), weights)
    example = runpy.run_path(str(EXAMPLES / "proposals.py"))
    example["main"](str(tmp_path / "labels.csv"), str(weights), "none", "10")
    told = capsys.readouterr()
    assert "10 images mined" in told.err
    assert "evidence windows on a box, 2 test images" in told.out
