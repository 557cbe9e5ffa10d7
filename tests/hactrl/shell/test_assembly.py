"""The operator's token, work that is done aside, and what becomes of the store's troubles."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import eventlet
import pytest
from eventlet import event
from eventlet.queue import LightQueue
from rest_fixture import SITE
from running import secret
from webob import Request

from hactrl.engine.effects import GrantLease, Remember, StorePlacement
from hactrl.engine.events import EpochStored, Event
from hactrl.engine.roles.ownership import next_epoch
from hactrl.explain import words
from hactrl.shell import assembly as assembly_module
from hactrl.shell.assembly import ASIDE, Assembly, StartError, few_at_a_time, operator_token
from hactrl.site.model import Site
from hactrl.store import keeper, lease_ends
from hactrl.store.copies import backup, restore
from hactrl.store.store import SqliteStore, StoreError
from hactrl.switches.board import Switchboard
from hactrl.vocabulary import Outcome


def test_without_a_file_a_token_is_made_that_only_its_owner_reads(tmp_path: Path) -> None:
    file = tmp_path / "new" / "operator-token"
    token = operator_token(file)
    assert len(token) >= 32
    assert file.read_text().strip() == token
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_next_start_uses_the_same_token(tmp_path: Path) -> None:
    file = tmp_path / "operator-token"
    assert operator_token(file) == operator_token(file)


def test_two_controllers_make_different_tokens(tmp_path: Path) -> None:
    assert operator_token(tmp_path / "one") != operator_token(tmp_path / "two")


def test_a_token_that_somebody_wrote_is_used_without_the_space_around_it(tmp_path: Path) -> None:
    file = secret(tmp_path / "operator-token", "  chosen by hand \n")
    assert operator_token(file) == "chosen by hand"


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_file_is_refused_with_its_name_and_the_remedy(
    tmp_path: Path, content: str
) -> None:
    file = secret(tmp_path / "operator-token", content)
    with pytest.raises(ValueError, match=f"{file} is empty; remove it"):
        operator_token(file)


@pytest.mark.reported("C7")
@pytest.mark.parametrize("content", ["tökén", "two\nlines", "a\x00b", "\x7f"])
def test_a_token_that_no_header_can_hold_is_refused(tmp_path: Path, content: str) -> None:
    file = secret(tmp_path / "operator-token", content)
    with pytest.raises(ValueError, match=f"{file}: a token is one line of ASCII"):
        operator_token(file)


@pytest.mark.reported("C7")
def test_a_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = secret(tmp_path / "operator-token", "known to all", mode=0o644)
    with pytest.raises(ValueError, match=f"`chmod 600 {file}`"):
        operator_token(file)
    assert file.read_text() == "known to all"


def test_a_file_that_cannot_be_read_is_no_reason_to_make_a_new_token(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        operator_token(tmp_path)


def test_whoever_asks_a_lot_leaves_threads_to_others() -> None:
    """A placement is written in a thread of the same pool."""
    done, working = event.Event(), list[int]()

    def work(number: int) -> int:
        working.append(number)
        done.wait()
        return number

    aside = few_at_a_time(lambda work: work())
    asked = [eventlet.spawn(aside, lambda number=number: work(number)) for number in range(10)]
    eventlet.sleep(0)
    assert working == list(range(ASIDE))
    done.send()
    assert [greenlet.wait() for greenlet in asked] == list(range(10))


def test_who_is_no_operator_is_journalled(site: Site) -> None:
    assembly = assembled(site)
    asked = Request.blank("/v1/roles/smtp_pop/retry", method="POST")
    assert asked.get_response(assembly.api).status_int == 401
    noticed = assembly.runtime._events.get_nowait()
    assert (noticed.kind, dict(noticed.details)["token"]) == ("operator.refused", "none")


# The store, as a controller has it.


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(lease_ends, "FOLDER", tmp_path)
    controller = replace(
        SITE.controller,
        store=str(tmp_path / "hactrl.sqlite"),
        agent_tokens=str(tmp_path / "agent-tokens"),
        operator_token=str(tmp_path / "operator-token"),
    )
    tokens = tmp_path / "agent-tokens"
    tokens.write_text("".join(f"{name}: {name * 4}\n" for name in SITE.network.servers))
    tokens.chmod(0o600)
    return replace(SITE, controller=controller)


def assembled(site: Site, now: float = 0.0) -> Assembly:
    return Assembly(site, lambda: now, Switchboard(site.network.switches))


@pytest.mark.reported("C8")
@pytest.mark.parametrize("error", [StoreError("full"), KeyError("mail"), OSError("odd")])
def test_a_placement_is_answered_whatever_happens_to_it(
    site: Site, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    assembly, answers = assembled(site), list[Event]()

    def fail(*_asked: object) -> None:
        raise error

    monkeypatch.setattr(assembly._keeper, "place", fail)
    monkeypatch.setattr(assembly.runtime, "post", answers.append)
    assembly._store_placement(StorePlacement(7, "smtp_pop", "mailrelay", 2))
    assert answers == [EpochStored(7, Outcome.FAILED)]


@pytest.mark.reported("C7")
def test_a_store_that_cannot_be_written_is_one_line_in_a_while_for_all_that_is_asked(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assembly, why = assembled(site), "full"

    def fail(*_asked: object) -> None:
        raise StoreError(why)

    monkeypatch.setattr(assembly._keeper, "place", fail)
    monkeypatch.setattr(assembly._keeper, "remember", fail)
    for number in range(100):
        assembly._store_placement(StorePlacement(number, "smtp_pop", "mailrelay", 2))
        assembly._remember(Remember(number, "{}"))
    why = "gone"
    assembly._remember(Remember(7, "{}"))
    assert [record.message for record in caplog.records] == ["full", "gone"]


@pytest.mark.reported("C7")
def test_a_store_that_is_damaged_is_one_line_at_the_start(site: Site) -> None:
    path = Path(site.controller.store)
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE generation")
    with pytest.raises(StartError, match=f"{path}: cannot read its generation: no such table"):
        assembled(site)


@pytest.mark.reported("C7")
def test_a_store_that_goes_while_the_controller_is_idle_is_noticed_and_told(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper, "LOOK", 0.01)
    monkeypatch.setattr(assembly_module, "JOURNAL_PAUSE", 0.01)
    assembly, noticed = assembled(site), LightQueue()
    monkeypatch.setattr(assembly.runtime, "post", noticed.put)
    path = Path(site.controller.store)
    path.unlink()
    running = eventlet.spawn(assembly._keep_journal)
    with eventlet.Timeout(20):
        entries = [noticed.get() for _ in range(3)]
    running.kill()
    assert {entry.kind for entry in entries} == {"store.unwritable"}
    said = words.entry(entries[0].kind, dict(entries[0].details))
    assert said.startswith(f"the store cannot be written: {path} was deleted or replaced")
    assert len(caplog.records) == 1, "the log says it once"


@pytest.mark.reported("B8")
def test_a_controller_that_starts_from_a_restored_copy_gives_epochs_above_all_since(
    site: Site, tmp_path: Path
) -> None:
    store, copy = Path(site.controller.store), tmp_path / "copy"
    SqliteStore(store).close()
    backup(store, copy)
    restore(copy, store, clock=5000.0)
    state = assembled(site).runtime.state
    assert next_epoch(state, "smtp_pop") == 5001
    assert {holder.epoch for holder in state.holders["smtp_pop"].values()} == {5000}


# Leases, as the controller that comes next knows of them.


def ended(assembly: Assembly) -> Assembly:
    """As by `kill -9`: its store is free, and nothing was told to anybody."""
    assembly._keeper._store.close()
    return assembly


MARGIN = SITE.timers.lease_margin


def lease_runs_until(assembly: Assembly) -> float | None:
    return assembly.runtime.state.holders["smtp_pop"]["smtp_pop"].expires


def test_a_controller_knows_when_the_leases_end_that_the_one_before_has_granted(site: Site) -> None:
    """The first knows of none before, and counts from its start."""
    first, second = ended(assembled(site)), ended(assembled(site, 0.5))
    assert lease_runs_until(first) == lease_runs_until(second) == 15.0 + MARGIN


def test_a_controller_that_starts_from_a_restored_copy_waits_for_a_whole_lease(
    site: Site, tmp_path: Path
) -> None:
    store, copy = Path(site.controller.store), tmp_path / "copy"
    ended(assembled(site))
    backup(store, copy)
    restore(copy, store)
    assert lease_runs_until(assembled(site, 0.5)) == 15.5 + MARGIN


def test_a_grant_is_written_down_before_it_leaves(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assembly, noted = assembled(site), list[str]()
    monkeypatch.setattr(assembly._lease_ends, "note", lambda ends: noted.append(f"noted {ends}"))
    monkeypatch.setattr(assembly._agents, "grant", lambda grant: noted.append(grant.request))
    assembly._grant(GrantLease("granted", True, 15.0))
    assembly._grant(GrantLease("refused", False, 0.0))
    assert noted == ["noted {'smtp_pop': 15.0}", "granted", "refused"]
