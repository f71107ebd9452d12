"""
The line to the service: all that a client sends with, once for each world.

What a client was told and looks up stands in `_setup`, a batch in flight in `_flight`, and what
must not block an event loop in `_off_loop`.
"""
