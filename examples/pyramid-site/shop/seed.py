"""Fills the shop's database: two years of orders, the same ones wherever it is made."""

from __future__ import annotations

import datetime
import math
import random
from pathlib import Path

from sqlalchemy import URL, create_engine
from sqlalchemy.orm import Session

from .models import Base, Customer, Order, OrderLine, Product

FIRST_DAY = datetime.date(2024, 11, 1)
DAYS = 730
CUSTOMERS = 64

PRODUCTS = [
    ("Assam, second flush", "Black", 890),
    ("Darjeeling, first flush", "Black", 1490),
    ("Ceylon, Uva", "Black", 790),
    ("Keemun", "Black", 1250),
    ("Lapsang souchong", "Black", 1120),
    ("Sencha", "Green", 980),
    ("Gunpowder", "Green", 690),
    ("Long jing", "Green", 1890),
    ("Matcha, 30 g", "Green", 2450),
    ("Genmaicha", "Green", 860),
    ("Tie guan yin", "Oolong", 1690),
    ("Dong ding", "Oolong", 1540),
    ("Da hong pao", "Oolong", 2290),
    ("Peppermint", "Herbal", 490),
    ("Rooibos", "Herbal", 590),
    ("Hibiscus and rose hip", "Herbal", 560),
    ("Lemon verbena", "Herbal", 740),
    ("Glass teapot", "Ware", 3490),
    ("Gaiwan, porcelain", "Ware", 2790),
    ("Kettle with thermometer", "Ware", 6900),
]

#: How much more of a kind is bought in one season: month of its height, and how far it swings.
SEASONS = {
    "Black": (12, 0.45),
    "Green": (4, 0.30),
    "Oolong": (10, 0.20),
    "Herbal": (7, 0.60),
    "Ware": (12, 0.85),
}

FIRST_NAMES = (
    "Ada Amara Bjørn Chiara Daniel Elif Fatima Grace Hideki Ines Jonas Katarzyna Liam Mei Noor "
    "Olga Pedro Quentin Rosa Sanna Tomasz Uma Valentin Wanda Xavier Yuki Zoë Émile"
).split()
LAST_NAMES = (
    "Andersen Bauer Costa Dubois Eriksen Fischer García Hansen Ito Jansen Kowalski Larsen Moreau "
    "Nakamura Okafor Petrov Quist Rossi Schneider Tanaka Ueda Virtanen Weber Yılmaz Zając"
).split()
CITIES = "Aarhus Berlin Bologna Ghent Kraków Lisbon Lyon Malmö Porto Sevilla Tampere Wien".split()


def fill(path: Path) -> None:
    """Write the whole database into an empty file."""
    chance = random.Random(610)  # noqa: S311 - the same shop everywhere, not a secret
    engine = create_engine(URL.create("sqlite", database=str(path)))
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        products = [Product(name=name, kind=kind, price_cents=p) for name, kind, p in PRODUCTS]
        customers = [_customer(chance, number) for number in range(CUSTOMERS)]
        session.add_all([*products, *customers])
        session.flush()
        for day in range(DAYS):
            date = FIRST_DAY + datetime.timedelta(days=day)
            for _ in range(_orders_on(chance, date, day)):
                session.add(_order(chance, date, day, customers, products))
        session.commit()
    engine.dispose()


def _customer(chance: random.Random, number: int) -> Customer:
    first = FIRST_NAMES[number % len(FIRST_NAMES)]
    last = chance.choice(LAST_NAMES)
    return Customer(
        name=f"{first} {last}",
        email=f"customer{number + 1}@example.com",
        city=chance.choice(CITIES),
        joined=FIRST_DAY + datetime.timedelta(days=int(DAYS * (number / CUSTOMERS) ** 1.6)),
    )


def _orders_on(chance: random.Random, date: datetime.date, day: int) -> int:
    """A shop that grows by half, is busy before Christmas and quiet on Sundays."""
    growth = 1 + 0.5 * day / DAYS
    season = 1 + 0.35 * _swing(date.month, 12)
    weekday = 0.35 if date.weekday() == 6 else 1.1
    wanted = 0.52 * growth * season * weekday
    return int(wanted + chance.random())


def _order(
    chance: random.Random,
    date: datetime.date,
    day: int,
    customers: list[Customer],
    products: list[Product],
) -> Order:
    there = [customer for customer in customers if customer.joined <= date]
    weights = [1 + SEASONS[p.kind][1] * _swing(date.month, SEASONS[p.kind][0]) for p in products]
    # What is dear is bought less often, and one of it.
    weights = [weight * 12 / (6 + p.price) for weight, p in zip(weights, products, strict=True)]
    chosen = {chance.choices(range(len(products)), weights)[0] for _ in range(chance.randint(1, 4))}
    open_still = day > DAYS - 10
    return Order(
        customer=chance.choice(there),
        placed=date,
        status="open" if open_still else chance.choices(("sent", "returned"), (24, 1))[0],
        lines=[
            OrderLine(
                product=products[index],
                quantity=1 if products[index].kind == "Ware" else chance.randint(1, 3),
                price_cents=products[index].price_cents,
            )
            for index in sorted(chosen)
        ],
    )


def _swing(month: int, height: int) -> float:
    """1 in the month of the height, -1 half a year from it."""
    return math.cos((month - height) / 12 * 2 * math.pi)
