"""The reference is the program's own word: commands, findings, schemas and names, all of them."""

from __future__ import annotations

import json
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

import koopscope
from koopscope.cli.main import VERBS
from koopscope.gate.rules import RULES
from tests.calling import called
from tests.frameworks import public_names

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"


def hook() -> ModuleType:
    """Load docs/generated.py as MkDocs does: by its path."""
    spec = spec_from_file_location("generated", DOCS / "generated.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generated = hook()


def page(name: str) -> str:
    return (DOCS / "reference" / f"{name}.md").read_text("utf-8")


def test_every_command_is_there_with_all_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    text = generated.filled(page("commands"))
    assert re.findall(r"^## koopscope (\w+)$", text, re.MULTILINE) == list(VERBS)
    for verb in VERBS:
        _, told, _ = called(capsys, verb, "--help")
        options = set(re.findall(r"--[a-z-]+", told))
        part = text[text.index(f"## koopscope {verb}\n") :].split("\n## ")[0]
        assert options <= set(re.findall(r"--[a-z-]+", part))


def test_every_rule_is_there_with_its_explanation_and_levels() -> None:
    text = generated.filled(page("findings"))
    assert re.findall(r"^## (KS\d+) ", text, re.MULTILINE) == [rule.code for rule in RULES]
    for rule in RULES:
        assert rule.explanation.asks in text
        words = " ".join(text.split())
        for part in vars(rule.explanation).values():
            assert " ".join(part.split()) in words
    assert text.count("recommended  an error") == len(RULES)


def test_every_schema_is_there_with_its_keys() -> None:
    text = generated.filled(page("schemas"))
    paths = sorted((REPOSITORY / "koopscope" / "report" / "schema").glob("*.json"))
    assert len(paths) >= 5
    for path in paths:
        schema = json.loads(path.read_text("utf-8"))
        assert f"## {schema['title']}" in text
        for part in (schema, *schema.get("$defs", {}).values()):
            for key in part.get("properties", {}):
                assert f"| `{key}` |" in text


def test_every_public_name_is_there() -> None:
    text = page("python")
    wanted = public_names()
    assert set(re.findall(r"^### koopscope\.(\w+)$", text, re.MULTILINE)) >= wanted
    for name in wanted:
        home = getattr(koopscope, name).__module__
        assert f"### koopscope.{name}\n\n::: {home}.{name}\n" in text


def test_every_mark_is_known_and_every_page_is_in_the_menu() -> None:
    menu = (REPOSITORY / "mkdocs.yml").read_text("utf-8")
    for path in DOCS.rglob("*.md"):
        marks = re.findall(r"<!-- generated: (\w+) -->", path.read_text("utf-8"))
        assert set(marks) <= set(generated.GENERATORS)
        assert menu.count(f": {path.relative_to(DOCS).as_posix()}\n") == 1


@pytest.mark.parametrize(
    ("link", "page", "wanted"),
    [
        ("](analyze.md)", "guide/ci.md", "](analyze.md)"),
        ("](../evidence/numerics.md#rank)", "guide/ci.md", "](../evidence/numerics.md#rank)"),
        ("](../SECURITY.md)", "security.md", f"]({generated.REPOSITORY}/SECURITY.md)"),
        ("](../../studies/a.csv)", "guide/ci.md", f"]({generated.REPOSITORY}/studies/a.csv)"),
        ("](../README.md#x)", "index.md", f"]({generated.REPOSITORY}/README.md#x)"),
        ("](https://example.org)", "index.md", "](https://example.org)"),
    ],
)
def test_links_out_of_the_docs_lead_to_the_repository(link: str, page: str, wanted: str) -> None:
    assert generated.outward(link, page) == wanted
