"""Laws of training: resumed is uninterrupted, to the bit; it learns; it stops politely."""

import math
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from foveal.data import Splits
from foveal.data.augmentation import augmentations
from foveal.data.loader import batches
from foveal.errors import UserError
from foveal.evaluation import evaluate
from foveal.models import PatchClassifier
from foveal.nn.selectors import Random, TopK
from foveal.objectives import classification, multilabel
from foveal.paper.nn.selectors import Mixed
from foveal.runs.folder import RunFolder
from foveal.settings import Hardware, Training
from foveal.training import Diverged, Stopped
from foveal.training.interruption import stop_on_signal
from miniatures import settings
from miniatures_training import (
    RANDOM,
    SPLITS,
    TIMES,
    TRAIN,
    VALIDATION,
    Squares,
    classifier,
    fit,
    floats,
    squares,
    still,
)


def counted(wanted: int, action: Callable[[], None]) -> Callable[[], None]:
    """A function whose call of the wanted number does something."""
    calls = iter(range(wanted))

    def call() -> None:
        if next(calls, None) == wanted - 1:
            action()

    return call


def trained(
    folder: Path,
    options: Training,
    interruption: Callable[[], None] | None = None,
    select: Any = None,
):
    """Weights, rows and last checkpoint of a run; interrupted while step 7 is prepared, or not."""
    run, model = RunFolder.create(folder), classifier(select=select)
    if interruption is not None:
        interrupted = replace(
            TRAIN, meanwhile=counted(6 * options.optimisation.batch + 2, interruption)
        )
        with pytest.raises((Stopped, UserError)):
            fit(model, Splits(interrupted, VALIDATION), options, run=run, progress=False)
        model = classifier(select=select)
    resume = interruption is not None
    rows = fit(model, SPLITS, options, run=run, resume=resume, progress=False)
    return model.state_dict(), rows, run


def crash() -> None:
    raise UserError("a file is damaged")


@pytest.mark.parametrize(
    ("changes", "select"),
    [
        ({}, None),
        ({"optimiser": "sgd", "accumulate": 2, "log_every": 1}, None),
        ({"ema_decay": 0.7}, None),
        ({}, Random(2)),
        ({}, Mixed(TopK(2), hard=0.3, random=0.3, dropped=0.2)),
    ],
)
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(
    tmp_path: Path, changes: dict[str, Any], select: Any
):
    options = settings(RANDOM, **changes)
    weights, rows, run = trained(tmp_path / "whole", options, select=select)
    for name, interruption in (
        ("stopped", lambda: signal.raise_signal(signal.SIGINT)),
        ("crashed", crash),
    ):
        other_weights, other_rows, other_run = trained(
            tmp_path / name, options, interruption, select
        )
        assert all(torch.equal(other_weights[key], weight) for key, weight in weights.items())
        for a, b in zip(other_rows, rows, strict=True):
            assert {k: v for k, v in a.items() if k not in TIMES} == {
                k: v for k, v in b.items() if k not in TIMES
            }
        assert other_run.rows() == other_rows
        for checkpoint in ("last", "best"):
            theirs = other_run.weights(checkpoint)
            assert all(torch.equal(theirs[k], w) for k, w in run.weights(checkpoint).items())


def test_a_stopped_run_says_how_far_it_came(tmp_path: Path):
    run = RunFolder.create(tmp_path / "run")
    stop = counted(RANDOM.optimisation.batch * 2 + 1, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Stopped, match="stopped at step 3 of 12") as stopped:
        fit(classifier(), Splits(replace(TRAIN, meanwhile=stop), VALIDATION), RANDOM, run=run)
    assert (stopped.value.step, stopped.value.steps, stopped.value.run) == (3, 12, run)
    assert run.state()["state"]["step"] == 3


def test_the_second_signal_stops_at_once():
    before = signal.getsignal(signal.SIGINT)
    with stop_on_signal() as asked:
        signal.raise_signal(signal.SIGINT)
        assert asked.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_it_learns_and_leaves_the_world_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    options = settings(RANDOM, steps=50, batch=16, learning_rate=0.004, validate_every=25, shift=0)
    options = settings(options, colour=False, flip=False)
    run, model = RunFolder.create(tmp_path / "run"), classifier()
    random, handler = torch.get_rng_state(), signal.getsignal(signal.SIGINT)
    rows = fit(model, Splits(squares(200, 1), squares(30, 2)), options, run=run)
    assert torch.equal(torch.get_rng_state(), random)
    assert signal.getsignal(signal.SIGINT) is handler

    assert rows[-1]["validation_accuracy"] >= 0.9
    assert rows[-1]["validation_hit_rate"] >= 0.5  # at random 0.2; with other seeds 0.6 to 1
    assert [r["step"] for r in rows if r["validation_loss"] is not None] == [25, 50]
    last = run.weights("last")
    assert all(torch.equal(last[name], weight) for name, weight in model.state_dict().items())

    told = capsys.readouterr()
    assert told.out == ""
    assert "step 5 of 50  loss" in told.err
    assert "validation at step 50: loss" in told.err
    assert len(told.err.splitlines()) < 20
    assert list(run.log.glob("events.out.tfevents.*"))


