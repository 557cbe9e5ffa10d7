"""Copies of the store: made while a controller runs, put back while none does, and old ones."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest
from click.testing import Result
from simulation import MAIL, Broken, Fault, World, make_site
from test_store_file import first_layout, modes
from typer.testing import CliRunner

from hactrl.cli.commands import Exit, app
from hactrl.engine.decide import decide, initial
from hactrl.engine.effects import Record
from hactrl.engine.events import AgentConnected, Held
from hactrl.engine.roles import ledger, ownership
from hactrl.explain import words
from hactrl.store import copies as store_copies
from hactrl.store.file import LAYOUT
from hactrl.store.store import SqliteStore, StoreError
from hactrl.vocabulary import Holding
from topology.model import Attachment, Host

pytestmark = pytest.mark.reported("B8")

HOST = Host("00:16:3e:00:00:01", Attachment("r1", 5), 7, ())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hactrl.sqlite"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "copies" / "monday"


@pytest.fixture(autouse=True)
def folder(copy: Path) -> None:
    copy.parent.mkdir()


@pytest.fixture
def running(path: Path) -> Iterator[SqliteStore]:
    """A store that a controller uses."""
    store = SqliteStore(path, clock=lambda: 1000.0)
    store.next_generation()
    store.place("mail", "beta", 7)
    store.remember("disabled: alpha")
    store.keep_hosts((HOST,))
    store.append(Record("takeover.finished", "mail", (("epoch", 7),)))
    store.flush()
    yield store
    with suppress(RuntimeError):  # the test has closed it
        store.close()


@contextmanager
def opened(path: Path, now: float = 1000.0) -> Iterator[SqliteStore]:
    """The store of the controller that is started next."""
    store = SqliteStore(path, clock=lambda: now)
    yield store
    store.close()


def hactl(*arguments: str | Path, typed: str = "") -> Result:
    return CliRunner().invoke(app, ["store", *map(str, arguments)], input=typed)


def backup(path: Path, copy: Path) -> Result:
    return hactl("backup", path, copy)


def restore(copy: Path, path: Path) -> Result:
    return hactl("restore", copy, path, "--yes")


def test_a_copy_is_made_while_a_controller_runs_and_holds_all(
    running: SqliteStore, path: Path, copy: Path
) -> None:
    result = backup(path, copy)
    assert (result.exit_code, result.stdout) == (Exit.DONE, f"{copy}: a copy of {path}\n")
    running.place("mail", "alpha", 8)  # goes on
    assert running.placements() == {"mail": ("alpha", 8)}
    with opened(copy) as other:
        assert other.placements() == {"mail": ("beta", 7)}
        assert other.memory() == "disabled: alpha"
        assert other.hosts() == (HOST,)
        assert [e.kind for e in other.history()] == ["takeover.finished"]


def test_a_copy_is_its_owners_alone_and_nothing_else_is_left(
    running: SqliteStore, path: Path, copy: Path
) -> None:
    (copy.parent / "monday.part").touch(0o644)  # of a run that was killed
    backup(path, copy)
    assert modes(copy) == {"": "0o600"}
    assert running.placements()


def test_no_copy_is_written_over(running: SqliteStore, path: Path, copy: Path) -> None:
    assert running.placements()
    copy.write_text("of monday")
    result = backup(path, copy)
    assert result.exit_code == Exit.REFUSED
    assert f"{copy} is there already" in result.stderr
    assert copy.read_text() == "of monday"


@pytest.mark.parametrize("content", [None, b"", b"a text, and a long one " * 99])
def test_what_is_no_store_is_not_copied_and_none_is_made(
    path: Path, copy: Path, content: bytes | None
) -> None:
    if content is not None:
        path.write_bytes(content)
    result = backup(path, copy)
    assert result.exit_code == Exit.REFUSED
    assert result.stderr.startswith("refused: ")
    assert result.stderr.count("\n") == 1
    assert not list(copy.parent.iterdir())
    assert path.exists() is (content is not None)


def test_a_folder_that_is_not_there_is_named(running: SqliteStore, path: Path) -> None:
    assert running.placements()
    result = backup(path, path.parent / "nowhere" / "copy")
    assert result.exit_code == Exit.REFUSED
    assert "nowhere/copy.part: No such file or directory" in result.stderr


def test_a_copy_is_restored_with_all_that_is_in_it_and_says_so_in_the_journal(
    running: SqliteStore, path: Path, copy: Path
) -> None:
    backup(path, copy)
    running.place("mail", "alpha", 8)
    running.remember("disabled: nobody")
    running.close()
    result = restore(copy, path)
    assert (result.exit_code, result.stdout) == (
        Exit.DONE,
        f"{path}: restored from {copy}; what was there is {path}.replaced\n",
    )
    with opened(path) as restored:
        assert restored.placements() == {"mail": ("beta", 7)}
        assert restored.memory() == "disabled: alpha"
        assert restored.hosts() == (HOST,)
        newest, before = restored.history()
    assert (newest.kind, before.kind) == ("store.restored", "takeover.finished")
    assert words.entry(newest.kind, newest.details) != newest.kind
    with opened(path.with_name(f"{path.name}.replaced")) as old:
        assert old.placements() == {"mail": ("alpha", 8)}
        assert old.memory() == "disabled: nobody"


def test_what_a_killed_controller_had_in_its_log_is_kept_with_what_is_replaced(
    running: SqliteStore, path: Path, copy: Path
) -> None:
    backup(path, copy)
    running.place("mail", "alpha", 8)
    killed = path.parent / "killed"
    killed.mkdir()
    for name in (path.name, f"{path.name}-wal"):
        shutil.copy(path.with_name(name), killed)
    restore(copy, killed / path.name)
    with opened(killed / f"{path.name}.replaced") as old:
        assert old.placements() == {"mail": ("alpha", 8)}


def test_the_log_of_a_damaged_store_is_not_taken_for_that_of_the_copy(
    running: SqliteStore, path: Path, copy: Path
) -> None:
    backup(path, copy)
    running.place("mail", "alpha", 8)
    other = path.parent / "other"
    other.mkdir()
    damaged = other / path.name
    damaged.write_bytes(b"a text, and a long one " * 99)
    log = damaged.with_name(f"{damaged.name}-wal")
    shutil.copy(path.with_name(f"{path.name}-wal"), log)
    restore(copy, damaged)
    assert not log.exists()
    assert log.with_name(f"{damaged.name}.replaced-wal").exists()
    with opened(damaged) as store:
        assert store.placements() == {"mail": ("beta", 7)}


def test_a_store_that_a_controller_uses_is_not_replaced(
    running: SqliteStore, path: Path, copy: Path
) -> None:
    backup(path, copy)
    result = restore(copy, path)
    assert result.exit_code == Exit.REFUSED
    assert "another controller is using it" in result.stderr
    running.place("mail", "alpha", 8)


@pytest.mark.parametrize("typed", ["n\n", ""])
def test_restoring_asks_first(path: Path, copy: Path, typed: str) -> None:
    first_layout(copy)
    result = hactl("restore", copy, path, typed=typed)
    assert result.exit_code == Exit.REFUSED
    assert f"Replace {path} by {copy}?" in result.stderr
    assert not path.exists()
    assert hactl("restore", copy, path, typed="y\n").exit_code == Exit.DONE
    assert path.exists()


def test_a_copy_of_an_older_layout_is_migrated(path: Path, copy: Path) -> None:
    first_layout(copy)
    before = copy.read_bytes()
    assert restore(copy, path).exit_code == Exit.DONE
    assert copy.read_bytes() == before
    with opened(path) as store:
        assert store.placements() == {"mail": ("beta", 7)}


def newer(copy: Path) -> None:
    first_layout(copy, layout=LAYOUT + 1)


def damaged(copy: Path) -> None:
    first_layout(copy)
    content = copy.read_bytes()
    copy.write_bytes(content[:4096] + b"\0" * 4096 + content[8192:])


def other(copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")


def live(copy: Path) -> None:
    first_layout(copy)
    copy.with_name(f"{copy.name}-wal").write_bytes(b"what was not carried over")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (newer, f"layout {LAYOUT + 1}"),
        (damaged, "is damaged"),
        (other, "a database of something else"),
        (live, "-wal lies beside it"),
        (lambda copy: copy.write_bytes(b""), "nothing is in it"),
        (lambda copy: copy.write_bytes(b"a text, and a long one " * 99), "not a database"),
        (lambda _: None, "No such file"),
        (lambda copy: copy.mkdir(), "Is a directory"),
    ],
    ids=["newer", "damaged", "other", "live", "empty", "text", "missing", "folder"],
)  # fmt: skip
def test_what_is_no_good_copy_changes_nothing(
    path: Path, copy: Path, make: object, said: str
) -> None:
    store = SqliteStore(path)
    store.place("mail", "beta", 7)
    store.close()
    before = path.read_bytes()
    make(copy)  # type: ignore[operator]
    result = restore(copy, path)
    assert result.exit_code == Exit.REFUSED
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert path.read_bytes() == before
    assert sorted(f.name for f in path.parent.iterdir()) == [
        "copies",
        path.name,
        f"{path.name}.lock",
    ]


def test_what_is_begun_and_not_finished_is_an_unknown_outcome(
    path: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_layout(copy)
    SqliteStore(path).close()
    rename = os.rename

    def fail(old: Path, new: Path) -> None:
        if str(old).endswith(".restoring"):
            raise OSError(5, "Input/output error")
        rename(old, new)

    monkeypatch.setattr(os, "rename", fail)
    result = restore(copy, path)
    assert result.exit_code == Exit.UNKNOWN
    assert f"what was there is {path}.replaced, the copy {path}.restoring" in result.stderr
    assert path.with_name(f"{path.name}.restoring").exists()


def test_switches_are_told_a_higher_generation_than_before_after_an_old_copy(
    path: Path, copy: Path
) -> None:
    """Also where the clock was wrong once, and the generation is above it."""
    store = SqliteStore(path, clock=lambda: 1000.0)
    store.next_generation()
    backup(path, copy)
    store.close()
    store = SqliteStore(path, clock=lambda: 9e9)
    told = store.next_generation()
    store.close()
    restore(copy, path)
    with opened(path) as store:
        assert store.next_generation() == told + 1


def test_a_generation_that_nobody_can_read_any_more_begins_at_the_clock(
    path: Path, copy: Path
) -> None:
    first_layout(copy)
    path.write_bytes(b"a text, and a long one " * 99)
    assert restore(copy, path).exit_code == Exit.DONE
    with opened(path, now=4e9) as store:
        assert store.next_generation() == int(4e9)


def test_root_restores_for_the_user_who_owned_the_store(path: Path, copy: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving files away takes root")
    first_layout(copy)
    SqliteStore(path).close()
    os.chown(path, 1234, 1235)
    restore(copy, path)
    for name in (path, path.with_name(f"{path.name}.lock")):
        assert (name.stat().st_uid, name.stat().st_gid) == (1234, 1235)


def test_a_copy_that_cannot_be_written_leaves_nothing_behind(
    running: SqliteStore, path: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert running.placements()

    def full(_file: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_copies, "_sync", full)
    with pytest.raises(StoreError, match=r"no copy at .* No space left on device"):
        store_copies.backup(path, copy)
    assert not list(copy.parent.iterdir())


def test_epochs_go_on_above_any_that_may_have_been_given_since_the_copy(
    running: SqliteStore, path: Path, copy: Path
) -> None:
    backup(path, copy)
    assert running.epoch_floor() == 0
    running.place("mail", "beta", 9_000_000_000)  # what a clock that was wrong once has led to
    running.close()
    store_copies.restore(copy, path, clock=5000.5)
    with opened(path) as restored:
        assert restored.placements() == {"mail": ("beta", 7)}
        assert restored.epoch_floor() == 9_000_000_000
    path.unlink()
    store_copies.restore(copy, path, clock=5000.5)
    with opened(path) as restored:
        assert restored.epoch_floor() == 5000


# What an old copy means to the engine.

FLOOR = 1_795_388_806

STORIES = 30

#: Stories that are known to break without a guard; they are tried before all others.
TELLING = (1, 375)


@dataclass(frozen=True)
class Story:
    """The mail is moved about; then the controller starts from what was stored before all that,
    while something else goes wrong, or nothing does."""

    seed: int
    slowest: float
    lease: float | None
    power: bool
    servers: int
    requests: tuple[Fault, ...]
    other: tuple[Fault, ...]
    stops: float
    away: float


def story(seed: int) -> Story:
    random = Random(seed)
    stops = random.uniform(8.0, 22.0)
    kinds = ("nothing", "crash", "freeze", "kill agent", "break connection", "cut the guard off")
    kind, at = random.choice(kinds), stops + random.uniform(-1.0, 2.0)
    other = Fault(kind, random.randrange(3), at, random.uniform(1.0, 8.0))
    requests = [Fault("request mail", 1 + n, 7.0 + 4 * n, 0.0) for n in range(random.randint(1, 3))]
    return Story(
        *(seed, 0.3, random.choice((4.0, None)), seed % 3 > 0, 2 + seed % 2, tuple(requests)),
        *(() if kind == "nothing" else (other,), stops, random.uniform(0.5, 3.0)),
    )


def late(seed: int) -> Story:
    """The controller ends just when the mail is being given to a server that hears of it late."""
    random = Random(seed)
    requests = tuple(Fault("request mail", n % 2, 3.0 + 4 * n, 0.0) for n in (1, 2, 3))
    other = Fault("kill agent", 1, 15.0 + random.uniform(0.1, 1.0), random.uniform(1.2, 3.0))
    stops = 15.0 + random.uniform(0.1, 2.0)
    return Story(seed, 2.0, None, False, 2, requests, (other,), stops, random.uniform(0.1, 1.0))


def told(story: Story, floor: int = FLOOR) -> World:
    world = World(make_site(story.servers, story.lease, story.power), story.seed, story.slowest)
    world.run_until(6.0)
    copy = dict(world.stored), world.memory
    for fault in (*story.requests, *story.other):
        world.inject(fault)
    world.run_until(story.stops)
    world.stop_controller()
    world.stored, world.memory = copy
    world.copied = True

    def start() -> None:
        world.start_controller()
        world.state = ownership.forgetful(world.state, floor)

    world.after(story.away, start)
    world.run_until(35.0)
    world.end_faults()
    world.person()
    world.run_until(75.0)
    world.check_settled(16.0)
    return world


def test_an_old_copy_gives_nobody_a_second_owner_and_all_settles() -> None:
    """`World` raises the moment two servers use the spool, or one takes an epoch that is not above
    all that were taken before."""
    epochs = [told(story(seed)).highest[0] for seed in range(STORIES)]
    assert sum(1 < epoch < FLOOR for epoch in epochs) > 5, "adopted, nothing was moved for it"
    assert sum(epoch > FLOOR for epoch in epochs) > 5, "moved, and above all before"


def test_an_old_copy_gives_nobody_a_second_owner_while_an_order_is_on_its_way() -> None:
    for seed in range(STORIES):
        told(late(seed))


@pytest.mark.parametrize(
    ("guard", "replacement", "what"),
    [
        ("may_assume", lambda *_: True, "use the spool"),
        ("next_epoch", lambda s, r: s.epochs[r] + 1, "took epoch"),
    ],
)
def test_without_its_guards_an_old_copy_does_give_one(
    guard: str, replacement: object, what: str
) -> None:
    with patch.object(ownership, guard, replacement):
        assert any(what in breaks(story(seed)) for seed in (*TELLING, *range(200)))


@pytest.mark.parametrize(("floor", "believed"), [(0, True), (FLOOR, False)])
def test_an_agent_that_holds_nothing_proves_that_only_above_what_may_be_on_its_way_to_it(
    floor: int, believed: bool
) -> None:
    """Beta had the mail once, so that it knows epoch 3, and the copy is older than that; an order
    to take it with epoch 4, from before the controller ended, may reach it yet."""
    state = ownership.forgetful(initial(make_site(), {MAIL: ("alpha", 1)}, 0.0), floor)
    said = AgentConnected("beta", "boot", (Held(MAIL, Holding.NOTHING, 3),))
    state, _ = decide(state, said, 1.0)
    assert ("beta" not in ledger.suspects(state, MAIL)) is believed


def breaks(told_of: Story, floor: int = FLOOR) -> str:
    try:
        told(told_of, floor)
    except Broken as broken:
        return str(broken)
    return ""
