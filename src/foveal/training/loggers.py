"""Where the rows of metrics.csv go besides: Weights & Biases or MLflow, by Lightning's loggers.

Each is configured as usual, by its own environment variables: WANDB_MODE and WANDB_PROJECT,
MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME, and others.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import foveal._torchvision  # noqa: F401  # before lightning

# isort: split
from lightning.fabric.loggers.logger import Logger as LightningLogger

from foveal._processes import is_rank_zero
from foveal.errors import UserError
from foveal.runs.folder import RunFolder
from foveal.settings import LoggerName

__all__ = ["LightningLogger", "open_loggers"]


@contextmanager
def open_loggers(name: LoggerName | None, run: RunFolder) -> Iterator[list[LightningLogger]]:
    """The logger of a name, begun with the options of a run; none on processes but rank zero.

    Args:
        name: of the logger; None: there is none.
        run: whose training it is to follow.

    Raises:
        UserError: the service cannot be reached, or refuses.
    """
    if name is None or not is_rank_zero():
        yield []
        return
    try:
        logger = _wandb(run) if name == "wandb" else _mlflow(run)
        logger.log_hyperparams(run.read_recipe().get("options") or {})
    except Exception as error:  # of another's package
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"--logger {name}: {reason}") from error
    try:
        yield [logger]
    finally:
        if name == "wandb":
            import wandb

            wandb.finish()  # else the next training of this process goes on with the same run


def _wandb(run: RunFolder) -> LightningLogger:
    from lightning.pytorch.loggers import WandbLogger

    project = os.environ.get("WANDB_PROJECT", "foveal")
    return WandbLogger(name=run.path.name, save_dir=run.log, project=project)


def _mlflow(run: RunFolder) -> LightningLogger:
    from lightning.pytorch.loggers import MLFlowLogger

    return MLFlowLogger(
        experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", "foveal"),
        run_name=run.path.name,
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI"),
    )
