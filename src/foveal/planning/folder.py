"""A model for a user's own images: what is not given is inferred from the images."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from foveal.errors import UserError
from foveal.experiment import CachedCall, Experiment, seeded
from foveal.planning import sizing
from foveal.settings import Augmentation, Model, Optimisation, Selection, Training

if TYPE_CHECKING:
    from foveal.data import Splits

SMALLEST = 64  # pixels of a shorter side below which patches make no sense
DECODED = 2000  # images of a part that are decoded before training begins, to find damaged ones


def folder(
    *,
    data: Path,
    model: Model = Model(),
    selection: Selection = Selection(sigma=0.02),
    optimisation: Optimisation = Optimisation(steps=0, learning_rate=3e-4, weight_decay=1e-4),
    augmentation: Augmentation = Augmentation(shift_fraction=1 / 30, colour=True),
    balance: bool = True,
    multilabel: bool = False,
    seed: int = 0,
) -> Experiment:
    """Train on your own images, in class folders or listed in a CSV.

    What is not given is inferred from the images and printed: a view of a third of their length, at
    most 384 px; patches of a twelfth of it, 64 to 128 px; as many patches as cover a twelfth of the
    image; steps for about 40 passes over the images.

    Command:  foveal train DATA
    Hardware: any; a GPU for many images
    Time:     about 40 passes over the images

    Args:
        data: a folder with one sub-folder per class, or a CSV with the columns file,label.
        model: what the model sees and what it is made of.
        selection: how the patches are selected while the model trains.
        optimisation: how the weights are optimised.
        augmentation: random changes of the training images.
        balance: weight the classes so that rare ones count as much as frequent ones; class weights
            that are given take precedence. Not with several classes per image.
        multilabel: an image has any number of the classes, also none or one: labels like cat|dog,
            or a column of 0 and 1 per class. A | in a label has the same effect.
        seed: seed of all random numbers and of the split.

    Raises:
        UserError: the images or the settings are not usable; one line with the remedy.
    """
    from foveal.data.folder import read_folder
    from foveal.data.folder.fingerprints import leaks
    from foveal.data.labels import is_multilabel
    from foveal.models.from_settings import from_settings

    training = Training(optimisation=optimisation, augmentation=augmentation, seed=seed)
    asked = {"multilabel": True} if multilabel else {}
    splits = CachedCall(read_folder, data.resolve(), seed=seed, **asked)
    images = splits()
    multilabel = is_multilabel(images.train.labels)
    typical = _check_images(data, images)
    if None in (model.view, model.patch) and min(typical) < SMALLEST:
        raise UserError(
            f"{data}: the images are about {_shown(typical)} px, too small for patches: use images "
            f"of at least {SMALLEST} px, or give --view and --patch"
        )
    inferred = _infer_model(model, typical)
    optimisation = _infer_optimisation(optimisation, images, balance and not multilabel)
    notes = (_describe(images), _describe_model(model, inferred, optimisation, typical))
    with seeded(seed):
        network = from_settings(inferred, selection, classes=len(images.train.classes))
    sizing.try_shapes(network, images)
    return Experiment(
        recipe="folder",
        options={
            "data": data.resolve(),
            "model": inferred,
            "selection": selection,
            "optimisation": optimisation,
            "augmentation": augmentation,
            "balance": balance,
            "multilabel": multilabel,
            "seed": seed,
        },
        classes=images.train.classes,
        model=network,
        splits=splits,
        training=replace(training, optimisation=optimisation),
        multilabel=multilabel,
        notes=(*notes, *sizing.scarce(images.train), *leaks(images)),
    )


def _check_images(data: Path, images: "Splits") -> sizing.Size:
    """Open all images before an hour-long training does; return the median size."""
    from foveal.data.folder import check

    for part in (images.train, images.validation, images.test):
        if part is not None:
            check(part, decode=len(part) <= DECODED)
    return sizing.median(sizing.sizes(images.train))


def _infer_model(model: Model, image: sizing.Size) -> Model:
    patch = sizing.patch(image) if model.patch is None else model.patch
    if patch > min(image):
        raise UserError(
            f"--patch {patch}: a patch must be smaller than the images, which are about "
            f"{_shown(image)} px; choose 1 to {min(image)}"
        )
    return replace(
        model,
        view=sizing.view(image) if model.view is None else model.view,
        patch=patch,
        k=sizing.k(image, patch) if model.k is None else model.k,
    )


def _infer_optimisation(
    optimisation: Optimisation, images: "Splits", balance: bool
) -> Optimisation:
    weights = optimisation.class_weights
    if weights is None and balance:
        weights = sizing.balanced(images.train)
    if weights is not None and len(weights) != len(images.train.classes):
        raise UserError(
            f"--class-weights: got {len(weights)} weights for {len(images.train.classes)} classes "
            f"({', '.join(images.train.classes)}): give one per class, in this order"
        )
    steps = optimisation.steps or sizing.steps(len(images.train), optimisation.batch)
    return replace(optimisation, steps=steps, class_weights=weights)


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
    assert model.patch is not None
    assert model.k is not None
    complete = None not in (given.view, given.patch, given.k)
    source = "as given" if complete else "inferred from the images"
    scale = min(v / side for v, side in zip(model.view, image, strict=True))
    seen = min(1.0, model.k * model.patch**2 / (image[0] * image[1]))
    return (
        f"{source}: view {_shown(model.view)} ({100 * scale:.0f} % scale), {model.k} patches of "
        f"{model.patch} px ({100 * seen:.1f} % of the pixels), {optimisation.steps} steps"
    )


def _shown(size: sizing.Size) -> str:
    return f"{size[0]} x {size[1]}"
