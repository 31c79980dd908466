"""The command line, as an operator types it, against a real database."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from visionseg.access.keys import authenticate
from visionseg.artifacts import weights
from visionseg.commands.main import main
from visionseg.commands.running import write_services
from visionseg.config import Settings
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.delivery.signing import secrets_of
from visionseg.predictions.installation import Installation
from visionseg.records import keys


@pytest.fixture
def home(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a running `visionseg up`, which tells the commands where the services are."""
    told = {
        "VISIONSEG_DATABASE_URL": settings.services.database_url,
        "VISIONSEG_REDIS_URL": settings.services.redis_url,
        "VISIONSEG_BROKER_URL": settings.services.broker_url,
        "VISIONSEG_KEY_PEPPER": settings.http.key_pepper.get_secret_value(),
    }
    for name in told:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("VISIONSEG_HOME", str(tmp_path))
    path = write_services(tmp_path, told)
    assert path.stat().st_mode & 0o777 == 0o600
    return tmp_path


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_key_is_made_listed_and_revoked(home: Path, installation: Installation) -> None:
    secret = _run("keys", "create", "--name", "camera 7", "--expires-in-days", "2").strip()
    pepper = installation.settings.http.key_pepper.get_secret_value()
    caller = authenticate(installation.database, pepper, f"Bearer {secret}")
    listed = _run("keys", "list")
    assert "camera 7" in listed
    assert "usable" in listed
    assert secret not in listed
    assert "revoked" in _run("keys", "revoke", caller.key_id)
    with pytest.raises(Refusal) as refusal:
        authenticate(installation.database, pepper, f"Bearer {secret}")
    assert refusal.value.code is ErrorCode.INVALID_API_KEY
    again = CliRunner().invoke(main, ["keys", "revoke", caller.key_id])
    assert again.exit_code == 1
    assert "keys list" in again.output


def test_an_expired_key_is_not_accepted(home: Path, installation: Installation) -> None:
    secret = _run("keys", "create", "--expires-in-days", "0.000000001").strip()
    pepper = installation.settings.http.key_pepper.get_secret_value()
    with pytest.raises(Refusal) as refusal:
        authenticate(installation.database, pepper, f"Bearer {secret}")
    assert refusal.value.code is ErrorCode.INVALID_API_KEY


def test_the_secret_of_webhooks_is_made_once_and_rotated(
    home: Path, installation: Installation
) -> None:
    secret = _run("keys", "create").strip()
    pepper = installation.settings.http.key_pepper.get_secret_value()
    key_id = authenticate(installation.database, pepper, f"Bearer {secret}").key_id
    first = _run("keys", "webhook-secret", key_id).strip()
    assert first.startswith("whsec_")
    assert _run("keys", "webhook-secret", key_id).strip() == first
    rotated = _run("keys", "webhook-secret", key_id, "--rotate", "--overlap-hours", "1").strip()
    assert _run("keys", "webhook-secret", key_id).strip() == rotated != first
    assert secrets_of(installation.database, key_id) == [rotated, first]
    at_once = _run("keys", "webhook-secret", key_id, "--rotate", "--overlap-hours", "0").strip()
    assert secrets_of(installation.database, key_id) == [at_once]


def test_a_rotated_key_keeps_its_id_and_its_last_secret_for_a_while(
    home: Path, installation: Installation
) -> None:
    pepper = installation.settings.http.key_pepper.get_secret_value()
    first = _run("keys", "create").strip()
    key_id = authenticate(installation.database, pepper, f"Bearer {first}").key_id
    second = _run("keys", "rotate", key_id).strip()
    for secret in (first, second):
        assert authenticate(installation.database, pepper, f"Bearer {secret}").key_id == key_id
    third = _run("keys", "rotate", key_id, "--overlap-hours", "0").strip()
    for secret in (first, second):
        with pytest.raises(Refusal):
            authenticate(installation.database, pepper, f"Bearer {secret}")
    assert authenticate(installation.database, pepper, f"Bearer {third}").key_id == key_id
    missing = CliRunner().invoke(main, ["keys", "rotate", "key_0"])
    assert missing.exit_code == 1
    assert "keys list" in missing.output


def test_keys_that_clients_have_are_taken_over(
    home: Path, installation: Installation, tmp_path: Path
) -> None:
    pepper = installation.settings.http.key_pepper.get_secret_value()
    secret = "gk_theOldServiceGaveThisOne"
    given = tmp_path / "keys.txt"
    given.write_text(f"{secret} camera 7\n\n", encoding="utf-8")
    assert "key_" in _run("keys", "import", str(given))
    authenticate(installation.database, pepper, f"Bearer {secret}")
    assert "camera 7" in _run("keys", "list")
    assert "already" in _run("keys", "import", str(given))
    given.write_text("secret\n", encoding="utf-8")
    refused = CliRunner().invoke(main, ["keys", "import", str(given)])
    assert refused.exit_code == 1
    assert "line 1" in refused.output
    assert "secret" not in refused.output


@pytest.mark.parametrize("options", [(), ("--rotate",)])
def test_a_key_that_does_not_exist_has_no_secret(home: Path, options: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, ["keys", "webhook-secret", "key_0", *options])
    assert result.exit_code == 1
    assert "visionseg keys list" in result.output


def test_migrate_tells_the_revision(home: Path) -> None:
    assert re.search(r"revision \d{4}", _run("migrate"))


def test_without_services_a_command_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIONSEG_HOME", str(tmp_path))
    for name in ("DATABASE", "REDIS", "BROKER"):
        monkeypatch.setenv(f"VISIONSEG_{name}_URL", "")
    result = CliRunner().invoke(main, ["keys", "list"])
    assert result.exit_code == 1
    assert "VISIONSEG_DATABASE_URL" in result.output
    assert "visionseg up" in result.output


def test_weights_check_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIONSEG_WEIGHTS_CACHE", str(tmp_path))
    result = CliRunner().invoke(main, ["weights", "check"])
    assert result.exit_code == 1
    assert all(name in result.output for name in weights.names_of("model"))
    assert weights.FETCH_COMMAND in result.output


def test_services_are_kept_as_json_for_other_commands(home: Path) -> None:
    told = json.loads((home / "services.json").read_text(encoding="utf-8"))
    assert told["VISIONSEG_DATABASE_URL"].startswith("postgresql+psycopg://")


def test_a_key_of_zero_retention_is_made_by_keeping_for_no_days(
    home: Path, installation: Installation
) -> None:
    secret = _run("keys", "create", "--keep-days", "0").strip()
    pepper = installation.settings.http.key_pepper.get_secret_value()
    caller = authenticate(installation.database, pepper, f"Bearer {secret}")
    with installation.database.connect() as connection:
        assert keys.keep_s(connection, caller.key_id) == 0
