"""The store: what survives, what is refused, and who waits for whom."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from statistics import median

import pytest

from hactrl import journal as journal_module
from hactrl.engine.effects import Record
from hactrl.store.store import SqliteStore, StaleEpochError, StoreError
from topology.model import Attachment, Host


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hactrl.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    store.close()


@contextmanager
def exhausted(store: SqliteStore) -> Iterator[None]:
    """No page can be added any more, as on a full disk."""
    connections = ((store._placer, store._placements), (store._journalist, store._records))

    def limit(connection: sqlite3.Connection, pages: int) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    def set_most(pages: int) -> None:
        for worker, connection in connections:
            worker.run(partial(limit, connection, pages))

    set_most(1)  # means as many as there are
    yield
    set_most(1 << 30)


def test_a_new_store_knows_no_placement(store: SqliteStore) -> None:
    assert store.placements() == {}


def test_a_placement_is_read_back_after_reopening(path: Path) -> None:
    first = SqliteStore(path)
    first.place("smtp_pop", "mailrelay", 7)
    first.close()
    second = SqliteStore(path)
    assert second.placements() == {"smtp_pop": ("mailrelay", 7)}
    second.close()


def test_a_higher_epoch_replaces_a_placement(store: SqliteStore) -> None:
    store.place("smtp_pop", "smtp_pop", 1)
    store.place("smtp_pop", "mailrelay", 2)
    assert store.placements() == {"smtp_pop": ("mailrelay", 2)}


@pytest.mark.parametrize(("server", "epoch"), [("smtp_pop", 4), ("smtp_pop", 5), ("mailrelay", 4)])
def test_an_epoch_that_is_not_higher_is_refused_and_changes_nothing(
    store: SqliteStore, server: str, epoch: int
) -> None:
    store.place("smtp_pop", "mailrelay", 5)
    with pytest.raises(StaleEpochError) as caught:
        store.place("smtp_pop", server, epoch)
    assert caught.value.known == 5
    assert store.placements() == {"smtp_pop": ("mailrelay", 5)}


def test_the_same_placement_once_more_is_accepted(store: SqliteStore) -> None:
    store.place("smtp_pop", "mailrelay", 5)
    store.place("smtp_pop", "mailrelay", 5)
    assert store.placements() == {"smtp_pop": ("mailrelay", 5)}


def test_of_many_threads_that_want_one_epoch_a_single_one_gets_it(store: SqliteStore) -> None:
    won: list[str] = []
    lost: list[str] = []
    start = threading.Barrier(8)

    def place(server: str) -> None:
        start.wait()
        try:
            store.place("smtp_pop", server, 3)
            won.append(server)
        except StaleEpochError:
            lost.append(server)

    threads = [threading.Thread(target=place, args=(f"server{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(lost) == 7
    assert store.placements() == {"smtp_pop": (won[0], 3)}


def test_the_generation_grows_with_every_start(path: Path) -> None:
    seen = []
    for _ in range(3):
        store = SqliteStore(path, clock=lambda: 1000.0)
        seen.append(store.next_generation())
        store.close()
    assert seen == [1000, 1001, 1002]


def test_the_generation_grows_although_the_store_was_lost(tmp_path: Path) -> None:
    before = SqliteStore(tmp_path / "one", clock=lambda: 1000.0).next_generation()
    after = SqliteStore(tmp_path / "two", clock=lambda: 1060.0).next_generation()
    assert after > before


def test_the_journal_gives_the_newest_entry_first(path: Path) -> None:
    store = SqliteStore(path, clock=lambda: 5.0)
    store.append(Record("takeover_started", "smtp_pop", (("epoch", 2), ("cause", "refused"))))
    store.append(Record("server_disabled", ""))
    assert store.flush() == 2
    newest, oldest = store.history()
    assert (newest.kind, newest.details) == ("server_disabled", {})
    assert (oldest.number, oldest.at, oldest.kind, oldest.role) == (
        1,
        5.0,
        "takeover_started",
        "smtp_pop",
    )
    assert oldest.details == {"epoch": 2, "cause": "refused"}
    store.close()


def test_the_journal_can_be_read_by_role_and_by_pages(store: SqliteStore) -> None:
    for number in range(6):
        role = "web" if number % 2 else "mailrelay"
        store.append(Record("event", role, (("number", number),)))
    store.flush()
    assert [entry.number for entry in store.history("web")] == [6, 4, 2]
    assert [entry.number for entry in store.history("web", before=4, limit=1)] == [2]
    assert [entry.number for entry in store.history(limit=2)] == [6, 5]


def test_the_journal_keeps_the_newest_entries_only(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "KEPT_ENTRIES", 3)
    for number in range(5):
        store.append(Record("event", "", (("number", number),)))
        store.flush()
    assert [entry.number for entry in store.history()] == [5, 4, 3]


def test_closing_writes_what_was_appended(path: Path) -> None:
    first = SqliteStore(path)
    first.append(Record("event", "web"))
    first.close()
    second = SqliteStore(path)
    assert [entry.role for entry in second.history()] == ["web"]
    second.close()


def test_entries_stay_for_the_next_flush_when_one_fails(store: SqliteStore, path: Path) -> None:
    store._journalist.run(lambda: store._records.execute("PRAGMA busy_timeout = 0"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.append(Record("event", "web"))
    with pytest.raises(StoreError, match="journal not written"):
        store.flush()
    other.execute("ROLLBACK")
    other.close()
    assert store.flush() == 1
    assert len(store.history()) == 1


def test_a_placement_does_not_wait_for_entries_that_nobody_has_flushed(
    store: SqliteStore, path: Path
) -> None:
    for number in range(20_000):
        store.append(Record("event", "web", (("number", number),)))
    store.place("smtp_pop", "mailrelay", 1)
    with closing(sqlite3.connect(path)) as reader:
        assert reader.execute("SELECT count(*) FROM journal").fetchone() == (0,)
    assert store.placements()["smtp_pop"] == ("mailrelay", 1)


@pytest.mark.reported("C8")
def test_a_placement_waits_for_one_portion_of_the_journal_at_most(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "PORTION", 10)
    for number in range(30):
        store.append(Record("event", "web", (("number", number),)))
    placing = threading.Thread(target=store.place, args=("smtp_pop", "mailrelay", 1))
    write, found = store._journal.write, list[int]()

    def place_amid_the_first() -> list[int]:
        if not found:
            placing.start()
            while not store._placer.busy:
                time.sleep(0.001)
        ((placements,),) = store._records.execute("SELECT count(*) FROM placements").fetchall()
        found.append(placements)
        return write()

    monkeypatch.setattr(store._journal, "write", place_amid_the_first)
    assert store.flush() == 30
    placing.join()
    assert found == [0, 1, 1]


def test_placements_are_synced_and_the_journal_is_not(store: SqliteStore) -> None:
    full, normal = 2, 1

    def placements(pragma: str) -> object:
        return store._placer.run(lambda: store._placements.execute(f"PRAGMA {pragma}").fetchone())

    def journal(pragma: str) -> object:
        return store._journalist.run(lambda: store._records.execute(f"PRAGMA {pragma}").fetchone())

    assert placements("synchronous") == (full,)
    assert journal("synchronous") == (normal,)
    assert journal("journal_mode") == ("wal",)


PLACE_FOR_EVER = """
import sys
from hactrl.engine.effects import Record
from hactrl.store.store import SqliteStore
store = SqliteStore(sys.argv[1])
for epoch in range(1, 1_000_000):
    store.append(Record("event", "web", (("epoch", epoch),)))
    store.place("smtp_pop", f"server{epoch}", epoch)
    print(epoch, flush=True)
    store.flush()
