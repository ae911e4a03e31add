"""A small plot of a case's metric among those of similar cases."""

from dataclasses import dataclass
from statistics import quantiles

from .cases import Distribution

WIDTH = 220
_MARGIN = 6.0


@dataclass(frozen=True)
class Strip:
    """The coordinates of a strip plot, ``WIDTH`` x 22: a tick for each value, a box around the middle half.

    Attributes:
        distribution: the values.
    """

    distribution: Distribution

    def place(self, value: float) -> float:
        """The position of a value."""
        low, high = min(self.distribution.values), max(self.distribution.values)
        part = (value - low) / (high - low) if high > low else 0.5
        return round(_MARGIN + part * (WIDTH - 2 * _MARGIN), 1)

    @property
    def ticks(self) -> str:
        """All values, as an SVG path."""
        return "".join(f"M{self.place(value)} 6v10" for value in sorted(self.distribution.values))

    @property
    def box(self) -> tuple[float, float]:
        """The start and end of the middle half."""
        values = self.distribution.values
        if len(values) < 2:
            return self.place(values[0]), self.place(values[0])
        lower, _, upper = quantiles(values, n=4, method="inclusive")
        return self.place(lower), self.place(upper)
