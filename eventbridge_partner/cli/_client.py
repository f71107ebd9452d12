"""The client that a command's options describe."""

from __future__ import annotations

import argparse
from typing import Any

from eventbridge_partner import PartnerEventsClient, RetryPolicy


def add_options(where: Any) -> None:
    """Add the options that say where requests go, to a group of a parser."""
    where.add_argument("--region", help="the Region of the event sources")
    where.add_argument(
        "--endpoint-url", metavar="URL", help="use this instead of the Region's endpoint"
    )
    where.add_argument("--profile", help="a profile of the AWS config files")


def open_named(arguments: argparse.Namespace, **settings: Any) -> PartnerEventsClient:
    """Return a client with the options' settings, and with these."""
    return PartnerEventsClient(
        arguments.region,
        endpoint_url=arguments.endpoint_url,
        profile=arguments.profile,
        retry=retry_policy(arguments),
        **settings,
    )


def retry_policy(arguments: argparse.Namespace) -> RetryPolicy:
    """Return the usual policy, with the attempts that `--max-attempts` allows."""
    if arguments.max_attempts is None:
        return RetryPolicy()
    return RetryPolicy().with_max_attempts(arguments.max_attempts)
