"""Only intended names are public, and each is documented and pickled under one name."""

from __future__ import annotations

import ast
import inspect
import pickle
import pkgutil
import subprocess
import sys

import pytest

import eventbridge_partner
from eventbridge_partner import error_codes, limits, models, testing

NAMES = sorted(eventbridge_partner.__all__)
SUBMODULES = sorted(
    module.name
    for module in pkgutil.iter_modules(eventbridge_partner.__path__)
    if not module.name.startswith("_")
)
FACES = [eventbridge_partner, models, testing]


def printed(program: str, given: bytes = b"") -> str:
    """Return what a program prints in a new interpreter."""
    finished = subprocess.run(
        [sys.executable, "-c", program], input=given, check=True, capture_output=True
    )
    return finished.stdout.decode().strip()


def test_nothing_else_is_public():
    """Every public name of the package is exported or a submodule."""
    # pytest adds names that are no identifiers to modules that it rewrites.
    names = filter(str.isidentifier, dir(eventbridge_partner))
    public = {name for name in names if not name.startswith("_")}
    assert public - {"annotations", "face", "TYPE_CHECKING"} == {*NAMES, *SUBMODULES}


# ---------------------------------------------------------------- loaded at the first use


@pytest.mark.parametrize("package", FACES, ids=lambda package: package.__name__)
def test_names_are_those_that_type_checkers_see(package):
    """Type checkers see exactly the names that are exported and loaded late."""
    seen = {}
    for node in ast.walk(ast.parse(inspect.getsource(package))):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for statement in node.body:
                assert isinstance(statement, ast.ImportFrom)
                for alias in statement.names:
                    seen[alias.name] = f"{statement.module}"
    assert set(seen) == set(package.__all__)
    for name, module in seen.items():
        __import__(module)
        assert getattr(package, name) is getattr(sys.modules[module], name), name
    assert set(package._NAMES) == {
        module.removeprefix(f"{package.__name__}.") for module in seen.values()
    }


@pytest.mark.process
@pytest.mark.parametrize("package", FACES, ids=lambda package: package.__name__)
def test_an_import_loads_nothing(package):
    """Importing the package loads none of its parts and nothing of the standard library."""
    program = "import sys; before = set(sys.modules); import {}; print(*set(sys.modules) - before)"
    new = set(printed(program.format(package.__name__)).split())
    assert package.__name__ in new
    assert new <= {
        "__future__", "eventbridge_partner", "eventbridge_partner._lazy",
        "eventbridge_partner._version", package.__name__,
    }  # fmt: skip


@pytest.mark.process
@pytest.mark.parametrize("package", FACES, ids=lambda package: package.__name__)
def test_names_are_shown_before_they_are_loaded(package):
    """`dir` shows all names before they are loaded."""
    program = f"import {package.__name__}; print(*dir({package.__name__}))"
    assert set(package.__all__) | {"__doc__", "__name__"} <= set(printed(program).split())


@pytest.mark.process
def test_completion():
    """A shell completes names that are not loaded yet."""
    completed = printed(
        "import eventbridge_partner, rlcompleter\n"
        "completer = rlcompleter.Completer({'ep': eventbridge_partner})\n"
        "print(*(completer.complete('ep.AsyncPa', n) for n in range(2)))"
    )
    assert completed == "ep.AsyncPartnerEventsClient( None"


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("name", SUBMODULES)
def test_submodules_need_no_import_of_their_own(name):
    """`import eventbridge_partner` is enough to use a submodule."""
    program = f"import eventbridge_partner as ep; print(ep.{name}.__name__)"
    assert printed(program) == f"eventbridge_partner.{name}"


def test_a_name_is_looked_up_once():
    """After its first use, a name is an ordinary attribute."""
    assert eventbridge_partner.PartnerEvent is vars(eventbridge_partner)["PartnerEvent"]


@pytest.mark.process
def test_pickles_find_their_classes():
    """A process that has not imported the package can unpickle an event."""
    event = eventbridge_partner.PartnerEvent("aws.partner/example.com/a", "t", "{}")
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer).detail_type)"
    assert printed(program, pickle.dumps(event)) == "t"


@pytest.mark.process
def test_isinstance():
    """A class is the same wherever it is imported from."""
    program = (
        "from eventbridge_partner.models._event import PartnerEvent as direct\n"
        "import eventbridge_partner as ep\n"
        "from eventbridge_partner import PartnerEvent\n"
        "event = direct('aws.partner/example.com/a', 't', '{}')\n"
        "print(isinstance(event, ep.PartnerEvent), PartnerEvent is ep.models.PartnerEvent)"
    )
    assert printed(program) == "True True"


@pytest.mark.process
def test_names_can_be_replaced():
    """A name that is patched before its first use is restored."""
    program = (
        "from unittest import mock\n"
        "with mock.patch('eventbridge_partner.PartnerEventsClient', 'a double'):\n"
        "    from eventbridge_partner import PartnerEventsClient as double\n"
        "from eventbridge_partner import PartnerEventsClient\n"
        "print(double, PartnerEventsClient.__name__)"
    )
    assert printed(program) == "a double PartnerEventsClient"


def test_star_import():
    """`from eventbridge_partner import *` imports all names."""
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
    """Every public method and property of an exported class has a docstring."""
    value = getattr(eventbridge_partner, name)
    if inspect.isclass(value):
        for member_name, member in vars(value).items():
            if not member_name.startswith("_") and callable(getattr(member, "fget", member)):
                assert inspect.getdoc(getattr(value, member_name)), member_name


@pytest.mark.parametrize("package", FACES, ids=lambda package: package.__name__)
def test_unknown_names(package):
    """An unknown name raises AttributeError, although names are loaded late."""
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no .* 'NoSuchName'"):
        getattr(package, "NoSuchName")  # noqa: B009
    assert not hasattr(package, "_NoSuchName")


def test_models_are_exported():
    """The package exports everything that its models package exports."""
    assert set(models.__all__) <= set(NAMES)


@pytest.mark.parametrize("module", [limits, error_codes], ids=["limits", "error_codes"])
def test_every_constant_is_explained(module):
    """Each constant is followed by a string that explains it."""
    source = inspect.getsource(module)
    for name in vars(module):
        if name.isupper() and not name.startswith("_"):
            _, _, behind = source.partition(f"\n{name}: Final = ")
            statement = behind.partition('"""')[0]
            assert behind, name
            assert "\n\n" not in statement.strip(), name
