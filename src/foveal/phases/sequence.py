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

from foveal.data import Splits
from foveal.experiment import seeded
from foveal.models import PatchClassifier
from foveal.nn.aggregators import Vote
from foveal.phases.phase_log import PhaseLog
from foveal.phases.preparing import Preparation
from foveal.phases.reader import Reader
from foveal.phases.reading import read, strips_of, votes_of
from foveal.phases.strips import Strips
from foveal.phases.targets import Target, closer_target_of, support_of, target_of
from foveal.phases.teaching import teach
from foveal.phases.view_classifier import mix
from foveal.runs.folder import RunFolder
from foveal.settings import Beginning, Hardware, Training
from foveal.training.devices import configure_fabric

JOINT = 5  # windows of an image that are read in a step where they tell the label together
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
    prepare = Preparation(splits, training, beginning, folder, log, hardware.precision)
    fitted = prepare.view_classifier(model)
    proposed = prepare.proposals(model)
    with seeded(training.seed):
        vote = _vote(model)
    reader = Reader(
        model.encoder,
        vote,
        patch=model.patch[0],
        channels=model.channels,
        precision=hardware.precision,
    )
    if proposed.nothing is not None:
        reader.vote.nothing.fill_(proposed.nothing)
    if not proposed.trusted:
        proposed = prepare.reranked(reader, proposed)
    pooling = prepare.pooling(reader, proposed)
    pooling.apply(vote)
    few = beginning.read_windows or (JOINT if pooling.joint else 1)
    among = 2 * few if pooling.joint else few
    memory = min(2**30, hardware.kept_bytes())
    train, validation = strips_of(
        splits, proposed, patch=model.patch[0], validated=among, memory=memory
    )
    log.begin("read", f"{few} of {len(proposed.train[0])} proposed windows an image")
    read(
        reader,
        train,
        validation,
        _read_training(training, beginning, few, trusted=proposed.trusted),
        windows=few,
        among=among,
        hardware=hardware,
        run=folder.phase("read"),
        progress=log.verbose,
    )
    log.end("the encoder reads proposed windows")
    _teach(model, reader, splits, train, training, log)
    if fitted is not None:
        mixture = mix(model, fitted, splits.validation, hardware.precision)
        if mixture is not None:
            folder.keep("mixture", vars(mixture))
            log.log(f"  {mixture}")
    folder.keep("taught", {"model": model.state_dict()})


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
        patience=0,
        ema_decay=0.0,
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
    teach(
        model,
        splits.train,
        targets,
        seed=training.seed,
        precision=reader.precision,
        progress=log.count,
    )
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
            precision=reader.precision,
            progress=log.count,
        )
    log.end("done")


def _vote(model: PatchClassifier) -> Vote:
    """The model's own votes, or, where it combines patches otherwise, some to learn by."""
    if isinstance(model.aggregate, Vote):
        return model.aggregate
    vote = Vote(model.encoder.features, classes=model.classes)
    return vote.to(next(model.parameters()).device)
