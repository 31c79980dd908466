"""API keys: made, shown once, found again by a keyed digest, revoked."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

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
    secret = f"gk_{secrets.token_urlsafe(SECRET_BYTES)}"
    with database.begin() as connection:
        made = _NewKey(digest(secret, pepper), _hint(secret), name, scopes, organisation, bounds)
        return FreshKey(_add(connection, made), secret)


@dataclass(frozen=True, slots=True)
class _NewKey:
    """A key to be written."""

    digest: str
    hint: str
    name: str
    scopes: Collection[Scope]
    organisation: str
    bounds: Bounds = UNBOUNDED


def _hint(secret: str) -> str:
    return f"{secret[:7]}…"


def _add(connection: Connection, new: _NewKey) -> KeyId:
    key_id = new_key_id()
    keys.add(
        connection,
        new.bounds.expires_in_s,
        id=key_id,
        organisation_id=keys.organisation(connection, new.organisation),
        name=new.name,
        hint=new.hint,
        digest=new.digest,
        scopes=sorted(new.scopes),
        keep_s=new.bounds.keep_s,
        max_open=new.bounds.max_open,
    )
    shares.add(connection, key_id, new.bounds.weight, new.bounds.max_running)
    return key_id


def rotate(database: Engine, pepper: str, key_id: KeyId, overlap_s: float) -> FreshKey:
    """A new secret for a key; the one so far counts for `overlap_s` more, an older one no longer.

    The key stays the same: its caps, its share, its webhooks, its idempotency keys. Raises
    `Refusal` (not_found) if there is no such usable key.
    """
    fresh = FreshKey(key_id, f"gk_{secrets.token_urlsafe(SECRET_BYTES)}")
    with database.begin() as connection:
        made = digest(fresh.secret, pepper)
        if not keys.rotate(connection, key_id, made, _hint(fresh.secret), overlap_s):
            raise Refusal(ErrorCode.NOT_FOUND, "There is no usable key with that id.")
    return fresh


def take_over(
    database: Engine,
    pepper: str,
    secret: str,
    name: str,
    scopes: Collection[Scope] = (Scope.SEGMENT,),
    organisation: str = DEFAULT_ORGANISATION,
) -> KeyId | None:
    """Makes a key of a secret that clients have already; None where it is a key here.

    Raises `ValueError` for what is no key.
    """
    if not PATTERN.fullmatch(secret):
        raise ValueError("a key is gk_ and 16 to 200 letters, digits, - and _")
    with database.begin() as connection:
        made = digest(secret, pepper)
        if keys.is_known(connection, made):
            return None
        return _add(connection, _NewKey(made, _hint(secret), name, scopes, organisation))


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
