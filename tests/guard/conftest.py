"""Guards stand in front of clients whose sources look states up: their fixtures serve here too."""

from tests.sources.conftest import client, kind, moto_url, open_client, service, stack

__all__ = ["client", "kind", "moto_url", "open_client", "service", "stack"]
