"""A disk is tried by a file that nobody can put another in the way of, and that leaves nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from hactrl.agent.looks import disk_state

pytestmark = pytest.mark.reported("B4")


def test_a_disk_that_takes_what_is_written_is_good_and_left_as_it_was(tmp_path: Path) -> None:
    assert disk_state(str(tmp_path)) == "good "
    assert not list(tmp_path.iterdir())


def test_a_directory_that_is_missing_is_a_failure_with_its_name(tmp_path: Path) -> None:
    assert disk_state(f"{tmp_path}/gone") == f"failed {tmp_path}/gone: No such file or directory"


def test_a_file_system_without_unnamed_files_is_tried_by_one_that_is_unlinked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_file = os.open

    def without(path: str, flags: int, *arguments: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not here")
        return open_file(path, flags, *arguments)

    monkeypatch.setattr(os, "open", without)
    assert disk_state(str(tmp_path)) == "good "
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "state"),
    [
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "full"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "failed"),
    ],
)
def test_what_is_wrong_with_a_disk_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, state: str
) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(number, f"descriptor {descriptor}")

    monkeypatch.setattr(os, "fsync", broken)
    assert disk_state(str(tmp_path)).startswith(f"{state} {tmp_path}")


def test_room_that_only_root_has_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = list(os.statvfs(tmp_path))
    fields[4] = 0  # f_bavail
    monkeypatch.setattr(os, "fstatvfs", lambda _: os.statvfs_result((*fields, 0)))
    assert disk_state(str(tmp_path)).startswith("full ")
