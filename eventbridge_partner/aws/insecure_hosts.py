"""
Hosts to which events and session tokens may be sent in clear text: the caller names each of them.

A container reaches a local service or a sidecar by a name that is not loopback. Such a name looks
like any name on the internet, so it must be listed. Hosts of AWS are always refused.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from typing import Final

from eventbridge_partner._foreign_text import escaped, plain_text, quoted
from eventbridge_partner._logs import log
from eventbridge_partner.errors import ConfigurationError

ARGUMENT: Final = "insecure_hosts"
VARIABLE: Final = "EVENTBRIDGE_PARTNER_INSECURE_HOSTS"

_ALLOWED: Final = (
    "allowed: exact names of hosts or addresses, such as localstack, without a scheme, a port or a "
    "wildcard"
)
# Not compiled before a host is given: at a start, each pattern counts.
_NAME: Final = r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*"
_ADDRESS: Final = r"[0-9a-f:.]*:[0-9a-f:.]*"

# The domains of all partitions (botocore's partitions.json), with their subdomains.
_DOMAINS_OF_AWS: Final = (
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "api.amazonwebservices.com.cn",
    "api.amazonwebservices.eu",
    "api.aws",
    "adc-e.uk",
    "aws.scloud",
    "ic.gov",
    "sgov.gov",
)


def _is_of_aws(host: str) -> bool:
    return any(f".{host}".endswith(f".{domain}") for domain in _DOMAINS_OF_AWS)


def checked_hosts(hosts: Iterable[str]) -> frozenset[str]:
    """
    Return the hosts of the argument `insecure_hosts`.

    Raises:
        ConfigurationError: One of them is not a host, or is a host of AWS.
    """
    # A str would be read as one host for each of its letters.
    if isinstance(hosts, str) or not isinstance(hosts, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        kind = escaped(type(hosts).__qualname__)
        raise ConfigurationError(
            f'{ARGUMENT} is of type {kind}; allowed: an iterable of str, such as ("localstack",)'
        )
    return frozenset([_checked(host, ARGUMENT) for host in hosts])


def hosts_of_environment() -> frozenset[str]:
    """
    Return the hosts that the environment names, separated by commas.

    Raises:
        ConfigurationError: One of them is not a host, or is a host of AWS.
    """
    names = map(str.strip, os.environ.get(VARIABLE, "").split(","))
    return frozenset([_checked(name, VARIABLE) for name in names if name])


def _checked(host: object, setting: str) -> str:
    if not isinstance(host, str):
        kind = escaped(type(host).__qualname__)
        raise ConfigurationError(f"{setting} has a member of type {kind}; {_ALLOWED}")
    name = plain_host(host)
    if not (re.fullmatch(_NAME, name) or re.fullmatch(_ADDRESS, name)):
        raise ConfigurationError(f"{setting} has {quoted(host)}; {_ALLOWED}")
    if _is_of_aws(name):
        raise ConfigurationError(
            f"{setting} has {quoted(host)}, a host of AWS; allowed: hosts of your own, since AWS "
            "takes https"
        )
    return name


def plain_host(host: str) -> str:
    """Return a host in the form for comparing: lower case, without brackets or a final dot."""
    return plain_text(host).lower().removeprefix("[").removesuffix("]").removesuffix(".")


_warned: Final[set[str]] = set()


def warn_of(host: str) -> None:
    """Log that requests to a host go in clear text, once in a process."""
    if host not in _warned:
        _warned.add(host)
        log(
            logging.WARNING,
            "events and session tokens go to %s in clear text, as %s or %s allows",
            escaped(host),
            ARGUMENT,
            VARIABLE,
        )
