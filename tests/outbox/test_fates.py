"""The fate of each row: the table of outcomes and fates, and how far a failure reaches."""

from __future__ import annotations

import pytest

from eventbridge_partner import Accepted, Exhausted, Rejected, Unconfirmed
from eventbridge_partner.outbox._fates import Rules, backoff_after, judge, sendable
from eventbridge_partner.outbox._records import Dead, Gone, Later
from eventbridge_partner.outbox.contract import event
from tests.outbox.rows import row

RULES = Rules(lambda state: 10.0 * state.attempt_number)


def accepted(_=None):
    return Accepted("id", event(1), 0, 1)


def rejected(code="MalformedDetail", **values):
    return Rejected(code, "words", event(1), 0, values.pop("attempts", 1), **values)


def exhausted(code="ThrottlingException", attempts=3):
    return Exhausted(code, "words", event(1), 0, attempts)


def lost():
    return Unconfirmed("lost", event(1), 0, 1)


def judged(*outcomes, rows=None, rules=RULES):
    rows = rows or [row(number, f"c{number}") for number in range(len(outcomes))]
    return judge(rows, outcomes, {}, rules)


def fate_of(outcome, rules=RULES, **values):
    """The fate of a row beside an accepted one, so that no failure is an outage."""
    return judged(
        outcome, accepted(), rows=[row(1, "a", **values), row(2, "b")], rules=rules
    ).fates[0]


