"""Every error code has one meaning, and botocore's lists are part of ours, so drift shows."""

from __future__ import annotations

import itertools
from typing import Any

import botocore.session
import pytest
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

from eventbridge_partner import error_codes

Throttled: Any = ThrottledRetryableChecker
Transient: Any = TransientRetryableChecker

GROUPS = {
    name: getattr(error_codes, name)
    for name in (
        "TRANSIENT",
        "THROTTLING",
        "PERMANENT",
        "SOURCE_GONE",
        "EXPIRED_CREDENTIALS",
        "CLOCK_SKEW",
        "TOO_LARGE",
    )
}


def test_botocores_throttling_codes():
    """All throttling codes of botocore are ours, except a hard quota and one that needs no wait."""
    theirs = set(Throttled._THROTTLED_ERROR_CODES)
    assert theirs - error_codes.THROTTLING == {"LimitExceededException", "PriorRequestNotComplete"}
    assert error_codes.THROTTLING - theirs == set()


def test_botocores_transient_codes():
    """All transient codes of botocore are ours."""
    assert set(Transient._TRANSIENT_ERROR_CODES) <= error_codes.TRANSIENT


def test_hard_quota_is_permanent():
    """LimitExceededException limits the number of sources, so a retry never helps."""
    assert "LimitExceededException" in error_codes.PERMANENT


@pytest.mark.parametrize("pair", list(itertools.combinations(GROUPS, 2)), ids="-".join)
def test_no_code_means_two_things(pair):
    """No code is in two groups."""
    first, second = pair
    assert not GROUPS[first] & GROUPS[second]


def test_codes_of_the_operations_are_known():
    """Every error of the partner operations in the service model is in a group."""
    model: Any = botocore.session.Session().get_service_model("events")
    named = {
        shape.error_code
        for operation in model.operation_names
        if "PartnerEvent" in operation
        for shape in model.operation_model(operation).error_shapes
    }
    known = set().union(*GROUPS.values())
    # The error of an operation that customers call.
    assert named - known <= {"InvalidStateException"}
    assert "OperationDisabledException" in named & known


@pytest.mark.parametrize("code", sorted(set().union(*GROUPS.values())))
def test_codes_are_bare(code):
    """Codes have no namespace and no spaces, as after an answer has been read."""
    assert code.isalnum()
    assert code.isascii()
