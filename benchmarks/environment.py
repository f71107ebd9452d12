"""The environment variables of all processes of a run."""

from __future__ import annotations

import os
from pathlib import Path


def environment(directory: Path, trusted: Path) -> dict[str, str]:
    """Return the environment of all processes, without this machine's own AWS settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "NODE_"))
        and not name.upper().endswith(("_PROXY", "_CA_BUNDLE", "SSL_CERT_FILE"))
        and not (name.startswith("PYTHON") and name != "PYTHONPATH")
    }
    root = str(Path(__file__).parents[1])
    return kept | {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_SESSION_TOKEN": "benchmark" * 40,  # a role's, as most backends have
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(directory / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(directory / "none"),
        "AWS_CA_BUNDLE": str(trusted),
        "NODE_EXTRA_CA_CERTS": str(trusted),
        "BENCHMARK_EVENTS": str(directory),
        "PYTHONPATH": os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH")))),
    }
