"""Take the picture of README: the page of a real run, the engine in numpy with the erf form of GELU.

    python3 scripts/page_picture.py harness/report/page/page.webp

It needs numpy, Playwright (.ci/browser/requirements.lock) and Chromium.
"""

import base64
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = "goldens/synthetic-tiny/hello/float64"
RIGHT = "return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))"
WRONG = "from math import erf, sqrt\n    return 0.5 * x * (1 + np.vectorize(erf)(x / sqrt(2)))"


def make_page(work):
    """Run what README runs, with a page for its answer."""
    shutil.copytree(ROOT / "scripts" / "engines", work / "engines")
    text = (work / "engines" / "engine_numpy.py").read_text()
    assert text.count(RIGHT) == 1
    (work / "engines" / "engine_numpy.py").write_text(text.replace(RIGHT, WRONG))
    (work / "goldens").symlink_to(ROOT / "goldens")
    program = str(work / "checkpoint12")
    subprocess.run(["go", "build", "-o", program, "."], cwd=ROOT, check=True)
    for command in ([program, "synth", "synthetic-tiny", "--out", "my-tiny"],
                    [sys.executable, "engines/engine_numpy.py", "my-tiny", GOLDEN + "/tokens.npy", "my-wrong-dump"]):
        subprocess.run(command, cwd=work, check=True, stdout=subprocess.DEVNULL)
    status = subprocess.run([program, "compare", "--golden", GOLDEN, "--candidate", "my-wrong-dump", "--model", "my-tiny",
                             "--html", "report.html"], cwd=work, stdout=subprocess.DEVNULL).returncode
    assert status == 1, "the dump is wrong, and compare says so"
    return work / "report.html"


def main(path):
    with tempfile.TemporaryDirectory() as work, sync_playwright() as p:
        page = make_page(pathlib.Path(work))
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1180, "height": 1130}, color_scheme="light")
        tab.goto(page.as_uri())
        shot = tab.context.new_cdp_session(tab).send("Page.captureScreenshot", {"format": "webp", "quality": 78})
        pathlib.Path(path).write_bytes(base64.b64decode(shot["data"]))
        browser.close()
    print(f"{path}: {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
