"""`visionseg keys`: make, list and revoke API keys."""

from __future__ import annotations

from contextlib import closing
from typing import Any, TextIO

import click

from visionseg.access import keys as access
from visionseg.access.scopes import Scope
from visionseg.commands.running import open_installation
from visionseg.contract.errors import Refusal
from visionseg.contract.ids import KeyId
from visionseg.delivery import signing
from visionseg.records import keys as records

HOUR_S, DAY_S = 3600, 86400
COUNT = click.IntRange(min=1)
POSITIVE = click.FloatRange(min=0, min_open=True)


@click.group()
def keys() -> None:
    """Makes, lists and revokes API keys."""


@keys.command()
@click.option("--name", default="unnamed", show_default=True, help="What the key is for.")
@click.option("--organisation", default=access.DEFAULT_ORGANISATION, show_default=True)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    default=[Scope.SEGMENT.value],
    show_default=True,
)
@click.option("--expires-in-days", type=POSITIVE, help="Default: never.")
@click.option(
    "--keep-days",
    type=click.FloatRange(min=0),
    help="How long results are kept; 0: until they were downloaded; default: a setting.",
)
@click.option("--max-open", type=COUNT, help="Predictions open at once; default: a setting.")
@click.option("--max-running", type=COUNT, help="Predictions worked on at once; default: any.")
@click.option("--weight", type=POSITIVE, default=1.0, show_default=True, help="Share of workers.")
def create(
    name: str,
    organisation: str,
    scopes: tuple[str, ...],
    expires_in_days: float | None,
    keep_days: float | None,
    **limits: Any,  # noqa: ANN401 - the rest of Bounds, by its names
) -> None:
    """Makes a key and prints it: this once, never again."""
    bounds = access.Bounds(_seconds(expires_in_days), _seconds(keep_days), **limits)
    with closing(open_installation()) as installation:
        made = access.create(
            installation.database,
            installation.settings.http.key_pepper.get_secret_value(),
            name,
            [Scope(scope) for scope in scopes],
            organisation,
            bounds,
        )
    click.echo(made.secret)


def _seconds(days: float | None) -> float | None:
    return None if days is None else days * DAY_S


@keys.command("list")
def list_keys() -> None:
    """Lists the keys; secrets cannot be shown."""
    with (
        closing(open_installation()) as installation,
        installation.database.connect() as connection,
    ):
        rows = records.list_all(connection)
    for row in rows:
        state = "revoked" if row.revoked_at else "usable"
        used = f"{row.last_used_at:%Y-%m-%d %H:%M}" if row.last_used_at else "never"
        told = (row.id, row.hint, state, row.organisation, row.name, ",".join(row.scopes))
        click.echo("  ".join((*told, f"used {used}")))


@keys.command("webhook-secret")
@click.argument("key_id")
@click.option("--rotate", is_flag=True, help="Make a new one; the old ones retire.")
@click.option(
    "--overlap-hours",
    default=24.0,
    show_default=True,
    type=click.FloatRange(min=0, max=24 * 365),
    help="How long the old ones sign beside the new one.",
)
def webhook_secret(key_id: str, *, rotate: bool, overlap_hours: float) -> None:
    """Prints the secret that signs the webhooks of a key; the first use makes it."""
    with closing(open_installation()) as installation:
        database, key = installation.database, KeyId(key_id)
        try:
            if rotate:
                secret = signing.rotate(database, key, overlap_hours * HOUR_S)
            else:
                secret = signing.secrets_of(database, key)[0]
        except Refusal as refusal:
            raise click.ClickException(f"{refusal.detail} See `visionseg keys list`.") from refusal
    click.echo(secret)


@keys.command()
@click.argument("key_id")
@click.option(
    "--overlap-hours",
    default=24.0,
    show_default=True,
    type=click.FloatRange(min=0, max=24 * 365),
    help="How long the secret so far counts beside the new one.",
)
def rotate(key_id: str, *, overlap_hours: float) -> None:
    """Makes a new secret for a key and prints it: this once, never again."""
    with closing(open_installation()) as installation:
        pepper = installation.settings.http.key_pepper.get_secret_value()
        try:
            made = access.rotate(
                installation.database, pepper, KeyId(key_id), overlap_hours * HOUR_S
            )
        except Refusal as refusal:
            raise click.ClickException(f"{refusal.detail} See `visionseg keys list`.") from refusal
    click.echo(made.secret)


@keys.command("import")
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--organisation", default=access.DEFAULT_ORGANISATION, show_default=True)
def import_keys(file: TextIO, organisation: str) -> None:
    """Takes over keys that clients have: a line each in FILE (- is the standard input), with what
    it is for after a space.
    """
    with closing(open_installation()) as installation:
        pepper = installation.settings.http.key_pepper.get_secret_value()
        for number, line in enumerate(file, 1):
            secret, _, name = line.strip().partition(" ")
            if not secret:
                continue
            who = (name.strip() or "imported", (Scope.SEGMENT,), organisation)
            try:
                made = access.take_over(installation.database, pepper, secret, *who)
            except ValueError as error:
                raise click.ClickException(f"line {number}: {error}") from error
            click.echo(f"line {number}: {made or 'is a key here already'}")


@keys.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Ends a key at once. KEY_ID is what `visionseg keys list` shows first."""
    with closing(open_installation()) as installation, installation.database.begin() as connection:
        found = records.revoke(connection, KeyId(key_id))
    if not found:
        raise click.ClickException(f"there is no usable key {key_id}; see `visionseg keys list`")
    click.echo(f"{key_id} is revoked")
