"""
The line to the service: all that a client sends with, as one value for each world.

`_blocking` and `_asyncio` sign, send, read and remedy; no request of this package goes out
elsewhere. What a client was told stands in `_setup`, what both lines hold in `_base`, a batch in
flight in `_flight`, and what must not block an event loop in `_off_loop`.
"""
