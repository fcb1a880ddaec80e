"""What several pieces of work cost, as a table and as JSON."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Costs:
    """What was asked, where it was measured, and the figures; prints as Markdown.

    Attributes:
        task: name of the benchmark.
        what: it measures, in words.
        settings: what was asked.
        machine: where.
        costs: a dataclass for every piece of work.
        table: the lines of its table.
    """

    task: str
    what: str
    settings: dict[str, Any]
    machine: str
    costs: tuple[Any, ...]
    table: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        costs = [asdict(cost) for cost in self.costs]
        return {
            "task": self.task,
            "settings": self.settings,
            "machine": self.machine,
            "costs": costs,
        }

    def __str__(self) -> str:
        """A heading, the table, and the machine."""
        asked = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        return "\n".join([f"{self.what}: {asked}", "", *self.table, "", self.machine])
