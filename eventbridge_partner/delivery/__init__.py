"""
What becomes of events, decided without I/O.

`given` checks what the caller hands over, `batching` packs it, `entries` holds what is under way,
and `machine` leads each event to its outcome, asking for what `actions` lists.
"""
