"""An epoch that was handed out once is never forgotten."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from hactrl.agent import epochs as module
from hactrl.agent.epochs import EpochFile


def raise_to(path: Path, role: str, epoch: int) -> EpochFile:
    """Hear and write one epoch, as an agent does that has just started."""
    epochs = EpochFile(path)
    epochs.hear(role, epoch)
    asyncio.run(epochs.save(role))
    return epochs


def test_no_epoch_is_known_at_first(tmp_path: Path) -> None:
    assert EpochFile(tmp_path / "epochs.json").known("web") == 0


def test_an_epoch_is_known_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "epochs.json"
    raise_to(path, "web", 7)
    raise_to(path, "mail", 3)
    again = EpochFile(path)
    assert (again.known("web"), again.known("mail")) == (7, 3)


def test_a_lower_epoch_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    epochs = raise_to(tmp_path / "epochs.json", "web", 7)
    with pytest.raises(ValueError, match="epoch 6 of web is below 7"):
        epochs.hear("web", 6)
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
    raise_to(tmp_path / "epochs.json", "web", 7)
    assert steps == ["sync epochs.json.new", "replace epochs.json", f"sync {tmp_path.name}"]


@pytest.mark.reported("B2")
def test_an_epoch_that_cannot_be_written_is_known_while_the_process_lives(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "epochs.json"
    epochs = EpochFile(path)
    epochs.hear("web", 7)
    with pytest.raises(FileNotFoundError):
        asyncio.run(epochs.save("web"))
    assert (epochs.known("web"), epochs.written("web")) == (7, 0)
    path.parent.mkdir()
    asyncio.run(epochs.save("web"))
    assert epochs.written("web") == EpochFile(path).known("web") == 7


@pytest.mark.reported("B2")
def test_a_disk_that_hangs_holds_up_nobody_who_stops_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thawed = threading.Event()
    write = module.replace_file

    def frozen(path: Path, content: bytes) -> None:
        thawed.wait(10)
        write(path, content)

    async def scene() -> None:
        epochs = EpochFile(tmp_path / "epochs.json")
        epochs.hear("web", 7)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(epochs.save("web"), 0.01)
        epochs.hear("web", 8)
        assert epochs.written("web") == 0
        thawed.set()
        await epochs.save("web")
        assert epochs.written("web") == 8

    monkeypatch.setattr(module, "replace_file", frozen)
    asyncio.run(scene())


def test_what_could_not_be_written_whole_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "epochs.json"
    raise_to(path, "web", 7)
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space"):
        raise_to(path, "web", 8)
    assert EpochFile(path).known("web") == 7
    assert [p.name for p in tmp_path.iterdir()] == ["epochs.json"]


def no_room(descriptor: int) -> None:
    raise OSError(28, f"No space left on device, descriptor {descriptor}")


@pytest.mark.parametrize("content", ["", "[]", '{"web": "7"}', '{"web": -1}', '{"web": true}'])
def test_a_damaged_file_is_no_fresh_start(tmp_path: Path, content: str) -> None:
    path = tmp_path / "epochs.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"epochs\.json"):
        EpochFile(path)
