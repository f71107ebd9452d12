"""
The clients, one for threads and one for asyncio: events in, one outcome each out.

`_base` holds what they share, `_boto3_shape` the format of boto3's raw call, and `_async_input`
asynchronous input.
"""
