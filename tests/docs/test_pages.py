"""Links between pages lead somewhere; README and index name every verb and every page."""

import re
from pathlib import Path

import pytest

import koopscope
from koopscope.cli.main import VERBS

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    [
        *REPOSITORY.glob("*.md"),
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


def test_the_index_leads_to_every_page_of_the_docs() -> None:
    docs = REPOSITORY / "docs"
    text = (docs / "index.md").read_text("utf-8")
    linked = {(docs / target).resolve() for target in LINK.findall(text)}
    assert set(docs.rglob("*.md")) - linked == {docs / "index.md"}


def test_the_readme_s_picture_says_what_the_analysis_found() -> None:
    run = REPOSITORY / "sample_runs" / "past_convergence.h5"
    with koopscope.open_run(run) as recorded:
        steps = recorded.description.steps.tolist()
        losses = dict(zip(steps, recorded.description.metrics["val_loss"], strict=True))
    stop = koopscope.analyze(run).finding("convergence").evidence["stop_step"]
    text = " ".join((REPOSITORY / "README.md").read_text("utf-8").split())
    assert f"trained for {steps[-1]:,} steps" in text
    assert (
        f"stopped it at step {stop:,}: validation loss {losses[stop]:.4f}, "
        f"against {losses[steps[-1]]:.4f} where training ended"
    ) in text
    assert f"stop: {stop:,}" in (REPOSITORY / "docs" / "pictures" / "summary.svg").read_text(
        "utf-8"
    )
