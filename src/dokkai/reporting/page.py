"""``report.html``: one file that opens anywhere, with all that is known of a run."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dokkai.files import write_text
from dokkai.progress import clock
from dokkai.reporting.charts import Chart, draw_panels
from dokkai.reporting.forms import Matrix, Outcomes, Table
from dokkai.reporting.measurements import read_curves
from dokkai.settings import TASK_KINDS, ModelSettings, ProbeSettings, TrainSettings

if TYPE_CHECKING:
    from jinja2 import Template

REPORT = "report.html"
_SHOWN_PANELS = 4  # charts that are open at once; the others wait behind a click


def write_report(run: Path, record: Mapping[str, Any], outcomes: Outcomes | None = None) -> None:
    """Write ``report.html`` into the run directory from its ``record`` (``run.json``) and its measurements."""
    curves = read_curves(run)
    best = record.get("best", {})
    charts = draw_panels(curves, best.get("metric"))
    page = _template().render(
        name=run.resolve().name,
        record=record,
        best=best,
        lead=best.get("metric") or (outcomes.metric if outcomes else None),
        facts=_facts(record, outcomes, curves.steps, curves.seconds),
        charts=charts[:_SHOWN_PANELS],
        more_charts=charts[_SHOWN_PANELS:],
        outcomes=outcomes,
        settings=_settings(record.get("settings", {})),
    )
    write_text(run / REPORT, page)


def add_runs(page: str, runs: Table, note: str) -> str:
    """The page of one of several runs, with the table of them all and a sentence about it at its head."""
    template = _template()
    section = "".join(template.blocks["runs"](template.new_context({"part": runs, "several": note})))
    head, end, rest = page.partition("</header>\n")  # texts have their < escaped: the first is that of the page
    return f"{head}{end}{section}{rest}"


def _template() -> "Template":
    from jinja2 import Environment  # here, because nothing else needs it
    from markupsafe import Markup

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": _number, "percent": _percent, "svg": lambda chart: Markup(chart.svg)}
    environment.tests |= {
        "table": lambda part: isinstance(part, Table),
        "matrix": lambda part: isinstance(part, Matrix),
        "chart": lambda part: isinstance(part, Chart),
    }
    return environment.from_string((resources.files("dokkai.reporting") / REPORT).read_text(encoding="utf-8"))


def _facts(record: Mapping[str, Any], outcomes: Outcomes | None, steps: int, seconds: float) -> list[tuple[str, str]]:
    """What the head of the page says in a line."""
    sources = record.get("sources", {})
    kind = record["settings"].get("task", {}).get("kind")
    facts = [("task", kind)] if kind else []
    if "num_examples" in sources:
        facts.append(("trained on", f"{sources['num_examples']:,} examples"))
    if "num_tokens" in sources:
        facts.append(("trained on", f"{sources['num_tokens']:,} tokens"))
    if outcomes is not None:
        facts.append(("evaluated on", f"{outcomes.num_examples:,} examples"))
    if steps:
        facts.append(("length", f"{steps:,} steps" + (f" in {clock(seconds)}" if seconds else "")))
    if sources.get("from"):
        facts.append(("from", str(sources["from"]) + (" (random weights)" if sources.get("random_weights") else "")))
    return facts


def _settings(settings: Mapping[str, Any]) -> list[tuple[str, Any, bool]]:
    """``(name, value, is_default)`` of every setting that says something."""
    kind = settings.get("task", {}).get("kind", "")
    sections = {"model": ModelSettings, "train": TrainSettings, "probe": ProbeSettings, "task": TASK_KINDS.get(kind)}
    rows = []
    for section, values in settings.items():
        known = sections.get(section)
        for name, value in values.items() if isinstance(values, Mapping) else ():
            field = known.model_fields.get(name) if known else None
            if value is not None:
                rows.append((f"{section}.{name}", value, field is not None and field.default == value))
    return rows


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _percent(value: float) -> str:
    return f"{value:.1%}" if value < 0.9995 else "100%"
