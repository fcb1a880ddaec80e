"""A model for a user's own images: what is not given is inferred from the images."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from foveal.errors import UserError
from foveal.experiment import CachedCall, Experiment, seeded
from foveal.planning import beginnings, sizing
from foveal.settings import Augmentation, Beginning, Model, Optimisation, Selection, Training

if TYPE_CHECKING:
    from foveal.data import Splits
    from foveal.models import PatchClassifier

SMALLEST = 64  # pixels of a shorter side below which patches make no sense


def folder(
    *,
    data: Path,
    model: Model = Model(),
    selection: Selection = Selection(sigma=0.02),
    beginning: Beginning = Beginning(),
    optimisation: Optimisation = sizing.ALONE,
    augmentation: Augmentation = Augmentation(shift_fraction=1 / 30, colour=True),
    balance: bool = True,
    multilabel: bool = False,
    minutes: float | None = None,
    folds: int | None = None,
    fold: int | None = None,
    seed: int = 0,
) -> Experiment:
    """Train on your own images, in class folders or listed in a CSV.

    Training has four phases. Frozen features and the labels propose windows that may show the
    evidence; the encoder learns to read them; the scorer learns from it where to look in a small
    view; then all of it is trained end to end. Without pretrained weights there is only the last.

    What is not given is inferred from the images and printed: sizes of view and patches, their
    number, and steps.

    Command:  foveal train DATA
    Hardware: any; a GPU for many images
    Time:     about 40 minutes for 420 images of 1360 x 800 px, on two cores

    Args:
        data: a folder with one sub-folder per class, or a CSV with the columns file,label.
        model: what the model sees and what it is made of.
        selection: how the patches are selected while the model trains.
        beginning: the phases before training end to end.
        optimisation: how the weights are optimised end to end.
        augmentation: random changes of the training images.
        balance: weight the classes so that rare ones count as much as frequent ones; class weights
            that are given take precedence. Not with several classes per image.
        multilabel: an image has any number of the classes, also none or one: labels like cat|dog,
            or a column of 0 and 1 per class. A | in a label has the same effect.
        minutes: time that training may take: numbers of steps that are not given are chosen by
            timing a step of each phase on this machine.
        folds: cross-validate: split the images into so many parts, train once for each, and test on
            it; groups stay together, and every image is tested once.
        fold: train for this part of the folds only, from 0 on (not given: for all, one after the
            other).
        seed: seed of all random numbers and of the split.

    Raises:
        UserError: the images or the settings are not usable; one line with the remedy.
    """
    from foveal.data.folder.fingerprints import leaks
    from foveal.data.labels import is_multilabel
    from foveal.models.from_settings import from_settings
    from foveal.planning.masking import describe_mask
    from foveal.planning.units import in_pixels

    splits = read_images(data, seed=seed, multilabel=multilabel, **_asked_fold(folds, fold))
    images = splits()
    multilabel = is_multilabel(images.train.labels)
    typical = _check_images(data, images)
    model, measured = in_pixels(model, images.train, typical)
    source = beginnings.weights_source(model)
    inferred = _infer_model(model, typical, pretrained=source.pretrained)
    if not multilabel:
        beginning = beginnings.nothing_here(beginning, images.train.classes)
    starts = beginning if beginnings.possible(beginning, inferred) else None
    weights = _class_weights(optimisation, images, balance and not multilabel)
    optimisation = replace(optimisation, class_weights=weights)
    with seeded(seed):
        network = from_settings(
            inferred,
            selection,
            classes=len(images.train.classes),
            global_head=starts is not None and starts.global_head,
        )
    sizing.try_shapes(network, images)
    starts, optimisation = _infer_steps(network, images, starts, optimisation, minutes)
    notes = (
        _describe(images),
        _describe_model(model, inferred, optimisation, typical),
        *measured,
        *describe_mask(network, images.train),
        *beginnings.nothing_to_find(starts),
        *beginnings.searched_small(starts, network, images.train),
    )
    return Experiment(
        recipe="folder",
        options={
            "data": data.resolve(),
            "model": inferred,
            "selection": selection,
            "beginning": starts or replace(beginning, begin=False),
            "optimisation": optimisation,
            "augmentation": augmentation,
            "balance": balance,
            "multilabel": multilabel,
            "minutes": minutes,
            "folds": folds,
            "fold": fold,
            "seed": seed,
        },
        classes=images.train.classes,
        model=network,
        splits=splits,
        training=Training(optimisation=optimisation, augmentation=augmentation, seed=seed),
        multilabel=multilabel,
        notes=(
            *notes,
            *source.notes,
            *beginnings.left_out(beginning, inferred),
            *sizing.scarce(images.train),
            *leaks(images),
        ),
        beginning=starts,
    )


def _asked_fold(folds: int | None, fold: int | None) -> dict[str, int]:
    """How the splits of one fold are asked for; of all, the first stands for the others."""
    if folds is None:
        if fold is not None:
            raise UserError(f"--fold {fold}: give the number of parts too, as in --folds 5")
        return {}
    return {"folds": folds, "fold": fold or 0}


def read_images(
    data: Path, *, seed: int = 0, multilabel: bool = False, **asked: int
) -> "CachedCall[Splits]":
    """The call that reads the images of a training on a folder or CSV; see `folder`.

    Args:
        data: the folder or CSV.
        seed: of the split.
        multilabel: an image has any number of the classes.
        asked: `folds` and `fold` of a cross-validation.

    Raises:
        ValueError: the seed is out of range.
    """
    from foveal.data.folder import read_folder

    several = {"multilabel": True} if multilabel else {}
    seed = Training(seed=seed).seed
    return CachedCall(read_folder, data.resolve(), seed=seed, **several, **asked)


def default_output(data: Path, fold: int | None = None) -> Path:
    """The folder of a run on data, or on one fold of it, where no other is given: runs/NAME."""
    output = Path("runs") / data.resolve().stem
    return output if fold is None else output / f"fold{fold}"


def _check_images(data: Path, images: "Splits") -> sizing.Size:
    """Open all images before an hour-long training does; return the median size.

    Raises:
        UserError: an image cannot be read.
    """
    from foveal.data.dataset import sizes
    from foveal.data.folder.summary import DECODED, check

    for part in (images.train, images.validation, images.test):
        if part is not None:
            check(part, decode=len(part) <= DECODED)
    return sizing.median(sizes(images.train))


def _infer_model(model: Model, image: sizing.Size, *, pretrained: bool) -> Model:
    if None in (model.view, model.patch) and min(image) < SMALLEST:
        raise UserError(
            f"the images are about {_shown(image)} px, too small for patches: use images of at "
            f"least {SMALLEST} px, or give --view and --patch"
        )
    patch = sizing.patch(image) if model.patch is None else model.patch
    assert isinstance(patch, int)
    if patch > min(image):
        raise UserError(
            f"--patch {patch}: a patch must be smaller than the images, which are about "
            f"{_shown(image)} px; choose 1 to {min(image)}"
        )
    inferred = replace(
        model,
        view=model.view or (sizing.wide_view(image) if pretrained else sizing.view(image)),
        patch=patch,
        k=model.k or sizing.k(image, patch),
        aggregator=model.aggregator or ("vote" if pretrained else "max"),
        pretrained=pretrained,
    )
    if inferred.glances == 2 and inferred.closer is None:
        assert inferred.view is not None
        inferred = replace(inferred, closer=sizing.closer(inferred.view, image))
    return beginnings.infer_networks(inferred, image)


def _class_weights(
    optimisation: Optimisation, images: "Splits", balance: bool
) -> tuple[float, ...] | None:
    weights = optimisation.class_weights
    if weights is None and balance:
        weights = sizing.balanced(images.train)
    if weights is not None and len(weights) != len(images.train.classes):
        raise UserError(
            f"--class-weights: got {len(weights)} weights for {len(images.train.classes)} classes "
            f"({', '.join(images.train.classes)}): give one per class, in this order"
        )
    return weights


def _infer_steps(
    model: "PatchClassifier",
    images: "Splits",
    beginning: Beginning | None,
    optimisation: Optimisation,
    minutes: float | None,
) -> tuple[Beginning | None, Optimisation]:
    """Fill in the steps that are not given, by the minutes if these are, else by the images."""
    from foveal.data.dataset import sizes

    n, batch, side = len(images.train), optimisation.batch, min(model.patch)
    read_steps = 1 if beginning is None else beginning.read_steps
    given = beginning is not None and beginning.proposal_megapixels > 0
    if beginning is not None and not given:
        searched = sizing.searched(sizes(images.train), side)
        beginning = replace(beginning, proposal_megapixels=searched)
    if minutes is not None and 0 in (read_steps, optimisation.steps):
        from foveal.planning import budget

        costs = budget.measure(model, images, batch, beginning)
        return budget.fit_minutes(
            minutes,
            costs,
            beginning,
            optimisation,
            images=n,
            validation=len(images.validation),
            patch=None if given else side,
        )
    if beginning is None:
        return None, replace(optimisation, steps=optimisation.steps or sizing.steps(n, batch))
    return (
        replace(beginning, read_steps=read_steps or sizing.read_steps(n, batch)),
        sizing.last_phase(optimisation, optimisation.steps or sizing.look_steps(n, batch)),
    )


def _describe(images: "Splits") -> str:
    from foveal.data.folder import describe

    return describe(images)


def _describe_model(
    given: Model, model: Model, optimisation: Optimisation, image: sizing.Size
) -> str:
    """Say what was inferred, and what it amounts to.

    >>> print(_describe_model(Model(), Model(view=(224, 384), patch=112, k=7), Optimisation(),
    ...                       (800, 1360)))
    inferred from the images: view 224 x 384 (28 % scale), 7 patches of 112 px (8.1 % of the pixels), 1000 steps
    """  # noqa: E501
    assert model.view is not None
    assert isinstance(model.patch, int)
    assert model.k is not None
    complete = None not in (given.view, given.patch, given.k)
    source = "as given" if complete else "inferred from the images"
    scale = min(v / side for v, side in zip(model.view, image, strict=True))
    share = f"{100 * scale:.0f} % scale"
    if model.glances == 2 and model.closer is not None:
        share += f", its best regions again at {100 * scale * model.closer:.0f} %"
    seen = min(1.0, model.k * model.patch**2 / (image[0] * image[1]))
    return (
        f"{source}: view {_shown(model.view)} ({share}), {model.k} patches of "
        f"{model.patch} px ({100 * seen:.1f} % of the pixels), {optimisation.steps} steps"
    )


def _shown(size: sizing.Size) -> str:
    return f"{size[0]} x {size[1]}"
