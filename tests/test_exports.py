"""What users may import is what we meant them to, documented and pickled under one name."""

from __future__ import annotations

import inspect
import types

import pytest

import eventbridge_partner
from eventbridge_partner import error_codes, limits, models

NAMES = sorted(eventbridge_partner.__all__)


def test_nothing_else_is_public():
    """A name without underscore that is neither exported nor a module was left by accident."""
    public = {
        name
        for name, value in vars(eventbridge_partner).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public - {"annotations", "TYPE_CHECKING"} <= set(NAMES)


def test_star_import():
    """`from eventbridge_partner import *` brings all of it."""
    namespace: dict[str, object] = {}
    exec("from eventbridge_partner import *", namespace)
    assert set(NAMES) <= set(namespace)


@pytest.mark.parametrize("name", NAMES)
def test_documented(name):
    """Every exported class and function has a docstring of its own."""
    value = getattr(eventbridge_partner, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert (value.__doc__ or "").strip()
        assert not str(value.__doc__).startswith(f"{name}(")


@pytest.mark.parametrize("name", NAMES)
def test_public_methods_are_documented(name):
    """So has every public method and property of an exported class."""
    value = getattr(eventbridge_partner, name)
    if inspect.isclass(value):
        for member_name, member in vars(value).items():
            if not member_name.startswith("_") and callable(getattr(member, "fget", member)):
                assert inspect.getdoc(getattr(value, member_name)), member_name


def test_unknown_names():
    """A name that does not exist is an AttributeError, also where some are loaded late."""
    with pytest.raises(AttributeError, match="NoSuchName"):
        getattr(eventbridge_partner, "NoSuchName")  # noqa: B009


def test_models_are_exported():
    """What the models package offers, the package offers."""
    assert set(models.__all__) <= set(NAMES)


@pytest.mark.parametrize("module", [limits, error_codes], ids=["limits", "error_codes"])
def test_every_constant_is_explained(module):
    """Each constant has a string behind it: where it comes from, or what it means."""
    source = inspect.getsource(module)
    for name in vars(module):
        if name.isupper() and not name.startswith("_"):
            _, _, behind = source.partition(f"\n{name}: Final = ")
            statement = behind.partition('"""')[0]
            assert behind, name
            assert "\n\n" not in statement.strip(), name
