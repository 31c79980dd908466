"""`visionseg keys`: make, list and revoke API keys."""

from __future__ import annotations

from contextlib import closing

import click

from visionseg.access import keys as access
from visionseg.access.scopes import Scope
from visionseg.commands.running import open_installation
from visionseg.contract.ids import KeyId
from visionseg.records import keys as records

DAY_S = 86400


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
@click.option("--expires-in-days", type=click.FloatRange(min=0, min_open=True))
def create(
    name: str, organisation: str, scopes: tuple[str, ...], expires_in_days: float | None
) -> None:
    """Makes a key and prints it: this once, never again."""
    with closing(open_installation()) as installation:
        made = access.create(
            installation.database,
            installation.settings.http.key_pepper.get_secret_value(),
            name,
            [Scope(scope) for scope in scopes],
            organisation,
            None if expires_in_days is None else expires_in_days * DAY_S,
        )
    click.echo(made.secret)


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


@keys.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Ends a key at once. KEY_ID is what `visionseg keys list` shows first."""
    with closing(open_installation()) as installation, installation.database.begin() as connection:
        found = records.revoke(connection, KeyId(key_id))
    if not found:
        raise click.ClickException(f"there is no usable key {key_id}; see `visionseg keys list`")
    click.echo(f"{key_id} is revoked")
