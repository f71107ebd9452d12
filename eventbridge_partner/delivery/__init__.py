"""
Decides what happens to events, without I/O.

`given` checks the caller's events, `batching` packs them, `entries` holds those in progress, and
`machine` brings each event to its outcome by asking for the steps in `actions`.
"""
