"""The tables. Every time in them is the database's clock."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, INT8MULTIRANGE, JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
NOW = func.clock_timestamp()


def from_now(seconds: float | ColumnElement[float]) -> ColumnElement[datetime]:
    """A moment that many seconds ahead on the database's clock; behind it, if negative."""
    return NOW + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _time(name: str, *, required: bool = False) -> Column[Any]:
    default = NOW if required else None
    return Column(name, DateTime(timezone=True), nullable=not required, server_default=default)


def _words(name: str, *, required: bool = True) -> Column[Any]:
    return Column(name, Text, nullable=not required)


def _count(name: str, start: int = 0) -> Column[Any]:
    return Column(name, Integer, nullable=False, server_default=str(start))


def _flag(name: str) -> Column[Any]:
    return Column(name, Boolean, nullable=False, server_default="false")


organisations = Table(
    "organisations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    _time("created_at", required=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organisation_id", Text, ForeignKey("organisations.id"), nullable=False, index=True),
    _words("name"),
    _words("hint"),
    Column("digest", Text, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    _time("created_at", required=True),
    _time("expires_at"),
    _time("revoked_at"),
    _time("last_used_at"),
    Column("keep_s", Float),
    Column("max_open", Integer),
    Column("retired_digest", Text, index=True),
    _time("retires_at"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    _time("at", required=True),
    _words("key_id", required=False),
    _words("organisation_id", required=False),
    _words("action"),
    _words("subject"),
    _words("address", required=False),
    _words("request_id", required=False),
    Index("ix_audit_at", "at"),
)

predictions = Table(
    "predictions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organisation_id", Text, ForeignKey("organisations.id"), nullable=False),
    Column("key_id", Text, ForeignKey("api_keys.id"), nullable=False, index=True),
    _words("kind"),
    _words("provider"),
    _words("model"),
    _words("engine"),
    _words("version", required=False),
    _words("status"),
    Column("input", JSONB, nullable=False),
    Column("params", JSONB, nullable=False),
    Column("source", JSONB, nullable=False),
    _count("priority"),
    _flag("dry_run"),
    Column("plan", JSONB),
    Column("provenance", JSONB),
    Column("logs", Text, nullable=False, server_default=""),
    Column("warnings", JSONB, nullable=False, server_default="[]"),
    _words("error", required=False),
    _words("error_code", required=False),
    Column("scores", JSONB),
    Column("boxes", JSONB),
    Column("metrics", JSONB, nullable=False, server_default="{}"),
    _words("output_name", required=False),
    Column("frames_total", Integer),
    _words("stage"),
    _time("created_at", required=True),
    _time("started_at"),
    _time("completed_at"),
    _time("released_at"),
    _time("deleted_at"),
    Column("deadline", DateTime(timezone=True), nullable=False),
    _words("webhook", required=False),
    Column("webhook_events", ARRAY(Text), nullable=False, server_default="{}"),
    _words("base_url", required=False),
    _words("rendered_from", required=False),
    _time("preview_asked_at"),
    Index("ix_predictions_newest", "organisation_id", text("created_at DESC"), text("id DESC")),
    Index("ix_predictions_newest_of_all", text("created_at DESC"), text("id DESC")),
    Index(
        "ix_predictions_open",
        "deadline",
        postgresql_where=text("status IN ('starting', 'processing')"),
    ),
    Index(
        "ix_predictions_open_by_key",
        "key_id",
        "dry_run",
        postgresql_where=text("status IN ('starting', 'processing')"),
    ),
    Index("ix_predictions_running", "key_id", postgresql_where=text("status = 'processing'")),
    Index(
        "ix_predictions_held",
        "completed_at",
        postgresql_where=text("completed_at IS NOT NULL AND released_at IS NULL"),
    ),
)

units = Table(
    "units",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("prediction_id", Text, ForeignKey("predictions.id", ondelete="CASCADE"), nullable=False),
    _count("seq"),
    _words("kind"),
    _words("lane"),
    _words("state"),
    Column("after", ARRAY(Integer), nullable=False, server_default="{}"),
    _count("waits_for"),
    Column("payload", JSONB, nullable=False, server_default="{}"),
    Column("result", JSONB),
    _count("attempt"),
    _count("given_back"),
    _count("losses"),
    _count("frames_done"),
    Column("lost_at_frame", Integer),
    _time("not_before", required=True),
    _words("owner", required=False),
    _time("lease_until"),
    _time("started_at"),
    _time("finished_at"),
    Column("seconds", Float),
    UniqueConstraint("prediction_id", "seq"),
    Index("ix_units_leased", "lease_until", postgresql_where=text("state = 'leased'")),
)

