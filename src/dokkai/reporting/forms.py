"""The forms in which the report shows what predictions came to."""

from dataclasses import dataclass, field

from dokkai.reporting.charts import Chart


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; all columns but the first are numbers, so they stand to the right."""

    title: str
    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True, slots=True)
class Matrix:
    """How often a label (row) was predicted as another (column)."""

    title: str
    labels: list[str]
    counts: list[list[int]]

    def share(self, row: int, column: int) -> float:
        """Of the examples with the label of this row."""
        return self.counts[row][column] / max(1, sum(self.counts[row]))


Part = Table | Matrix | Chart
Pieces = list[tuple[str, bool]]
"""A text in pieces; those that are marked are what was predicted in it."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong prediction: ``texts`` by name, what was right, what was predicted.

    ``weight`` says how bad it is: the probability of the prediction, or the distance of a number. ``others`` are what
    else might have been, with probabilities.
    """

    id: str
    texts: list[tuple[str, Pieces]]
    gold: str
    predicted: str
    weight: float
    probability: float | None = None
    others: list[tuple[str, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Of the labelled examples ``source``: ``parts`` in order, and the worst mistakes; ``summary`` says how many.

    ``metric`` is that which the page leads with.
    """

    source: str
    num_examples: int
    parts: list[Part]
    mistakes: list[Mistake]
    summary: str
    metric: str | None = None
