"""The values that users hold: events, results, outcomes, reports and partner event sources."""

from __future__ import annotations

from eventbridge_partner._lazy import face

TYPE_CHECKING = False  # as in typing, whose import takes longer than this one
if TYPE_CHECKING:
    from eventbridge_partner.models._event import PartnerEvent, entry_size
    from eventbridge_partner.models._outcomes import (
        Accepted,
        Exhausted,
        GivenEvent,
        Outcome,
        Rejected,
        ResultEntry,
        Unconfirmed,
    )
    from eventbridge_partner.models._readiness import Readiness
    from eventbridge_partner.models._report import DeliveryReport, OutcomeCounts
    from eventbridge_partner.models._source_name import SourceName
    from eventbridge_partner.models._sources import EventSource, SourceAccount, SourceState
    from eventbridge_partner.models._stamp import stamp
else:
    _NAMES = {
        "_event": "PartnerEvent entry_size",
        "_outcomes": "Accepted Exhausted GivenEvent Outcome Rejected ResultEntry Unconfirmed",
        "_readiness": "Readiness",
        "_report": "DeliveryReport OutcomeCounts",
        "_source_name": "SourceName",
        "_sources": "EventSource SourceAccount SourceState",
        "_stamp": "stamp",
    }
    __getattr__, __dir__ = face(__name__, _NAMES)

__all__ = [
    "Accepted",
    "DeliveryReport",
    "EventSource",
    "Exhausted",
    "GivenEvent",
    "Outcome",
    "OutcomeCounts",
    "PartnerEvent",
    "Readiness",
    "Rejected",
    "ResultEntry",
    "SourceAccount",
    "SourceName",
    "SourceState",
    "Unconfirmed",
    "entry_size",
    "stamp",
]
