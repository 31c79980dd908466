"""The rules of the house that no linter checks."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("visionseg", "api", "workers", "migrations")
FOLDERS = (*PACKAGES, "tests", "bench", "demo")
MOST_LINES = 400
MOST_STATEMENTS = 40


def _files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_no_file_is_longer_than_400_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in _files(*FOLDERS)
        if (lines := path.read_text(encoding="utf-8").count("\n")) > MOST_LINES
    }
    assert long == {}


def _statements(function: ast.AST) -> int:
    return sum(isinstance(node, ast.stmt) for node in ast.walk(function)) - 1


def test_no_function_has_more_than_40_statements() -> None:
    large = []
    for path in _files("visionseg", "api", "workers", "tests", "bench", "demo"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if _statements(node) > MOST_STATEMENTS:
                large.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert large == []


def test_init_files_are_empty() -> None:
    assert [
        path for path in _files(*PACKAGES) if path.name == "__init__.py" and path.read_text()
    ] == []


def test_every_lint_opt_out_has_a_reason() -> None:
    bare = re.compile(r"#\s*(noqa|type:\s*ignore)(:\s*[\w, ]+|\[[\w, -]+\])?\s*$", re.MULTILINE)
    found = [
        str(path) for path in _files(*PACKAGES) if bare.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize("name", ["api", "workers", "migrations", "visionseg"])
def test_no_other_distribution_ships_our_package_names(name: str) -> None:
    assert set(packages_distributions().get(name, [])) <= {"visionseg"}


def test_the_api_and_the_command_line_start_without_pixels() -> None:
    heavy = ("torch", "av", "numpy", "PIL", "cv2", "onnxruntime")
    code = (
        "import sys, api.app, visionseg.commands.main\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_workers_start_without_the_web_framework() -> None:
    code = "import sys, workers.app\nprint('fastapi' in sys.modules or 'starlette' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_torch_and_torchvision_fit_each_other() -> None:
    torchvision = pytest.importorskip("torchvision", reason="the extra `sam3` is not installed")
    assert torchvision.extension._has_ops()


def test_nothing_names_a_package_host_or_a_machine_path() -> None:
    hosts = "|".join(("py" + r"pi\.org", "python" + "hosted", "registry" + r"\.npm"))
    forbidden = re.compile(rf"{hosts}|(?<![\w.])/(?:work|root)/")
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    found = []
    for name in tracked:
        path = ROOT / name
        if path.suffix in {".png", ".jpg"} or not path.is_file():
            continue
        if forbidden.search(path.read_text(encoding="utf-8")):
            found.append(name)
    assert found == []
