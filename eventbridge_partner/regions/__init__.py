"""
One `put_events` for customers in many Regions.

`_routing` sorts events by Region and merges their outcomes, without I/O; `RegionRouter` and
`AsyncRegionRouter` send, with threads and with `await`.
"""

from eventbridge_partner.regions._blocking import RegionRouter
from eventbridge_partner.regions._routing import UNKNOWN_REGION, Lookup

__all__ = ["UNKNOWN_REGION", "Lookup", "RegionRouter"]
