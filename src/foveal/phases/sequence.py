"""The phases of a training that begins with proposals.

    1 proposals  frozen features and labels find windows that may show the evidence
    2 read       encoder and votes learn on these windows
    3 teach      the scorer learns from the votes where to look in the small view
    4 look       all of it end to end, with the gradient through the selection

Each phase but the last keeps its result in the run's folder, under phases/: a run that was stopped
goes on with the phase it was in.
"""

import math
from dataclasses import replace

from torch import Tensor

from foveal.data import Dataset, Splits
from foveal.data.dataset import sizes
from foveal.experiment import seeded
from foveal.models import PatchClassifier
from foveal.nn.aggregators import Vote
from foveal.nn.scorers import BackboneScorer
from foveal.phases.phase_log import PhaseLog
from foveal.phases.proposing import Proposed, propose
from foveal.phases.reader import Reader
from foveal.phases.reading import read, strips_of, votes_of
from foveal.phases.reranking import rerank
from foveal.phases.strips import Strips
from foveal.phases.targets import Target, closer_target_of, support_of, target_of
from foveal.phases.teaching import teach
from foveal.phases.view_classifier import FittedHead, fit_global_head, mix
from foveal.proposals import Trunk, reduction
from foveal.runs.folder import RunFolder
from foveal.settings import Beginning, Hardware, Training
from foveal.training.devices import configure_fabric

TAUGHT = 16  # windows of an image, those of most evidence, that teach the scorer


def begin(
    model: PatchClassifier,
    splits: Splits,
    training: Training,
    beginning: Beginning,
    *,
    folder: RunFolder,
    hardware: Hardware,
    log: PhaseLog,
) -> None:
    """Go through the phases before the last one, as far as they are not done yet.

    Args:
        model: with a frozen `BackboneScorer` and votes; its weights become those that the last
            phase starts from.
        splits: the images.
        training: of the last phase; seed, augmentation and class weights are those of all phases.
        beginning: the earlier phases.
        folder: of the run.
        hardware: what to train on.
        log: where they report to.
    """
    if (taught := folder.kept("taught")) is not None:
        model.load_state_dict(taught["model"])
        return
    model.to(configure_fabric(hardware).device)
    fitted = _view_classifier(model, splits, training, beginning, folder, log)
    proposed = _propose(model, splits, training, beginning, folder, log)
    with seeded(training.seed):
        vote = _vote(model)
    reader = Reader(model.encoder, vote, patch=model.patch[0], channels=model.channels)
    if proposed.nothing is not None:
        reader.vote.nothing.fill_(proposed.nothing)
    few = max(1, beginning.read_windows)
    if not proposed.trusted:
        proposed = _rerank(reader, proposed, splits, training, folder, log)
    memory = min(2**30, hardware.kept_bytes())
    train, validation = strips_of(
        splits, proposed, patch=model.patch[0], validated=few, memory=memory
    )
    log.begin("read", f"{few} of {len(proposed.train[0])} proposed windows an image")
    read(
        reader,
        train,
        validation,
        _read_training(training, beginning, few, trusted=proposed.trusted),
        windows=few,
        hardware=hardware,
        run=folder.phase("read"),
        progress=log.verbose,
    )
    log.end("the encoder reads proposed windows")
    _teach(model, reader, splits, train, training, log)
    if fitted is not None and (mixture := mix(model, fitted, splits.validation)) is not None:
        folder.keep("mixture", vars(mixture))
        log.log(f"  {mixture}")
    folder.keep("taught", {"model": model.state_dict()})


def _view_classifier(
    model: PatchClassifier,
    splits: Splits,
    training: Training,
    beginning: Beginning,
    folder: RunFolder,
    log: PhaseLog,
) -> FittedHead | None:
    """A classifier of the small view, to compare with and to add to the answer."""
    if not (beginning.baseline or beginning.global_head):
        return None
    if (kept := folder.kept("global_head")) is not None:
        return FittedHead(**kept)
    log.begin("baseline", "a linear classifier of the small view")
    fitted = fit_global_head(model, splits, training.optimisation.class_weights, log.count)
    folder.keep("baseline", fitted.figures)
    folder.keep("global_head", vars(fitted))
    log.end(f"balanced accuracy {fitted.balanced_accuracy:.1%}")
    return fitted


