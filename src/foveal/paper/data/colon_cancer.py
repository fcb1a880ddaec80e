"""Colon cancer: is there an epithelial nucleus in an image of 500 x 500 px of stained tissue?

CRCHistoPhenotypes, 100 images (H&E) with the centres of their nuclei, in its own layout:

    CRCHistoPhenotypes_2016_04_28/Classification/
      img1/
        img1.bmp
        img1_epithelial.mat     detection (n, 2): x, y of every epithelial nucleus, from 1; or none
        img1_fibroblast.mat, img1_inflammatory.mat, img1_others.mat     not read
      img2/ ... img100/

The centres give the label, and boxes that are never used in training, only to report how often a
chosen window hits a nucleus. Files of this kind (MATLAB v5) are read by scipy, an extra.

References:
    Sirinukunwattana et al., Locality Sensitive Deep Learning for Detection and Classification of
    Nuclei in Routine Colon Cancer Histology Images, IEEE TMI 2016. The question: Ilse et al.,
    Attention-based Deep Multiple Instance Learning, ICML 2018.
"""

import re
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveal.data import Splits
from foveal.data.folder import ImageFiles
from foveal.data.folder.listing import ListedImage
from foveal.data.folder.splitting import folds as divided
from foveal.data.folder.splitting import stratified
from foveal.data.folder.table import shorten, user_error
from foveal.images.locations import Location

CLASSES = ("none", "epithelial")
SIZE = 500
"""Height and width of an image in pixels."""

NUCLEUS = 27
"""Side of a box around a centre in pixels: the patches of multiple-instance learning."""

COUNTS = (100, 51)
"""Images of the published set, and those with an epithelial nucleus, as the lists of the Zoom-In
network have them (Kong & Henao, CVPR 2022; its released code)."""

SOURCE = "https://warwick.ac.uk/fac/sci/dcs/research/tia/data/crchistolabelednucleihe/"

_PLACES = ("", "Classification", "CRCHistoPhenotypes_2016_04_28/Classification")


def read_colon_cancer(
    path: str | Path, *, fold: int = 0, folds: int = 10, validation: float = 0.1, seed: int = 0
) -> Splits:
    """Read the images: one fold to test on, the others for training and validation.

    Folds are drawn at random, stratified: the same seed gives the same folds, so that the calls for
    fold 0 to folds - 1 test on every image once. As published there are ten, drawn without regard
    to the class.

    Args:
        path: the folder Classification, or one of the two it lies in.
        fold: the one to test on, from 0.
        folds: how many there are.
        validation: share of the images of the other folds that is split off, in (0, 1).
        seed: of the folds and of the validation part.

    Returns:
        Data sets whose notes say what is missing from the published set.

    Raises:
        UserError: one line that names the place and the remedy.
    """
    if folds < 2 or not 0 <= fold < folds:
        raise user_error(
            f"fold={fold} of folds={folds}: give 2 folds or more, and a fold from 0 on"
        )
    if not 0 < validation < 1:
        raise user_error(f"validation={validation}: give a share above 0 and below 1")
    whole = read_whole(path)
    generator = torch.Generator().manual_seed(seed)
    test = divided(whole.labels, folds, generator)[fold]
    others = sorted(set(range(len(whole))) - set(test))
    parts = stratified(whole.labels[others], (validation,), generator)
    train, held = ([others[i] for i in part] for part in parts)
    if any(len(set(whole.labels[part].tolist())) < 2 for part in (train, held, test)):
        counts = torch.bincount(whole.labels, minlength=2).tolist()
        raise user_error(
            f"{path}: {counts[0]} images without and {counts[1]} with an epithelial nucleus are too"
            f" few for {folds} folds; {_remedy()}"
        )
    note = f"fold {fold} of {folds}, drawn at random, stratified, seed {seed}"
    return Splits(whole.subset(train, note), whole.subset(held, note), whole.subset(test, note))


def read_whole(path: str | Path) -> ImageFiles:
    """Read all images as one data set, in the order of their numbers.

    Raises:
        UserError: see `read_colon_cancer`.
    """
    root = _root(Path(path))
    entries, evidence, missing, lost = [], dict[Location, Tensor](), [], 0
    for folder in _numbered(root):
        image, centres = folder / f"{folder.name}.bmp", folder / f"{folder.name}_epithelial.mat"
        if absent := [f"{folder.name}/{f.name}" for f in (image, centres) if not f.is_file()]:
            missing += absent
            continue
        found = _centres(centres)
        known = found[found.isfinite().all(dim=1)]
        lost += len(found) - len(known)
        label = CLASSES[len(found) > 0]
        entries.append(ListedImage(image, f"{folder.name}/{image.name}", label, None))
        if len(known) > 0:
            evidence[image] = boxes(known)
    if missing:
        raise user_error(
            f"{root}: {len(missing)} files are missing, {shorten(missing)}; {_remedy()}"
        )
    notes = [f"warning: {lost} centres are no numbers; they have no box"] if lost else []
    counts = (len(entries), sum(entry.label == CLASSES[1] for entry in entries))
    if counts != COUNTS:
        notes.append(
            f"warning: {counts[0]} images, {counts[1]} of them with an epithelial nucleus, where "
            f"the published set has {COUNTS[0]} and {COUNTS[1]}: figures cannot be compared with "
            "those of papers"
        )
    return ImageFiles(entries, CLASSES, evidence, tuple(notes))


def boxes(centres: Float[Tensor, "n 2"]) -> Int[Tensor, "n 4"]:
    """27 x 27 px around each centre x, y, counted from 1; at the border they overhang.

    >>> boxes(torch.tensor([[101.0, 51.0]])).tolist()
    [[37, 87, 64, 114]]
    """
    corners = (centres.flip(1) - 1).round().long() - NUCLEUS // 2  # (n, 2), top and left
    return torch.cat((corners, corners + NUCLEUS), dim=1)


def _remedy() -> str:
    return f"unpack CRCHistoPhenotypes_2016_04_28.zip again, from {SOURCE}"


def _root(path: Path) -> Path:
    for place in _PLACES:
        if _numbered(path / place):
            return path / place
    if path.is_file():
        raise user_error(f"{path}: a file; unpack it, and name the folder Classification it holds")
    why = "no folders img1, img2, ... in it" if path.is_dir() else "no such folder"
    raise user_error(f"{path}: {why}; name the folder Classification, or {_remedy()}")


def _numbered(root: Path) -> list[Path]:
    """The folders img1, img2, ... in the order of their numbers."""
    found = (folder for folder in root.glob("img*") if re.fullmatch(r"img\d+", folder.name))
    return sorted(filter(Path.is_dir, found), key=lambda folder: int(folder.name[3:]))


def _centres(file: Path) -> Float[Tensor, "n 2"]:
    """What `detection` holds, n >= 0."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise user_error(
            f"{file}: scipy is needed to read it; install foveal with its extra colon, or scipy"
        ) from None
    try:
        found: Any = loadmat(file, variable_names=["detection"]).get("detection")
    except Exception as error:  # whatever a damaged file makes of scipy's parser
        raise user_error(f"{file}: cannot be read ({error}); {_remedy()}") from None
    if found is None:
        raise user_error(f"{file}: it holds no detection; {_remedy()}")
    if found.dtype.kind not in "iuf" or (found.size > 0 and found.shape[1:] != (2,)):
        shape = " x ".join(map(str, found.shape))
        raise user_error(
            f"{file}: detection is {found.dtype} {shape}, not n x 2 numbers; {_remedy()}"
        )
    return torch.from_numpy(found.astype("float64")).reshape(-1, 2)
