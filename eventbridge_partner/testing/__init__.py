"""
The local service, for tests: it checks what AWS checks, and fails on demand.

    service = FakeEventBridge()
    service.play(FailEntries("ThrottlingException", indexes=[0]))
    with service.serve() as server:
        ...  # send to server.url with service.credentials
    assert service.accepted_count == 20
"""

from __future__ import annotations

from eventbridge_partner._lazy import face

TYPE_CHECKING = False  # as in typing, whose import would take longer than this module's
if TYPE_CHECKING:
    from eventbridge_partner.testing._assertions import assert_accepted, assert_nothing_accepted
    from eventbridge_partner.testing._envelopes import customer_event
    from eventbridge_partner.testing._faults import (
        EVERY_FAULT,
        SOURCE_OPERATIONS,
        BlankResults,
        CloseConnection,
        CutAnswer,
        EmptyAnswer,
        ExpireToken,
        FailEntries,
        FailRequest,
        Fault,
        GarbleAnswer,
        LimitRate,
        LoseAnswer,
        MiscountFailures,
        OddPage,
        RefuseRequestContaining,
        SlowAnswer,
        WrongClock,
        WrongLength,
    )
    from eventbridge_partner.testing._patterns import EventPattern, InvalidPatternError, Mismatch
    from eventbridge_partner.testing._records import (
        AcceptedEntry,
        Answer,
        EntryResult,
        RequestRecord,
    )
    from eventbridge_partner.testing._server import LocalServer
    from eventbridge_partner.testing._service import FakeEventBridge
    from eventbridge_partner.testing._sources import LocalSource, LocalSources
    from eventbridge_partner.testing._transport import LocalTransport
else:
    _NAMES = {
        "_assertions": "assert_accepted assert_nothing_accepted",
        "_envelopes": "customer_event",
        "_faults": """
            BlankResults CloseConnection CutAnswer EVERY_FAULT EmptyAnswer ExpireToken
            FailEntries FailRequest Fault GarbleAnswer LimitRate LoseAnswer MiscountFailures
            OddPage RefuseRequestContaining SOURCE_OPERATIONS SlowAnswer WrongClock WrongLength
        """,
        "_patterns": "EventPattern InvalidPatternError Mismatch",
        "_records": "AcceptedEntry Answer EntryResult RequestRecord",
        "_server": "LocalServer",
        "_service": "FakeEventBridge",
        "_sources": "LocalSource LocalSources",
        "_transport": "LocalTransport",
    }
    __getattr__, __dir__ = face(__name__, _NAMES)


__all__ = [
    "EVERY_FAULT",
    "SOURCE_OPERATIONS",
    "AcceptedEntry",
    "Answer",
    "BlankResults",
    "CloseConnection",
    "CutAnswer",
    "EmptyAnswer",
    "EntryResult",
    "EventPattern",
    "ExpireToken",
    "FailEntries",
    "FailRequest",
    "FakeEventBridge",
    "Fault",
    "GarbleAnswer",
    "InvalidPatternError",
    "LimitRate",
    "LocalServer",
    "LocalSource",
    "LocalSources",
    "LocalTransport",
    "LoseAnswer",
    "MiscountFailures",
    "Mismatch",
    "OddPage",
    "RefuseRequestContaining",
    "RequestRecord",
    "SlowAnswer",
    "WrongClock",
    "WrongLength",
    "assert_accepted",
    "assert_nothing_accepted",
    "customer_event",
]
