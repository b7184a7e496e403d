"""The picture of a report in the guide: python docs/pictures/report.py RUN writes report.png beside it.

RUN is the directory of a finished run; its report.html is opened in headless Chromium, which must be installed.
"""

import argparse
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
SIZE = "1000,1500"
NAMES = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    page = parser.parse_args().run.resolve() / "report.html"
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        parser.error(f"none of {', '.join(NAMES)} is installed")
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={SIZE}"]
    subprocess.run([browser, *words, f"--screenshot={HERE / 'report.png'}", page.as_uri()], check=True)


if __name__ == "__main__":
    main()
