"""The store's file: its layouts, who may read it, who holds it, and what damages it."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from hactrl.engine.effects import Record
from hactrl.store import file as store_file
from hactrl.store.file import COMPANIONS, LAYOUT
from hactrl.store.store import SqliteStore, StaleEpochError, StoreError
from topology.model import Attachment, Host

#: What the first version that kept a store wrote, by its own statements.
FIRST_LAYOUT = """
CREATE TABLE IF NOT EXISTS placements (
    role TEXT PRIMARY KEY, server TEXT NOT NULL, epoch INTEGER NOT NULL, at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS generation (
    only INTEGER PRIMARY KEY CHECK (only = 1), value INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS journal (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL,
    kind TEXT NOT NULL, role TEXT NOT NULL, details TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS hosts (
    mac TEXT NOT NULL UNIQUE, switch TEXT NOT NULL, port INTEGER NOT NULL,
    number INTEGER NOT NULL, addresses TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS journal_by_role ON journal (role, number);
"""

CONTENT = """
INSERT INTO placements VALUES ('mail', 'beta', 7, 1000.5);
INSERT INTO generation VALUES (1, 3000000000);
INSERT INTO journal (at, kind, role, details)
VALUES (1000.5, 'takeover.finished', 'mail', '{"epoch": 7}'), (1002.0, 'switch.lost', '', '{}');
INSERT INTO hosts VALUES ('00:16:3e:00:00:01', 'r1', 5, 7, '["10.0.0.1"]');
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hactrl.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    with suppress(StoreError):  # what was deleted cannot be flushed
        store.close()


def first_layout(path: Path, statements: str = FIRST_LAYOUT + CONTENT, layout: int = 1) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(statements)
        connection.execute(f"PRAGMA user_version = {layout}")


def layout(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


# Layouts.


@pytest.mark.reported("B8")
def test_a_store_of_the_first_layout_is_migrated_with_all_that_is_in_it(path: Path) -> None:
    first_layout(path)
    store = SqliteStore(path, clock=lambda: 2000.0)
    assert store.placements() == {"mail": ("beta", 7)}
    assert store.next_generation() == 3_000_000_001
    assert [host.mac for host in store.hosts()] == ["00:16:3e:00:00:01"]
    assert [(e.number, e.kind, e.count, e.at, e.last) for e in store.history()] == [
        (2, "switch.lost", 1, 1002.0, 1002.0),
        (1, "takeover.finished", 1, 1000.5, 1000.5),
    ]
    assert store.memory() == ""
    store.append(Record("event", ""))
    store.remember("much")
    store.close()
    assert layout(path) == LAYOUT


@pytest.mark.reported("B8")
def test_what_a_first_version_left_that_was_killed_amid_its_first_start_is_made_whole(
    path: Path,
) -> None:
    first_layout(path, FIRST_LAYOUT[: FIRST_LAYOUT.index("CREATE TABLE IF NOT EXISTS hosts")], 0)
    store = SqliteStore(path)
    assert (store.placements(), store.hosts()) == ({}, ())
    store.close()
    assert layout(path) == LAYOUT


@pytest.mark.reported("B8")
def test_a_migration_that_fails_leaves_the_store_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_layout(path)
    broken = (store_file.LAYOUTS[0], store_file.LAYOUTS[1] + "; INSERT INTO nowhere VALUES (1)")
    with monkeypatch.context() as patched:
        patched.setattr(store_file, "LAYOUTS", broken)
        with pytest.raises(StoreError, match="nowhere"):
            SqliteStore(path)
    assert layout(path) == 1
    store = SqliteStore(path)
    assert store.placements() == {"mail": ("beta", 7)}
    store.close()


@pytest.mark.reported("B8")
def test_a_newer_layout_is_refused_with_what_to_do_and_not_touched(path: Path) -> None:
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {LAYOUT + 1}")
    before = path.read_bytes()
    with pytest.raises(
        StoreError, match=rf"layout {LAYOUT + 1}, .* up to {LAYOUT}: use the version that wrote it"
    ):
        SqliteStore(path)
    assert path.read_bytes() == before


# What is no store, or a damaged one.


def one_line(error: pytest.ExceptionInfo[StoreError], path: Path) -> str:
    said = str(error.value)
    assert "\n" not in said
    assert str(path) in said
    return said


@pytest.mark.reported("C7")
def test_a_database_of_something_else_is_refused_and_not_touched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="a database of something else") as caught:
        SqliteStore(path)
    one_line(caught, path)
    assert path.read_bytes() == before


@pytest.mark.reported("C7")
@pytest.mark.parametrize("content", [b"a text, and a long one " * 99, b"\0" * 8192, b"x"])
def test_a_file_that_is_no_database_is_one_line(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError, match="is it a store of hactrl") as caught:
        SqliteStore(path)
    one_line(caught, path)


@pytest.mark.reported("C7")
def test_a_folder_in_its_place_is_one_line(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StoreError, match="directory") as caught:
        SqliteStore(path)
    one_line(caught, path)


@pytest.mark.reported("C7")
def test_zeroed_pages_are_one_line_whichever_they_are(path: Path) -> None:
    store = SqliteStore(path)
    for number in range(300):
        store.append(Record("event", "mail", (("number", number),)))
    store.place("mail", "beta", 7)
    store.remember("much " * 3000)
    store.keep_hosts((Host("00:16:3e:00:00:01", Attachment("r1", 5), 7, ()),))
    store.close()
    whole, size = path.read_bytes(), 4096
    found = everything(path)
    pages = len(whole) // size
    assert pages > 10
    for page in range(pages):
        path.write_bytes(whole[: page * size] + b"\0" * size + whole[(page + 1) * size :])
        with pytest.raises(StoreError, match=r"damaged|malformed|is it a store") as caught:
            everything(path)
        one_line(caught, path)
    path.write_bytes(whole)
    assert everything(path) == found


def everything(path: Path) -> tuple[object, ...]:
    store = SqliteStore(path)
    try:
        return store.placements(), store.memory(), store.hosts(), store.history(limit=1000)
    finally:
        store.close()


@pytest.mark.reported("C7")
def test_a_full_disk_is_one_line_wherever_it_is_met_and_nothing_is_lost_by_it(
    tmp_path: Path,
) -> None:
    """A real one: a file system of a megabyte, in a mount namespace of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    program = Path(__file__).with_name("full_disk.py")
    mount = f"mount -t tmpfs -o size=1m tmpfs {tmp_path} && exec {sys.executable} -W ignore"
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"{mount} {program} {tmp_path}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert run.stderr == ""
    said = dict(line.split(": ", 1) for line in run.stdout.splitlines())
    assert re.search("placement of mail not written: .* is full", said.pop("place"))
    assert re.search("memory not written: .* is full", said.pop("remember"))
    assert re.search("journal not written: .* is full", said.pop("flush"))
    assert re.search("full|No space|I/O error", said.pop("new store"))
    assert said == {
        "known": "{'mail': ('alpha', 1)}",
        "history": "2000",
        "afterwards": "{'mail': ('beta', 2)} 2000",
    }


# Who may read it.


def modes(path: Path) -> dict[str, str]:
    return {
        file.name.removeprefix(path.name): oct(file.stat().st_mode & 0o777)
        for file in path.parent.iterdir()
    }


@pytest.mark.reported("C7")
def test_only_its_owner_reads_a_store_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        store = SqliteStore(path)
        store.place("mail", "beta", 7)
        assert modes(path) == dict.fromkeys(("", *COMPANIONS, ".lock"), "0o600")
        store.close()
    finally:
        os.umask(before)


@pytest.mark.reported("C7")
def test_a_store_that_others_may_read_is_tightened(path: Path) -> None:
    first_layout(path)
    holding = sqlite3.connect(path)  # keeps -wal and -shm where they are
    holding.execute("SELECT * FROM placements").fetchall()
    path.with_name(f"{path.name}.lock").touch()
    for file in path.parent.iterdir():
        file.chmod(0o666)
    store = SqliteStore(path)
    assert modes(path) == dict.fromkeys(("", *COMPANIONS, ".lock"), "0o600")
    holding.close()
    store.close()


@pytest.mark.reported("C7")
def test_one_that_cannot_be_tightened_is_refused_with_the_command_that_mends_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_layout(path)
    path.chmod(0o644)

    def refuse(*_arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    with pytest.raises(StoreError, match=f"chmod 600 {path}") as caught:
        SqliteStore(path)
    one_line(caught, path)


# Whether it is still there.


@pytest.mark.reported("C7")
@pytest.mark.parametrize("suffix", ["", *COMPANIONS])
@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_is_stored_into_a_file_that_was_deleted_or_replaced(
    store: SqliteStore, path: Path, suffix: str, replaced: bool
) -> None:
    store.place("mail", "alpha", 1)
    file = path.with_name(path.name + suffix)
    content = file.read_bytes()
    file.unlink()
    if replaced:
        file.with_suffix(".other").write_bytes(b"")  # so that it cannot get the same inode
        file.write_bytes(content)
    store.append(Record("event", ""))
    for write in (
        lambda: store.place("mail", "beta", 2),
        lambda: store.remember("much"),
        store.next_generation,
        store.flush,
    ):
        with pytest.raises(StoreError, match="deleted or replaced while the controller") as caught:
            write()
        assert not isinstance(caught.value, StaleEpochError)
        one_line(caught, path)


@pytest.mark.reported("C7")
@pytest.mark.parametrize("suffix", ["", *COMPANIONS])
def test_a_store_that_goes_while_a_placement_is_written_has_not_stored_it(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    check, calls = store._file.check, []

    def check_and_delete() -> None:
        check()
        calls.append(path.with_name(path.name + suffix).unlink(missing_ok=True))

    monkeypatch.setattr(store._file, "check", check_and_delete)
    with pytest.raises(StoreError, match="deleted or replaced"):
        store.place("mail", "beta", 2)
    assert len(calls) == 1


@pytest.mark.reported("C7")
def test_an_idle_store_that_is_gone_is_noticed_by_the_next_flush(
    store: SqliteStore, path: Path
) -> None:
    assert store.flush() == 0
    path.unlink()
    with pytest.raises(StoreError, match="deleted or replaced"):
        store.flush()


# Who holds it.

OPEN = "import sys; from hactrl.store.store import *; SqliteStore(sys.argv[1]); print('open')"


def open_elsewhere(path: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """In another process."""
    return subprocess.run(
        [*before, sys.executable, "-W", "ignore", "-c", OPEN, str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )


@pytest.mark.reported("C7")
@pytest.mark.usefixtures("store")
def test_a_second_controller_is_refused_although_store_and_lock_were_deleted(path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()
    second = open_elsewhere(path)
    assert "another controller is using it" in second.stderr
    assert second.stdout == ""


@pytest.mark.usefixtures("store")
def test_another_store_of_the_same_path_is_another_one(path: Path) -> None:
    """As in a container of another site."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    mount = f'mount -t tmpfs tmpfs {path.parent} && exec "$@"'
    second = open_elsewhere(path, "unshare", "--mount", "sh", "-c", mount, "sh")
    assert second.stdout == "open\n"


@pytest.mark.reported("C7")
@pytest.mark.usefixtures("store")
def test_a_second_controller_is_refused_by_another_name_of_the_file(path: Path) -> None:
    alias = path.parent / "alias"
    alias.symlink_to(path)
    assert "another controller is using it" in open_elsewhere(alias).stderr


@pytest.mark.reported("C7")
@pytest.mark.usefixtures("store")
def test_a_second_controller_in_another_network_namespace_is_refused_by_the_lock(
    path: Path,
) -> None:
    if os.geteuid() != 0:
        pytest.skip("a network namespace takes root")
    assert "another controller is using it" in open_elsewhere(path, "unshare", "--net").stderr


@pytest.mark.reported("C7")
def test_a_stranger_who_takes_the_name_of_the_abstract_socket_keeps_nobody_from_starting(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(store_file.claim_name(str(path)))
        stranger.listen()
        monkeypatch.setattr(store_file, "_owner", lambda _name: 65534)
        store = SqliteStore(path)
    assert "belongs to user 65534, and is ignored" in caplog.text
    monkeypatch.undo()
    with pytest.raises(StoreError, match="another controller is using it"):
        SqliteStore(path)  # the lock holds
    store.close()


@pytest.mark.usefixtures("store")
def test_two_stores_in_one_folder_are_two(path: Path) -> None:
    assert open_elsewhere(path.with_name("other.sqlite")).stdout == "open\n"
