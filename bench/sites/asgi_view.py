"""The application that is measured: a JSON view of FastAPI."""

from fastapi import FastAPI
from pydantic import BaseModel

application = FastAPI()


class Item(BaseModel):
    number: int
    name: str
    page: str


@application.get("/item/{number}")
async def item(number: int, page: str = "1") -> Item:
    return Item(number=number, name=f"item {number}", page=page)