@pytest.mark.parametrize("ema_decay", [0.0, 0.8])
def test_the_best_checkpoint_is_that_of_the_lowest_validation_loss(
    tmp_path: Path, ema_decay: float
):
    options = settings(RANDOM, validate_every=2, steps=10, ema_decay=ema_decay)
    _, rows, run = trained(tmp_path / "run", options)
    losses = [row["validation_loss"] for row in rows if row["validation_loss"] is not None]
    assert len(set(losses)) > 1
    model = classifier()
    model.load_state_dict(run.weights("best"))
    assert evaluate(model, VALIDATION).loss == pytest.approx(min(losses), rel=1e-6)


def test_nothing_is_told_without_progress(capsys: pytest.CaptureFixture[str]):
    fit(classifier(), SPLITS, settings(RANDOM, steps=2), progress=False)
    assert capsys.readouterr() == ("", "")


def test_there_must_be_a_run_to_resume(tmp_path: Path):
    with pytest.raises(ValueError, match="give the run folder"):
        fit(classifier(), SPLITS, RANDOM, resume=True)


def test_a_run_without_a_checkpoint_begins_anew(tmp_path: Path):
    run = RunFolder.create(tmp_path / "run")
    run.append({"step": 1, "loss": 0.0})
    rows = fit(
        classifier(), SPLITS, settings(RANDOM, steps=3), run=run, resume=True, progress=False
    )
    assert [row["step"] for row in rows] == [3]
    assert run.rows() == rows


def test_another_models_checkpoint_cannot_be_resumed(tmp_path: Path):
    run = RunFolder.create(tmp_path / "run")
    fit(classifier(), SPLITS, settings(RANDOM, steps=1), run=run, progress=False)
    with pytest.raises(UserError, match="does not fit this model"):
        fit(classifier(plain=True), SPLITS, RANDOM, run=run, resume=True, progress=False)


def test_a_finished_run_resumed_is_finished(tmp_path: Path):
    weights, rows, run = trained(tmp_path / "run", settings(RANDOM, steps=2))
    model = classifier()
    again = fit(model, SPLITS, settings(RANDOM, steps=2), run=run, resume=True, progress=False)
    assert again == rows
    assert all(torch.equal(model.state_dict()[name], weight) for name, weight in weights.items())


def the_contrary(prediction: Any, labels: Tensor, **options: Any) -> Tensor:
    return -classification(prediction, labels, **options)


@pytest.mark.parametrize(("patience", "last"), [(0, 5), (1, 1), (2, 2), (9, 5)])
def test_training_stops_where_the_validation_has_not_improved(
    tmp_path: Path, patience: int, last: int
):
    rates = {"learning_rate": 0.05, "warm_up": 0.0}
    options = settings(RANDOM, steps=5, validate_every=1, patience=patience, **rates)
    run, model = RunFolder.create(tmp_path / "run"), classifier()
    train = partial(fit, splits=SPLITS, training=options, objective=the_contrary, run=run)
    rows = train(model, progress=False, validate_first=True)
    assert [row["step"] for row in rows] == list(range(last + 1))
    losses = [row["validation_loss"] for row in rows]
    assert losses == sorted(losses)  # it learns the contrary
    assert ("stopped at step" in (run.log / "messages.txt").read_text()) is (last < 5)
    again = classifier()
    assert train(again, resume=True, progress=False, validate_first=True) == rows
    assert all(map(torch.equal, again.state_dict().values(), model.state_dict().values()))


def not_finite(prediction: Any, labels: Tensor, **_: Any) -> Tensor:
    return prediction.logits.sum() * math.nan


class Blind(nn.Module):
    """A scorer without a finite score in training, or in evaluation."""

    stride, offset = 8, 4.0

    def __init__(self, when: str) -> None:
        super().__init__()
        self.when, self.weight = when, nn.Parameter(torch.ones(()))

    def forward(self, view: Tensor) -> Tensor:
        scores = view.mean(dim=1)[:, ::8, ::8] * self.weight
        return scores * math.inf if self.training == (self.when == "training") else scores


