"""Which machine and process this is, so that a dead owner of a lease is known as dead."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PID_NAMESPACE = Path("/proc/self/ns/pid")


def this_host() -> str:
    """A name for the place in which process ids mean something: machine, boot and pid namespace.

    Two containers, or two machines that happen to share a name, differ in it.
    """
    place = socket.gethostname()
    if BOOT_ID.exists():
        boot = BOOT_ID.read_text().strip()
        digest = hashlib.sha256(f"{boot} {PID_NAMESPACE.readlink()}".encode())
        place += f"-{digest.hexdigest()[:12]}"
    return place


def owner_name() -> str:
    """What this process writes into the leases it holds."""
    return f"{this_host()}/{os.getppid()}/{os.getpid()}"


def owner_is_alive(owner: str) -> bool:
    """Whether the process that wrote this owner name on this host still runs."""
    return is_alive(int(owner.rpartition("/")[2]))


def is_alive(process_id: int) -> bool:
    """Whether a process of this host still runs."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
