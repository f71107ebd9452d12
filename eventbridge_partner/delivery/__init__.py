"""
What becomes of events, decided without I/O.

`given` checks what the caller hands over, `batching` packs it, and `machine` leads each event to
its outcome.
"""