def _propose(
    model: PatchClassifier,
    splits: Splits,
    training: Training,
    beginning: Beginning,
    folder: RunFolder,
    log: PhaseLog,
) -> Proposed:
    if (kept := folder.kept("proposals")) is not None:
        return Proposed.from_state(kept["windows"])
    trunk = trunk_of_scorer(model)
    halvings = proposal_halvings(splits.train, trunk, beginning)
    where = f" at {reduction.describe(halvings)}" if halvings else ""
    log.begin("proposals", f"what tells the labels, in {len(splits.train)} images{where}")
    found, proposed = propose(
        splits,
        trunk,
        patch=model.patch[0],
        count=beginning.proposals,
        nothing=_nothing(splits, beginning),
        seed=training.seed,
        megapixels=_searched(beginning),
        progress=log.count,
    )
    log.end(proposed.summary)
    folder.keep("proposals", {"found": found.state(), "windows": proposed.state()})
    return proposed


def _nothing(splits: Splits, beginning: Beginning) -> int | None:
    """Number of the class that means that there is nothing to find."""
    return splits.train.classes.index(beginning.nothing) if beginning.nothing else None


def _rerank(
    reader: Reader,
    proposed: Proposed,
    splits: Splits,
    training: Training,
    folder: RunFolder,
    log: PhaseLog,
) -> Proposed:
    """The proposed windows, those first whose frozen features tell the labels."""
    if (kept := folder.kept("reranked")) is not None:
        return Proposed.from_state(kept)
    log.begin("proposals", "re-ranked by what their frozen features tell")
    train, validation = strips_of(
        splits, proposed, patch=reader.patch, validated=len(proposed.validation[0])
    )
    reranked = rerank(
        reader,
        proposed,
        train,
        validation,
        class_weights=training.optimisation.class_weights,
        seed=training.seed,
        progress=log.count,
    )
    log.end(f"frozen features tell the label of {reranked.accuracy:.1%} of the validation images")
    folder.keep("reranked", reranked.proposed.state())
    return reranked.proposed


def _read_training(
    training: Training, beginning: Beginning, windows: int, *, trusted: bool
) -> Training:
    """The training of the phase that reads so many windows of an image a step."""
    single = beginning.read_steps
    if trusted:
        single = beginning.trusted_read_steps or single
    steps = math.ceil(single / windows)
    settings = replace(
        training.optimisation,
        steps=steps,
        learning_rate=beginning.read_learning_rate,
        encoder_lr_scale=beginning.read_encoder_lr_scale,
        weight_decay=0.1,
        entropy=0.0,
        frozen_norms=False,  # an encoder learns to read with the statistics of its windows
        clip_norm=2.0,
        warm_up=0.05,
        validate_every=max(1, steps // 10),
    )
    return replace(training, optimisation=settings)


def _teach(
    model: PatchClassifier,
    reader: Reader,
    splits: Splits,
    strips: Strips,
    training: Training,
    log: PhaseLog,
) -> None:
    log.begin("teach", "the scorer, where the windows lie that tell the labels")
    total = len(strips)
    votes = votes_of(reader, strips, lambda done: log.count(done, total), most=TAUGHT)
    targets, supports = list[Target](), list[Tensor]()
    for index, windows in enumerate(strips.windows):
        example = splits.train[index]
        supports.append(support_of(votes[index], example.label))
        found = target_of(model, example.image, windows[:TAUGHT], supports[-1])
        targets.append(found._replace(places=found.places.to_sparse()))  # most are 0
    teach(model, splits.train, targets, seed=training.seed, progress=log.count)
    if model.second is not None:
        closer = [
            closer_target_of(
                model, splits.train[index].image, windows[:TAUGHT], supports[index], targets[index]
            )
            for index, windows in enumerate(strips.windows)
        ]
        teach(
            model,
            splits.train,
            targets,
            seed=training.seed,
            closer=closer,
            progress=log.count,
        )
    log.end("done")


def _vote(model: PatchClassifier) -> Vote:
    """The model's own votes, or, where it combines patches otherwise, some to learn by."""
    if isinstance(model.aggregate, Vote):
        return model.aggregate
    vote = Vote(model.encoder.features, classes=model.classes)
    return vote.to(next(model.parameters()).device)


def proposal_halvings(images: Dataset, trunk: Trunk, beginning: Beginning) -> int:
    """How often images are halved before they are searched for proposals."""
    return reduction.halvings_for(sizes(images), trunk, _searched(beginning))


def _searched(beginning: Beginning) -> float:
    """Megapixels of an image that are searched for proposals."""
    return beginning.proposal_megapixels or reduction.MEGAPIXELS


def trunk_of_scorer(model: PatchClassifier) -> Trunk:
    """The scorer's frozen network, as a trunk for proposals.

    Raises:
        ValueError: the scorer has none.
    """
    scorer = model.scorer
    if not isinstance(scorer, BackboneScorer) or not scorer.frozen:
        raise ValueError("training begins with proposals only with a frozen pretrained scorer")
    return Trunk(scorer.network, mean=scorer.mean, deviation=scorer.std)
