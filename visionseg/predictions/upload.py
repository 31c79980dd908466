"""Uploads: a picture or video that clients name in later predictions, by id or address."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from sqlalchemy import Row

from visionseg.access.keys import Caller
from visionseg.artifacts.names import upload_key
from visionseg.artifacts.sniff import HEAD_BYTES, sniff
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import FileId, new_file_id
from visionseg.predictions.finish import kept_s
from visionseg.predictions.installation import Installation
from visionseg.predictions.stored import present
from visionseg.records import files
from visionseg.records.files import NewFile, Role


class Receiving:
    """One upload on its way; nothing of it stays unless `keep` is called."""

    def __init__(self, installation: Installation, caller: Caller) -> None:
        self._installation = installation
        self._caller = caller
        self._stack = ExitStack()
        self._path = self._stack.enter_context(installation.store.scratch()) / "upload"
        self._file = self._stack.enter_context(self._path.open("wb"))
        self._left_bytes = installation.settings.limits.download_bytes

    def expect(self, size_bytes: int) -> None:
        """Refuses at once what is too large, or larger than there is room for.

        Raises `Refusal`: payload_too_large, storage_quota, storage_full.
        """
        if size_bytes > self._left_bytes:
            raise _too_large(self._installation)
        self._insist_on_quota(size_bytes)
        spare_bytes = self._installation.settings.limits.spare_bytes
        if size_bytes + spare_bytes > self._installation.store.free_bytes():
            raise Refusal(ErrorCode.STORAGE_FULL, headers={"Retry-After": "60"})

    def write(self, data: bytes) -> None:
        """Takes the next bytes. Raises `Refusal` (payload_too_large)."""
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            raise _too_large(self._installation)
        self._file.write(data)

    def _insist_on_quota(self, size_bytes: int) -> None:
        installation = self._installation
        quota_bytes = installation.settings.limits.store_quota_bytes
        organisation_id = self._caller.organisation_id
        installation.quota.insist(installation.database, quota_bytes, organisation_id, size_bytes)

    def keep(self) -> FileId:
        """Stores the upload for the caller's organisation and returns its id.

        Raises `Refusal`: unsupported_media_type for what is neither a picture nor a video,
        storage_quota for what was not announced.
        """
        caller = self._caller
        self._file.flush()
        self._insist_on_quota(self._path.stat().st_size)
        with self._path.open("rb") as written:
            content_type = sniff(written.read(HEAD_BYTES))
        if content_type is None:
            raise Refusal(
                ErrorCode.UNSUPPORTED_MEDIA_TYPE,
                "The data is neither a picture nor a video of a known type.",
                detail_zh="该数据不是已知类型的图片或视频。",
            )
        file_id = new_file_id()
        name = f"{file_id}.{content_type.partition('/')[2]}"
        stored = self._installation.store.put(upload_key(file_id, name), self._path)
        new = NewFile(
            role=Role.UPLOAD,
            name=name,
            store_key=stored.key,
            content_type=content_type,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
        )
        with self._installation.database.begin() as connection:
            keep_s = kept_s(connection, self._installation, caller.key_id) or files.ONCE_KEEP_S
            files.add_upload(connection, caller.organisation_id, file_id, new, keep_s)
        return file_id

    def close(self) -> None:
        """Removes what was not kept."""
        self._stack.close()


def _too_large(installation: Installation) -> Refusal:
    limit = installation.settings.limits.download_bytes
    return Refusal(
        ErrorCode.PAYLOAD_TOO_LARGE,
        f"An upload holds at most {limit} bytes.",
        detail_zh=f"上传的文件最多 {limit} 字节。",
    )


def find_upload(installation: Installation, caller: Caller, file_id: FileId) -> Row[Any]:
    """The row of an upload. Raises `Refusal`: not_found, gone."""
    with installation.database.connect() as connection:
        return present(files.find_by_id(connection, file_id, caller.organisation_id))


def delete_upload(installation: Installation, caller: Caller, file_id: FileId) -> None:
    """Lets an upload go; an open prediction that reads it may finish. Raises as `find_upload`."""
    find_upload(installation, caller, file_id)
    with installation.database.begin() as connection:
        files.expire_one(connection, file_id)
