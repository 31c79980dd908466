"""What organisations have stored, held against what each may have."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from sqlalchemy import Engine

from visionseg.config import GIB
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import OrganisationId
from visionseg.records import files

SUM_LASTS_S = 5.0


@dataclass(frozen=True, slots=True)
class Quota:
    """The sums of some seconds; several threads may ask at once."""

    _sums: dict[OrganisationId, tuple[int, float]] = field(default_factory=dict)

    def insist(
        self,
        database: Engine,
        quota_bytes: int,
        organisation_id: OrganisationId,
        more_bytes: int = 0,
    ) -> None:
        """Raises `Refusal` (storage_quota) where the organisation has no room for more.

        A quota of 0 is none, and costs no query.
        """
        if not quota_bytes:
            return
        stored = self._stored(database, organisation_id)
        if stored + more_bytes < quota_bytes:
            return
        has, may = f"{stored / GIB:.2f} GiB", f"{quota_bytes / GIB:.2f} GiB"
        raise Refusal(
            ErrorCode.STORAGE_QUOTA,
            f"Your organisation has {has} stored; it may have {may}. Delete predictions or "
            "uploads, or wait until some expire.",
            detail_zh=f"您的组织已存储 {has}，上限为 {may}。请删除任务或上传的文件，或等待其到期。",
        )

    def _stored(self, database: Engine, organisation_id: OrganisationId) -> int:
        stored, at = self._sums.get(organisation_id, (0, -SUM_LASTS_S))
        if time.monotonic() - at >= SUM_LASTS_S:
            with database.connect() as connection:
                stored = files.kept_bytes(connection, organisation_id)
            self._sums[organisation_id] = stored, time.monotonic()
        return stored