@pytest.mark.parametrize("broken", ["loss", "scores"])
def test_a_step_that_is_not_finite_changes_nothing(broken: str):
    scorer, objective = (None, not_finite) if broken == "loss" else (Blind("training"), None)
    model = classifier(scorer=scorer)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    options = settings(RANDOM, steps=3, weight_decay=0.5)
    rows = fit(model, SPLITS, options, objective=objective, progress=False)
    assert all(torch.equal(model.state_dict()[name], weight) for name, weight in before.items())
    assert rows[-1]["loss"] is None


class Fragile:
    """An objective whose value is infinite at some calls."""

    def __init__(self, *bad: int) -> None:
        self.bad, self.calls = bad, 0

    def __call__(self, prediction: Any, labels: Tensor, **options: Any) -> Tensor:
        self.calls += 1
        loss = classification(prediction, labels, **options)
        return loss * math.inf if self.calls in self.bad else loss


@pytest.mark.parametrize("rule", ["adamw", "sgd"])
def test_a_run_whose_first_step_is_skipped_learns_as_if_it_had_begun_with_the_second(rule: str):
    """Of all images in every step, so that the steps differ in nothing but the images' order."""
    options = still(optimiser=rule, batch=24, schedule="constant", warm_up=0.0, steps=4)
    models = [classifier(plain=True) for _ in range(2)]
    fit(models[0], SPLITS, options, objective=Fragile(1), progress=False)
    fit(models[1], SPLITS, settings(options, steps=3), progress=False)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        # Adam takes the rounding of a gradient that is almost zero for a gradient
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 if rule == "adamw" else 1e-6)


READS = ("item", "tolist", "__bool__", "__float__", "__int__", "__index__", "nonzero", "cpu", "to")


