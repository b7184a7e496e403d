"""report.html in headless Chromium, where there is one: it opens without a network and fits the window."""

import re
import shutil
import subprocess

import pytest

from command_line import EXAMPLES, make_home, works

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MEASURE = """<script>
const page = document.documentElement, broken = [...document.images].filter(image => !image.naturalWidth).length
const links = performance.getEntriesByType("resource").filter(entry => !entry.name.startsWith("data:")).length
const pictures = document.querySelectorAll("svg, img").length
document.title = [page.scrollWidth - page.clientWidth, broken, links, pictures].join(" ")
</script>"""


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return make_home(tmp_path_factory)


@pytest.fixture(scope="module")
def page(home, tmp_path_factory):
    """The report of a run, and what measures it."""
    folder = tmp_path_factory.mktemp("browser")
    words = ["finetune", "my-classes", "--train", EXAMPLES / "topics-train.csv", "--dev", EXAMPLES / "topics-dev.csv"]
    works(*words, "--from", home / "encoder", "--out", folder / "run", "train.steps=3", "task.max_length=64")
    page = folder / "page.html"
    page.write_text((folder / "run" / "report.html").read_text(encoding="utf-8") + MEASURE, encoding="utf-8")
    return page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [500, 1400])
def test_it_opens_offline_and_fits(width, page, tmp_path):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += [f"--window-size={width},900", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", page.as_uri()]
    dom = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout
    overflow, broken, links, pictures = map(int, re.search(r"<title>(-?\d+) (\d+) (\d+) (\d+)</title>", dom).groups())
    assert (overflow, broken, links) == (0, 0, 0) and pictures >= 2
