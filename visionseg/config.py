"""Every setting, read once from the environment: one frozen class per section."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from visionseg.contract.models import LITE, MODELS, SAM3

MIB = 1024 * 1024
GIB = 1024 * MIB


class _Section(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="VISIONSEG_", frozen=True, extra="ignore")


class Services(_Section):
    """Where PostgreSQL and Redis are. Empty URLs: `visionseg up` starts its own."""

    database_url: str = ""
    redis_url: str = Field(default="", description="As redis-py takes it: redis://, unix://")
    broker_url: str = Field(default="", description="As Celery takes it: redis://, redis+socket://")
    pool_size: int = 10
    database_answer_s: float = Field(
        default=35.0, description="A connection silent for longer is closed; statements end at 30 s"
    )


class Storage(_Section):
    """Where files live and for how long."""

    home: Path = Field(default=Path(".visionseg"), description="The folder that holds all data")
    outputs_keep_s: float = Field(
        default=7 * 86400, ge=0, description="0: until downloaded, at most an hour"
    )
    audit_keep_s: float = Field(default=90 * 86400, ge=0, description="Lines of the audit log")
    inline_bytes: int = Field(default=256 * 1024, description="Outputs up to this are data URIs")

    @property
    def files(self) -> Path:
        """The root of the local file store."""
        return self.home / "files"


class Http(_Section):
    """How the API is reached."""

    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str = Field(default="", description="Base of all links; default: as requested")
    trusted_proxies: str = Field(
        default="127.0.0.1",
        description="Addresses whose X-Forwarded-Proto and -For are believed, comma separated",
    )
    heartbeat_after_s: float = Field(default=10.0, description="Silence before a hold's first byte")
    key_pepper: SecretStr = Field(
        default=SecretStr(""), description="Secret mixed into key digests"
    )


class Limits(_Section):
    """What is refused as too much."""

    body_bytes: int = 140 * MIB
    data_uri_bytes: int = 100 * MIB
    download_bytes: int = 16 * GIB
    image_pixels: int = 40_000_000
    frame_pixels: int = 8_900_000
    video_frames: int = 1_000_000
    video_s: float = 12 * 3600
    output_bytes: int = Field(
        default=64 * GIB, description="The result of one prediction, as estimated and as made"
    )
    spare_bytes: int = Field(default=GIB, description="What is left free on the disk")
    store_quota_bytes: int = Field(
        default=0, ge=0, description="What one organisation may have stored; 0: no bound"
    )
    jail: Literal["require", "prefer", "off"] = Field(
        default="prefer", description="Read what clients send in a confined process of its own"
    )
    decode_open_s: float = Field(default=10.0, description="Until it has opened a file")
    decode_stall_s: float = Field(default=60.0, description="Silence of that process")
    decode_s: float = Field(default=6 * 3600.0, description="Its longest work on one file")
    decode_memory_bytes: int = Field(default=4 * GIB, description="Its address space")
    fetch_total_s: float = 3600
    fetch_stall_s: float = 60
    queued_predictions: int = Field(default=100_000, description="Open ones, over all keys")
    open_per_key: int = Field(default=10_000, description="Open ones of one key")
    idempotency_keep_s: float = Field(default=86400, description="How long a key is remembered")
    allowed_hosts: frozenset[str] = Field(
        default=frozenset(),
        description="JSON list of hosts, host:port or networks that URLs may name though private",
    )
    ca_file: Path | None = Field(default=None, description="Certificates trusted for URLs")


class Models(_Section):
    """Which models run here."""

    model_config = SettingsConfigDict(
        env_prefix="", frozen=True, extra="ignore", populate_by_name=True
    )

    sam3_weights: str = Field(default="", description="A local folder or a hub id")
    sam3_device: str = Field(default="auto", description="auto, cpu, cuda or cuda:1")
    sam3_precision: str = Field(
        default="auto", description="auto (bf16 on a GPU, fp32 on a CPU), bf16, fp32"
    )
    sam3_batch: int = Field(
        default=0, ge=0, description="Pictures at once; 0: 8 on a GPU, 1 on a CPU"
    )
    sam3_warm_up: bool = Field(default=True, description="Run one picture when a worker starts")
    sam3_compile: str = Field(
        default="", description="A backend of torch.compile for the vision encoder: inductor"
    )
    sam3_pictures_kept: int = Field(
        default=4, ge=0, description="Pictures whose features stay for the next prompt"
    )
    others: str = Field(
        default="",
        alias="MODEL_WEIGHTS",
        description="Further models, comma separated, each a name or name=folder",
    )
    embedded_fallback: bool = Field(
        default=False, description="Let embedded/lite answer for facebook/sam3 without weights"
    )
    weights_cache: Path = Field(
        default=Path("~/.cache/visionseg"), alias="VISIONSEG_WEIGHTS_CACHE", validate_default=True
    )
    threads: int = Field(default=2, alias="VISIONSEG_THREADS")

    @field_validator("others")
    @classmethod
    def _are_known(cls, others: str) -> str:
        for name in weights_named(others):
            if name not in MODELS or name in {SAM3, LITE}:
                known = ", ".join(one for one in MODELS if one not in {SAM3, LITE})
                raise ValueError(f"MODEL_WEIGHTS: there is no model {name}; there are: {known}")
        return others

    @property
    def weights(self) -> Mapping[str, str]:
        """Where the weights of each model are that is served beside the embedded one: a folder
        or a hub id.
        """
        own = {SAM3: self.sam3_weights} if self.sam3_weights else {}
        return {**own, **weights_named(self.others)}

    @property
    def cache(self) -> Path:
        """The folder of the embedded models' files."""
        return self.weights_cache.expanduser()


