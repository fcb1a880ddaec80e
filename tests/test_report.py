"""Laws of the page: its order, that it trusts and fetches nothing, that it is whole or absent."""

import io
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.errors import UserError
from foveal.report.page import EMBEDDED, HEAVIEST, Entry, embedded, ordered, write


def picture(size: tuple[int, int] = (12, 16), kind: str = "PNG") -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).save(content, kind)
    return content.getvalue()


def entry(file: str, probability: float = 0.9, *, correct: bool | None = None) -> Entry:
    truth = None if correct is None else ("cat" if correct else "dog")
    return Entry(file, picture(), "cat", probability, truth, correct)


class Tags(HTMLParser):
    """Every tag of a page with its attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_mistakes_lead_then_doubts_then_what_could_not_be_read() -> None:
    entries = [
        Entry("broken", b"", "", 0.0, error="cut off"),
        entry("sure", 0.9, correct=True),
        entry("doubtful", 0.4, correct=True),
        entry("slip", 0.5, correct=False),
        entry("blunder", 0.99, correct=False),
    ]
    files = [each.file for each in ordered(entries)]
    assert files == ["blunder", "slip", "doubtful", "sure", "broken"]


def test_unlabelled_images_stand_by_doubt_and_show_no_verdict(tmp_path: Path) -> None:
    page = write(tmp_path, [entry("b.png", 0.8), entry("a.png", 0.3)], title="t").read_text("utf-8")
    assert page.index("a.png") < page.index("b.png")
    text = Tags(page).text
    assert "✓" not in text
    assert "✗" not in text
    assert "Labelled" not in text


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    hostile = '"><img src=x onerror=alert(1)>/../<script>alert(2)</script>'
    entries = [
        Entry(hostile, picture(), hostile, 0.7, hostile + "!", False),
        Entry(hostile, b"", "", 0.0, error=hostile),
    ]
    summary = {"per_class": {hostile: 0.5}, "confusion": [[1]]}
    page = Tags(write(tmp_path / "r", entries, title=hostile, summary=summary).read_text("utf-8"))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not [1 for _, attributes in page.tags if any(a.startswith("on") for a in attributes)]
    assert hostile in page.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r"]
    assert len(list((tmp_path / "r" / "pictures").iterdir())) == 1


def test_names_that_are_not_utf8_are_borne(tmp_path: Path) -> None:
    write(tmp_path, [entry("caf\udce9.jpg")], title="caf\udce9").read_text("utf-8")


def test_the_page_refers_to_nothing_outside_its_folder(tmp_path: Path) -> None:
    rows = [{"epoch": n, "loss": 1 / (n + 1)} for n in range(3)]
    path = write(tmp_path, [entry("a"), entry("b")], title="t", metrics_rows=rows)
    page = Tags(path.read_text("utf-8"))
    assert "link" not in [tag for tag, _ in page.tags]
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "action"):
            value = attributes.get(name) or ""
            assert re.match(r"(data:image/|pictures/|#|$)", value), value
    assert "@import" not in path.read_text("utf-8")
    assert "url(" not in path.read_text("utf-8")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_every_picture_lies_unchanged_beside_the_page(tmp_path: Path, kind: str) -> None:
    content = picture(kind=kind)
    entries = [Entry(f"folder/{n}/same name.tif", content, "cat", 0.5) for n in range(3)]
    page = Tags(write(tmp_path, entries, title="t").read_text("utf-8"))
    linked = [a["href"] for tag, a in page.tags if tag == "a" and "pictures/" in (a["href"] or "")]
    assert len(set(linked)) == 3
    for href in linked:
        assert (tmp_path / str(href)).read_bytes() == content
        assert str(href).endswith(".jpg" if kind == "JPEG" else ".png")


def test_a_long_report_embeds_the_first_and_says_so(tmp_path: Path) -> None:
    entries = [entry(f"{n}.png", n / 1000) for n in range(EMBEDDED + 5)]
    page = Tags(write(tmp_path, entries, title="t").read_text("utf-8"))
    assert sum(tag == "li" for tag, _ in page.tags) == EMBEDDED
    assert f"The first {EMBEDDED} of {EMBEDDED + 5} pictures" in page.text
    assert len(list((tmp_path / "pictures").iterdir())) == EMBEDDED + 5


def test_an_embedded_picture_is_a_light_jpeg_of_the_same_proportions() -> None:
    # Noise is what a JPEG can compress least.
    jpeg = embedded(picture((1000, 2000)))
    assert len(jpeg) <= HEAVIEST
    with Image.open(io.BytesIO(jpeg)) as image:
        assert image.format == "JPEG"
        assert image.width == pytest.approx(2 * image.height, abs=2)


def test_a_light_jpeg_is_embedded_as_it_is() -> None:
    assert embedded(picture(kind="JPEG")) == picture(kind="JPEG")


def test_the_summary_is_told_and_missing_parts_are_left_out(tmp_path: Path) -> None:
    summary = {
        "accuracy": 0.875,
        "hit_rate": None,
        "per_class": {"cat": 1.0, "dog": float("nan")},
        "confusion": [[3, 1], [0, 0]],
    }
    text = Tags(write(tmp_path, [entry("a")], title="t", summary=summary).read_text("utf-8")).text
    assert "87.5%" in text
    assert "Hit rate" not in text
    assert "Confusion" in text
    assert "nan" not in text


def test_sets_of_classes_have_no_confusion(tmp_path: Path) -> None:
    summary = {"accuracy": 0.5, "majority": 0.25, "per_class": {"0": 0.5, "7": 0.75}}
    for confusion, said in ([], "commonest set"), ([[1, 1], [1, 3]], "commonest class"):
        page = write(tmp_path, [entry("a")], title="t", summary=summary | {"confusion": confusion})
        text = Tags(page.read_text("utf-8")).text
        assert said in text
        assert "75.0%" in text
        assert ("Confusion" in text) == bool(confusion)


def test_many_classes_give_the_commonest_confusions(tmp_path: Path) -> None:
    names = [f"class {n}" for n in range(40)]
    counts = [[0] * 40 for _ in names]
    counts[3][7], counts[5][6] = 2, 9
    summary = {"per_class": dict.fromkeys(names, 0.5), "confusion": counts}
    text = Tags(write(tmp_path, [entry("a")], title="t", summary=summary).read_text("utf-8")).text
    assert text.index("9 × class 5 taken for class 6") < text.index("2 × class 3 taken for class 7")


def test_nothing_to_show_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name at least one"):
        write(tmp_path / "r", [], title="t")
    assert not (tmp_path / "r").exists()


def test_only_unreadable_images_still_make_a_page(tmp_path: Path) -> None:
    page = write(tmp_path, [Entry("a", b"", "", 0.0, error="cut off")], title="t")
    assert "cut off" in page.read_text("utf-8")


def test_an_entry_needs_a_picture_or_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither"):
        write(tmp_path, [Entry("a", b"", "cat", 0.5)], title="t")


def test_a_second_report_replaces_the_first_and_spares_other_files(tmp_path: Path) -> None:
    write(tmp_path, [entry("first"), entry("other")], title="t")
    (tmp_path / "pictures" / "mine.png").write_bytes(b"kept")
    write(tmp_path, [entry("second")], title="t")
    left = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert left == ["00001-second.png", "mine.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "pictures"]


def test_a_file_in_the_way_is_one_line_to_the_user(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written") as caught:
        write(tmp_path / "file" / "report", [entry("a")], title="t")
    assert "\n" not in str(caught.value)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let every write beyond a file size fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    with files_of_at_most(4000), pytest.raises(UserError, match="free some space"):
        write(tmp_path / "deep" / "report", [entry("a"), entry("b")], title="t")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_report_before_as_it_was(tmp_path: Path) -> None:
    before = write(tmp_path, [entry("a")], title="t").read_bytes()
    with files_of_at_most(4000), pytest.raises(UserError, match="free some space"):
        write(tmp_path, [entry("b")], title="t")
    assert (tmp_path / "index.html").read_bytes() == before
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["00001-a.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "pictures"]