def test_training_itself_reads_numbers_of_its_steps_only_where_it_logs(
    monkeypatch: pytest.MonkeyPatch,
):
    """Whoever asks from the modules of training; see test_devices for what is below them."""
    asked: list[tuple[int, str]] = []
    made = [0]

    def spy(name: str) -> None:
        method = getattr(Tensor, name)

        def read(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            caller = sys._getframe(1).f_code.co_filename
            moves = name == "to" and "cpu" not in map(str, (*args, *kwargs.values()))
            if "foveal/training" in caller.replace(os.sep, "/") and not moves:
                asked.append((made[0], name))
            return method(tensor, *args, **kwargs)

        monkeypatch.setattr(Tensor, name, read)

    def counting(prediction: Any, labels: Tensor, **options: Any) -> Tensor:
        made[0] += 1
        return classification(prediction, labels, **options)

    for name in READS:
        spy(name)
    options = settings(RANDOM, steps=10, log_every=4, validate_every=10)
    fit(classifier(), SPLITS, options, objective=counting, progress=False)
    before_validation = [entry for entry in asked if entry[0] < 10]
    assert before_validation == [(4, "tolist"), (8, "tolist")]


def test_a_run_of_an_optimiser_that_was_not_fused_is_resumed(tmp_path: Path):
    """As those of version 1.0 were; the weights agree to rounding."""
    for rule in ("adamw", "sgd"):
        options, folder = settings(RANDOM, optimiser=rule), tmp_path / rule
        weights, _, _ = trained(folder / "whole", options)
        run = RunFolder.create(folder / "run")
        stop = counted(6 * options.optimisation.batch + 2, crash)
        with pytest.raises(UserError):
            fit(
                classifier(),
                Splits(replace(TRAIN, meanwhile=stop), VALIDATION),
                options,
                run=run,
                progress=False,
            )
        saved = run.state()
        for group in saved["optimiser"]["param_groups"]:
            group["fused"] = None
        run.save("last", run.weights("last"), saved)
        model = classifier()
        fit(model, SPLITS, options, run=run, resume=True, progress=False)
        for name, weight in model.state_dict().items():
            torch.testing.assert_close(weight, weights[name])


def test_a_run_that_diverges_is_stopped_in_plain_words():
    options = settings(RANDOM, steps=40, optimiser="sgd", learning_rate=1e30, clip_norm=None)
    words = r"not finite in the 10 steps up to step 1\d; try a lower learning rate"
    with pytest.raises(Diverged, match=words) as error:
        fit(classifier(), SPLITS, settings(options, validate_every=40), progress=False)
    assert "\n" not in str(error.value)


def test_scores_that_are_not_finite_in_a_validation_are_divergence_and_no_bad_images():
    model = classifier(scorer=Blind("evaluation"))
    with pytest.raises(Diverged, match="training diverged: scores must be finite: got"):
        fit(model, SPLITS, settings(RANDOM, steps=1), progress=False)


def test_an_error_that_only_speaks_of_finite_scores_is_no_divergence():
    def fails(prediction: Any, labels: Tensor, **_: Any) -> Tensor:
        raise ValueError("scores must be finite, says somebody else")

    with pytest.raises(ValueError, match="somebody else") as error:
        fit(classifier(), SPLITS, RANDOM, objective=fails, progress=False)
    assert not isinstance(error.value, Diverged)


def weights_after(options: Training, model: PatchClassifier | None = None) -> list[Tensor]:
    model = model or classifier(plain=True)
    fit(model, SPLITS, options, progress=False)
    return [weight.detach() for weight in model.parameters()]


@pytest.mark.parametrize("parts", [2, 4, 6])
def test_a_batch_in_parts_is_the_same_step(parts: int):
    # SGD: what is but rounding in a gradient must not be blown up to a whole step
    options = still(optimiser="sgd", clip_norm=None)
    whole, split = weights_after(options), weights_after(settings(options, accumulate=parts))
    for a, b in zip(whole, split, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_float_images_are_not_rounded_to_half_precision():
    seen = []

    def look(module: nn.Module, inputs: tuple[Tensor], output: Any) -> None:
        seen.append(inputs[0][0].dtype)

    model = classifier(plain=True)
    model.register_forward_hook(look)
    data = floats(squares(8, 1).images.float() / 255)
    hardware = Hardware(accelerator="cpu", precision="bf16-mixed")
    fit(model, Splits(data, VALIDATION), still(steps=1), hardware=hardware, progress=False)
    assert seen[0] == torch.float32


def is_multilabel(data: Squares) -> Squares:
    """Every third image bears both classes, and the others their own."""
    labels = nn.functional.one_hot(data.labels, 2).bool()
    labels[::3] = True
    return replace(data, labels=labels)


def test_sets_of_classes_are_learned_counted_and_resumed_as_such(tmp_path: Path):
    data, options = Splits(is_multilabel(TRAIN), is_multilabel(VALIDATION)), still(log_every=1)
    batch = next(batches(data.train, size=6, seed=options.seed, steps=1))
    before = classifier(plain=True).eval()(batch.images)  # sigma 0 selects as evaluation does
    right = sum(
        all((x > 0) == borne for x, borne in zip(*row, strict=True))
        for row in zip(before.logits.tolist(), batch.labels.tolist(), strict=True)
    )
    model, run = classifier(plain=True), RunFolder.create(tmp_path / "whole")
    rows = fit(model, data, options, run=run, progress=False)
    loss = float(multilabel(before, batch.labels, entropy=options.optimisation.entropy).detach())
    assert rows[0]["loss"] == pytest.approx(loss, rel=1e-5)
    assert rows[0]["accuracy"] == right / 6
    assert rows[-1]["validation_accuracy"] == evaluate(model, data.validation).accuracy

    stop = counted(options.optimisation.batch * 2 + 1, lambda: signal.raise_signal(signal.SIGTERM))
    stopped, other = replace(data.train, meanwhile=stop), RunFolder.create(tmp_path / "stopped")
    with pytest.raises(Stopped):
        fit(classifier(plain=True), replace(data, train=stopped), options, run=other)
    resumed = classifier(plain=True)
    fit(resumed, data, options, run=other, resume=True, progress=False)
    for name, weight in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], weight), name


def test_clipping_by_value_and_by_norm_bounds_the_step():
    before = [weight.detach() for weight in classifier(plain=True).parameters()]
    rate = {"optimiser": "sgd", "learning_rate": 1.0, "schedule": "constant", "warm_up": 0.0}
    by_norm = weights_after(still(steps=1, weight_decay=0.0, clip_norm=1e-3, **rate))
    length = torch.cat([(a - b).flatten() for a, b in zip(before, by_norm, strict=True)]).norm()
    assert length == pytest.approx(1e-3, rel=1e-3)
    by_value = weights_after(
        still(steps=1, weight_decay=0.0, clip_norm=None, clip_value=1e-3, **rate)
    )
    most = max((a - b).abs().max() for a, b in zip(before, by_value, strict=True))
    assert most == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize(("rule", "decay"), [("adamw", 1.0), ("sgd", -1.0)])
