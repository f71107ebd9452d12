"""What users hold: events, results, outcomes and reports, and partner event sources."""

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
from eventbridge_partner.models._report import DeliveryReport, OutcomeCounts
from eventbridge_partner.models._source_name import SourceName
from eventbridge_partner.models._sources import EventSource, SourceAccount, SourceState
from eventbridge_partner.models._stamp import stamp

__all__ = [
    "Accepted",
    "DeliveryReport",
    "EventSource",
    "Exhausted",
    "GivenEvent",
    "Outcome",
    "OutcomeCounts",
    "PartnerEvent",
    "Rejected",
    "ResultEntry",
    "SourceAccount",
    "SourceName",
    "SourceState",
    "Unconfirmed",
    "entry_size",
    "stamp",
]
