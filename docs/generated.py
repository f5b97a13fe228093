"""Fill the reference pages from the program itself while the documentation is built.

MkDocs loads this file as a hook. A page that holds ``<!-- generated: commands -->`` gets the help
of every command there, ``findings`` the text of ``koopscope explain``, ``schemas`` the JSON schemas
as tables. Links that leave docs/ lead to the repository, since the site holds docs/ alone.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

DOCS = Path(__file__).parent
REPOSITORY = "https://github.com/koopscope/koopscope/blob/main"

_MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
_LINK = re.compile(r"\]\((\.\./[^)#\s]*)(#[^)\s]*)?\)")

#: How deep the tables of a schema go; what lies deeper is in the schema itself.
_DEPTH = 2


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Return a page's text with its marks filled and its outward links completed (MkDocs' hook)."""
    return outward(filled(markdown), page.file.src_uri)


def filled(text: str) -> str:
    """Return a page's text with what its marks ask for in their places."""
    return _MARK.sub(lambda mark: GENERATORS[mark[1]](), text)


def outward(text: str, page: str) -> str:
    """Return a page's text with links out of docs/ leading to the repository.

    Parameters
    ----------
    text
        Markdown.
    page
        Where the page lies in docs/, with slashes.
    """

    def complete(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link[1]))
        if target.startswith("docs/"):
            return link[0]
        return f"]({REPOSITORY}/{target}{link[2] or ''})"

    return _LINK.sub(complete, text)


def commands() -> str:
    """Return the help of koopscope and of each of its verbs."""
    from koopscope.cli.main import VERBS

    parts = [_fenced(_printed("--help"))]
    for verb in VERBS:
        parts.append(f"## koopscope {verb}\n\n{_fenced(_printed(verb, '--help'))}")
    return "\n\n".join(parts)


def findings() -> str:
    """Return what ``koopscope explain`` says of every rule."""
    from koopscope.gate.rules import RULES
    from koopscope.report.gate.explanation import SECTIONS

    parts = []
    for rule in RULES:
        limits = "\n".join(_printed("explain", rule.code, "--isolated").splitlines()[4:])
        said = limits[limits.index("preset") :]
        sections = "\n\n".join(
            f"**{heading}.** {getattr(rule.explanation, name)}"
            for name, heading in SECTIONS.items()
        )
        title = f"## {rule.code} {rule.id}\n\n{rule.title}."
        parts.append(f"{title}\n\n{sections}\n\n{_fenced(said)}")
    return "\n\n".join(parts)


def schemas() -> str:
    """Return the keys of every JSON schema that ships with the package, as tables."""
    folder = DOCS.parent / "koopscope" / "report" / "schema"
    parts = []
    for path in sorted(folder.glob("*.schema.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        lines = [f"## {schema['title']}", "", schema["description"], ""]
        lines += [
            f"The schema itself: [`{path.name}`]({REPOSITORY}/koopscope/report/schema/{path.name})."
        ]
        for title, part in [("", schema), *schema.get("$defs", {}).items()]:
            rows = list(_keys(part))
            if rows:
                lines += ["", *([f"### {path.stem.split('-')[0]}: `{title}`", ""] if title else [])]
                lines += ["| key | type | meaning |", "|---|---|---|", *rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _keys(schema: Mapping[str, Any], within: str = "", depth: int = 0) -> Iterator[str]:
    for name, value in schema.get("properties", {}).items():
        said = value.get("description", "").replace("|", "\\|")
        yield f"| `{within}{name}` | {_type(value)} | {said} |"
        if depth + 1 < _DEPTH:
            yield from _keys(value, f"{within}{name}.", depth + 1)
            yield from _keys(value.get("items", {}), f"{within}{name}[].", depth + 1)


def _type(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    types = schema.get("type", "any")
    kinds = ", ".join([types] if isinstance(types, str) else types)
    items = schema.get("items")
    return f"{kinds} of {_type(items)}" if items else kinds


def _printed(*arguments: str) -> str:
    """Return what koopscope prints on a page of 80 columns."""
    from koopscope.cli.main import main

    content = io.BytesIO()
    printed = io.TextIOWrapper(content, encoding="utf-8")
    asked = {"COLUMNS": "80", "NO_COLOR": "1"}
    with patch.dict(os.environ, asked), contextlib.redirect_stdout(printed):
        try:
            main(list(arguments))
        except SystemExit as ended:
            if ended.code:
                raise
        printed.flush()
    return content.getvalue().decode()


def _fenced(text: str) -> str:
    return f"```text\n{text.strip()}\n```"


GENERATORS: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "findings": findings,
    "schemas": schemas,
}
