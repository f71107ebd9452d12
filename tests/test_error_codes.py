"""Every error code means one thing, and botocore's lists are all in ours, so that drift shows."""

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
    """All of them, but the hard quota, and one whose wait need not be long."""
    theirs = set(Throttled._THROTTLED_ERROR_CODES)
    assert theirs - error_codes.THROTTLING == {"LimitExceededException", "PriorRequestNotComplete"}
    assert error_codes.THROTTLING - theirs == set()


def test_botocores_transient_codes():
    """All of them."""
    assert set(Transient._TRANSIENT_ERROR_CODES) <= error_codes.TRANSIENT


def test_hard_quota_is_permanent():
    """LimitExceededException is about how many sources there may be; trying again never helps."""
    assert "LimitExceededException" in error_codes.PERMANENT


@pytest.mark.parametrize("pair", list(itertools.combinations(GROUPS, 2)), ids="-".join)
def test_no_code_means_two_things(pair):
    """The groups are disjoint."""
    first, second = pair
    assert not GROUPS[first] & GROUPS[second]


def test_codes_of_the_operations_are_known():
    """Every error that the service model names for the partner operations is in some group."""
    model: Any = botocore.session.Session().get_service_model("events")
    named = {
        shape.error_code
        for operation in model.operation_names
        if "PartnerEvent" in operation
        for shape in model.operation_model(operation).error_shapes
    }
    known = set().union(*GROUPS.values())
    # Of an operation that is the customer's.
    assert named - known <= {"InvalidStateException"}
    assert "OperationDisabledException" in named & known


@pytest.mark.parametrize("code", sorted(set().union(*GROUPS.values())))
def test_codes_are_bare(code):
    """No namespace, no spaces: as they stand behind the reading of an answer."""
    assert code.isalnum()
    assert code.isascii()
