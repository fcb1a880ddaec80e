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
from foveal.evaluation import Result, summarise
from foveal.report.learning import BeforeAfter, Learning
from foveal.report.page import EMBEDDED, HEAVIEST, Card, light_jpeg, sort_cards, write_page


def picture(size: tuple[int, int] = (12, 16), kind: str = "PNG") -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).save(content, kind)
    return content.getvalue()


def card(file: str, probability: float = 0.9, *, correct: bool | None = None) -> Card:
    truth = None if correct is None else ("cat" if correct else "dog")
    return Card(file, picture(), "cat", probability, truth, correct)


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
    cards = [
        Card("broken", b"", "", 0.0, error="cut off"),
        card("sure", 0.9, correct=True),
        card("doubtful", 0.4, correct=True),
        card("slip", 0.5, correct=False),
        card("blunder", 0.99, correct=False),
    ]
    files = [each.file for each in sort_cards(cards)]
    assert files == ["blunder", "slip", "doubtful", "sure", "broken"]


def test_unlabelled_images_stand_by_doubt_and_show_no_verdict(tmp_path: Path) -> None:
    page = write_page(tmp_path, [card("b.png", 0.8), card("a.png", 0.3)], title="t").read_text(
        "utf-8"
    )
    assert page.index("a.png") < page.index("b.png")
    text = Tags(page).text
    assert "✓" not in text
    assert "✗" not in text
    assert "True class" not in text


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    hostile = '"><img src=x onerror=alert(1)>/../<script>alert(2)</script>'
    cards = [
        Card(hostile, picture(), hostile, 0.7, hostile + "!", False),
        Card(hostile, b"", "", 0.0, error=hostile),
    ]
    summary = {"per_class": {hostile: 0.5}, "confusion": [[1]], "classes": [hostile]}
    page = Tags(
        write_page(tmp_path / "r", cards, title=hostile, summary=summary).read_text("utf-8")
    )
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not [1 for _, attributes in page.tags if any(a.startswith("on") for a in attributes)]
    assert hostile in page.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r"]
    assert len(list((tmp_path / "r" / "pictures").iterdir())) == 1


def test_names_that_are_not_utf8_are_borne(tmp_path: Path) -> None:
    write_page(tmp_path, [card("caf\udce9.jpg")], title="caf\udce9").read_text("utf-8")


def test_the_page_refers_to_nothing_outside_its_folder(tmp_path: Path) -> None:
    rows = [{"step": n, "loss": 1 / (n + 1)} for n in range(3)]
    path = write_page(tmp_path, [card("a"), card("b")], title="t", metrics_rows=rows)
    page = Tags(path.read_text("utf-8"))
    assert "link" not in [tag for tag, _ in page.tags]
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "action"):
            value = attributes.get(name) or ""
            assert re.match(r"(data:image/|pictures/|#|$)", value), value
    assert "@import" not in path.read_text("utf-8")
    assert "url(" not in path.read_text("utf-8")


def test_the_page_shows_what_each_phase_came_to_and_nothing_where_there_was_none(
    tmp_path: Path,
) -> None:
    small = Image.new("RGB", (20, 10))
    pairs = [
        BeforeAfter("<a>.png", "cat", small, small, hit_before=False, hit_after=True),
        BeforeAfter("b.png", "", small, small, hit_before=True, hit_after=True),
        BeforeAfter("c.png", "", small, small),
    ]
    rows = [{"step": n, "seconds": 60.0 * n, "loss": 1.0} for n in (1, 2)]
    learning = Learning({"cat": [small] * 3}, pairs, rows, {"read": 80.0, "look": 150.0})
    options = {"title": "t", "metrics_rows": rows}
    path = write_page(tmp_path / "all", [card("a")], learning=learning, **options)
    page = Tags(path.read_text("utf-8"))
    text = " ".join(page.text.split())
    assert "read 80 s, look 2 min: 4 min in all" in text
    assert "in 1 of these 2 images, a window after training in 2" in text
    assert "<a>.png · cat" in text
    shown = [a["alt"] or "" for tag, a in page.tags if tag == "img"]
    assert sum("Exemplar of cat" in alt for alt in shown) == 3
    assert sum("Proposed windows" in alt for alt in shown) == 3
    text = Tags(write_page(tmp_path / "none", [card("a")], **options).read_text("utf-8")).text
    assert "before and after" not in text
    assert "in all" not in text


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_every_picture_lies_unchanged_beside_the_page(tmp_path: Path, kind: str) -> None:
    content = picture(kind=kind)
    cards = [Card(f"folder/{n}/same name.tif", content, "cat", 0.5) for n in range(3)]
    page = Tags(write_page(tmp_path, cards, title="t").read_text("utf-8"))
    linked = [a["href"] for tag, a in page.tags if tag == "a" and "pictures/" in (a["href"] or "")]
    assert len(set(linked)) == 3
    for href in linked:
        assert (tmp_path / str(href)).read_bytes() == content
        assert str(href).endswith(".jpg" if kind == "JPEG" else ".png")