TABLE = {
    "accepted": (accepted(), Gone()),
    "the entry is rejected": (rejected(), Dead("MalformedDetail", "words")),
    "its source is gone": (rejected("SourceGone", source_is_gone=True, attempts=0), Dead("SourceGone", "words")),
    "no Region": (rejected("UnknownRegion", attempts=0), Dead("UnknownRegion", "words")),
    "too large": (rejected("EntryTooLarge", attempts=0), Dead("EntryTooLarge", "words")),
    "the source is pending": (
        rejected("SourcePending", attempts=0),
        Later(0, "SourcePending", "words", is_try=False),
    ),
    "it could not be parked": (
        exhausted("SourcePending", 0),
        Later(0, "SourcePending", "words", is_try=False),
    ),
    "the request is refused": (
        rejected("AccessDeniedException", of_request=True),
        Later(10, "AccessDeniedException", "words"),
    ),
    "throttled to the end": (exhausted(), Later(10, "ThrottlingException", "words")),
    "nobody knows the code": (exhausted("Strange"), Later(10, "Strange", "words")),
    "parked": (exhausted("SourceParked", 0), Later(10, "SourceParked", "words")),
    "no time to send it": (
        exhausted("DeadlineExceeded", 0),
        Later(0, "DeadlineExceeded", "words", is_try=False),
    ),
    "no time to send it again": (
        exhausted("DeadlineExceeded", 1),
        Later(10, "DeadlineExceeded", "words"),
    ),
    "the answer was lost": (lost(), Later(10, "Unconfirmed", "lost", maybe_sent=True)),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_fates(name):
    """Each outcome leads to its fate."""
    outcome, fate = TABLE[name]
    assert fate_of(outcome) == fate


def test_more_tries_wait_longer():
    """The backoff gets the number of tries, and its result is bounded."""
    assert fate_of(exhausted(), tries=4).seconds == 50
    assert fate_of(exhausted(), tries=10**9).seconds == 640


@pytest.mark.parametrize("wait", [lambda _: 1 / 0, lambda _: float("inf"), lambda _: -5])
def test_an_invalid_backoff(wait):
    """A backoff that raises or returns nonsense is replaced or bounded."""
    from eventbridge_partner import ServiceError

    assert 0 <= backoff_after(1, ServiceError("X", "m", status=200), wait) <= 365 * 86400


def test_max_age():
    """With a maximum age, a row that fails transiently becomes a dead letter at that age."""
    rules = Rules(RULES.backoff, max_age=60.0)
    assert fate_of(exhausted(), rules, age=59) == Later(10, "ThrottlingException", "words")
    for outcome in (exhausted(), lost(), rejected("SourcePending", attempts=0)):
        assert isinstance(fate_of(outcome, rules, age=60), Dead)


def test_max_age_does_not_apply_in_an_outage():
    """In an outage no row becomes a dead letter, however old it is."""
    rules = Rules(RULES.backoff, max_age=60.0)
    rows = [row(1, "a", age=1e6), row(2, "b", age=1e6)]
    found = judged(exhausted("TransportError"), exhausted("TransportError"), rows=rows, rules=rules)
    assert all(isinstance(fate, Later) for fate in found.fates)


def test_a_client_that_gives_too_few_outcomes():
    """If a client returns no outcome for an event, the event may have arrived."""
    found = judged(accepted(), rows=[row(1), row(2, "b")])
    assert found.fates[1] == Later(10, "Unconfirmed", "the client gave none", maybe_sent=True)


# ---------------------------------------------------------------- outages

OUTAGES = [
    exhausted("TransportError"), exhausted("TlsError"), exhausted("CredentialsError"),
    exhausted("ConfigurationError"), exhausted("UnreadableAnswerError"),
    exhausted("ExpiredTokenException"), exhausted("RequestTimeTooSkewed"),
    exhausted("HTTP 502"), exhausted("ServiceUnavailable"), exhausted("InternalFailure"),
    exhausted("ThrottlingException"), exhausted("DeadlineExceeded", 0), lost(),
    *(rejected(code, of_request=True) for code in (
        "AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException",
        "OptInRequired", "OperationDisabledException", "UnknownOperationException",
        "SerializationException", "HTTP 404",
    )),
]  # fmt: skip


@pytest.mark.parametrize("outcome", OUTAGES, ids=lambda one: getattr(one, "code", "lost"))
def test_an_outage(outcome):
    """A claim that fails as a whole is put back unchanged, and the relay pauses."""
    found = judged(outcome, outcome, outcome)
    assert found.outage == getattr(outcome, "code", "Unconfirmed")
    assert {(fate.seconds, fate.is_try) for fate in found.fates} == {(0.0, False)}
    assert {fate.maybe_sent for fate in found.fates} == {isinstance(outcome, Unconfirmed)}


def test_an_outage_of_mixed_failures():
    """A claim that fails as a whole is an outage, even if its failures differ."""
    found = judged(exhausted("TransportError"), exhausted("HTTP 503"), lost())
    assert found.outage == "TransportError"


def test_unsent_rows_do_not_count_in_an_outage():
    """Rows that were not sent say nothing about an outage."""
    rows = [row(1), row(2, "b"), row(3, "c")]
    found = judge(
        rows,
        [rejected("SourcePending", attempts=0), exhausted("TransportError")],
        {0: Dead("InvalidEvent", "m")},
        RULES,
    )
    assert found.outage == "TransportError"
    assert found.pending == {rows[1].source}


def test_one_that_gets_through():
    """If one event gets through, there is no outage."""
    found = judged(accepted(), exhausted("TransportError"), exhausted("TransportError"))
    assert found.outage is None
    assert [fate.seconds for fate in found.fates[1:]] == [10, 10]


def test_a_rejected_entry_got_through():
    """A rejected entry shows that the service can be reached."""
    assert judged(rejected(), exhausted("HTTP 503")).outage is None


def test_one_throttled_source_is_held():
    """If all rows of one source fail for a reason that may be its own, only it is held."""
    rows = [row(number, "noisy") for number in range(3)]
    found = judged(exhausted(), exhausted(), exhausted(), rows=rows)
    assert found.outage is None
    source = rows[0].source
    assert found.troubled == {source: ("ThrottlingException", frozenset({source}))}
    assert {(fate.seconds, fate.is_try) for fate in found.fates} == {(0.0, False)}


def test_a_single_row_that_fails():
    """A single row waits by its backoff."""
    found = judged(exhausted("InternalFailure"))
    assert (found.outage, found.troubled) == (None, {})
    assert found.fates[0].seconds == 10


def test_one_source_in_an_outage():
    """A failure of whole requests is an outage, even if all rows are of one source."""
    assert judged(exhausted("TransportError"), rows=[row(1)]).outage == "TransportError"


# ---------------------------------------------------------------- Regions

REGIONS = {
    row(1, name).source: region for name, region in {"a": "eu", "b": "eu", "c": "us"}.items()
}
ROUTED = Rules(RULES.backoff, region_of=REGIONS.get)


def routed(a, b, c, rules=ROUTED):
    return judged(a, b, c, rows=[row(1, "a"), row(2, "b"), row(3, "c")], rules=rules)


def test_a_region_that_is_down():
    """An outage of one Region holds its own sources, and the relay continues with the others."""
    found = routed(exhausted("HTTP 503"), exhausted("HTTP 503"), accepted())
    assert found.outage is None
    assert found.troubled == {"eu": ("HTTP 503", frozenset(list(REGIONS)[:2]))}
    assert [type(fate) for fate in found.fates] == [Later, Later, Gone]
    assert not found.fates[0].is_try


def test_all_regions_are_down():
    """A failure in every Region of a claim is an outage as a whole."""
    found = routed(*[exhausted("TransportError")] * 3)
    assert (found.outage, found.troubled) == ("TransportError", {})


def test_the_only_region_of_a_claim():
    """A claim of one Region says nothing about the others."""
    rows = [row(1, "a"), row(2, "b")]
    found = judged(
        exhausted("TransportError"), exhausted("TransportError"), rows=rows, rules=ROUTED
    )
    assert found.outage is None
    assert set(found.troubled) == {"eu"}


def test_a_look_up_that_raises():
    """A Region that cannot be looked up leaves no row without a fate."""
    rules = Rules(RULES.backoff, region_of=lambda source: REGIONS[f"no {source}"])
    assert len(routed(exhausted("HTTP 503"), lost(), accepted(), rules).fates) == 3


# ---------------------------------------------------------------- before sending


def test_rows_that_are_not_events():
    """Rows that were changed by hand become dead letters alone."""
    rows = [
        row(1), row(2, detail="[]"), row(3, resources="nonsense"), row(4, resources='{"a": 1}'),
        row(5, time=1e30), row(6, time=float("nan")), row(7, source="x"), row(8, resources="[5]"),
    ]  # fmt: skip
    events, fates = sendable(rows)
    assert events == [event(1, "a")]
    assert {place: getattr(fate, "code", None) for place, fate in fates.items()} == dict.fromkeys(
        range(1, 8), "InvalidEvent"
    )


def test_a_row_that_kills_its_process():
    """A row is a dead letter after three claims with others and two alone, and not before."""
    events, fates = sendable([row(1, claims=4), row(2, claims=5)])
    assert len(events) == 1
    assert getattr(fates[1], "code", None) == "Unsettled"
