"""Every link between pages leads somewhere, and the README names every verb and every page."""

import re
from pathlib import Path

import pytest

from koopscope.cli.main import VERBS

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    [
        REPOSITORY / "README.md",
        *(REPOSITORY / "docs").rglob("*.md"),
        *(REPOSITORY / "sample_runs").rglob("*.md"),
    ]
)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(page: Path) -> None:
    targets = LINK.findall(page.read_text("utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_readme_names_every_verb() -> None:
    text = (REPOSITORY / "README.md").read_text("utf-8")
    assert [verb for verb in VERBS if f"`koopscope {verb}" not in text] == []


def test_the_readme_leads_to_every_page() -> None:
    linked = set(LINK.findall((REPOSITORY / "README.md").read_text("utf-8")))
    pages = {str(page.relative_to(REPOSITORY)) for page in (REPOSITORY / "docs").rglob("*.md")}
    assert sorted(pages - linked) == []
