"""Charts as inline SVG that takes its colours and its font from the page around it."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dokkai.reporting.measurements import Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {  # what matplotlib draws with, and what the page's style sheet says instead
    "#010101": "var(--ink)",
    "#020202": "var(--soft)",
    "#030303": "var(--line)",
    "#0a0001": "var(--series-1)",
    "#0a0002": "var(--series-2)",
    "#0a0003": "var(--series-3)",
    "#0a0004": "var(--series-4)",
}
_SERIES = [colour for colour in _COLOURS if colour.startswith("#0a")]
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it takes the font of the page, and can be found
    "svg.hashsalt": "dokkai",  # the same data give the same file
    "font.size": 9,
    "text.color": "#010101",
    "axes.edgecolor": "#030303",
    "axes.labelcolor": "#020202",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.limits": (-3, 5),
    "xtick.color": "#020202",
    "ytick.color": "#020202",
    "grid.color": "#030303",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.labelcolor": "#020202",
}
_FIRST = ("loss", "learning_rate", "gradient_norm", "tokens_per_second")  # what every run has, in the order shown


@dataclass(frozen=True, slots=True)
class Chart:
    """Inline SVG, and what stands above it."""

    title: str
    svg: str


def draw_panels(curves: Curves, primary: str | None = None) -> list[Chart]:
    """One chart for each panel of the curves: loss, the primary metric, other metrics, then how it was trained."""
    panels = curves.panels
    others = sorted((name for name in panels if name not in _FIRST), key=lambda name: (_is_part(name), name))
    order = ["loss", *([primary] if primary else []), *others, *_FIRST]
    return [_draw_panel(curves, title, panels[title]) for title in dict.fromkeys(order) if title in panels]


def draw_scatter(truth: Sequence[float], predicted: Sequence[float], title: str) -> Chart:
    """Predictions over the truth, with the line on which they would be equal."""
    with _figure("truth") as (axes, out):
        low, high = min(*truth, *predicted), max(*truth, *predicted)
        axes.plot([low, high], [low, high], color="#020202", linewidth=0.8, linestyle="--")
        axes.scatter(truth, predicted, s=16, alpha=0.6, color=_SERIES[0], linewidths=0)
        axes.set_ylabel("predicted")
    return Chart(title, out[0])


def draw_histogram(groups: Mapping[str, Sequence[float]], title: str, label: str, span: tuple[float, float]) -> Chart:
    """How often values lie where, stacked by group."""
    from matplotlib.ticker import MaxNLocator  # slow to import: only when there is something to draw

    with _figure(label) as (axes, out):
        colours = _SERIES[: len(groups)]
        axes.hist(list(groups.values()), bins=20, range=span, stacked=True, label=list(groups), color=colours)
        axes.set_ylabel("examples")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        if len(groups) > 1:
            axes.legend()
    return Chart(title, out[0])


def _is_part(name: str) -> bool:
    """One that comes behind the whole, such as ``HasAns_f1``, or what another threshold would give, ``best_f1``."""
    return name[0].isupper() or name.startswith("best_")


def _draw_panel(curves: Curves, title: str, names: Sequence[str]) -> Chart:
    from matplotlib.ticker import MaxNLocator  # slow to import: only when there is something to draw

    with _figure("step") as (axes, out):
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
        for number, name in enumerate(names):
            steps, values = curves.series[name]
            colour = _SERIES[number % len(_SERIES)]
            marker = "." if len(steps) < 30 else ""
            axes.plot(steps, values, label=name, color=colour, marker=marker, linewidth=1.3)
        for step in curves.restarts:
            axes.axvline(step, color="#020202", linestyle="--", linewidth=0.8)
        if len(names) > 1:
            axes.legend()
    return Chart(title, out[0])


@contextmanager
def _figure(label: str) -> Iterator[tuple["Axes", list[str]]]:
    """Axes to draw on; afterwards the list holds the chart."""
    import matplotlib as mpl  # slow to import: only when there is something to draw
    from matplotlib.figure import Figure

    out: list[str] = []
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.4, 2.7), layout="constrained")
        axes = figure.add_subplot()
        axes.set_xlabel(label)
        axes.grid(axis="y")
        yield axes, out
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    out.append(_for_page(file.getvalue()))


def _for_page(svg: str) -> str:
    """Without the head of a file of its own, as wide as there is room, in the colours of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1 role="img"', svg, count=1)
    svg = re.sub(r"font-family: [^;\"]+;? ?", "", svg)
    svg = re.sub(r"font: (\d+(?:\.\d+)?px) [^;\"]+", r"font-size: \1", svg)
    for colour, variable in _COLOURS.items():
        svg = svg.replace(colour, variable)
    return svg
