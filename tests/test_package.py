"""What ``import koopscope`` offers: named, documented, lazy, and in step with the settings."""

import inspect
import subprocess
import sys
from dataclasses import fields

import koopscope
from koopscope.analysis.settings import Settings
from koopscope.diagnostics.diagnosis import Sampling
from tests.frameworks import public_names


def test_every_public_name_is_listed_found_and_documented() -> None:
    assert set(koopscope.__all__) <= set(dir(koopscope))
    for name in public_names():
        assert inspect.getdoc(getattr(koopscope, name)), name
        assert f"``{name}``" in str(koopscope.__doc__), name


def test_importing_and_listing_load_no_numpy() -> None:
    code = "import sys, koopscope; dir(koopscope); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_analyze_names_every_setting_with_its_default() -> None:
    named = inspect.signature(koopscope.analyze).parameters
    for field in fields(Settings):
        if field.name not in Sampling.__annotations__:
            assert named[field.name].default == field.default, field.name
    assert set(Sampling.__annotations__) < {field.name for field in fields(Settings)}