turns = Table(
    "turns",
    metadata,
    Column(
        "prediction_id",
        Text,
        ForeignKey("predictions.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("lane", Text, primary_key=True),
    _words("key_id", required=False),
    _words("engine"),
    _flag("begun"),
    _count("ready"),
    _count("priority"),
    _time("ready_at"),
    _time("last_served_at"),
    _time("created_at", required=True),
    Index(
        "ix_turns_ready",
        "lane",
        "key_id",
        text("priority DESC"),
        text("last_served_at NULLS FIRST"),
        "created_at",
        postgresql_where=text("ready > 0"),
    ),
    Index(
        "ix_turns_begun",
        "lane",
        "key_id",
        text("priority DESC"),
        text("last_served_at NULLS FIRST"),
        "created_at",
        postgresql_where=text("ready > 0 AND begun"),
    ),
)

shares = Table(
    "shares",
    metadata,
    Column("key_id", Text, ForeignKey("api_keys.id"), primary_key=True),
    Column("weight", Float, nullable=False, server_default="1"),
    Column("max_running", Integer),
    Column("seconds", Float, nullable=False, server_default="0"),
    _time("at", required=True),
)

speeds = Table(
    "speeds",
    metadata,
    Column("engine", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("frame_s", Float),
    Column("unit_s", Float, nullable=False),
    _time("measured_at", required=True),
)

backlog = Table(
    "backlog",
    metadata,
    Column("lane", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),
    _count("jobs"),
    _count("ready"),
)

files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organisation_id", Text, ForeignKey("organisations.id"), nullable=False),
    Column("prediction_id", Text, ForeignKey("predictions.id"), index=True),
    _words("role"),
    Column("name", Text, nullable=False, unique=True),
    _words("store_key"),
    _words("content_type"),
    Column("size_bytes", BigInteger, nullable=False),
    _words("sha256"),
    _count("position"),
    _time("created_at", required=True),
    _time("expires_at"),
    _time("deleted_at"),
    _flag("once"),
    Column("sent", INT8MULTIRANGE),
    Index("ix_files_expiring", "expires_at", postgresql_where=text("deleted_at IS NULL")),
    Index(
        "ix_files_kept",
        "organisation_id",
        postgresql_include=["size_bytes"],
        postgresql_where=text("deleted_at IS NULL"),
    ),
    Index("ix_files_store_key", "store_key"),
)

events = Table(
    "events",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("prediction_id", Text, ForeignKey("predictions.id", ondelete="CASCADE"), nullable=False),
    _words("kind"),
    Column("data", JSONB, nullable=False, server_default="{}"),
    _time("at", required=True),
    Index("ix_events_prediction_id_id", "prediction_id", "id"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", Text, primary_key=True),
    _words("host"),
    Column("pid", Integer, nullable=False),
    Column("lanes", ARRAY(Text), nullable=False),
    Column("engines", ARRAY(Text), nullable=False),
    _words("version"),
    _flag("draining"),
    _count("processes", 1),
    _time("started_at", required=True),
    _time("seen_at", required=True),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("message_id", Text, nullable=False, unique=True),
    Column("organisation_id", Text, ForeignKey("organisations.id"), nullable=False),
    Column("prediction_id", Text, ForeignKey("predictions.id", ondelete="CASCADE"), nullable=False),
    _count("number", 1),
    _words("event"),
    _words("url"),
    _words("state"),
    _count("attempt"),
    _count("failures"),
    _time("next_at", required=True),
    _words("owner", required=False),
    _time("lease_until"),
    _time("created_at", required=True),
    _time("finished_at"),
    UniqueConstraint("prediction_id", "number"),
    Index("ix_deliveries_due", "next_at", postgresql_where=text("state = 'pending'")),
    Index("ix_deliveries_newest", "organisation_id", "created_at"),
    Index("ix_deliveries_leased", "organisation_id", postgresql_where=text("owner IS NOT NULL")),
)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    Column(
        "delivery_id", BigInteger, ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("number", Integer, primary_key=True, autoincrement=False),
    _time("at", required=True),
    Column("status_code", Integer),
    _words("error", required=False),
    Column("seconds", Float, nullable=False),
)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("key_id", Text, ForeignKey("api_keys.id"), nullable=False, index=True),
    _words("secret"),
    _time("created_at", required=True),
    _time("retires_at"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key_id", Text, ForeignKey("api_keys.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    _words("digest"),
    Column("prediction_id", Text, ForeignKey("predictions.id", ondelete="CASCADE"), nullable=False),
    _time("created_at", required=True),
    Index("ix_idempotency_keys_created_at", "created_at"),
)
