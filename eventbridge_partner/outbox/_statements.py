"""
The statements for PostgreSQL.

The shape of a claim matters. A claim that joins its update to the chosen rows, or an index with
`id` behind `due_at`, loses nine tenths of its speed once the table has been analysed while it was
empty, which autovacuum does sooner or later. So rows are updated by an array of their ids, and no
condition has a volatile function, which could not use the index.
"""

from __future__ import annotations

from typing import Final

import attrs

from eventbridge_partner.outbox._schema import MAX_CLAIMS, Names

EVENT: Final = "source, detail_type, detail, resources, event_time, size, traceparent"
"""The columns of an event."""

_NOW: Final = "statement_timestamp()"


@attrs.frozen
class Statements:
    """
    The statements for the tables of an outbox.

    Attributes:
        names: The names of the tables.
    """

    names: Names

    @property
    def insert(self) -> str:
        """Add rows, given as one array for each column. `?` stands for a parameter."""
        return f"""INSERT INTO {self.names.outbox} ({EVENT})
SELECT source, detail_type, detail, resources, to_timestamp(event_time), size, traceparent
FROM unnest(?::text[], ?::text[], ?::text[], ?::text[], ?::float8[], ?::int[], ?::text[])
  AS given({EVENT})"""

    def claim(self) -> str:
        """
        Claim an equal share of each due source.

        Walks from source to source, with one index lookup each, and leaves out held sources; not
        by an anti-join, which would walk all sources and lose their order.
        Parameters: after, probes, events, max_bytes, lease, token.
        """
        outbox, hold = self.names.outbox, self.names.hold
        return f"""WITH RECURSIVE s(source, due_at, n) AS (
  (SELECT source, due_at, 1 FROM {outbox} WHERE source > %(after)s
   ORDER BY source, due_at LIMIT 1)
  UNION ALL
  SELECT x.source, x.due_at, s.n + 1 FROM s, LATERAL (
    SELECT source, due_at FROM {outbox} WHERE source > s.source
    ORDER BY source, due_at LIMIT 1) x
  WHERE s.n < %(probes)s),
due AS MATERIALIZED (
  SELECT source FROM s WHERE due_at <= {_NOW}
  AND (SELECT h.source FROM {hold} h WHERE h.source = s.source) IS NULL
  LIMIT %(events)s),
c AS MATERIALIZED (
  SELECT x.id, x.size FROM due, LATERAL (
    SELECT id, size FROM {outbox} o
    WHERE o.source = due.source AND o.due_at <= {_NOW} AND o.claims < {MAX_CLAIMS}
    ORDER BY o.due_at
    LIMIT (SELECT ceil(%(events)s::float8 / count(*))::int FROM due)
    FOR UPDATE SKIP LOCKED) x
  LIMIT %(events)s)
{self._take("c")}"""

    @property
    def look(self) -> str:
        """Tell whether there are expired holds, and due rows that must be claimed alone."""
        return f"""SELECT
  EXISTS (SELECT FROM {self.names.hold} WHERE until <= {_NOW}),
  coalesce({_NOW} >= (
    SELECT due_at FROM {self.names.outbox} WHERE claims >= {MAX_CLAIMS}
    ORDER BY due_at LIMIT 1), false)"""

    def probe(self) -> str:
        """
        Claim one row of each source whose hold has ended, and hold the source meanwhile.

        Parameters: holds, events, max_bytes, lease, token.
        """
        outbox, hold = self.names.outbox, self.names.hold
        return f"""WITH h AS MATERIALIZED (
  SELECT source FROM {hold} WHERE until <= {_NOW} ORDER BY until LIMIT %(holds)s
  FOR UPDATE SKIP LOCKED),
c AS MATERIALIZED (
  SELECT h.source, x.id, x.size FROM h, LATERAL (
    SELECT id, size FROM {outbox} o
    WHERE o.source = h.source AND o.due_at <= {_NOW} AND o.claims < {MAX_CLAIMS}
    ORDER BY o.due_at LIMIT 1
    FOR UPDATE SKIP LOCKED) x),
tried AS (
  UPDATE {hold} SET until = clock_timestamp() + %(lease)s * interval '1 second',
    probe = %(token)s
  WHERE source IN (SELECT source FROM c)),
over AS (
  DELETE FROM {hold}
  WHERE source IN (SELECT source FROM h) AND source NOT IN (SELECT source FROM c))
{self._take("c")}"""

    def alone(self) -> str:
        """Claim one row that must be claimed alone. Parameters: max_bytes, lease, token."""
        outbox, hold = self.names.outbox, self.names.hold
        return f"""WITH c AS MATERIALIZED (
  SELECT o.id, o.size FROM {outbox} o
  WHERE o.claims >= {MAX_CLAIMS} AND o.due_at <= {_NOW}
  AND NOT EXISTS (SELECT FROM {hold} h WHERE h.source = o.source AND h.until > {_NOW})
  ORDER BY o.due_at LIMIT 1
  FOR UPDATE OF o SKIP LOCKED)
{self._take("c")}"""

    def _take(self, chosen: str) -> str:
        """Lease the chosen rows, up to `max_bytes` but at least one row."""
        return f""", cut AS (
  SELECT id, size, sum(size) OVER (ROWS UNBOUNDED PRECEDING) AS total FROM {chosen})
UPDATE {self.names.outbox} o
SET due_at = clock_timestamp() + %(lease)s * interval '1 second', lease = %(token)s,
  claims = claims + 1
WHERE o.id = ANY (ARRAY (SELECT id FROM cut WHERE total <= %(max_bytes)s OR total = size))
RETURNING id, source, detail_type, detail, resources, extract(epoch FROM event_time)::float8,
  size, traceparent, extract(epoch FROM {_NOW} - added_at)::float8, claims - 1, tries,
  maybe_sent"""

    @property
    def settle(self) -> str:
        """
        Apply the fates of a claim, and end the holds that it has probed.

        Parameters: token; accepted, the ids of accepted rows; ids, waits, codes, messages, doubts
        and tries of all others. A wait of null makes a dead letter.
        """
        names = self.names
        kept = f"id, {EVENT}, added_at, claims, tries, maybe_sent"
        of_dead = ", ".join(f"o.{column}" for column in kept.split(", "))
        return f"""WITH s AS (
  SELECT * FROM unnest(%(ids)s::bigint[], %(waits)s::float8[], %(codes)s::text[],
    %(messages)s::text[], %(doubts)s::bool[], %(tries)s::int[])
  AS s(id, wait, code, message, doubt, tried)),
gone AS (
  DELETE FROM {names.outbox} o WHERE o.lease = %(token)s AND o.id = ANY (%(accepted)s::bigint[])
  RETURNING o.source),
dead AS (
  DELETE FROM {names.outbox} o USING s
  WHERE o.id = ANY (%(ids)s::bigint[]) AND o.id = s.id AND o.lease = %(token)s AND s.wait IS NULL
  RETURNING {of_dead}, s.code, s.message),
kept AS (
  INSERT INTO {names.dead} ({kept}, code, message) SELECT * FROM dead RETURNING source),
later AS (
  UPDATE {names.outbox} o
  SET lease = NULL, claims = 0, code = s.code, message = s.message,
    maybe_sent = o.maybe_sent OR s.doubt, tries = o.tries + s.tried,
    due_at = clock_timestamp() + s.wait * interval '1 second'
  FROM s
  WHERE o.id = ANY (%(ids)s::bigint[]) AND o.id = s.id AND o.lease = %(token)s
    AND s.wait IS NOT NULL
  RETURNING 1),
over AS (
  DELETE FROM {names.hold} h WHERE h.probe = %(token)s
  AND (h.source IN (SELECT source FROM gone) OR h.source IN (SELECT source FROM kept)))
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM kept), (SELECT count(*) FROM later)"""

    @property
    def hold(self) -> str:
        """Hold a source. Parameters: source, seconds."""
        return f"""INSERT INTO {self.names.hold} (source, until)
VALUES (%(source)s, clock_timestamp() + %(seconds)s * interval '1 second')
ON CONFLICT (source) DO UPDATE SET until = excluded.until, probe = NULL"""

    @property
    def stats(self) -> str:
        """Count rows, up to a limit. Parameter: limit."""
        names = self.names
        return f"""WITH o AS MATERIALIZED (
  SELECT source, due_at, lease FROM {names.outbox} LIMIT %(limit)s)
SELECT count(*),
  count(*) FILTER (WHERE due_at <= {_NOW}
    AND NOT EXISTS (SELECT FROM {names.hold} h WHERE h.source = o.source)),
  count(*) FILTER (WHERE due_at > {_NOW} AND lease IS NOT NULL),
  (SELECT count(*) FROM {names.dead}),
  (SELECT count(*) FROM {names.hold}),
  (SELECT extract(epoch FROM {_NOW} - added_at)::float8 FROM {names.outbox} ORDER BY id LIMIT 1),
  (SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%(outbox)s)),
  (SELECT least(
    (SELECT min(xact_start) FROM pg_stat_activity
     WHERE datname = current_database() AND backend_xmin IS NOT NULL
     AND backend_type = 'client backend' AND pid <> pg_backend_pid()),
    (SELECT min(prepared) FROM pg_prepared_xacts WHERE database = current_database())))
FROM o"""

    def dead_letters(self, conditions: str) -> str:
        """Read dead letters, newest first. The last parameter is the most to read."""
        return f"""SELECT id, source, detail_type, detail, resources,
  extract(epoch FROM event_time)::float8, code, message, maybe_sent, tries, added_at, died_at
FROM {self.names.dead} WHERE {conditions} ORDER BY id DESC LIMIT %s"""

    def redrive(self, conditions: str) -> str:
        """Put dead letters back, oldest first. The last parameter is the most to put back."""
        return f"""WITH chosen AS (
  DELETE FROM {self.names.dead} WHERE id IN (
    SELECT id FROM {self.names.dead} WHERE {conditions} ORDER BY id LIMIT %s
    FOR UPDATE SKIP LOCKED)
  RETURNING *)
INSERT INTO {self.names.outbox} ({EVENT}, maybe_sent)
SELECT {EVENT}, maybe_sent FROM chosen ORDER BY id"""

    def purge(self, conditions: str) -> str:
        """Delete dead letters. The last parameters are their age and the most to delete."""
        return f"""DELETE FROM {self.names.dead} WHERE id IN (
  SELECT id FROM {self.names.dead} WHERE {conditions}
  AND died_at <= clock_timestamp() - %s * interval '1 second' LIMIT %s)"""