def test_a_long_report_embeds_the_first_and_says_so(tmp_path: Path) -> None:
    cards = [card(f"{n}.png", n / 1000) for n in range(EMBEDDED + 5)]
    page = Tags(write_page(tmp_path, cards, title="t").read_text("utf-8"))
    assert sum(tag == "li" for tag, _ in page.tags) == EMBEDDED
    assert f"The first {EMBEDDED} of {EMBEDDED + 5} pictures" in page.text
    assert len(list((tmp_path / "pictures").iterdir())) == EMBEDDED + 5


def test_an_embedded_picture_is_a_light_jpeg_of_the_same_proportions() -> None:
    # Noise is what a JPEG can compress least.
    jpeg = light_jpeg(picture((1000, 2000)))
    assert len(jpeg) <= HEAVIEST
    with Image.open(io.BytesIO(jpeg)) as image:
        assert image.format == "JPEG"
        assert image.width == pytest.approx(2 * image.height, abs=2)


def test_a_light_jpeg_is_embedded_as_it_is() -> None:
    assert light_jpeg(picture(kind="JPEG")) == picture(kind="JPEG")


def test_the_summary_is_told_and_missing_parts_are_left_out(tmp_path: Path) -> None:
    summary = {
        "accuracy": 0.875,
        "hit_rate": None,
        "intervals": {"accuracy": [0.529, 0.978]},
        "per_class": {"cat": 1.0, "dog": float("nan")},
        "confusion": [[3, 1], [0, 0]],
        "classes": ("cat", "dog"),
    }
    text = Tags(
        write_page(tmp_path, [card("a")], title="t", summary=summary).read_text("utf-8")
    ).text
    assert "87.5%" in text
    assert "95 % interval 52.9% to 97.8%" in text
    assert "Hit rate" not in text
    assert "Confusion matrix" in text
    assert "nan" not in text


def test_sets_of_classes_have_no_confusion(tmp_path: Path) -> None:
    recalls = {"0": 0.5, "7": 0.75}
    summary = {"majority": 0.25, "per_class": recalls, "classes": ["0", "7"]}
    for confusion, kind in ([], "set of classes"), ([[1, 1], [1, 3]], "class"):
        page = write_page(
            tmp_path, [card("a")], title="t", summary=summary | {"confusion": confusion}
        )
        text = Tags(page.read_text("utf-8")).text
        assert text.count(f"always predicting the most frequent {kind}") == 1
        assert "75.0%" in text
        assert ("Confusion matrix" in text) == bool(confusion)


def test_many_classes_give_the_most_frequent_confusions(tmp_path: Path) -> None:
    names = [f"class {n}" for n in range(40)]
    counts = [[0] * 40 for _ in names]
    counts[3][7], counts[5][6] = 2, 9
    summary = {"per_class": dict.fromkeys(names, 0.5), "confusion": counts, "classes": names}
    text = Tags(
        write_page(tmp_path, [card("a")], title="t", summary=summary).read_text("utf-8")
    ).text
    assert text.index("9 × class 5 predicted as class 6") < text.index(
        "2 × class 3 predicted as class 7"
    )