def test_all_weights_decay_or_grow_by_rate_times_decay_where_told_to(rule: str, decay: float):
    def nothing(prediction, labels, **_):
        return 0 * prediction.logits.sum()

    rate = {"learning_rate": 0.01, "warm_up": 0.0, "entropy": 0.0}
    options = settings(RANDOM, steps=1, optimiser=rule, weight_decay=decay, decay_all=True, **rate)
    model = classifier()
    before = [weight.clone() for weight in model.parameters()]
    fit(model, SPLITS, options, objective=nothing, progress=False)
    for old, new in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(new, old * (1 - 0.01 * decay))
    assert any(weight.ndim == 1 and weight.any() for weight in model.parameters())


def test_frozen_weights_are_left_alone():
    model = classifier(plain=True)
    model.scorer.requires_grad_(False)
    before = [weight.clone() for weight in model.scorer.parameters()]
    fit(model, SPLITS, settings(RANDOM, steps=2), progress=False)
    assert all(torch.equal(a, b) for a, b in zip(before, model.scorer.parameters(), strict=True))


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_norms_use_and_keep_their_statistics_through_validations(frozen: bool):
    model = classifier()
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    assert norms
    before = [norm.running_mean.clone() for norm in norms]
    seen: list[bool] = []
    for norm in norms:
        norm.register_forward_pre_hook(lambda part, _: seen.append(part.training))
    fit(model, SPLITS, settings(RANDOM, steps=4, validate_every=2, frozen_norms=frozen))
    assert any(seen) is not frozen
    kept = [torch.equal(a, b.running_mean) for a, b in zip(before, norms, strict=True)]
    assert all(kept) if frozen else not any(kept)


@pytest.mark.parametrize("count", [1, 3])
def test_class_weights_must_be_as_many_as_the_classes_before_any_step(count: int):
    def never(*_: Any, **__: Any):
        raise AssertionError("a step was made")

    options = settings(RANDOM, class_weights=(1.0,) * count)
    with pytest.raises(UserError, match=rf"each of the 2 classes \(red, green\): got {count}"):
        fit(classifier(), SPLITS, options, objective=never, progress=False)


def test_training_needs_a_number_of_steps():
    with pytest.raises(ValueError, match="steps must be 1 or more to train: got 0"):
        fit(classifier(), SPLITS, settings(RANDOM, steps=0), progress=False)


def bug(prediction: Any, labels: Tensor, **_: Any) -> Tensor:
    raise KeyError("a bug")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"splits": Splits(replace(TRAIN, meanwhile=crash), VALIDATION)}, "a file is damaged"),
        ({"objective": bug}, "KeyError: 'a bug'"),
        ({"objective": not_finite}, "training diverged: "),
        ({"options": settings(RANDOM, class_weights=(1.0,))}, "class_weights must have one weight"),
        ({"hardware": Hardware(accelerator="cpu", devices=999)}, "cannot train on 999 devices"),
    ],
)
def test_a_run_that_fails_keeps_its_folder_and_the_reason_in_its_log(
    tmp_path: Path, given: dict[str, Any], reason: str
):
    run = RunFolder.create(tmp_path / "run")
    run.write_seed(0)
    splits, options = given.pop("splits", SPLITS), given.pop("options", RANDOM)
    with pytest.raises((UserError, KeyError)):
        fit(classifier(), splits, options, run=run, progress=False, **given)
    messages = (run.log / "messages.txt").read_text()
    assert messages.count("failed: ") == 1
    assert reason in messages
    assert (run.path / "seed").read_text() == "0\n"


def test_what_is_minimised_is_the_objective_that_was_given():
    def nothing(prediction, labels, *, entropy, class_weights):
        assert (entropy, class_weights.tolist()) == (0.5, [1.0, 2.0])
        return 0 * prediction.logits.sum() + 7

    options = settings(RANDOM, steps=3, entropy=0.5, class_weights=(1.0, 2.0), weight_decay=0.0)
    model = classifier()
    before = [weight.clone() for weight in model.parameters()]
    rows = fit(model, SPLITS, options, objective=nothing, progress=False)
    assert rows[0]["loss"] == 7
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_augmentation_is_what_was_asked_for():
    assert len(augmentations(RANDOM.augmentation)) == 1
    assert augmentations(still().augmentation) == ()


def test_a_device_that_is_not_there_is_a_users_mistake():
    absent = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(UserError, match=f"accelerator={absent}") as error:
        fit(classifier(), SPLITS, RANDOM, hardware=Hardware(accelerator=absent))
    assert "\n" not in str(error.value)
