"""What a key may do."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from visionseg.contract.errors import ErrorCode, Refusal


class Scope(StrEnum):
    """`ai:*` holds every `ai:` scope; `admin` is for the operator."""

    SEGMENT = "ai:vision-segment"
    ALL_AI = "ai:*"
    ADMIN = "admin"


def demand(scopes: Collection[str], wanted: Scope) -> None:
    """Raises `Refusal` (insufficient_scope, naming the scope) unless `scopes` hold `wanted`."""
    held = wanted in scopes or (wanted.startswith("ai:") and Scope.ALL_AI in scopes)
    if not held:
        raise Refusal(
            ErrorCode.INSUFFICIENT_SCOPE,
            f"This API key lacks the scope `{wanted}`.",
            detail_zh=f"该 API 密钥缺少权限范围 `{wanted}`。",
        )
