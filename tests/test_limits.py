"""Our limits are those of the service model that botocore ships, so drift shows."""

from __future__ import annotations

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbridge_partner import limits


@pytest.fixture(scope="module")
def model():
    return botocore.session.Session().get_service_model("events")


@pytest.fixture(scope="module")
def entry(model):
    return model.shape_for("PutPartnerEventsRequestEntry")


def test_model_is_the_one_that_was_read(model):
    """The model has the API version, protocol, target prefix and signing name that we use."""
    assert model.api_version == "2015-10-07"
    assert model.metadata["jsonVersion"] == "1.1"
    assert model.metadata["targetPrefix"] == "AWSEvents"
    assert model.signing_name == "events"
    assert model.service_id == "EventBridge"


def test_members_of_an_entry_are_all_known(entry):
    """The model's entry has no member that this package cannot send."""
    assert set(entry.members) == {"Time", "Source", "Resources", "DetailType", "Detail"}


def test_number_of_entries(model):
    """A request has from 1 to as many entries as the model allows."""
    shape = model.shape_for("PutPartnerEventsRequestEntryList")
    assert shape.metadata == {"min": 1, "max": limits.MAX_ENTRIES}


def test_source(entry):
    """Length and pattern of a source are the model's."""
    metadata = entry.members["Source"].metadata
    assert metadata["min"] == 1
    assert metadata["max"] == limits.MAX_SOURCE_CHARACTERS
    assert metadata["pattern"] == limits.SOURCE_PATTERN.pattern


def test_resource(entry):
    """The length of a resource is the model's, which does not limit their number."""
    shape = entry.members["Resources"]
    assert shape.metadata == {}
    assert shape.member.metadata == {"max": limits.MAX_RESOURCE_CHARACTERS}


def test_what_names_sources(model):
    """Limits of prefix, account, page size and token are those of the source operations."""
    listing = model.operation_model("ListPartnerEventSources").input_shape.members
    assert listing["NamePrefix"].metadata == {
        "min": 1,
        "max": limits.MAX_SOURCE_CHARACTERS,
        "pattern": limits.SOURCE_PREFIX_PATTERN.pattern,
    }
    assert listing["Limit"].metadata == {"min": 1, "max": limits.MAX_PAGE_ITEMS}
    assert listing["NextToken"].metadata == {"min": 1, "max": limits.MAX_TOKEN_CHARACTERS}
    account = model.operation_model("CreatePartnerEventSource").input_shape.members["Account"]
    assert account.metadata == {"min": 12, "max": 12, "pattern": r"\d{12}"}
    assert limits.ACCOUNT_PATTERN.pattern == "[0-9]{12}"


def test_what_the_model_leaves_open(entry):
    """The model limits neither detail type nor detail; our limits are from documentation."""
    assert entry.members["DetailType"].metadata == {}
    assert entry.members["Detail"].metadata == {}


def test_result_members(model):
    """A result has an event id, or a code and a message; there is no list of codes to check."""
    shape = model.shape_for("PutPartnerEventsResultEntry")
    assert set(shape.members) == {"EventId", "ErrorCode", "ErrorMessage"}
    assert "enum" not in shape.members["ErrorCode"].metadata
    answer = model.operation_model("PutPartnerEvents").output_shape
    assert set(answer.members) == {"FailedEntryCount", "Entries"}


def test_documented_numbers():
    """Numbers from documentation are repeated here, so that a slip shows."""
    assert limits.MAX_DETAIL_TYPE_CHARACTERS == 128
    assert limits.MAX_DETAIL_DEPTH == 1_000
    assert limits.MIN_INTEGER == -9_223_372_036_854_775_808
    assert limits.MAX_INTEGER == 9_223_372_036_854_775_807
    assert limits.MAX_ENTRY_BYTES == 1_048_575
    assert limits.MAX_BATCH_BYTES == 262_143
    assert limits.TIME_BYTES == 14
    assert limits.SOURCE_OPERATIONS_PER_SECOND == 50


@given(st.from_regex(limits.SOURCE_PATTERN, fullmatch=True))
def test_pattern_has_at_least_two_segments(source):
    """Any match has the prefix and at least two segments, none of them empty."""
    prefix, *segments = source.split("/")
    assert prefix == "aws.partner"
    assert len(segments) >= 2
    assert all(segments)
