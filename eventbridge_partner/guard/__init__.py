"""
The guard: it holds back events that a partner event source would silently drop.

`_states` and `_holding` decide, without I/O, about sources and events; `SourceGuard` and
`AsyncSourceGuard` look up and send, and differ by `await`.
"""

from eventbridge_partner.guard._blocking import SourceGuard
from eventbridge_partner.guard._holding import SOURCE_GONE, SOURCE_PARKED, SOURCE_PENDING

__all__ = ["SOURCE_GONE", "SOURCE_PARKED", "SOURCE_PENDING", "SourceGuard"]
