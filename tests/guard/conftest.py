"""Guards look states up through a client's sources, so they are tested with the same fixtures."""

from tests.sources.conftest import client, kind, moto_url, open_client, service, stack

__all__ = ["client", "kind", "moto_url", "open_client", "service", "stack"]
