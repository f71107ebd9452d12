"""
An order and its event in one transaction, with FastAPI and SQLAlchemy on asyncpg.

    uvicorn examples.outbox.fastapi_app:app
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from eventbridge_partner import PartnerEvent, stamp
from eventbridge_partner.outbox import PostgresOutbox

engine = create_async_engine(os.environ["DATABASE_URL"])
sessions = async_sessionmaker(engine)
outbox = PostgresOutbox(notify=True)
app = FastAPI()


class Base(DeclarativeBase):
    """The application's tables."""


class Order(Base):
    """A customer's order."""

    __tablename__ = "orders"
    number: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]


async def session() -> AsyncIterator[AsyncSession]:
    """Yield a session for one request."""
    async with sessions() as opened:
        yield opened


@app.post("/orders/{customer}/{number}", status_code=201)
async def create(
    customer: str, number: int, session: Annotated[AsyncSession, Depends(session)]
) -> None:
    """Store an order together with the event that tells the customer about it."""
    session.add(Order(number=number, customer=customer))
    event = PartnerEvent(
        f"aws.partner/shop.example/{customer}/orders", "order.created", stamp({"order": number})
    )
    await outbox.add_async(session, event)
    try:
        await session.commit()
    except IntegrityError:
        raise HTTPException(409, "this order already exists") from None
