"""The back office's tables."""

from sqlalchemy import Boolean, Column, ForeignKey, Integer, String, Table
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session, declarative_base, relationship, scoped_session, sessionmaker
from zope.sqlalchemy import register

DBSession = scoped_session(sessionmaker())
register(DBSession)

Base = declarative_base()

membership = Table(
    "membership",
    Base.metadata,
    Column("user_id", ForeignKey("users.id"), primary_key=True),
    Column("group_id", ForeignKey("groups.id"), primary_key=True),
)


class Group(Base):
    __tablename__ = "groups"

    id = Column(Integer, primary_key=True)
    name = Column(String, unique=True, nullable=False)


class User(Base):
    __tablename__ = "users"

    id = Column(Integer, primary_key=True)
    username = Column(String, unique=True, nullable=False)
    email = Column(String)
    enabled = Column(Boolean, default=True, nullable=False)
    groups = relationship(Group, secondary=membership)

    def can_login(self):
        return self.enabled


class Article(Base):
    __tablename__ = "articles"

    id = Column(Integer, primary_key=True)
    title = Column(String, nullable=False)
    views = Column(Integer, nullable=False)


def create(engine):
    """Tables and a few rows, unless another worker was first."""
    try:
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            editors = Group(id=1, name="editors")
            session.add_all(
                [
                    User(id=1, username="maija@example.com", email="maija@example.com"),
                    User(id=2, username="olli", email="olli@example.com", groups=[editors]),
                    User(id=3, username="left", email="left@example.com", enabled=False),
                ]
            )
            session.add_all(
                Article(id=number, title=f"Article {number}", views=number * number)
                for number in range(1, 11)
            )
            session.commit()
    except (IntegrityError, OperationalError):
        pass
