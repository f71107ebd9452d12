"""What users hold: events, results, outcomes and reports."""

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

__all__ = [
    "Accepted",
    "DeliveryReport",
    "Exhausted",
    "GivenEvent",
    "Outcome",
    "OutcomeCounts",
    "PartnerEvent",
    "Rejected",
    "ResultEntry",
    "SourceName",
    "Unconfirmed",
    "entry_size",
]
