"""Reads a page as strictly as a browser does not: every element closed, nothing from outside."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

#: Elements without an end.
VOID = {"meta", "img", "input", "br", "hr", "line", "circle", "path", "rect"}


@dataclass
class PageRead:
    """What a page holds.

    Attributes
    ----------
    tags, attributes
        Every element's name, and every attribute as (element, name, value).
    text
        What people read.
    data
        The JSON kept inside, or ``None``.
    """

    tags: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str, str | None]] = field(default_factory=list)
    text: str = ""
    data: Any = None


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found = PageRead()
        self.open: list[str] = []
        self.is_data = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.tags.append(tag)
        self.found.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        self.is_data = tag == "script" and ("type", "application/json") in attrs

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID, f"<{tag}/> is not closed in HTML"
        self.found.tags.append(tag)
        self.found.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> ends nothing"
        assert self.open.pop() == tag
        self.is_data = False

    def handle_data(self, data: str) -> None:
        if self.is_data:
            self.found.data = json.loads(data)
        elif self.open and self.open[-1] not in ("script", "style"):
            self.found.text += data


def read(page: str) -> PageRead:
    """Return what a page holds; a page that is not well formed is an error."""
    assert page.startswith("<!DOCTYPE html>\n")
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert not reader.open, reader.open
    return reader.found


def assert_harmless(page: str) -> PageRead:
    """Hold that a page asks for nothing outside itself and runs no script but its own."""
    found = read(page)
    assert found.tags.count("script") == 1 + (found.data is not None)
    for element in ("iframe", "object", "embed", "link", "base", "form", "style"):
        assert found.tags.count(element) == (element == "style")
    for element, name, value in found.attributes:
        assert not name.startswith("on"), (element, name)
        assert name != "style", "the content security policy would drop it"
        if name in ("src", "href"):
            assert value is not None
            assert value.startswith(("#", "data:image/png;base64,")), (element, value)
    policy = next(value for _, name, value in found.attributes if name == "content")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    return found
