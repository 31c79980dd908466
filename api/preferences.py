"""What request headers ask for: how long to hold an answer (RFC 7240), how long to work."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from visionseg.contract.errors import ErrorCode, Problem, Refusal

DEFAULT_WAIT_S = 60
DURATION = re.compile(r"(\d{1,7})([smh]?)", re.ASCII)
UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600}
LONGEST_WAIT_S = 300


@dataclass(frozen=True, slots=True)
class Preference:
    """Hold for at most `wait_s`; `applied` is what `Preference-Applied` says."""

    wait_s: int
    applied: str


def parse(headers: Iterable[str]) -> Preference | None:
    """What the client prefers, or None: unknown and malformed preferences count as not sent.

    `wait` outranks `respond-async` (RFC 7240, section 4.3: answer at once only after the wait);
    of several equal names the first counts. `wait` alone is 60 s, and more than 300 s are 300 s.
    """
    stated: dict[str, str] = {}
    for preference in ",".join(headers).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        stated.setdefault(name.strip().lower(), value.strip().strip('"'))
    wait_s = _seconds(stated["wait"]) if "wait" in stated else None
    if wait_s is not None:
        return Preference(wait_s, f"wait={wait_s}")
    if stated.get("respond-async") == "":
        return Preference(0, "respond-async")
    return None


def cancel_after_s(header: str | None) -> float | None:
    """The seconds of a `Cancel-After` header: `90s`, `10m`, `1h`, or a bare number of seconds.

    Raises `Refusal` (invalid_input) for anything else: a client that sets a bound must get it.
    """
    if header is None:
        return None
    found = DURATION.fullmatch(header.strip())
    if found is None or not (seconds := int(found[1]) * UNITS_S[found[2]]):
        problem = Problem("/headers/Cancel-After", "a duration such as 90s, 10m or 1h")
        raise Refusal(ErrorCode.INVALID_INPUT, problems=(problem,))
    return seconds


def _seconds(value: str) -> int | None:
    if not value:
        return DEFAULT_WAIT_S
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        return None
    return min(int(value), LONGEST_WAIT_S)
