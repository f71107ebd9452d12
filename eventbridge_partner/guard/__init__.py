"""
The guard against events that a partner event source would swallow.

What is known of sources, and what follows for an event, is decided in `_states` and `_holding`,
without I/O; `SourceGuard` and `AsyncSourceGuard` ask and send, and differ by `await`.
"""

from eventbridge_partner.guard._blocking import SourceGuard
from eventbridge_partner.guard._holding import SOURCE_GONE, SOURCE_PARKED, SOURCE_PENDING

__all__ = ["SOURCE_GONE", "SOURCE_PARKED", "SOURCE_PENDING", "SourceGuard"]
