"""A variable that a newer botocore reads is noticed."""

from __future__ import annotations

import ast
import inspect

import pytest

from eventbridge_partner.aws import configuration, environment, settings
from tests.aws import variables


@pytest.mark.parametrize(
    "line",
    [
        'VARIABLES = {"new": ("new", "AWS_NEW_SETTING", None, None)}',
        'NAMES = ["AWS_NEW_SETTING"]',
        'os.environ.get("NEW_SETTING")',
        'environ.get("NEW_SETTING", "")',
        'os.getenv("NEW_SETTING")',
        'self._environ["NEW_SETTING"]',
    ],
)
def test_a_new_variable_is_noticed(tmp_path, line):
    """A new variable is noticed wherever a module names or reads it."""
    (tmp_path / "old.py").write_text('import os\nos.environ.get("AWS_CA_BUNDLE")\n')
    assert variables.unknown_variables(tmp_path) == {}
    (tmp_path / "new.py").write_text(f"import os\n{line}\n")
    assert set(variables.unknown_variables(tmp_path).values()) == {"new.py"}


def test_variables_listed_as_read_are_read():
    """The package's code names every variable that the table lists as read."""
    source = "\n".join(
        inspect.getsource(module) for module in (environment, configuration, settings)
    )
    named = {
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    for name in variables.READ | variables.LEFT_TO_BOTOCORE:
        assert any(found.startswith(name) for found in named), name
