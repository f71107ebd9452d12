"""
Decides who may use the page and the control calls: this machine, and pages of this service.

A web page that a developer visits can send requests to loopback, and by DNS rebinding even read
the answers, under its own host name, which `Host` shows. So the address of the peer is not enough:
the host that a request names, and the page that sent it, count too.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(?P<port>[0-9]{1,5}))?")


def _networks(given: Iterable[str | Network]) -> tuple[Network, ...]:
    return tuple(map(ipaddress.ip_network, given))


def _hosts(given: Iterable[str]) -> frozenset[str]:
    hosts = [host.lower() for host in given]
    for host in hosts:
        found = _HOST.fullmatch(host)
        if not found or not found["port"]:
            raise ValueError(f"trusted host {host!a}; allowed: HOST:PORT, as a browser shows it")
    return frozenset(hosts)


@attrs.frozen
class Access:
    """
    Decides who may use the page and the control calls.

    Attributes:
        bound: The `host:port` that the server listens on; from a loopback peer, it counts as a
            name of loopback.
        peers: Networks besides loopback that requests may come from, if their `Host` is one of
            `hosts`.
        hosts: Allowed `Host` headers of requests from other machines, with the port.
    """

    bound: str = ""
    peers: tuple[Network, ...] = attrs.field(default=(), converter=_networks)
    hosts: frozenset[str] = attrs.field(default=frozenset(), converter=_hosts)

    def refusal(self, peer: str, headers: Mapping[str, str]) -> str | None:
        """
        Return why a request is refused; None if it is allowed.

        Args:
            peer: The IP address that it came from.
            headers: As received, names in lower case.
        """
        host = headers.get("host", "").lower()
        if not (self._is_local(peer, host) or self._is_trusted(peer, host)):
            if not _is_loopback(peer) and not self._is_known(peer):
                return "allowed: this machine, and the networks of --trust-peer"
            return "Host is not this machine; allowed: loopback, and the hosts of --trust-host"
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"http://{host}":
            return "Origin is another site; allowed: pages of this service"
        if headers.get("sec-fetch-site", "").lower() == "cross-site":
            return "Sec-Fetch-Site is cross-site; allowed: pages of this service"
        return None

    def _is_local(self, peer: str, host: str) -> bool:
        if not _is_loopback(peer):
            return False
        return host == self.bound or _names_loopback(host)

    def _is_trusted(self, peer: str, host: str) -> bool:
        return self._is_known(peer) and host in self.hosts

    def _is_known(self, peer: str) -> bool:
        address = _address(peer)
        return any(address in network for network in self.peers)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(text)
    # A dual-stack socket shows IPv4 addresses as IPv4-mapped ones.
    return getattr(address, "ipv4_mapped", None) or address


def _is_loopback(peer: str) -> bool:
    return _address(peer).is_loopback


def _names_loopback(host: str) -> bool:
    found = _HOST.fullmatch(host)
    if not found:
        return False
    name = found["name"]
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761: always loopback
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
