"""
The publishers: they take events one by one, send them in batches, and return receipts.

`_buffer` decides which events go next, `_dispatch` drives a delivery from it, `_receipts` gives
callers the outcomes, and `_callbacks` runs the callbacks of receipts.
"""
