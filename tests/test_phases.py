"""Phases of training: strips, votes, what the scorer is taught, and a run from end to end."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import foveal
import miniatures
from foveal.data import Example, Splits, wrap
from foveal.data.folder import read_folder
from foveal.errors import UserError
from foveal.evaluation import read_input
from foveal.experiment import group_options
from foveal.images import TensorImage
from foveal.models import PatchClassifier, patch_classifier
from foveal.nn.aggregators import Vote
from foveal.nn.encoders import Backbone
from foveal.nn.scorers import BackboneScorer
from foveal.phases.balancing import Repeated, balanced, repetitions
from foveal.phases.launch import resume, start
from foveal.phases.phase_log import PhaseLog
from foveal.phases.pooling import choose_pooling
from foveal.phases.proposing import Proposed
from foveal.phases.reader import Reader
from foveal.phases.reading import features_of
from foveal.phases.reranking import rerank
from foveal.phases.sequence import begin
from foveal.phases.showing import learning
from foveal.phases.strips import Draw, Strips, boxes_in_strip, strip_windows
from foveal.phases.targets import closer_target_of, support_of, target_of
from foveal.phases.teaching import teach
from foveal.phases.view_classifier import fit_global_head, mix, weigh
from foveal.planning.folder import folder
from foveal.report.looks import _votes
from foveal.runs.folder import RunFolder
from foveal.runs.record import restore
from foveal.settings import Beginning, Hardware, Optimisation, Precision, Training
from foveal.windows import centres

PATCH = 32
CPU = Hardware(accelerator="cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small timm network, which tell colours apart well enough."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "small.pt"
    torch.save(Backbone("test_resnet", stage=-1).network.state_dict(), file)
    return file


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey noise; a blue or a red square somewhere, or none. Boxes tell where."""
    root = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    boxes = ["file,x0,y0,x1,y1"]
    for name, channel in (("blue", 2), ("none", None), ("red", 0)):
        (root / name).mkdir()
        for number in range(16):
            pixels = random.integers(60, 120, (128, 160, 3), dtype=np.uint8)
            top, left = random.integers(0, 112), random.integers(0, 144)
            if channel is not None:
                pixels[top : top + 16, left : left + 16, channel] = 255
                boxes.append(f"{name}/{number}.png,{left},{top},{left + 16},{top + 16}")
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    (root / "boxes.csv").write_text("\n".join(boxes) + "\n")
    return root


def classifier(
    weights: Path, classes: int = 3, *, global_head: bool = False, **glances: int
) -> PatchClassifier:
    torch.manual_seed(0)
    return patch_classifier(
        "test_resnet",
        classes=classes,
        view=(128, 160),
        patch=PATCH,
        k=3,
        weights=weights,
        encoder_stage=2,
        scorer="test_resnet",
        freeze_scorer=True,
        scorer_width=8,
        aggregator="vote",
        global_head=global_head,
        **glances,
    )


def strips_of(photos: Path, side: int = 48) -> Strips:
    images = read_folder(photos, seed=0).train
    corner = torch.tensor([[0, 0], [40, 60], [96, 128]])
    windows = torch.cat((corner, corner + PATCH), dim=1)
    return Strips(images, [windows] * len(images), side=side)


def test_the_windows_of_a_strip_are_those_of_the_image_with_a_margin(photos: Path) -> None:
    strips = strips_of(photos)
    whole = strips.images[0].image
    strip = strips[0].image
    assert isinstance(strip, TensorImage)
    windows = strip_windows(strip.pixels)
    assert windows.shape == (3, 3, 48, 48)
    inner = windows[:, :, 8:-8, 8:-8].float() / 255
    torch.testing.assert_close(inner, whole.crops(strips.windows[0], (PATCH, PATCH)))
    assert (windows[0, :, :8] == 0).all()  # above the image


def test_a_strip_is_the_same_whether_it_is_kept_or_cut_again(photos: Path) -> None:
    kept = strips_of(photos)
    cut = Strips(kept.images, kept.windows, side=48, memory=0)
    for _ in range(2):
        assert torch.equal(kept[1].image.pixels, cut[1].image.pixels)  # type: ignore[attr-defined]


