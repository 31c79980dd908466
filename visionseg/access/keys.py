"""API keys: made, shown once, found again by a keyed digest, revoked."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Engine

from visionseg.access.scopes import Scope
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import KeyId, OrganisationId, new_key_id
from visionseg.records import keys, shares

PATTERN = re.compile(r"gk_[A-Za-z0-9_-]{16,200}")
SECRET_BYTES = 32
DEFAULT_ORGANISATION = "default"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a key, its organisation and its scopes."""

    key_id: KeyId
    organisation_id: OrganisationId
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What bounds a key: its life, how long its results are kept, how many predictions are open
    or worked on at once, and its weight among the keys that wait.

    None: for ever, as the settings say, and as many as there are workers.
    """

    expires_in_s: float | None = None
    keep_s: float | None = None
    max_open: int | None = None
    max_running: int | None = None
    weight: float = 1.0


UNBOUNDED = Bounds()


@dataclass(frozen=True, slots=True)
class FreshKey:
    """A new key with its secret, which nobody can read again."""

    id: KeyId
    secret: str


def digest(secret: str, pepper: str) -> str:
    """HMAC-SHA256 of the key under the installation's pepper, in hex.

    A key has 256 random bits, so a fast digest is enough; the pepper makes a stolen table useless
    for checking guesses at keys that were imported.
    """
    return hmac.new(pepper.encode(), secret.encode(), hashlib.sha256).hexdigest()


def create(
    database: Engine,
    pepper: str,
    name: str,
    scopes: Collection[Scope] = (Scope.SEGMENT,),
    organisation: str = DEFAULT_ORGANISATION,
    bounds: Bounds = UNBOUNDED,
) -> FreshKey:
    """Makes a key in an organisation, which is made too when it is new."""
    fresh = FreshKey(new_key_id(), f"gk_{secrets.token_urlsafe(SECRET_BYTES)}")
    with database.begin() as connection:
        keys.add(
            connection,
            bounds.expires_in_s,
            id=fresh.id,
            organisation_id=keys.organisation(connection, organisation),
            name=name,
            hint=f"{fresh.secret[:7]}…",
            digest=digest(fresh.secret, pepper),
            scopes=sorted(scopes),
            keep_s=bounds.keep_s,
            max_open=bounds.max_open,
        )
        shares.add(connection, fresh.id, bounds.weight, bounds.max_running)
    return fresh


def authenticate(database: Engine, pepper: str, authorization: str | None) -> Caller:
    """The caller behind an `Authorization` header.

    Raises `Refusal`: missing_api_key where there is none or it is malformed, invalid_api_key where
    it is unknown, expired or revoked. A key is looked up by its keyed digest, so no comparison
    depends on the secret.
    """
    secret = _bearer(authorization)
    with database.connect() as connection:
        row = keys.find_usable(connection, digest(secret, pepper))
    if row is None:
        raise Refusal(ErrorCode.INVALID_API_KEY, headers={"WWW-Authenticate": CHALLENGE})
    with database.begin() as connection:
        keys.touch(connection, KeyId(row.id))
    return Caller(KeyId(row.id), OrganisationId(row.organisation_id), frozenset(row.scopes))


CHALLENGE = 'Bearer realm="visionseg"'


def _bearer(authorization: str | None) -> str:
    kind, _, secret = (authorization or "").strip().partition(" ")
    secret = secret.strip()
    if kind.lower() != "bearer" or not PATTERN.fullmatch(secret):
        raise Refusal(ErrorCode.MISSING_API_KEY, headers={"WWW-Authenticate": CHALLENGE})
    return secret
