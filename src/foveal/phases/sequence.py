"""The phases of a training that begins with proposals.

    1 propose   frozen features and labels find windows that may show the evidence
    2 read      encoder and votes learn on these windows
    3 teach     the scorer learns from the votes where to look in the small view
    4 look      all of it end to end, with the gradient through the selection

Each keeps its result in the run's folder, under phases/: a run that was stopped goes on with the
phase it was in.
"""

from dataclasses import replace

import torch

from foveal.data import Splits
from foveal.experiment import Experiment
from foveal.models import PatchClassifier
from foveal.nn.aggregators import Vote
from foveal.nn.encoders import Backbone
from foveal.nn.scorers import BackboneScorer
from foveal.phases.proposing import Proposed, propose
from foveal.phases.reader import Reader
from foveal.phases.reading import read, strips_of, votes_of
from foveal.phases.teaching import support, target, teach
from foveal.phases.telling import Teller
from foveal.proposals.trunk import Trunk
from foveal.runs.folder import RunFolder
from foveal.settings import Beginning, Hardware, Training


def begin(
    experiment: Experiment,
    splits: Splits,
    folder: RunFolder,
    hardware: Hardware,
    *,
    progress: bool,
) -> None:
    """Go through the phases before the last one, as far as they are not done yet.

    The model of the experiment gets the weights that its last phase starts from.
    """
    model, beginning = experiment.model, experiment.beginning
    assert isinstance(model, PatchClassifier)
    assert beginning is not None
    if (taught := folder.kept("taught")) is not None:
        model.load_state_dict(taught["model"])
        return
    log = Teller(folder, verbose=progress)
    proposed = _propose(experiment, splits, folder, beginning, log)
    reader, strips = _read(experiment, splits, proposed, folder, hardware, log)
    _teach(model, reader, splits, strips, proposed, log, experiment.training.seed)
    folder.keep("taught", {"model": model.state_dict()})
'''
