"""A real client speaks to the command over its standard input and output."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.frameworks import framework

mcp = framework("mcp")

SAMPLES = Path(__file__).parents[2] / "sample_runs"
COMMAND = "import sys; from koopscope.cli.start import main; sys.exit(main())"


@pytest.fixture(scope="module")
def said():
    """Return what a client hears in one conversation."""

    async def conversation():
        words = ["-c", COMMAND, "mcp", "--root", str(SAMPLES)]
        parameters = mcp.StdioServerParameters(command=sys.executable, args=words)
        async with mcp.Client(parameters, read_timeout_seconds=60) as client:
            return {
                "tools": (await client.list_tools()).tools,
                "diagnosis": await client.call_tool("diagnose", {"path": "diverging.h5"}),
                "outside": await client.call_tool("inspect", {"path": "../README.md"}),
                "unknown": await client.call_tool("explain", {"code": "KS999"}),
                "explained": await client.call_tool("explain", {"code": "KS101"}),
            }

    return asyncio.run(conversation())


def test_the_tools_are_read_only(said):
    assert {tool.name for tool in said["tools"]} == {"inspect", "diagnose", "compare", "explain"}
    for tool in said["tools"]:
        assert tool.annotations.read_only_hint
        assert tool.description


def test_a_diagnosis_arrives_as_data(said):
    found = said["diagnosis"].structured_content
    assert found["run"]["snapshots"] > 1
    assert found["findings"][0]["status"] == "fail"
    assert said["explained"].structured_content["code"] == "KS101"


@pytest.mark.parametrize(
    ("name", "words"), [("outside", "outside the folders"), ("unknown", "KS999")]
)
def test_an_error_is_a_sentence(said, name, words):
    assert said[name].is_error
    text = said[name].content[0].text
    assert words in text
    assert "Traceback" not in text
