"""Pages in a real browser: no error, no request, readable without scripts, and accessible."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.calling import called
from tests.frameworks import framework, required

sync_api = framework("playwright.sync_api")
framework("axe_core_python")

SAMPLES = Path(__file__).parents[3] / "sample_runs"
WIDTHS = (360, 900, 1600)

#: Where Debian, Ubuntu and others put it.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

#: Each page, and the words that write it.
PAGES = {
    "analysis": ("analyze", SAMPLES / "transformer.h5"),
    "gate": ("check", SAMPLES / "diverging.h5"),
    "forecast": ("forecast", SAMPLES / "mlp_sgd.h5", "--ahead", 5),
    "pruning": ("prune", SAMPLES / "mlp_sgd.h5", "--sparsity", 0.5),
    "comparison": ("compare", SAMPLES / "mlp_sgd.h5", SAMPLES / "lr_too_high.h5"),
    "contraction": ("contraction", SAMPLES / "iterates" / "forest.h5"),
}


@pytest.fixture(scope="module")
def browser():
    found = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if found is None:
        assert "playwright" not in required(), "no Chromium is installed"
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as driver:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        opened = driver.chromium.launch(executable_path=found, args=arguments)
        yield opened
        opened.close()


@pytest.fixture(params=PAGES)
def page_file(request, tmp_path, capsys):
    path = tmp_path / "page.html"
    code, _, err = called(capsys, *PAGES[request.param], "-q", "--format", f"html={path}")
    assert code in (0, 1), err
    return path


def test_pages_in_a_browser(browser, page_file):
    from axe_core_python.sync_playwright import Axe

    for scripts in (True, False):
        context = browser.new_context(java_script_enabled=scripts)
        page = context.new_page()
        said, asked = [], []
        page.on("console", lambda message, said=said: said.append(message.text))
        page.on("pageerror", lambda error, said=said: said.append(str(error)))
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(page_file.as_uri())
            assert page.locator("h1").first.is_visible()
            assert page.locator(".verdict").first.is_visible()
            if scripts:  # the page itself never scrolls sideways: what is wide does by itself
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert not said
        assert {url for url in asked if not url.startswith("data:")} == {page_file.as_uri()}
        if scripts:
            found = Axe().run(page)
            serious = [
                (each["id"], [node["html"] for node in each["nodes"]][:3])
                for each in found["violations"]
                if each["impact"] in ("serious", "critical")
            ]
            assert not serious
        context.close()


def test_a_table_sorts_by_numbers(browser, tmp_path, capsys):
    path = tmp_path / "page.html"
    called(capsys, "analyze", SAMPLES / "transformer.h5", "-q", "--format", f"html={path}")
    page = browser.new_page()
    page.goto(path.as_uri())
    table = page.locator("table", has_text="How far each layer moved")
    table.locator("th button", has_text="weights").click()
    weights = [
        int(text.replace(",", ""))
        for text in table.locator("tbody tr td:nth-child(2)").all_inner_texts()
    ]
    assert weights == sorted(weights)
    assert len(set(weights)) > 1
    page.close()


def test_the_index_of_a_site(browser, tmp_path, capsys):
    runs = [SAMPLES / "mlp_sgd.h5", SAMPLES / "diverging.h5"]
    code, _, err = called(capsys, "report", *runs, "-o", tmp_path / "site")
    assert code == 0, err
    page = browser.new_page(viewport={"width": 900, "height": 900})
    page.goto((tmp_path / "site" / "index.html").as_uri())
    assert page.locator("tbody tr").count() == 2
    page.locator("tbody a", has_text="diverging").click()
    assert "diverging.h5" in page.locator("h1").first.inner_text()
    page.close()
