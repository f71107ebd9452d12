"""The tables of an outbox in PostgreSQL as SQLAlchemy tables, for Alembic."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import UUID

from eventbridge_partner.outbox._schema import MAX_CLAIMS, Names


def tables(metadata: sa.MetaData, names: Names, schema: str | None) -> tuple[sa.Table, ...]:
    """
    Add the tables to an application's metadata.

    Args:
        metadata: The application's metadata.
        names: The names of the tables.
        schema: Their schema; None for the search path.
    """

    def table(name: str, *items: sa.Column[object] | sa.Index) -> sa.Table:
        return sa.Table(name.rpartition(".")[2], metadata, *items, schema=schema)

    def column(name: str, kind: object, **settings: object) -> sa.Column[object]:
        return sa.Column(name, kind, **({"nullable": False} | settings))  # type: ignore[arg-type]

    def source(**settings: object) -> sa.Column[object]:
        return column("source", sa.Text(collation="C"), **settings)

    def event() -> list[sa.Column[object]]:
        return [
            source(),
            column("detail_type", sa.Text()),
            column("detail", sa.Text()),
            column("resources", sa.Text(), nullable=True),
            column("event_time", sa.DateTime(timezone=True), nullable=True),
            column("size", sa.Integer()),
            column("traceparent", sa.Text(), nullable=True),
        ]

    now = {"server_default": sa.text("clock_timestamp()")}
    zero = {"server_default": sa.text("0")}
    moment = sa.DateTime(timezone=True)
    return (
        table(
            names.outbox,
            sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
            *event(),
            column("added_at", moment, **now),
            column("due_at", moment, **now),
            column("claims", sa.Integer(), **zero),
            column("tries", sa.Integer(), **zero),
            column("lease", UUID(), nullable=True),
            column("maybe_sent", sa.Boolean(), server_default=sa.text("false")),
            column("code", sa.Text(), nullable=True),
            column("message", sa.Text(), nullable=True),
            sa.Index(names.due, "source", "due_at"),
            sa.Index(names.alone, "due_at", postgresql_where=sa.text(f"claims >= {MAX_CLAIMS}")),
        ),
        table(
            names.dead,
            column("id", sa.BigInteger(), primary_key=True, autoincrement=False),
            *event(),
            column("added_at", moment),
            column("claims", sa.Integer()),
            column("tries", sa.Integer()),
            column("maybe_sent", sa.Boolean()),
            column("code", sa.Text()),
            column("message", sa.Text()),
            column("died_at", moment, **now),
            sa.Index(names.died, "died_at"),
        ),
        table(
            names.hold,
            source(primary_key=True),
            column("until", moment),
            column("probe", UUID(), nullable=True),
        ),
        table(
            names.version,
            column("one", sa.Boolean(), primary_key=True, server_default=sa.text("true")),
            column("version", sa.Integer()),
        ),
    )
