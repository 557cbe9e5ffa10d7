"""An epoch that was handed out once is never forgotten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hactrl.agent.epochs import EpochFile


def test_no_epoch_is_known_at_first(tmp_path: Path) -> None:
    assert EpochFile(tmp_path / "epochs.json").known("web") == 0


def test_an_epoch_is_known_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "epochs.json"
    EpochFile(path).raise_to("web", 7)
    EpochFile(path).raise_to("mail", 3)
    again = EpochFile(path)
    assert (again.known("web"), again.known("mail")) == (7, 3)


def test_a_lower_epoch_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    epochs = EpochFile(tmp_path / "epochs.json")
    epochs.raise_to("web", 7)
    with pytest.raises(ValueError, match="epoch 6 of web is below 7"):
        epochs.raise_to("web", 6)
    assert EpochFile(tmp_path / "epochs.json").known("web") == 7


def test_content_and_name_are_on_disk_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def spy_fsync(descriptor: int) -> None:
        steps.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def spy_replace(self: Path, target: Path) -> Path:
        steps.append(f"replace {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    EpochFile(tmp_path / "epochs.json").raise_to("web", 7)
    assert steps == ["sync epochs.new", "replace epochs.json", f"sync {tmp_path.name}"]


def test_an_epoch_that_cannot_be_written_is_not_known(tmp_path: Path) -> None:
    directory = tmp_path / "gone"
    epochs = EpochFile(directory / "epochs.json")
    with pytest.raises(FileNotFoundError):
        epochs.raise_to("web", 7)
    assert epochs.known("web") == 0


@pytest.mark.parametrize("content", ["", "[]", '{"web": "7"}', '{"web": -1}', '{"web": true}'])
def test_a_damaged_file_is_no_fresh_start(tmp_path: Path, content: str) -> None:
    path = tmp_path / "epochs.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"epochs\.json"):
        EpochFile(path)
