"""
Partner event sources: create, find, watch and delete them.

What is to be done is decided in `_operations`, without I/O; `Sources` and `AsyncSources` do it, and
differ by `await`.
"""

from eventbridge_partner.sources._blocking import Sources
from eventbridge_partner.sources._operations import Progress

__all__ = ["Progress", "Sources"]
