"""
The clients, one for threads and one for asyncio: events in, one outcome each out.

What they share stands beside them: the shape of boto3's raw call in `_boto3_shape`, asynchronous
input in `_async_input`.
"""
