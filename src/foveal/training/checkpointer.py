"""Keeping all that the next step depends on, and finding it again."""

from torch import nn
from torch.optim import Optimizer

from foveal.errors import UserError
from foveal.runs.folder import Row, RunFolder
from foveal.training.devices import Fabric
from foveal.training.state import State


class Checkpointer:
    """Saves and restores weights, optimiser and state; of all processes, only the first saves.

    Args:
        run: where; None keeps nothing.
        fabric: says which process this is, and has the scale of float16.
        model: on its device.
        optimiser: of its weights.
    """

    def __init__(
        self, run: RunFolder | None, fabric: Fabric, model: nn.Module, optimiser: Optimizer
    ) -> None:
        """Hold them."""
        self.leads: bool = fabric.is_global_zero
        self.run = run if self.leads else None
        self._source, self._precision = run, fabric.strategy.precision
        self._model, self._optimiser = model, optimiser

    def save(self, state: State, *, best: bool = False) -> None:
        """Save the last checkpoint, and before it the best if this is the best."""
        if self.run is None:
            return
        weights = self._model.state_dict()
        # In this order: a crash between the two must not leave a record without its weights.
        if best:
            self.run.save("best", weights)
        rest = {
            "state": state.saved(),
            "optimiser": self._optimiser.state_dict(),
            "precision": self._precision.state_dict(),
        }
        self.run.save("last", weights, rest)

    def restored(self) -> tuple[State, list[Row]]:
        """Restore the last checkpoint, and cut metrics.csv back to it; the state and the rows.

        Where there is no checkpoint yet, everything begins anew.

        Raises:
            ValueError: there is no run.
            UserError: the checkpoint is damaged, or of another model.
        """
        if self._source is None:
            raise ValueError("there is nothing to resume: give the run folder to resume from")
        state = self._loaded(self._source) if self._source.has("last") else State()
        return state, self.run.cut(state.step) if self.run is not None else []

    def _loaded(self, run: RunFolder) -> State:
        saved = run.state()
        try:
            self._model.load_state_dict(run.weights("last"))
            self._optimiser.load_state_dict(saved["optimiser"])
            self._precision.load_state_dict(saved["precision"])
            return State.of(saved["state"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{run.path}: its last checkpoint does not fit this model and these settings; "
                "resume with the settings of its recipe.yaml"
            ) from error
