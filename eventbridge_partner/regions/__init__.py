"""
Customers in many Regions behind one `put_events`.

Which event goes where, and what becomes of their outcomes, is decided in `_routing`, without I/O;
`RegionRouter` and `AsyncRegionRouter` send, and differ by threads and `await`.
"""

from eventbridge_partner.regions._blocking import RegionRouter
from eventbridge_partner.regions._routing import UNKNOWN_REGION, Lookup

__all__ = ["UNKNOWN_REGION", "Lookup", "RegionRouter"]
