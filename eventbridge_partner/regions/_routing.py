"""Sorts the events of a call by Region, and merges the reports of all Regions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from eventbridge_partner._foreign_text import escaped, plain_text, quoted
from eventbridge_partner._signals import let_pass
from eventbridge_partner.aws.configuration import checked_region
from eventbridge_partner.delivery.given import read
from eventbridge_partner.delivery.machine import CANCELLED
from eventbridge_partner.errors import (
    ConfigurationError,
    CredentialsError,
    PartnerEventsError,
)
from eventbridge_partner.models import (
    DeliveryReport,
    Exhausted,
    GivenEvent,
    Outcome,
    PartnerEvent,
    Rejected,
    SourceName,
    Unconfirmed,
)
from eventbridge_partner.models._outcomes import renumbered

UNKNOWN_REGION: Final = "UnknownRegion"
"""The code of events whose Region is unknown."""

Lookup = Mapping[str, str] | Callable[[str], str | None]
"""Returns the Region of a source by its name: a mapping or a function."""


class LookupRaisedError(Exception):
    """The caller's `lookup` raised, rather than the iterable of events."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(type(error).__name__)


@attrs.frozen
class Route:
    """
    The events of a call that go to one Region.

    Attributes:
        events: The events to send, in the caller's order.
        given: The same events as the caller passed them.
        places: The position of each of them among all events.
    """

    events: list[PartnerEvent] = attrs.field(factory=list[PartnerEvent])
    given: list[GivenEvent] = attrs.field(factory=list[GivenEvent])
    places: list[int] = attrs.field(factory=list[int])


class Routing:
    """
    Sorts the events of one call by Region, and their outcomes back into the caller's order.

    Args:
        lookup: Returns the Region of a source.

    Attributes:
        routes: The route of each Region.
        count: How many events were read.
        own: The outcomes that were decided here, without a client.
    """

    def __init__(self, lookup: Lookup) -> None:
        self.routes: dict[str, Route] = {}
        self.count = 0
        self._lookup = lookup
        self._regions: dict[str, str | ConfigurationError] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._errors: list[Exception] = []
        self._has_report = False
        self.own: list[Outcome] = []

    def take(self, given: GivenEvent) -> None:
        """Read the next event now: the caller may reuse its mapping for the one after."""
        index = self.count
        self.count += 1
        event = given if type(given) is PartnerEvent else read(given, index)
        if isinstance(event, Rejected):
            self._decide(index, event)
            return
        region = self._region(event.source)
        if isinstance(region, ConfigurationError):
            self._decide(index, Rejected(UNKNOWN_REGION, str(region), given, index, 0))
            return
        route = self.routes.get(region)
        if route is None:
            route = self.routes[region] = Route()
        route.events.append(event)
        route.given.append(given)
        route.places.append(index)

    def _decide(self, place: int, outcome: Outcome) -> None:
        self._outcomes[place] = outcome
        self.own.append(outcome)

    def _region(self, source: str) -> str | ConfigurationError:
        region = self._regions.get(source)
        if region is None:
            try:
                region = known_region(source, self._lookup)
            except ConfigurationError as error:
                region = error
            except Exception as error:
                let_pass(error)
                raise LookupRaisedError(error) from error
            self._regions[source] = region
        return region

    def sent(self, region: str, report: DeliveryReport) -> None:
        """Add the report of a Region's events."""
        self._has_report = True
        self._keep(self.routes[region], report)

    def _keep(self, route: Route, outcomes: Sequence[Outcome]) -> None:
        for outcome, place, given in zip(outcomes, route.places, route.given, strict=False):
            self._outcomes[place] = renumbered(outcome, place, given)

    def failed(self, region: str, error: Exception) -> None:
        """Note that a Region's client raised, and sent none or only some of its events."""
        self._errors.append(error)
        route = self.routes[region]
        name = type(error).__name__
        for event, place in zip(route.given, route.places, strict=True):
            if isinstance(error, (CredentialsError, ConfigurationError)):
                outcome: Outcome = Exhausted(name, str(error), event, place, 0)
            else:
                said = f": {error}" if isinstance(error, PartnerEventsError) else ""
                reason = f"the client of {region} raised {name}{said}"
                outcome = Unconfirmed(reason, event, place, 0)
            self._decide(place, outcome)

    def cancelled(self, region: str, sent: DeliveryReport | None) -> None:
        """Note that sending to a Region was cancelled, with the report of its events."""
        route = self.routes[region]
        self._has_report = True
        decided = () if sent is None else sent
        self._keep(route, decided)
        first = len(decided)
        for event, place in zip(route.given[first:], route.places[first:], strict=True):
            message = "the call was cancelled before it was sent"
            self._decide(place, Exhausted(CANCELLED, message, event, place, 0))

    def not_begun(self) -> DeliveryReport:
        """Return the outcomes of a call that ended before it sent."""
        for region in self.routes:
            self.cancelled(region, None)
        return self.interrupted()

    def interrupted(self) -> DeliveryReport:
        """Return all outcomes; events of a Region that did not answer are unconfirmed."""
        for region, route in self.routes.items():
            reason = f"the call was interrupted before the answer of {region}"
            for event, place in zip(route.given, route.places, strict=True):
                if place not in self._outcomes:
                    self._outcomes[place] = Unconfirmed(reason, event, place, 1)
        return DeliveryReport([self._outcomes[index] for index in sorted(self._outcomes)])

    def report(self) -> DeliveryReport:
        """
        Return the outcomes of all events, in the caller's order.

        Raises:
            Exception: The first client's error, if no client sent anything.
        """
        if self._errors and not self._has_report:
            raise self._errors[0]
        return DeliveryReport([self._outcomes[index] for index in range(self.count)])


def known_region(source: str | SourceName, lookup: Lookup) -> str:
    """
    Return the Region of a source.

    Raises:
        ConfigurationError: It is unknown or invalid.
    """
    name = str(source) if isinstance(source, SourceName) else plain_text(source)
    region = lookup(name) if callable(lookup) else lookup.get(name)
    if region is None:
        raise ConfigurationError(f"no Region is known for source {escaped(name)}")
    try:
        return checked_region(region)
    except (ConfigurationError, TypeError):
        raise ConfigurationError(
            f"the Region of source {escaped(name)} is {quoted(region)}; allowed: the code of a "
            "Region, such as us-east-1"
        ) from None
