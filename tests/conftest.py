"""What the property tests share: as many examples as fit in seconds, and no record of them."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "moderate",
    deadline=None,
    max_examples=100,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile(
    "fuzz",
    settings.get_profile("moderate"),
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "20000")),
)
settings.load_profile("moderate")
