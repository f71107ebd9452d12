"""
The tasks of a working day: `.venv/bin/nox -s quick`, or `nox --list` for all of them.

They run in nox's own environment, so nothing is installed.
"""

from __future__ import annotations

import sys

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["quick"]


_QUICK = (
    *("tests/models", "tests/wire", "tests/delivery", "tests/line", "tests/client"),
    *("tests/guard/test_guard_watch.py", "tests/publisher/test_buffer.py"),
    *("tests/test_retry.py", "tests/test_pacing.py", "tests/test_handoff.py"),
    *("tests/test_errors.py", "tests/test_error_codes.py", "tests/test_limits.py"),
    "tests/test_exports.py",
)


def _python(session: nox.Session, *arguments: str) -> None:
    session.run(sys.executable, *arguments, external=True)


@nox.session
def quick(session: nox.Session) -> None:
    """Test the pure rooms, and the client over the local service; more arguments go to pytest."""
    chosen = ("-m", "not process and not slow", *_QUICK)
    _python(session, "-m", "pytest", "-q", "-n", "auto", *chosen, *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests, including the code in the docs; more arguments go to pytest."""
    _python(session, "-m", "pytest", "-q", "-n", "auto", *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy and pyright, style with ruff, and imports between rooms."""
    _python(session, "-m", "ruff", "check", ".")
    _python(session, "-m", "ruff", "format", "--check", ".")
    _python(session, "-m", "mypy")
    _python(session, "-m", "pyright", "--pythonpath", sys.executable)
    _python(session, "-c", "from importlinter.cli import lint_imports_command as c; c()")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation without a warning, and run the code in it."""
    _python(session, "-m", "sphinx", "-q", "-W", "--keep-going", "-n", "docs", "docs/_build")
    _python(session, "-m", "pytest", "-q", "docs", "README.md", *session.posargs)


@nox.session
def gate(session: nox.Session) -> None:
    """Run everything that must hold before a change is merged; recreates `.venv`."""
    session.run("bash", ".ci/run", external=True)