class Gathering(_Section):
    """How pictures that wait are taken together."""

    pictures_at_once: int = Field(
        default=8, ge=1, description="Most pictures that a worker takes together"
    )
    pictures_wait_ms: float = Field(
        default=5.0, ge=0, description="How long the first waits for others to come"
    )


class Lease(_Section):
    """How long a worker may be silent. See docs/decisions/0002."""

    lease_s: float = 30.0
    heartbeat_s: float = 5.0
    watch_s: float = Field(default=0.25, description="How often a worker looks for a cancel")
    stall_s: float = Field(default=90.0, description="Without progress: the lease is not renewed")
    sweep_s: float = 5.0
    checkpoint_s: float = Field(
        default=45.0, description="A worker that dies repeats at most so much of a video"
    )
    turn_s: float = Field(default=20.0, description="A worker's seconds of claims for one hint")
    pictures_share: float = Field(
        default=0.8, gt=0, le=1, description="Of a process's time, while other work waits"
    )
    max_transient: int = Field(default=4, description="Tries of a unit that fails in passing")
    max_losses: int = Field(default=3, description="Worker deaths of one unit at the same frame")
    max_attempts: int = 10


class Settings(_Section):
    """All sections."""

    services: Services = Field(default_factory=Services)
    storage: Storage = Field(default_factory=Storage)
    http: Http = Field(default_factory=Http)
    limits: Limits = Field(default_factory=Limits)
    models: Models = Field(default_factory=Models)
    gathering: Gathering = Field(default_factory=Gathering)
    lease: Lease = Field(default_factory=Lease)


def weights_named(others: str) -> Mapping[str, str]:
    """What MODEL_WEIGHTS says: where the weights of each model are, by its name if not told."""
    parts = [part.strip().partition("=") for part in others.split(",") if part.strip()]
    return {name.strip(): where.strip() or name.strip() for name, _, where in parts}


def installed_version() -> str:
    """The version of this installation; 0 for a folder of sources that is not installed."""
    try:
        return version("visionseg")
    except PackageNotFoundError:
        return "0"


@lru_cache(maxsize=1)
def read_settings() -> Settings:
    """The settings of this process, read on the first call."""
    return Settings()
