"""
Partner event sources: create, find, watch and delete them.

`_operations` plans the steps without I/O. `Sources` and `AsyncSources` carry them out, and differ
only by `await`.
"""

from eventbridge_partner.sources._blocking import Sources
from eventbridge_partner.sources._operations import Progress

__all__ = ["Progress", "Sources"]
