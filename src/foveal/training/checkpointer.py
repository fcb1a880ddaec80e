"""Save all that the next step depends on, and restore it."""

from torch import nn
from torch.optim import Optimizer

from foveal._processes import is_rank_zero
from foveal.errors import UserError
from foveal.runs.folder import Row, RunFolder
from foveal.training.average import Average
from foveal.training.devices import Fabric
from foveal.training.optimiser import restore_optimiser
from foveal.training.state import State


class Checkpointer:
    """Saves and restores weights, optimiser and state; only rank zero saves.

    Args:
        run: folder of the run; None saves nothing.
        fabric: holds the gradient scale of float16.
        model: model on its device.
        optimiser: optimiser of its parameters.
        average: of the weights, which is what the best checkpoint holds; None: the weights.
    """

    def __init__(
        self,
        run: RunFolder | None,
        fabric: Fabric,
        model: nn.Module,
        optimiser: Optimizer,
        average: Average | None = None,
    ) -> None:
        self._run, self._precision = run, fabric.strategy.precision
        self._model, self._optimiser, self._average = model, optimiser, average

    def save(self, state: State, *, best: bool = False) -> None:
        """Save the last checkpoint, and before it the best if this is the best."""
        if self._run is None or not is_rank_zero():
            return
        weights = self._model.state_dict()
        # In this order: a crash between the two must not leave a record without its weights.
        average = None if self._average is None else self._average.state_dict()
        if best:
            self._run.save("best", average or weights)
        rest = {
            "state": state.to_dict(),
            "optimiser": self._optimiser.state_dict(),
            "precision": self._precision.state_dict(),
        }
        if average is not None:
            rest["average"] = average
        self._run.save("last", weights, rest)

    def restore(self) -> tuple[State, list[Row]]:
        """Restore the last checkpoint and cut metrics.csv back to it; return state and rows.

        Without a checkpoint the state is that of the first step.

        Raises:
            ValueError: there is no run.
            UserError: the checkpoint is damaged, or belongs to another model.
        """
        if self._run is None:
            raise ValueError("there is nothing to resume: give the run folder to resume from")
        state = self._restore_state(self._run) if self._run.has("last") else State()
        return state, self._run.cut(state.step) if is_rank_zero() else []

    def _restore_state(self, run: RunFolder) -> State:
        saved = run.state()
        try:
            self._model.load_state_dict(run.weights("last"))
            restore_optimiser(self._optimiser, saved["optimiser"])
            self._precision.load_state_dict(saved["precision"])
            if self._average is not None:
                self._average.load_state_dict(saved["average"])
            return State.from_dict(saved["state"])
        except UserError as error:
            raise UserError(f"{run.path}/checkpoints/last/state.pt: {error}") from error
        except Exception as error:  # torch raises whatever the damage leads to
            raise UserError(
                f"{run.path}: its last checkpoint does not fit this model and these settings; "
                "resume with the settings of its recipe.yaml"
            ) from error