def test_boxes_follow_the_windows_that_show_most_of_them() -> None:
    windows = torch.tensor([[0, 0, 10, 10], [5, 5, 15, 15], [50, 50, 60, 60]])
    boxes = torch.tensor([[6, 6, 9, 9], [12, 4, 16, 9]])
    assert boxes_in_strip(boxes, windows).tolist() == [[6, 6, 9, 9], [11, 1, 14, 4], [17, 0, 20, 4]]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_without_distortion_windows_are_drawn_as_they_are(photos: Path, count: int) -> None:
    strip = strips_of(photos)[0].image.pixels  # type: ignore[attr-defined]
    still = Draw(count=count, patch=PATCH, shift=0, scale=1, tilt=0, colour=False)
    drawn = strip_windows(still(strip, torch.Generator().manual_seed(0)))
    middles = strip_windows(strip)[:, :, 8:-8, 8:-8].float() / 255
    found = [(each - middles).abs().amax(dim=(1, 2, 3)).argmin().item() for each in drawn]
    assert len(set(found)) == count
    torch.testing.assert_close(drawn, middles[found], atol=1e-4, rtol=0)


def test_a_draw_is_a_function_of_its_generator_and_prefers_the_first_windows(photos: Path) -> None:
    strip = strips_of(photos)[0].image.pixels  # type: ignore[attr-defined]
    wild = Draw(count=2, patch=PATCH, shift=8, flip=True, turn=True)
    one, again, other = (wild(strip, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    first = Draw(count=1, patch=PATCH, shift=0, scale=1, tilt=0, colour=False, first=1e-6)
    drawn = first(strip, torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        drawn, strip[:, 8 : 8 + PATCH, 8:-8].float() / 255, atol=1e-4, rtol=0
    )


def test_repetitions_and_weights_together_balance_the_classes(photos: Path) -> None:
    labels = torch.tensor([0] * 18 + [1] * 8 + [2] * 2)
    assert repetitions(labels, 3).tolist() == [1, 2, 3]  # roots of 1, 2.25, 9
    strips = strips_of(photos)
    few = [i for i, label in enumerate(strips.labels.tolist()) if label != 0 or i % 4 == 0]
    rare = Repeated(strips, few)
    counts = torch.bincount(rare.labels, minlength=3)
    assert len(set(counts.tolist())) > 1
    repeated, weights = balanced(rare, tuple((len(few) / 3 / counts).tolist()))
    assert weights is not None
    share = torch.bincount(repeated.labels, minlength=3) * torch.tensor(weights)
    torch.testing.assert_close(share, share.mean().expand(3))


def test_pooled_votes_lie_between_mean_and_maximum_and_do_not_depend_on_the_order() -> None:
    vote = Vote(5, classes=4).eval()
    features = torch.randn(3, 6, 5)
    votes = vote.votes(features)
    pooled = vote.pool(votes)
    assert (pooled <= votes.amax(dim=1) + 1e-6).all()
    assert (pooled >= votes.mean(dim=1) - 1e-6).all()
    torch.testing.assert_close(vote.pool(votes[:, torch.randperm(6)]), pooled)
    for sharpness, limit in ((1e3, votes.amax(dim=1)), (1e-3, votes.mean(dim=1))):
        vote.log_sharpness.data.fill_(math.log(sharpness))
        torch.testing.assert_close(vote.pool(votes), limit, atol=5e-3, rtol=0)


def test_no_patch_votes_for_nothing_and_weights_remember_which_class_that_is() -> None:
    vote = Vote(5, classes=4).eval()
    vote.nothing.fill_(2)
    features = torch.randn(3, 6, 5)
    logits = vote.pool(vote.votes(features))
    assert (logits[:, 2] == 0).all()
    again = Vote(5, classes=4).eval()
    again.load_state_dict(vote.state_dict())
    assert torch.equal(again.pool(again.votes(features)), logits)


def test_the_logits_of_a_classifier_with_votes_are_the_votes(weights: Path) -> None:
    model = classifier(weights).eval()
    prediction = model(torch.rand(2, 3, 128, 160))
    patches = prediction.patches.flatten(0, 1)
    assert isinstance(model.aggregate, Vote)
    votes = model.aggregate.votes(model.encoder(patches).view(2, 3, -1))
    torch.testing.assert_close(prediction.logits, model.aggregate.pool(votes))


def test_support_is_the_log_odds_of_the_label() -> None:
    votes = torch.randn(6, 4, dtype=torch.float64)
    share = votes.softmax(dim=1)[:, 1]
    torch.testing.assert_close(support_of(votes, 1), (share / (1 - share)).log())
    both = torch.tensor([True, False, False, True])
    torch.testing.assert_close(support_of(votes, both), votes[:, 0] + votes[:, 3])


@pytest.mark.parametrize("size", [(128, 160), (300, 200)])
def test_a_target_is_a_distribution_over_cells_inside_the_image(
    weights: Path, size: tuple[int, int]
) -> None:
    model = classifier(weights)
    image = TensorImage(torch.zeros(3, *size))
    windows = torch.tensor([[0, 0, 32, 32], [70, 100, 102, 132]])
    windows = torch.cat((windows, torch.tensor([[size[0] - 32, size[1] - 32, *size]])))
    sure = target_of(model, image, windows, torch.tensor([0.0, 30.0, 0.0]))
    torch.testing.assert_close(sure.places.sum(), torch.tensor(1.0))
    assert sure.decided > 0.99
    candidates, inside = model.geometry.windows([image], torch.device("cpu"))
    middle = centres(candidates.view(-1, 4))
    best = (middle - torch.tensor([86.0, 116.0])).abs().amax(dim=1)
    assert best[sure.places.argmax()] <= best.min() + 1e-3
    assert (sure.places[~inside.view(-1)] == 0).all()
    open_ = target_of(model, image, windows, torch.zeros(3))
    assert open_.decided == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("glances", [1, 2])
def test_teaching_changes_the_last_layers_only_and_scores_what_it_was_told(
    photos: Path, weights: Path, glances: int
) -> None:
    model = classifier(weights, glances=glances, closer=2, regions=4)
    images = read_folder(photos, seed=0).train
    before = {name: value.clone() for name, value in model.state_dict().items()}
    targets, told = [], []
    for index in range(len(images)):
        example = images[index]
        boxes = torch.tensor([[0, 0, 16, 16]]) if example.boxes is None else example.boxes
        elsewhere = torch.tensor([[0, 0, 32, 32], [96, 128, 128, 160]])
        windows = torch.cat((boxes - 8 + torch.tensor([0, 0, 16, 16]), elsewhere))
        support = torch.tensor([9.0, 0, 0]) if example.boxes is not None else torch.zeros(3)
        told.append((windows, support))
        targets.append(target_of(model, example.image, windows, support))
    teach(model, images, targets, seed=0, passes=60)
    if glances == 2:
        closer = [
            closer_target_of(model, images[index].image, *told[index], targets[index])
            for index in range(len(images))
        ]
        for each, (windows, _), target in zip(closer, told, targets, strict=True):
            assert each.target.decided <= target.decided + 1e-6
            assert (each.target.places[~each.regions.inside[0]] == 0).all()
            if target.decided > 0.5:  # the region of the evidence is among them
                best = each.regions.windows[0, each.target.places.argmax()]
                assert foveal.windows.covers(best[None], windows[:1]).any()
        teach(model, images, targets, seed=0, passes=60, closer=closer)
    changed = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert changed
    assert all(name.startswith("scorer.score.") for name in changed)
    hits = []
    model.eval()
    for index in range(len(images)):
        if images[index].boxes is not None:
            prediction = model([images[index].image])
            best = prediction.windows.view(-1, 4)[int(prediction.scores.argmax())]
            inside = foveal.windows.covers(best[None], images[index].boxes)
            hits.append(bool(inside.any()))
    assert sum(hits) > 0.9 * len(hits)


def test_teaching_keeps_the_views_that_say_most_about_where_to_look(
    photos: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foveal.phases.teaching._FEWEST", 3)
    model, images, seen = classifier(weights), read_folder(photos, seed=0).train, list[int]()
    windows = torch.tensor([[0, 0, 32, 32], [96, 128, 128, 160]])
    targets = [
        target_of(model, images[index].image, windows, torch.tensor([index / 10, 0.0]))
        for index in range(len(images))
    ]

    class Counted:
        classes, labels = images.classes, images.labels

        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, index: int) -> Example:
            seen.append(index)
            return images[index]

    teach(model, Counted(), targets, seed=0, passes=2, memory=0)
    last = len(images) - 1
    assert sorted(seen) == [0, last - 2, last - 1, last]  # once each; 0 tells how large they are


@pytest.fixture
def dark_and_light(tmp_path: Path) -> Splits:
    for name, level in (("dark", 40), ("light", 200)):
        for number in range(12):
            noise = miniatures.pixels(64, 80, seed=number) // 8 + level
            miniatures.write(tmp_path / name / f"{number}.png", noise)
    return read_folder(tmp_path, seed=0)


def test_a_global_head_tells_images_apart_that_differ_as_a_whole(
    dark_and_light: Splits, weights: Path
) -> None:
    model = classifier(weights, classes=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = fit_global_head(model, dark_and_light, None, lambda done, total: None)
    assert found.accuracy == found.balanced_accuracy == 1
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


def test_frozen_passes_compute_with_the_precision_that_is_asked_for(
    photos: Path, dark_and_light: Splits, weights: Path
) -> None:
    model, strips = classifier(weights), strips_of(photos)

    def windows(precision: Precision) -> Tensor:
        assert isinstance(model.aggregate, Vote)
        reader = Reader(model.encoder, model.aggregate, patch=PATCH, precision=precision)
        return features_of(reader, strips, lambda done: None, of=[0, 1])

    def view(precision: Precision) -> Tensor:
        two = classifier(weights, classes=2)
        return fit_global_head(two, dark_and_light, None, lambda a, b: None, precision).weight

    for passes in (windows, view):
        exact, rounded = passes("32-true"), passes("bf16-mixed")
        assert rounded.dtype == exact.dtype == torch.float32
        assert torch.equal(exact, passes("auto"))  # which is that here
        assert not torch.equal(exact, rounded)
        torch.testing.assert_close(rounded, exact, atol=0.05 * float(exact.abs().max()), rtol=0.05)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_networks_compute_with_one_precision_through_all_phases_before_the_last(
    photos: Path, weights: Path, tmp_path: Path, precision: Precision
) -> None:
    model, rounds = classifier(weights, global_head=True), set[tuple[str, bool]]()
    assert isinstance(model.scorer, BackboneScorer)
    for name, network in (("view", model.scorer.network), ("patches", model.encoder)):

        def note(module: nn.Module, _: object, name: str = name, own: nn.Module = network) -> None:
            if module is own:  # not a copy of it, whose receptive field is measured
                rounds.add((name, torch.is_autocast_enabled("cpu")))

        network.register_forward_pre_hook(note)
    folder, images = RunFolder.create(tmp_path / "run"), read_folder(photos, seed=0)
    begin(
        model,
        images,
        Training(optimisation=Optimisation(steps=2, batch=8), seed=0),
        Beginning(proposals=6, read_steps=4),
        folder=folder,
        hardware=Hardware(accelerator="cpu", precision=precision),
        log=PhaseLog(folder, verbose=False),
    )
    assert rounds == {("view", precision != "32-true"), ("patches", precision != "32-true")}


def test_the_answer_is_the_mixture_of_windows_and_view(
    dark_and_light: Splits, weights: Path
) -> None:
    model = classifier(weights, classes=2, global_head=True).eval()
    images = [dark_and_light.validation[i].image for i in range(len(dark_and_light.validation))]
    fitted = fit_global_head(model, dark_and_light, None, lambda done, total: None)
    with torch.no_grad():
        looks = model(images).logits
        mixture = mix(model, fitted, dark_and_light.validation)
        mixed = model(images).logits
    assert mixture is not None
    expected = mixture.windows * looks + mixture.view * fitted.validation
    torch.testing.assert_close(mixed, expected, rtol=1e-3, atol=1e-3)
    labels = dark_and_light.validation.labels
    assert cross_entropy(mixed, labels) <= cross_entropy(looks, labels)
    assert bool((mixed.argmax(dim=1) == labels).all())  # an untrained encoder tells nothing
    assert mix(classifier(weights, classes=2), fitted, dark_and_light.validation) is None


def test_many_images_choose_the_best_mixture_and_few_let_both_count() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (400,), generator=generator)
    right = 6.0 * torch.eye(3)[labels] + torch.randn(400, 3, generator=generator)
    wrong = right.roll(1, dims=1)
    assert weigh(right, wrong, labels).view < 0.05
    assert weigh(wrong, right, labels).windows < 0.1
    few = weigh(right[:6], right[:6].roll(1, dims=0), labels[:6])
    assert few.windows > 0.4
    assert 0.01 < few.view < 0.4
    both = weigh(right[:6], right[:6], labels[:6])
    assert abs(both.windows - both.view) < 0.1


def test_phases_go_on_where_they_were_stopped(photos: Path, weights: Path, tmp_path: Path) -> None:
    splits = read_folder(photos, seed=0)
    training = Training(optimisation=Optimisation(steps=2, batch=8), seed=0)
    beginning = Beginning(proposals=6, read_steps=4)

    def run(folder: RunFolder) -> dict[str, Tensor]:
        model = classifier(weights)
        log = PhaseLog(folder, verbose=False)
        begin(model, splits, training, beginning, folder=folder, hardware=CPU, log=log)
        return model.state_dict()

    folder = RunFolder.create(tmp_path / "run")
    first = run(folder)
    for forgotten in (None, "taught.pt", "proposals.pt"):
        if forgotten is not None:
            (folder.path / "phases" / "taught.pt").unlink()
            (folder.path / "phases" / forgotten).unlink(missing_ok=True)
        again = run(folder)
        assert first.keys() == again.keys()
        assert all(torch.equal(first[name], again[name]) for name in first)
    notes = (folder.path / "log" / "messages.txt").read_text()
    assert "phase 1 of 4: proposals" in notes
    assert "phase 3 of 4: teach" in notes


@pytest.mark.parametrize("lost", [("taught.pt",), ("taught.pt", "proposals.pt", "read")])
def test_a_run_stopped_before_its_first_checkpoint_goes_on_from_its_own_weights(
    photos: Path, weights: Path, tmp_path: Path, lost: tuple[str, ...]
) -> None:
    options = {"encoder": "test_resnet", "weights": weights, "patch": PATCH, "k": 3, "steps": 2}
    options |= {"read_steps": 4, "proposals": 6}
    experiment = folder(data=photos, **group_options(folder, options))
    run = start(experiment, tmp_path / "run", CPU, progress=False)
    whole = run.weights("last")
    for name in lost:
        path = run.path / "phases" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(run.path / "checkpoints")
    begun = folder(data=photos, **group_options(folder, options)).model
    run.save("first", begun.state_dict())  # as it was until the end of training
    run.metrics_file.unlink()
    again = resume(run.path, CPU, progress=False).weights("last")
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_the_time_of_each_phase_is_kept(trained: foveal.runs.Run) -> None:
    times = RunFolder(trained.path).kept("times")
    assert times is not None
    assert list(times) == ["baseline", "proposals", "read", "teach", "look"]
    assert all(seconds > 0 for seconds in times.values())


def test_a_damaged_phase_is_named(photos: Path, weights: Path, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.keep("times", {"read": 0.5})
    file = tmp_path / "run" / "phases" / "times.pt"
    assert folder.kept("times") == {"read": 0.5}
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(UserError, match=r"times\.pt is damaged"):
        folder.kept("times")


@pytest.fixture(scope="module")
def trained(
    photos: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> foveal.runs.Run:
    return foveal.train(
        photos,
        output=tmp_path_factory.mktemp("runs") / "photos",
        encoder="test_resnet",
        weights=weights,
        patch=PATCH,
        k=3,
        read_steps=60,
        steps=10,
        accelerator="cpu",
    )


def test_one_call_finds_things_that_only_labels_tell_of(trained: foveal.runs.Run) -> None:
    dataset, _ = trained.labelled_images(None)
    report = trained.evaluate(dataset)
    assert report.accuracy > 0.8
    assert report.hit_rate is not None
    assert report.hit_rate > 0.8
    assert report.chance_hit_rate is not None
    assert report.chance_hit_rate < 0.5
    kept = RunFolder(trained.path).kept("proposals")
    assert kept is not None
    assert "AUC" in kept["windows"]["summary"]
    vote = trained.model.aggregate
    assert isinstance(vote, Vote)
    assert trained.classes[int(vote.nothing)] == "none"


def test_what_the_phases_learned_is_shown_beside_what_the_model_does(
    trained: foveal.runs.Run,
) -> None:
    dataset, _ = trained.labelled_images(None)
    asked = [read_input(dataset, index) for index in range(len(dataset))]
    looks = [trained.look(each) for each in asked]
    shown = learning(RunFolder(trained.path), trained.model, asked, looks)
    assert set(shown.exemplars) <= {f"{no}{c}" for c in trained.classes for no in ("", "not ")}
    boxed = [each.file for each in asked if each.boxes is not None]
    assert [pair.file for pair in shown.pairs] == boxed[: len(shown.pairs)]
    assert len(shown.pairs) == min(6, len(boxed))
    report = trained.evaluate(dataset)
    assert report.hit_rate is not None
    hits = [pair.hit_after for pair in shown.pairs]
    if len(boxed) <= 6:
        assert sum(map(bool, hits)) / len(hits) == pytest.approx(report.hit_rate)
    assert list(shown.seconds) == ["baseline", "proposals", "read", "teach", "look"]
    assert [row["step"] for row in shown.reading][-1] in (60, "60")


def test_a_single_patch_votes_for_what_its_image_is_taken_for(weights: Path) -> None:
    model = classifier(weights).eval()
    model.aggregate.log_sharpness.data.fill_(1.0)  # type: ignore[union-attr]
    image = TensorImage(miniatures.pixels(128, 160))
    seen = model([image])
    one = replace(seen, patches=seen.patches[:, :1])
    ((label, share),) = _votes(model, one, ("a", "b", "c"), multilabel=False) or []
    features = model.encoder(seen.patches[:, 0]).detach()
    logits = model.aggregate.pool(model.aggregate.votes(features[:, None]))[0]  # type: ignore[union-attr]
    assert label == "abc"[int(logits.argmax())]
    assert share == pytest.approx(float(logits.detach().softmax(dim=0).max()), abs=1e-5)


def test_models_whose_windows_do_not_vote_have_no_mixture(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    options = {"encoder": "test_resnet", "weights": weights, "patch": PATCH, "k": 3, "steps": 1}
    options |= {"read_steps": 2, "proposals": 4, "aggregator": "transformer"}
    run = start(
        folder(data=photos, **group_options(folder, options)), tmp_path / "run", CPU, progress=False
    )
    assert run.kept("mixture") is None
    assert "None" not in (run.log / "messages.txt").read_text()


def test_batch_norms_learn_while_reading_and_keep_that_while_looking(
    trained: foveal.runs.Run,
) -> None:
    pretrained = restore(RunFolder(trained.path)).model.state_dict()  # but for what is not saved
    read = RunFolder(trained.path).phase("read").weights("last")
    means = [name for name in read if name.endswith("running_mean")]
    assert means
    for name in means:
        assert torch.equal(read[name], trained.model.state_dict()[name])
        assert not torch.equal(read[name], pretrained[name])


def test_a_run_remembers_how_it_began(trained: foveal.runs.Run) -> None:
    beginning = trained.experiment.beginning
    assert beginning is not None
    assert (beginning.read_steps, beginning.proposals) == (60, Beginning().proposals)


def windows_with_the_thing_in_the_last(photos: Path, count: int = 6) -> Strips:
    images = read_folder(photos, seed=0).train
    generator, windows = torch.Generator().manual_seed(0), []
    highest = torch.tensor([128 - PATCH, 160 - PATCH])
    for index in range(len(images)):
        corners = (torch.rand(count, 2, generator=generator) * highest).long()
        boxes = images[index].boxes
        if boxes is not None and len(boxes):
            elsewhere = torch.cat((corners, corners + PATCH), dim=1)
            corners[foveal.windows.iou(elsewhere, boxes[:1])[:, 0] > 0] = 0
            middle = (boxes[0, :2] + boxes[0, 2:]) // 2
            corners[-1] = (middle - PATCH // 2).clamp(min=0).minimum(highest)
        windows.append(torch.cat((corners, corners + PATCH), dim=1))
    return Strips(images, windows, side=48)


def test_windows_that_tell_the_label_are_ranked_first(photos: Path, weights: Path) -> None:
    strips = windows_with_the_thing_in_the_last(photos)
    model = classifier(weights)
    assert isinstance(model.aggregate, Vote)
    reader = Reader(model.encoder, model.aggregate, patch=PATCH)
    reader.vote.nothing.fill_(1)  # "none"
    before = {name: each.clone() for name, each in reader.state_dict().items()}
    given = tuple(strips.windows)
    proposed = Proposed("", False, 1, given, given)
    found = rerank(reader, proposed, strips, strips, class_weights=None, seed=0, progress=counted)
    told = [i for i in range(len(strips)) if strips.labels[i] != 1]
    first = [torch.equal(found.proposed.train[i][0], given[i][-1]) for i in told]
    assert sum(first) > 0.9 * len(told)
    assert found.accuracy > 0.9
    for some, windows in zip(found.proposed.train, given, strict=True):
        assert sorted(some.tolist()) == sorted(windows.tolist())
    assert all(torch.equal(each, before[name]) for name, each in reader.state_dict().items())


def majorities(count: int, *, seed: int) -> Strips:
    """Five squares of three colours an image; the label is the colour of three of them."""
    random, images = np.random.default_rng(seed), []
    for number in range(count):
        label = number % 3
        others = random.choice([c for c in range(3) if c != label], 2)
        pixels = random.integers(60, 120, (3, 32, 32 * 5), dtype=np.uint8)
        for place, channel in enumerate(random.permutation([label] * 3 + list(others))):
            pixels[channel, 8:24, 32 * place + 8 : 32 * place + 24] = 255
        images.append((torch.from_numpy(pixels), label))
    left = torch.arange(5) * 32
    windows = torch.stack((0 * left, left, 0 * left + 32, left + 32), dim=1)
    return Strips(wrap(images, ["blue", "green", "red"]), [windows] * count, side=48)


@pytest.mark.parametrize("joint", [False, True])
def test_frozen_features_say_whether_one_window_tells_the_label(
    photos: Path, weights: Path, joint: bool
) -> None:
    model = classifier(weights)
    assert isinstance(model.aggregate, Vote)
    reader = Reader(model.encoder, model.aggregate, patch=PATCH)
    if joint:
        train, validation = majorities(90, seed=0), majorities(30, seed=1)
    else:
        reader.vote.nothing.fill_(1)
        train = validation = windows_with_the_thing_in_the_last(photos)
    before = {name: each.clone() for name, each in reader.state_dict().items()}
    pooling = choose_pooling(
        reader, train, validation, class_weights=None, seed=0, progress=counted
    )
    assert pooling.joint is joint
    assert ("together" in str(pooling).split(":")[0]) is joint
    assert all(torch.equal(each, before[name]) for name, each in reader.state_dict().items())
    pooling.apply(reader.vote)
    assert (float(reader.vote.log_sharpness.exp().detach()) < 1) is joint


def test_windows_are_drawn_from_the_first_ones_only(photos: Path) -> None:
    strip = strips_of(photos)[0].image.pixels  # type: ignore[attr-defined]
    draw = Draw(count=1, patch=PATCH, shift=0, scale=1, tilt=0, colour=False, first=9, among=2)
    middles = strip_windows(strip)[:, :, 8:-8, 8:-8].float() / 255
    generator, found = torch.Generator().manual_seed(0), set[int]()
    for _ in range(40):
        drawn = draw(strip, generator)
        found.add(int((drawn - middles).abs().amax(dim=(1, 2, 3)).argmin()))
    assert found == {0, 1}


def counted(done: int, total: int) -> None:
    assert 0 < done <= total


def test_evidence_against_nothing_is_no_evidence() -> None:
    vote = Vote(4, classes=3)
    votes = torch.tensor([[[0.0, -5.0, -5.0], [0.0, 1.0, -9.0], [0.0, 0.5, 0.5]]])
    assert vote.evidence(votes)[0].tolist() == pytest.approx([10 / 3, 11 / 3, 1 / 6])
    vote.nothing.fill_(0)
    assert vote.evidence(votes)[0].tolist() == [-5.0, 1.0, 0.5]
