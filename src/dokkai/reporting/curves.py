"""The curves of a run as a picture, ``curves.png``."""

from pathlib import Path

from dokkai.files import replacing
from dokkai.reporting.measurements import read_curves


def draw_curves(run: Path) -> None:
    """``curves.png``: the numbers of ``metrics.jsonl`` over the steps, training and held-out together.

    A run from bare weights shows those of the runs before it, too, with a dashed line where the optimizer began anew.
    """
    from matplotlib.figure import Figure  # slow to import: only when there is something to draw

    curves = read_curves(run)
    panels = curves.panels
    if not panels:
        return
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.5 * columns, 3.2 * rows), layout="constrained")
    for place, (title, names) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, place + 1)
        for name in names:
            steps, values = curves.series[name]
            axes.plot(steps, values, label=name, marker="." if len(steps) < 30 else "", linewidth=1.2)
        for step in curves.restarts:
            axes.axvline(step, color="gray", linestyle="--", linewidth=1, label="restart from weights")
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        if len(names) + len(curves.restarts) > 1:
            axes.legend(fontsize="small")
    with replacing(run / "curves.png") as temporary:
        figure.savefig(temporary, format="png", dpi=110)
