"""The true tasks' names, behind which every file makes its decoder hang."""

from __future__ import annotations

from tests.fakes.hostile import hang

image = timeline = frames = sound = hang
