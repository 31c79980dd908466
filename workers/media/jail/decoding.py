"""One client's file in the hands of one jailed child, as the worker sees it."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import select
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self, TypeVar

import numpy as np
import numpy.typing as npt
import structlog

from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.checkpoints import Checkpoint
from workers.media.jail import parents, wire
from workers.media.limits import Limits

log = structlog.get_logger(__name__)
ToldResult = TypeVar("ToldResult", bound=wire.Told)
Block = npt.NDArray[np.uint8]
LOOK_EVERY_S = 0.25
_STATUS_BYTES = 4
_RECEIVED_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Task:
    """What a child is to do: a function's `module:name`, with words and bytes for it.

    `slots` of `slot_bytes` are the memory through which it answers. `unreadable` is the code of a
    file that breaks its decoder. `file_bytes` is how much it may write to a target.
    """

    name: str
    unreadable: ErrorCode
    slots: int = 1
    slot_bytes: int = 1 << 18
    arguments: Mapping[str, str] | None = None
    data: bytes = b""
    file_bytes: int = 0


class Decoding:
    """A context manager: the child lives inside the block and is killed at its end.

    `checkpoint` is called at every message and four times a second; whatever it raises ends the
    decoding. A child that is silent for `limits.stall_s`, or lets wait for `limits.decode_s` in
    all, is refused as `decode_timeout`.
    """

    def __init__(
        self,
        task: Task,
        source: Path,
        limits: Limits,
        checkpoint: Checkpoint,
        target: Path | None = None,
    ) -> None:
        self._task = task
        self._source = source
        self._limits = limits
        self._checkpoint = checkpoint
        self._target = target
        self._received = bytearray()
        self._waited_s = 0.0
        self._done: wire.Done | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self._answers, self._leash = map(opened.enter_context, parents.parent().bear())
            self._poll = select.poll()
            self._poll.register(self._answers, select.POLLIN)
            self._ring = opened.enter_context(self._hand_over())
            self._stack = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def blocks(self) -> Iterator[tuple[int, Block]]:
        """What the child sends through its memory, copied: a number, and bytes.

        Ends with the task; raises `Refusal` where the file is refused or the child dies of it.
        """
        while True:
            message = self._next()
            self._checkpoint()
            match message:
                case wire.Filled():
                    yield message.number, self._taken(message)
                case wire.Done():
                    self._done = message
                    return
                case wire.Refused():
                    raise Refusal(message.code, message.detail, detail_zh=message.detail_zh)
                case wire.Broken():
                    raise parents.ChildError(message.error)
                case wire.Alive():
                    pass

    def result(self, model: type[ToldResult]) -> ToldResult:
        """What the task told at its end, once `blocks` has ended."""
        if self._done is None:
            for _ in self.blocks():
                self.distrust("bytes that nobody asked for")
        try:
            return model.model_validate_json(json.dumps(self._done.result if self._done else None))
        except ValueError as error:
            self.distrust(str(error))

    def distrust(self, why: str) -> NoReturn:
        """Refuses the file: its child said what no child of ours says."""
        log.warning("decoder_distrusted", task=self._task.name, why=why[:500])
        raise self._unreadable()

    def _hand_over(self) -> mmap.mmap:
        """Gives the child its file and its words, and makes the memory that both see."""
        task = self._task
        size = task.slots * task.slot_bytes
        words = json.dumps(
            {
                "task": task.name,
                "arguments": task.arguments or {},
                "limits": asdict(self._limits),
                "slots": task.slots,
                "slot_bytes": task.slot_bytes,
                "file_bytes": task.file_bytes,
                "data_bytes": len(task.data),
            }
        ).encode()
        with ExitStack() as ours:
            descriptors = [_opened(ours, self._source, os.O_RDONLY), _sealed_memory(ours, size)]
            if self._target is not None:
                flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
                descriptors.append(_opened(ours, self._target, flags))
            try:
                socket.send_fds(self._answers, [len(words).to_bytes(8, "little")], descriptors)
                self._answers.sendall(words + task.data)
            except (BrokenPipeError, ConnectionResetError):
                self._mourn()
            return mmap.mmap(descriptors[1], size, prot=mmap.PROT_READ)

    def _taken(self, filled: wire.Filled) -> Block:
        slot_bytes = self._task.slot_bytes
        if filled.slot >= self._task.slots or filled.size > slot_bytes:
            self.distrust(f"{filled.size} bytes in slot {filled.slot}")
        start = filled.slot * slot_bytes
        copied = np.frombuffer(self._ring, np.uint8, filled.size, start).copy()
        try:
            self._answers.send(bytes([filled.slot]), socket.MSG_DONTWAIT)
        except BlockingIOError:
            self.distrust("slots that it never takes back")
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has sent its last
        return copied

    def _next(self) -> wire.Message:
        body = self._read(wire.LENGTH.size)
        (length,) = wire.LENGTH.unpack(body)
        if length > wire.MOST_BYTES:
            self.distrust(f"a message of {length} bytes")
        try:
            return wire.parse(self._read(length))
        except ValueError as error:
            self.distrust(str(error))

    def _read(self, size: int) -> bytes:
        while len(self._received) < size:
            self._wait()
            try:
                more = self._answers.recv(_RECEIVED_BYTES)
            except ConnectionResetError:
                more = b""
            if not more:
                self._mourn()
            self._received += more
        read = bytes(self._received[:size])
        del self._received[:size]
        return read

    def _wait(self) -> None:
        begun = time.monotonic()
        while not self._poll.poll(LOOK_EVERY_S * 1000):
            self._checkpoint()
            self._insist_on_time(time.monotonic() - begun)
        silent_s = time.monotonic() - begun
        self._insist_on_time(silent_s)
        self._waited_s += silent_s

    def _insist_on_time(self, silent_s: float) -> None:
        waited_s = self._waited_s + silent_s
        if silent_s > self._limits.stall_s or waited_s > self._limits.decode_s:
            log.warning("decoder_timed_out", task=self._task.name, waited_s=waited_s)
            raise Refusal(ErrorCode.DECODE_TIMEOUT)

    def _mourn(self) -> NoReturn:
        """The child is gone without a word: its wait status says why."""
        self._leash.settimeout(parents.STATUS_WAIT_S)
        try:
            told = self._leash.recv(_STATUS_BYTES)
        except TimeoutError:
            self.distrust("it hung up and lives on")
        code = os.waitstatus_to_exitcode(int.from_bytes(told, "little")) if told else None
        log.warning("decoder_died", task=self._task.name, exit_code=code)
        if code is None and parents.parent().failed():
            raise parents.ChildError(parents.NO_NURSERY)
        if code == -signal.SIGXCPU:
            raise Refusal(ErrorCode.DECODE_TIMEOUT)
        if code is None or code == -signal.SIGKILL:
            raise Refusal(
                ErrorCode.OUT_OF_MEMORY,
                "The process that decodes was killed, most likely for want of memory.",
                detail_zh="解码进程被终止，很可能是因为内存不足。",
            )
        raise self._unreadable()

    def _unreadable(self) -> Refusal:
        return Refusal(
            self._task.unreadable,
            "The file broke its decoder: it is damaged, or made to do harm.",
            detail_zh="该文件使解码器崩溃：文件已损坏，或被蓄意构造。",
        )


def _opened(stack: ExitStack, path: Path, flags: int) -> int:
    descriptor = os.open(path, flags, 0o600)
    stack.callback(os.close, descriptor)
    return descriptor


def _sealed_memory(stack: ExitStack, size: int) -> int:
    """Memory whose size nobody changes any more: a child that cut it off would kill its parent."""
    descriptor = os.memfd_create("ring", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    stack.callback(os.close, descriptor)
    os.ftruncate(descriptor, size)
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor
