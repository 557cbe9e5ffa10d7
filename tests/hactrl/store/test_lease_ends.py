"""What a controller that starts may believe of the leases that the one before has granted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hactrl.store import lease_ends as module
from hactrl.store.lease_ends import BELIEVED_FOR, LEFT, LeaseEnds, Run

FIRST, SECOND, THIRD = Run(7, 0), Run(8, 0), Run(9, 0)
ENDS = {"mail": 115.0}


class Machine:
    """One boot of it, on which controllers come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now, self.wall = 100.0, 5000.0
        self.boot("one")

    def boot(self, name: str) -> None:
        (self.folder / "boot_id").write_text(f"{name}\n")

    def start(self, run: Run, folder: Path | None = None) -> LeaseEnds:
        path = str((folder or self.folder) / "store")
        return LeaseEnds(path, run, lambda: self.now, lambda: self.wall)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds

    @property
    def file(self) -> Path:
        (found,) = self.folder.glob("hactrl-leases-*")
        return found


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "BOOT_ID", tmp_path / "boot_id")
    return Machine(tmp_path)


def test_the_next_controller_knows_what_the_last_one_wrote_last(machine: Machine) -> None:
    last = machine.start(FIRST)
    last.note({"mail": 112.0})
    last.note(ENDS)
    machine.wait(30.0)
    assert machine.start(SECOND).left_by(FIRST) == ENDS


def test_a_shorter_note_leaves_nothing_of_a_longer_one(machine: Machine) -> None:
    last = machine.start(FIRST)
    last.note({f"role{n}": 100.123456 for n in range(500)})
    last.note(ENDS)
    assert machine.start(SECOND).left_by(FIRST) == ENDS


def test_the_first_controller_knows_nothing(machine: Machine) -> None:
    assert machine.start(FIRST).left_by(Run(0, 0)) == {}


def boots(machine: Machine) -> None:
    machine.boot("two")


def another_ran_meanwhile(machine: Machine) -> None:
    """It could not write: what stands there is of the one before."""
    machine.start(SECOND)


def long_ago(machine: Machine) -> None:
    machine.wait(BELIEVED_FOR + 1.0)


def wall_clock_is_set_back(machine: Machine) -> None:
    machine.wall -= 2.0


def boot_clock_is_another(machine: Machine) -> None:
    """As in another time namespace of the same boot."""
    machine.now += 1000.0


def boot_clock_is_behind(machine: Machine) -> None:
    machine.now -= 50.0


def half_is_written(machine: Machine) -> None:
    os.truncate(machine.file, 40)


def one_byte_is_another(machine: Machine) -> None:
    content = machine.file.read_bytes()
    machine.file.write_bytes(content.replace(b"115.0", b"105.0"))


DOUBTS: list[tuple[Callable[[Machine], None], Run]] = [
    (boots, FIRST),
    (another_ran_meanwhile, SECOND),
    (lambda _: None, replace(FIRST, floor=5)),  # a copy of the store was put in its place
    (lambda _: None, replace(FIRST, generation=6)),  # an older store stands there again
    (long_ago, FIRST),
    (wall_clock_is_set_back, FIRST),
    (boot_clock_is_another, FIRST),
    (boot_clock_is_behind, FIRST),
    (half_is_written, FIRST),
    (one_byte_is_another, FIRST),
]


@pytest.mark.parametrize(("doubt", "last"), DOUBTS)
def test_in_doubt_nothing_is_known(
    machine: Machine, doubt: Callable[[Machine], None], last: Run
) -> None:
    machine.start(FIRST).note(ENDS)
    doubt(machine)
    assert machine.start(THIRD).left_by(last) == {}


def test_each_store_has_its_own_note(machine: Machine) -> None:
    """Also where two have one path, as in two containers: it goes by the folder itself."""
    machine.start(FIRST).note(ENDS)
    folder = machine.folder / "another"
    folder.mkdir()
    assert machine.start(SECOND, folder).left_by(FIRST) == {}


def test_what_stores_have_left_that_are_gone_is_swept_away(machine: Machine) -> None:
    machine.wall = time.time()
    left, used = machine.folder / "hactrl-leases-a", machine.folder / "hactrl-leases-b"
    left.touch()
    used.touch()
    os.utime(left, (0.0, machine.wall - LEFT - 60.0))
    machine.start(FIRST)
    assert (left.exists(), used.exists()) == (False, True)


def test_the_wall_clock_may_jump_forward(machine: Machine) -> None:
    """Of a machine that was suspended, or whose clock was slow, no lease lasts longer by that."""
    machine.start(FIRST).note(ENDS)
    machine.wall += 3600.0
    assert machine.start(SECOND).left_by(FIRST) == ENDS


def test_what_cannot_be_written_any_more_leaves_nothing_to_believe(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = machine.start(FIRST)
    last.note(ENDS)
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", lambda *_: 3)
        last.note({"mail": 120.0})
    last.note({"mail": 125.0})  # it goes on granting
    assert machine.start(SECOND).left_by(FIRST) == {}


def test_what_can_neither_be_written_nor_taken_away_grants_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = machine.start(FIRST)
    last.note(ENDS)

    def fail(*_: object) -> None:
        raise OSError("read-only")

    monkeypatch.setattr(os, "pwrite", fail)
    monkeypatch.setattr(Path, "unlink", fail)
    with pytest.raises(OSError, match="read-only"):
        last.note({"mail": 120.0})


def test_a_file_that_others_may_write_is_not_believed(machine: Machine) -> None:
    machine.start(FIRST).note(ENDS)
    machine.file.chmod(0o666)
    assert machine.start(SECOND).left_by(FIRST) == {}


def test_a_link_is_not_followed(machine: Machine) -> None:
    machine.start(FIRST).note(ENDS)
    machine.file.rename(machine.folder / "elsewhere")
    name = machine.start(SECOND)._path
    name.unlink()
    name.symlink_to(machine.folder / "elsewhere")
    assert machine.start(SECOND).left_by(FIRST) == {}


def test_a_file_with_another_name_is_not_written(machine: Machine) -> None:
    """Whoever may make hard links to it (fs.protected_hardlinks=0) gives two stores one note."""
    machine.start(FIRST).note(ENDS)
    written = machine.file.read_bytes()
    (machine.folder / "elsewhere").hardlink_to(machine.file)
    controller = machine.start(SECOND)
    controller.note({"mail": 130.0})
    assert controller.left_by(FIRST) == {}
    assert machine.file.read_bytes() == written


def test_where_there_is_no_such_memory_grants_go_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "FOLDER", machine.folder / "none")
    controller = machine.start(FIRST)
    controller.note(ENDS)
    assert controller.left_by(FIRST) == {}
    assert "a controller that starts waits for a whole lease" in caplog.text
