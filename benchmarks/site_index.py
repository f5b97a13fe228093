"""Time a browser on the index of a site of 1,000 runs: ``python benchmarks/site_index.py``.

Judges the sample runs once, repeats their rows under other names, and opens the index in Chromium.
Needs the extra ``browser`` and Chromium.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import sync_playwright

import koopscope
from koopscope.history.rows import row_of
from koopscope.report.html.index import Entry, index_page

SAMPLES = Path(__file__).parents[1] / "sample_runs"
RUNS = 1000


def main() -> None:
    known = [row_of(koopscope.analyze(path), path) for path in sorted(SAMPLES.glob("*.h5"))]
    entries = [
        Entry(replace(known[k % len(known)], path=f"runs/{k:04d}.h5"), f"runs/{k:04d}.html")
        for k in range(RUNS)
    ]
    began = time.perf_counter()
    page = index_page(entries)
    print(f"written in {time.perf_counter() - began:.2f} s, {len(page) / 1e3:,.0f} kB")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = Path(folder) / "index.html"
        path.write_text(page)
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        times = []
        for _ in range(5):
            tab = browser.new_page()
            began = time.perf_counter()
            tab.goto(path.as_uri(), wait_until="load")
            assert tab.locator("tbody tr").count() == RUNS
            times.append(time.perf_counter() - began)
            tab.close()
        browser.close()
    times.sort()
    print(
        f"opened and counted in {times[2]:.2f} s (median of 5, {times[0]:.2f} to {times[-1]:.2f})"
    )


if __name__ == "__main__":
    main()
