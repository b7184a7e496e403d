"""Every table of the pages that ``benchmarks/report.py`` fills comes from a result file."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_pages_are_what_the_results_say() -> None:
    spec = importlib.util.spec_from_file_location("report", ROOT / "benchmarks" / "report.py")
    assert spec is not None and spec.loader is not None
    report = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(report)
    for path in report.PAGES:
        page = path.read_text(encoding="utf-8")
        assert "<!-- table" in page
        assert report.fill(page) == page
