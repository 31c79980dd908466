"""What pydantic finds wrong, told by JSON pointers, with the name that was probably meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from visionseg.contract.errors import Problem

MOST_PROBLEMS = 20
Place = Sequence[int | str]


def field_problems(error: ValidationError, model: type[BaseModel]) -> tuple[Problem, ...]:
    """One problem a field at fault, the first twenty; no value of the client is repeated."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return tuple(
        Problem(pointer(one["loc"]), _sentence(one, model)) for one in details[:MOST_PROBLEMS]
    )


def pointer(place: Place) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)


def _sentence(one: ErrorDetails, model: type[BaseModel]) -> str:
    if one["type"] != "extra_forbidden":
        return one["msg"].removeprefix("Value error, ")
    known = sorted(_fields_beside(model, one["loc"]))
    close = get_close_matches(str(one["loc"][-1]), known, n=1)
    hint = f"did you mean `{close[0]}`?" if close else f"known are: {', '.join(known)}"
    return f"There is no such field; {hint}"


def _fields_beside(model: type[BaseModel], place: Place) -> Iterator[str]:
    for part in place[:-1]:
        if isinstance(part, str):
            model = next(_models_in(model.model_fields[part].annotation))
    yield from model.model_fields


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
