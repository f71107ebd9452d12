"""
The publishers: events one by one, sent in batches in the background, each with a receipt.

`_buffer` decides which events go next and who must wait, `_dispatch` drives a delivery from it,
`_receipts` tells the caller what became of each
event, and `_callbacks` runs what the caller hung on a receipt.
"""
