"""
Peers that are installed in environments of their own, under the user's cache directory.

aiobotocore allows only three releases of botocore, so beside it, boto3 and this package would have
to use an old one. capo-eventbridge brings an HTTP stack of its own, google-cloud-pubsub brings
gRPC, and posthog libraries that nothing else here needs. npm installs the AWS SDK for JavaScript.
Nothing is installed unless the user asks for it.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

AIOBOTOCORE = "3.10.0"
CAPO = "0.18.0"
POSTHOG = "7.91.1"
PUBSUB = "2.44.0"
HOW_TO_INSTALL = "python -m benchmarks --install-peers"

_JAVASCRIPT = Path(__file__).parent / "javascript"
_JAVASCRIPT_FILES = ("package.json", "package-lock.json", "sender.mjs")
_SDK = "@aws-sdk/client-eventbridge"


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "eventbridge-partner-benchmarks"


# ---------------------------------------------------------------- aiobotocore


def _aiobotocore_home() -> Path:
    return _cache() / f"aiobotocore-{AIOBOTOCORE}-{sys.implementation.cache_tag}"


def aiobotocore_python() -> Path:
    """Return the interpreter that has aiobotocore, if it is installed."""
    return _python_of(_aiobotocore_home())


def without_aiobotocore() -> str | None:
    """Return what is needed for it, if it is not installed."""
    return None if _is_complete(_aiobotocore_home()) else HOW_TO_INSTALL


def aiobotocore_version() -> str:
    """Return its version, with those of the libraries that it uses."""
    program = "import aiohttp, botocore; print(botocore.__version__, aiohttp.__version__)"
    command = [str(aiobotocore_python()), "-c", program]
    botocore, aiohttp = subprocess.check_output(command, text=True).split()
    return f"aiobotocore {AIOBOTOCORE} (botocore {botocore}, aiohttp {aiohttp})"


def _install_aiobotocore() -> None:
    _install(_aiobotocore_home(), f"aiobotocore=={AIOBOTOCORE}")


# ---------------------------------------------------------------- capo-eventbridge


def _capo_home() -> Path:
    return _cache() / f"capo-eventbridge-{CAPO}-{sys.implementation.cache_tag}"


def capo_python() -> Path:
    """Return the interpreter that has capo-eventbridge, if it is installed."""
    return _python_of(_capo_home())


def without_capo() -> str | None:
    """Return what is needed for it, if it is not installed."""
    return None if _is_complete(_capo_home()) else HOW_TO_INSTALL


def _install_capo() -> None:
    _install(_capo_home(), f"capo-eventbridge=={CAPO}")


# ---------------------------------------------------------------- publishers


def _posthog_home() -> Path:
    return _cache() / f"posthog-{POSTHOG}-{sys.implementation.cache_tag}"


def posthog_python() -> Path:
    """Return the interpreter that has posthog's client, if it is installed."""
    return _python_of(_posthog_home())


def without_posthog() -> str | None:
    """Return what is needed for it, if it is not installed."""
    return None if _is_complete(_posthog_home()) else HOW_TO_INSTALL


def _install_posthog() -> None:
    _install(_posthog_home(), f"posthog=={POSTHOG}")


def _pubsub_home() -> Path:
    return _cache() / f"google-cloud-pubsub-{PUBSUB}-{sys.implementation.cache_tag}"


def pubsub_python() -> Path:
    """Return the interpreter that has google-cloud-pubsub, if it is installed."""
    return _python_of(_pubsub_home())


def without_pubsub() -> str | None:
    """Return what is needed for it, if it is not installed."""
    return None if _is_complete(_pubsub_home()) else HOW_TO_INSTALL


def _install_pubsub() -> None:
    _install(_pubsub_home(), f"google-cloud-pubsub=={PUBSUB}")


# ---------------------------------------------------------------- Python


def _python_of(home: Path) -> Path:
    return home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _install(home: Path, requirement: str) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
    pip = [str(_python_of(home)), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, requirement], check=True)
    _complete(home)


# ---------------------------------------------------------------- JavaScript


@functools.cache
def _sdk_version() -> str:
    version: str = json.loads((_JAVASCRIPT / "package.json").read_text())["dependencies"][_SDK]
    return version


def _javascript_home() -> Path:
    return _cache() / f"javascript-{_sdk_version()}"


def javascript_sender() -> Path:
    """Return the program that sends; the SDK is beside it, if it is installed."""
    return _javascript_home() / "sender.mjs"


def without_javascript() -> str | None:
    """Return what is needed for it, if it is not installed."""
    if not (shutil.which("node") and shutil.which("npm")):
        return f"node and npm on PATH, then {HOW_TO_INSTALL}"
    if not _is_complete(_javascript_home()):
        return HOW_TO_INSTALL
    _copy_javascript()
    return None


def javascript_version() -> str:
    """Return its version and node's."""
    node = subprocess.check_output(["node", "--version"], text=True).strip()
    return f"{_SDK} {_sdk_version()} (node {node})"


def _copy_javascript() -> None:
    """Copy the program to its SDK, because a module finds dependencies only from its own folder."""
    for name in _JAVASCRIPT_FILES:
        shutil.copy(_JAVASCRIPT / name, _javascript_home() / name)


def _install_javascript() -> None:
    home = _javascript_home()
    home.mkdir(parents=True, exist_ok=True)
    _copy_javascript()
    npm = shutil.which("npm") or "npm"
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    subprocess.run([npm, "ci", *quiet], cwd=home, check=True, stdout=subprocess.DEVNULL)
    _complete(home)


# ---------------------------------------------------------------- all


def install_peers() -> None:
    """Install what is missing; leave out what cannot be installed, and say why on stderr."""
    for name, missing, install in (
        ("aiobotocore", without_aiobotocore, _install_aiobotocore),
        ("capo-eventbridge", without_capo, _install_capo),
        ("posthog", without_posthog, _install_posthog),
        ("google-cloud-pubsub", without_pubsub, _install_pubsub),
        ("the AWS SDK for JavaScript", without_javascript, _install_javascript),
    ):
        if (need := missing()) is None:
            continue
        if need != HOW_TO_INSTALL:
            print(f"{name} is left out: it needs {need}", file=sys.stderr)
            continue
        print(f"installing {name} under {_cache()}", file=sys.stderr)
        try:
            install()
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{name} is left out: {error}", file=sys.stderr)


def _complete(home: Path) -> None:
    (home / "complete").touch()


def _is_complete(home: Path) -> bool:
    return (home / "complete").exists()