def report_without(missing: str, classes: int) -> tuple[dict[str, object], tuple[str, ...]]:
    """A summary of data without one class, in which every other image is predicted as `missing`."""
    names = tuple(f"class {n}" for n in range(classes))
    shares = dict.fromkeys(names, 1 / classes)
    results = [
        (Result(f"{truth}{n}", label, 1 / classes, shares, [], truth), None)
        for truth in names
        if truth != missing
        for n, label in enumerate((truth, missing))
    ]
    return summarise(results, names).summary(), names


@pytest.mark.parametrize("missing", range(3))
def test_every_count_of_the_matrix_stands_at_its_own_classes(tmp_path: Path, missing: int) -> None:
    summary, names = report_without(f"class {missing}", 3)
    page = Tags(write_page(tmp_path, [card("a")], title="t", summary=summary).read_text("utf-8"))
    cells = [
        (a["data-truth"], a["data-label"])
        for t, a in page.tags
        if "data-truth" in a and t == "button"
    ]
    others = [name for name in names if name != f"class {missing}"]
    assert sorted(cells) == sorted((t, each) for t in others for each in (t, f"class {missing}"))


@pytest.mark.parametrize("missing", [0, 13, 24])
def test_every_mistake_is_listed_with_its_own_classes(tmp_path: Path, missing: int) -> None:
    summary, _ = report_without(f"class {missing}", 25)
    page = write_page(tmp_path, [card("a")], title="t", summary=summary).read_text("utf-8")
    listed = re.findall(r"<li>(\d+) × (class \d+) predicted as (class \d+)</li>", page)
    assert len(listed) == 15
    for count, truth, label in listed:
        assert (count, label) == ("1", f"class {missing}")
        assert truth != label


def test_a_confusion_without_the_names_of_its_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 rows needs as many classes"):
        write_page(tmp_path, [card("a")], title="t", summary={"confusion": [[1, 0], [0, 1]]})


@pytest.mark.parametrize("summary", [None, {"accuracy": 0.25}])
def test_accuracy_is_shown_if_and_only_if_it_is_known(
    tmp_path: Path, summary: dict[str, float] | None
) -> None:
    text = Tags(
        write_page(tmp_path, [card("a")], title="t", summary=summary).read_text("utf-8")
    ).text
    assert ("Accuracy" in text and "25.0%" in text) == (summary is not None)
    assert "accuracy" not in text.lower() or summary is not None


def test_nothing_to_show_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name at least one"):
        write_page(tmp_path / "r", [], title="t")
    assert not (tmp_path / "r").exists()


def test_only_unreadable_images_still_make_a_page(tmp_path: Path) -> None:
    page = write_page(tmp_path, [Card("a", b"", "", 0.0, error="cut off")], title="t")
    assert "cut off" in page.read_text("utf-8")


def test_an_entry_needs_a_picture_or_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither"):
        write_page(tmp_path, [Card("a", b"", "cat", 0.5)], title="t")


def test_a_second_report_replaces_the_first_and_spares_other_files(tmp_path: Path) -> None:
    write_page(tmp_path, [card("first"), card("other")], title="t")
    (tmp_path / "pictures" / "mine.png").write_bytes(b"kept")
    write_page(tmp_path, [card("second")], title="t")
    left = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert left == ["00001-second.png", "mine.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "pictures"]


def test_a_file_in_the_way_is_one_line_to_the_user(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written") as caught:
        write_page(tmp_path / "file" / "report", [card("a")], title="t")
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
        write_page(tmp_path / "deep" / "report", [card("a"), card("b")], title="t")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_report_before_as_it_was(tmp_path: Path) -> None:
    before = write_page(tmp_path, [card("a")], title="t").read_bytes()
    with files_of_at_most(4000), pytest.raises(UserError, match="free some space"):
        write_page(tmp_path, [card("b")], title="t")
    assert (tmp_path / "index.html").read_bytes() == before
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["00001-a.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "pictures"]