"""


def test_a_placement_that_was_confirmed_survives_kill_9(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PLACE_FOR_EVER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        confirmed = 0
        while confirmed < 50:
            confirmed = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        confirmed = max([confirmed, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    store = SqliteStore(path)
    server, epoch = store.placements()["smtp_pop"]
    # The next write may have reached the disk before it could be confirmed.
    assert epoch in (confirmed, confirmed + 1)
    assert server == f"server{epoch}"
    assert [e.details["epoch"] for e in reversed(store.history(limit=1000))] == list(
        range(1, store.history()[0].number + 1)
    )
    store.close()


REMEMBER_AND_DIE = """
import os, signal, sys
from hactrl.store.store import SqliteStore
store = SqliteStore(sys.argv[1])
for number in range(20):
    store.remember(f"memory {number}")
print("remembered", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.reported("A3")
def test_what_was_remembered_survives_kill_9_right_after_the_answer(path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REMEMBER_AND_DIE, str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (run.returncode, run.stdout) == (-signal.SIGKILL, "remembered\n")
    store = SqliteStore(path)
    assert store.memory() == "memory 19"
    store.close()


def test_a_new_store_remembers_nothing(store: SqliteStore) -> None:
    assert store.memory() == ""


@pytest.mark.reported("A3")
def test_what_cannot_be_remembered_is_an_error(store: SqliteStore) -> None:
    with exhausted(store), pytest.raises(StoreError, match=r"memory not written: .* is full"):
        store.remember("x" * 100_000)
    assert store.memory() == ""
    store.remember("again")
    assert store.memory() == "again"


def test_a_second_controller_is_refused_while_the_first_lives(path: Path) -> None:
    first = SqliteStore(path)
    with pytest.raises(StoreError, match="another controller is using it"):
        SqliteStore(path)
    first.close()
    SqliteStore(path).close()


def test_a_file_that_is_no_store_is_refused(path: Path) -> None:
    path.write_text("this is a text, and a rather long one, so that it can be no database\n" * 99)
    with pytest.raises(StoreError, match="is it a store of hactrl"):
        SqliteStore(path)


def test_a_store_of_another_layout_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="layout 99"):
        SqliteStore(path)


KEEPER = """
import sys, time
import eventlet
eventlet.monkey_patch()
from hactrl.engine.effects import Record
from hactrl.store.keeper import Keeper
from hactrl.store.store import SqliteStore, StaleEpochError

class SlowDisk(SqliteStore):
    def place(self, *arguments):
        eventlet.patcher.original("time").sleep(0.3)
        super().place(*arguments)

    def flush(self):
        eventlet.patcher.original("time").sleep(0.3)
        return super().flush()

keeper = Keeper(SlowDisk(sys.argv[1]))
eventlet.spawn(keeper.run)
gaps, beat = [], True

def heart():
    last = time.monotonic()
    while beat:
        eventlet.sleep(0.005)
        now = time.monotonic()
        gaps.append(now - last)
        last = now

heart = eventlet.spawn(heart)
keeper.append(Record("event", "web"))
keeper.place("web", "one", 1)
try:
    keeper.place("web", "two", 1)
except StaleEpochError as error:
    print("refused", error.known)
print("history", [entry.kind for entry in keeper.history()])
beat = False
heart.wait()
print("hub blocked" if max(gaps) > 0.2 else "hub free")
"""


def test_a_slow_disk_does_not_block_the_hub(path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KEEPER, str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.stderr == ""
    assert run.stdout.splitlines() == ["refused 1", "history ['event']", "hub free"]


def test_a_placement_is_written_within_the_budget_of_a_failover(store: SqliteStore) -> None:
    """Far above what it takes (around 1 ms), far below what would be felt."""
    took = []
    for epoch in range(1, 21):
        started = time.monotonic()
        store.place("smtp_pop", "mailrelay", epoch)
        took.append(time.monotonic() - started)
    assert median(took) < 0.1


ANN = Host("00:16:3e:00:00:01", Attachment("r1", 5), 7, (ip_address("10.0.0.1"),))
BEN = Host("00:16:3e:00:00:02", Attachment("r2", 5), 8, (ip_address("2001:db8::2"),))


def test_hosts_are_read_back_after_reopening_the_oldest_first(path: Path) -> None:
    first = SqliteStore(path)
    first.keep_hosts((BEN,))
    first.flush()
    first.keep_hosts((BEN, ANN))
    first.flush()
    moved = replace(BEN, attachment=ANN.attachment)
    first.keep_hosts((moved, ANN))
    first.close()
    second = SqliteStore(path)
    assert second.hosts() == (moved, ANN)
    second.close()


@pytest.mark.parametrize("damaged", ["", "7", '["10.0.0"]', "{"])
def test_a_host_that_cannot_be_read_is_named_and_the_store_not_opened(
    path: Path, damaged: str
) -> None:
    first = SqliteStore(path)
    first.keep_hosts((ANN,))
    first.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE hosts SET addresses = ?", (damaged,))
        connection.commit()
    with pytest.raises(StoreError, match=rf"host {ANN.mac} cannot be read .* delete its row"):
        SqliteStore(path)


def test_a_host_that_is_kept_no_more_is_forgotten(path: Path) -> None:
    first = SqliteStore(path)
    first.keep_hosts((ANN, BEN))
    first.flush()
    first.keep_hosts((BEN,))
    first.close()
    second = SqliteStore(path)
    assert second.hosts() == (BEN,)
    second.close()
