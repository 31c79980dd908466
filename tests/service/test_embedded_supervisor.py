"""Programs kept running by `Kept` and by a supervisor in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from visionseg.embedded.processes import (
    HEALTHY_AFTER_S,
    LOG_LIMIT_BYTES,
    Change,
    ChangeReport,
    Kept,
    Program,
    Supervisor,
)

SUPERVISOR = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from visionseg.embedded.processes import Program, Supervisor
folder, grace_s, *codes = sys.argv[1:]
programs = [
    Program(f"p{n}", (sys.executable, "-c", code), {}, Path(folder) / f"p{n}.log")
    for n, code in enumerate(codes)
]
tell = lambda report: print(json.dumps(asdict(report)), flush=True)
Supervisor(programs, grace_s=float(grace_s), on_change=tell).run()
print("done", flush=True)
"""
SLEEP = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
EXIT_3 = "raise SystemExit(3)"
PARENT = (
    "import subprocess, sys; "
    f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); "
    "print(child.pid, flush=True); child.wait()"
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def eventually(happens: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@contextmanager
def supervised(folder: Path, grace_s: float, *codes: str) -> Iterator[subprocess.Popen[str]]:
    """A supervisor of one Python program for each code."""
    command = [sys.executable, "-c", SUPERVISOR, str(folder), str(grace_s), *codes]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def reports(process: subprocess.Popen[str], count: int) -> list[dict[str, object]]:
    assert process.stdout is not None
    return [json.loads(process.stdout.readline()) for _ in range(count)]


def is_up(folder: Path, name: str) -> bool:
    log = folder / f"{name}.log"
    return log.exists() and "up" in log.read_text()


def rest(process: subprocess.Popen[str]) -> list[tuple[str, str]]:
    """Every later change as (name, change), checked to end with a clean return."""
    assert process.stdout is not None
    *lines, last = process.stdout.read().splitlines()
    assert (last, process.wait()) == ("done", 0)
    return [(found["name"], found["change"]) for found in map(json.loads, lines)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_every_program_in_order_and_returns(
    number: signal.Signals, tmp_path: Path
) -> None:
    with supervised(tmp_path, 20, SLEEP, SLEEP) as process:
        reports(process, 2)
        assert eventually(lambda: is_up(tmp_path, "p0") and is_up(tmp_path, "p1"))
        process.send_signal(number)
        assert rest(process) == [
            ("p0", "stopping"),
            ("p1", "stopping"),
            ("p0", "exited"),
            ("p1", "exited"),
        ]


def test_a_program_that_will_not_end_is_killed_after_the_grace(tmp_path: Path) -> None:
    with supervised(tmp_path, 0.3, STUBBORN, SLEEP) as process:
        reports(process, 2)
        assert eventually(lambda: is_up(tmp_path, "p0") and is_up(tmp_path, "p1"))
        process.terminate()
        assert rest(process)[2:] == [("p0", "killed"), ("p1", "exited")]


def test_a_second_signal_kills_at_once(tmp_path: Path) -> None:
    with supervised(tmp_path, 600, STUBBORN) as process:
        reports(process, 1)
        assert eventually(lambda: is_up(tmp_path, "p0"))
        process.send_signal(signal.SIGINT)
        reports(process, 1)
        process.send_signal(signal.SIGINT)
        assert rest(process) == [("p0", "killed")]


def test_a_program_that_dies_is_started_again_while_the_others_run_on(tmp_path: Path) -> None:
    with supervised(tmp_path, 20, EXIT_3, SLEEP) as process:
        seen = reports(process, 5)
    assert [
        (found["name"], found["change"], found["exit_code"], found["retry_in_s"]) for found in seen
    ] == [
        ("p0", "started", None, None),
        ("p1", "started", None, None),
        ("p0", "exited", 3, 1.0),
        ("p0", "started", None, None),
        ("p0", "exited", 3, 2.0),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_no_program_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with supervised(tmp_path, 20, STUBBORN, SLEEP) as process:
        pids = [int(str(found["pid"])) for found in reports(process, 2)]
        assert eventually(lambda: is_up(tmp_path, "p0") and is_up(tmp_path, "p1"))
    assert eventually(lambda: not any(is_running(pid) for pid in pids))


def test_each_program_leads_a_session_of_its_own(tmp_path: Path) -> None:
    with supervised(tmp_path, 20, SLEEP) as process:
        pid = int(str(reports(process, 1)[0]["pid"]))
        assert os.getsid(pid) == pid != os.getsid(process.pid)


def test_what_else_is_attended_to_is_called_until_the_last_program_has_ended(
    tmp_path: Path,
) -> None:
    seen: list[ChangeReport] = []
    calls: list[list[Change]] = []

    def attend() -> None:
        calls.append([report.change for report in seen])
        if len(calls) == 1 or (len(calls) < 3 and Change.STOPPING in calls[-1]):
            assert eventually(lambda: is_up(tmp_path, "p"))
            os.kill(os.getpid(), signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    Supervisor(
        [program(tmp_path, STUBBORN)], grace_s=600, on_change=seen.append, attend=[attend]
    ).run()
    assert signal.getsignal(signal.SIGTERM) is handler
    assert calls == [[Change.STARTED], [Change.STARTED, Change.STOPPING]]
    assert [report.change for report in seen] == [Change.STARTED, Change.STOPPING, Change.KILLED]


def program(folder: Path, code: str, name: str = "p") -> Program:
    return Program(name, (sys.executable, "-c", code), {"SEEN": "yes"}, folder / f"{name}.log")


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Callable[..., Kept]]:
    """Makes kept programs, ended with the test."""
    made: list[Kept] = []

    def keep_one(
        code: str,
        on_change: Callable[[ChangeReport], None] = lambda _report: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Kept:
        made.append(Kept(program(tmp_path, code), on_change, clock))
        return made[-1]

    yield keep_one
    for kept in made:
        kept.kill()


def test_waits_double_up_to_half_a_minute_and_begin_anew_after_a_healthy_minute(
    keep: Callable[..., Kept],
) -> None:
    waits: list[float | None] = []
    now = [0.0]
    kept = keep(
        EXIT_3,
        lambda report: waits.append(report.retry_in_s) if report.change is Change.EXITED else None,
        lambda: now[0],
    )
    kept.start()
    for _ in range(7):
        kept.wait(20)
        kept.attend()
        now[0] += waits[-1] or 0
        kept.attend()
    now[0] += HEALTHY_AFTER_S
    kept.wait(20)
    kept.attend()
    assert waits == [1, 2, 4, 8, 16, 30, 30, 1]


def test_the_dead_program_is_not_started_before_it_is_due(keep: Callable[..., Kept]) -> None:
    kept = keep(EXIT_3, clock=lambda: 0.0)
    kept.start()
    kept.wait(20)
    kept.attend()
    kept.attend()
    assert kept.pid is None


def test_children_of_a_dead_program_are_ended_before_it_is_restarted(
    keep: Callable[..., Kept],
) -> None:
    kept = keep(PARENT)
    kept.start()
    assert eventually(lambda: kept.log_tail.count("\n") >= 2)
    child = int(kept.log_tail.split()[0] if kept.log_tail[0] != "u" else kept.log_tail.split()[1])
    assert is_running(child)
    assert kept.pid is not None
    os.kill(kept.pid, signal.SIGKILL)
    kept.wait(20)
    kept.attend()
    assert eventually(lambda: not is_running(child))


def test_output_of_both_kinds_is_appended_to_the_log_and_the_environment_is_only_what_was_given(
    keep: Callable[..., Kept], tmp_path: Path
) -> None:
    (tmp_path / "p.log").write_text("before\n")
    kept = keep(
        "import os, sys; print(os.environ['SEEN'], 'HOME' in os.environ, flush=True); "
        "print('err', file=sys.stderr)"
    )
    kept.start()
    assert kept.wait(20)
    assert kept.log_tail == "before\nyes False\nerr\n"


def test_a_log_grown_too_large_is_set_aside_at_the_next_start(
    keep: Callable[..., Kept], tmp_path: Path
) -> None:
    with (tmp_path / "p.log").open("wb") as log:
        log.truncate(LOG_LIMIT_BYTES + 1)
    kept = keep("print('new')")
    kept.start()
    assert kept.wait(20)
    assert kept.log_tail == "new\n"
    assert (tmp_path / "p.log.1").stat().st_size == LOG_LIMIT_BYTES + 1


def test_a_program_that_does_not_exist_says_so_in_its_log(tmp_path: Path) -> None:
    kept = Kept(Program("p", ("/no/such/program",), {}, tmp_path / "p.log"))
    kept.start()
    assert kept.wait(20)
    assert "/no/such/program" in kept.log_tail
    kept.kill()


def test_signals_that_python_ignores_reach_the_program_as_usual(tmp_path: Path) -> None:
    shell = ("/bin/sh", "-c", "kill -PIPE $$; echo survived")
    kept = Kept(Program("p", shell, {}, tmp_path / "p.log"))
    kept.start()
    assert kept.wait(20)
    assert kept.log_tail == ""
    kept.kill()
