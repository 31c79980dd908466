"""`visionseg up`: the whole service on this machine, in the foreground, in one folder."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import click

from visionseg.access import keys
from visionseg.artifacts import hub, weights
from visionseg.commands.running import write_services
from visionseg.config import Models, Settings
from visionseg.embedded.folders import EmbeddedError
from visionseg.embedded.postgres import Postgres
from visionseg.embedded.processes import Change, ChangeReport, Program, Supervisor
from visionseg.embedded.redis import Redis
from visionseg.queue.lanes import CPU_LANES, GPU_LANES, Lane
from visionseg.records.engine import connect
from visionseg.records.schema import migrate

GRACE_S = 20.0
KEY_NAME = "made by visionseg up"
CPU_PROCESSES = 2


@click.command()
@click.option("--key-file", type=click.Path(path_type=Path), help="Also write the key here.")
def up(key_file: Path | None) -> None:
    """Runs the whole service until Ctrl-C or SIGTERM; the data stay in VISIONSEG_HOME."""
    try:
        _fetch_models()
        _run(key_file)
    except (EmbeddedError, weights.WeightsError) as error:
        raise click.ClickException(str(error)) from error


def _fetch_models() -> None:
    cache, names = Models().cache, weights.names_of("model")
    if weights.wrong_files(cache, names):
        weights.fetch(cache, names, click.echo)
    for model, source in Models().weights.items():
        hub.find_weights(source, model)


def _run(key_file: Path | None) -> None:
    settings = Settings()
    home = settings.storage.home.absolute()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ExitStack() as stack:
        click.echo("starting PostgreSQL and Redis …")
        postgres = Postgres(home / "postgres")
        stack.callback(postgres.stop)
        redis = Redis(home / "redis")
        stack.callback(redis.stop)
        environment = _environment(settings, home, postgres, redis)
        services = write_services(home, environment)
        stack.callback(services.unlink, missing_ok=True)
        secret = _prepare(postgres.url, environment["VISIONSEG_KEY_PEPPER"])
        _tell(settings, home, secret, key_file)
        programs = _programs(home, {**os.environ, **environment})
        attend = (postgres.attend, redis.attend)
        Supervisor(programs, grace_s=GRACE_S, on_change=_report, attend=attend).run()
        click.echo("stopped")


def _environment(
    settings: Settings, home: Path, postgres: Postgres, redis: Redis
) -> Mapping[str, str]:
    environment = {
        "VISIONSEG_HOME": str(home),
        "VISIONSEG_DATABASE_URL": postgres.url,
        "VISIONSEG_REDIS_URL": redis.url,
        "VISIONSEG_BROKER_URL": redis.broker_url,
        "VISIONSEG_KEY_PEPPER": _pepper(settings, home),
    }
    if not settings.models.sam3_weights:
        environment["EMBEDDED_FALLBACK"] = "1"
    return environment


def _pepper(settings: Settings, home: Path) -> str:
    """The secret mixed into key digests: the setting, else one made once and kept beside the data.

    Without it every key would have to be made anew.
    """
    given = settings.http.key_pepper.get_secret_value()
    path = home / "pepper"
    if given:
        return given
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def _prepare(database_url: str, pepper: str) -> str:
    """Migrates, and makes the key that is printed."""
    database = connect(database_url, 1, "visionseg up")
    try:
        migrate(database)
        return keys.create(database, pepper, KEY_NAME).secret
    finally:
        database.dispose()


def _tell(settings: Settings, home: Path, secret: str, key_file: Path | None) -> None:
    if key_file is not None:
        key_file.touch(mode=0o600)
        key_file.write_text(secret, encoding="utf-8")
    address = f"http://{settings.http.host}:{settings.http.port}"
    click.echo(f"  address   {address}   (documents at {address}/docs)")
    click.echo(f"  key       {secret}")
    click.echo(f"  data      {home}   (logs in {home / 'logs'})")
    click.echo("Ctrl-C stops it; the data stay.")


def _programs(home: Path, environment: Mapping[str, str]) -> list[Program]:
    """In the order in which they are told to stop: the API first, so that nothing new comes in."""
    worker = (sys.executable, "-m", "workers")
    commands = {
        "api": (sys.executable, "-m", "api"),
        "worker-gpu": (*worker, "--lanes", _joined(GPU_LANES)),
        "worker-media": (
            *worker,
            "--lanes",
            _joined(CPU_LANES),
            "--processes",
            str(CPU_PROCESSES),
        ),
        # Of its own, so that receivers that do not answer hold up no prediction.
        "worker-delivery": (*worker, "--lanes", Lane.DELIVERY),
    }
    return [
        Program(name, command, environment, home / "logs" / f"{name}.log")
        for name, command in commands.items()
    ]


def _joined(lanes: tuple[Lane, ...]) -> str:
    return ",".join(lanes)


def _report(report: ChangeReport) -> None:
    if report.change is Change.EXITED and report.retry_in_s is not None:
        again = f"starting it again in {report.retry_in_s:g} s"
        click.echo(f"{report.name} ended ({report.exit_code}); {again}", err=True)
