"""The shop's tables, and how to open them: read-only, for pages and notebooks alike."""

from __future__ import annotations

import datetime
from typing import Any
from urllib.parse import quote

from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    sessionmaker,
)


class Base(DeclarativeBase):
    """All tables of the shop."""


class Customer(Base):
    """Somebody who orders tea."""

    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]
    city: Mapped[str]
    joined: Mapped[datetime.date]
    orders: Mapped[list[Order]] = relationship(back_populates="customer", order_by="Order.placed")

    def __repr__(self) -> str:
        return f"<Customer {self.id}: {self.name}, {self.city}>"


class Product(Base):
    """Something on the shelf."""

    __tablename__ = "products"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]
    price_cents: Mapped[int]

    @property
    def price(self) -> float:
        """In euros."""
        return self.price_cents / 100

    def __repr__(self) -> str:
        return f"<Product {self.id}: {self.name}, {self.price:.2f} €>"


class Order(Base):
    """What a customer bought at one time."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"), index=True)
    placed: Mapped[datetime.date] = mapped_column(index=True)
    status: Mapped[str]
    customer: Mapped[Customer] = relationship(back_populates="orders")
    lines: Mapped[list[OrderLine]] = relationship(back_populates="order", lazy="selectin")

    @property
    def total(self) -> float:
        """In euros."""
        return sum(line.total for line in self.lines)

    def __repr__(self) -> str:
        return f"<Order {self.id}: {self.placed}, {self.total:.2f} €, {self.status}>"


class OrderLine(Base):
    """So many of one product, at the price of that day."""

    __tablename__ = "order_lines"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), index=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    quantity: Mapped[int]
    price_cents: Mapped[int]
    order: Mapped[Order] = relationship(back_populates="lines")
    product: Mapped[Product] = relationship(lazy="joined")

    @property
    def total(self) -> float:
        """In euros."""
        return self.quantity * self.price_cents / 100

    def __repr__(self) -> str:
        return f"<OrderLine {self.id}: {self.quantity} × {self.product.name}>"


def open_session(database: str) -> Session:
    """A session on the shop's database that reads and cannot write."""
    return sessions(database)()


def sessions(database: str) -> sessionmaker[Session]:
    """Makes sessions that read and cannot write."""
    engine = create_engine(f"sqlite:///file:{quote(database)}?mode=ro&uri=true")
    return sessionmaker(engine)


def request_session(request: Any) -> Session:
    """The session of one request, closed at its end."""
    session: Session = request.registry["shop.sessions"]()
    request.add_finished_callback(lambda _: session.close())
    return session
