"""
The line to the service: all that a client sends with, as one value for threads or asyncio.

`_blocking` and `_asyncio` sign, send, read and remedy every request of this package. `_setup` holds
a client's arguments, `_base` the part that both lines share, `_flight` a batch in flight, and
`_off_loop` runs blocking functions outside event loops.
"""
