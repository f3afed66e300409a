"""What is asked of a cell, and how it is split where one cell is not enough.

Not here: what that takes (plan.py).
"""

from dataclasses import dataclass
from math import ceil

from bems_streams.capacity.inputs import Inputs

DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Demand:
    """`rate` is the peak in events per second, `invoices` are open at once, `retention_days` of the stage topics."""

    rate: float
    invoices: float
    retention_days: float

    def cells(self, inputs: Inputs) -> int:
        """The least number of cells, each within the limits of one."""
        return max(
            1,
            ceil(self.rate / inputs["cell_events_per_second"]),
            ceil(self.invoices / inputs["cell_invoices"]),
        )

    def of_one_cell(self, inputs: Inputs) -> "Demand":
        """An equal part for each."""
        cells = self.cells(inputs)
        return Demand(self.rate / cells, self.invoices / cells, self.retention_days)

    def mean_rate(self, inputs: Inputs) -> float:
        """Events per second over a whole day."""
        return self.rate * inputs["mean_share_of_peak"]

    def events_kept(self, inputs: Inputs, days: float) -> float:
        """Events that arrive in so many days."""
        return self.mean_rate(inputs) * days * DAY_SECONDS
