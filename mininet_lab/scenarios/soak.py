"""The soak: faults of every kind at random, two at once, under steady mail (`--minutes`, `--seed`).

A process apart from hactrl looks every 20 ms who has the spool mounted. Shown are, for each kind,
how long it took until all ways were served again, and the moves that no fault explains; and every
mailbox is read back. The same seed and minutes bring the same faults. A soak takes longer than its
minutes where the site takes longer to recover than the plan reckons.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from hactrl.client import HistoryEntry
from mininet_lab.clock import now
from mininet_lab.lab import StageError
from mininet_lab.report import Story
from mininet_lab.results import Results
from mininet_lab.scenarios import Options
from mininet_lab.soak import diary as diaries
from mininet_lab.soak import score, witness
from mininet_lab.soak.diary import Diary, Event, Line
from mininet_lab.soak.kinds import Kind
from mininet_lab.soak.plan import Round, plan
from mininet_lab.soak.rounds import WITHIN, Attendant, Player
from mininet_lab.soak.score import Conditions, Move, Served
from mininet_lab.soak.strikes import Striker
from mininet_lab.soak.witness import Seen, Witness
from mininet_lab.stage import Stage, standing
from mininet_lab.ways import Account, Rates, Traffic, account

#: So many mails at most on each way: each takes two inodes of the spool, which has 16,000.
_MOST_MAILS = 5500.0

#: Seconds: a witness that did not look for longer has not seen what it should.
AWAKE = 1.0

_PAGE, _SLOWEST = 500, 10


@dataclass(frozen=True)
class Found:
    """All that a soak leaves to be judged."""

    diary: Sequence[Line]
    served: Sequence[Served]
    moves: Sequence[Move]
    needless: Sequence[Move]
    seen: Seen
    account: Account


def play(directory: Path, options: Options, story: Story) -> None:
    """See the module."""
    log, diary = directory / "witness.jsonl", Diary(directory / "diary.jsonl")
    with standing(directory, story) as stage:
        rounds = plan(stage.lab.site, options.seed, options.minutes)
        faults = sum(len(each.faults) for each in rounds)
        story.chapter(f"{faults} faults in {len(rounds)} rounds")
        traffic = Traffic(stage.lab, options.seed, _rates(options.minutes))
        traffic.start()
        image = next(iter(stage.lab.servers.values())).image
        try:
            with Witness(image, log):
                strike(stage, traffic, diary, rounds)
            traffic.stop()
        finally:
            traffic.kill()
        story.chapter("Reading every mailbox back")
        with story.working("POP3 and IMAP as the users, and a look into the WAN's mailboxes"):
            mails = account(stage.lab, [traffic], stage.wan_mail)
        found = judge(stage, traffic, diary, witness.read(log), mails)
    show(story, rounds, found, options.seed)
    promise(story, rounds, found)


def strike(stage: Stage, traffic: Traffic, diary: Diary, rounds: Sequence[Round]) -> None:
    """The rounds, and in the end everybody where he belongs."""
    striker = Striker(stage)
    with Attendant(stage, striker, diary):
        if not Player(stage, traffic, striker, diary).play(rounds):
            return
        try:
            stage.put_in_order()
        except StageError as error:  # what was found until then is judged all the same
            stage.story.expect(False, "in the end everybody is where he belongs", str(error))


def _rates(minutes: float) -> Rates:
    """Each protocol and family of a way should be asked about every 0.7 s."""
    mails = min(3.0, _MOST_MAILS / (minutes * 60.0))
    return Rates(a=mails, b=6.0, c=mails)


def whole_history(stage: Stage) -> list[HistoryEntry]:
    """From the first entry to the last."""
    found = stage.client.history(limit=_PAGE)
    while (page := stage.client.history(limit=_PAGE, before=found[-1].number)) != []:
        found += page
    return found[::-1]


def judge(
    stage: Stage,
    traffic: Traffic,
    diary: Diary,
    seen: Seen,
    mails: Account,
) -> Found:
    """Put together what the score makes of it."""
    lines, history = diaries.read(diary.file), whole_history(stage)
    since, offset = lines[0].at, now() - time.time()
    begun = moves(history, "takeover.started", since, offset)
    ended = moves(history, "takeover.finished", since, offset)
    spans = score.spans(stage.lab.site, lines)
    conditions = Conditions(stage.lab.site, spans, ended)
    served = score.served(conditions, lines, score.channels(traffic.entries()))
    return Found(lines, served, begun, conditions.needless(begun), seen, mails)


def moves(history: Iterable[HistoryEntry], kind: str, since: float, offset: float) -> list[Move]:
    """Of the entries of a kind those since a moment of the diary's clock, which is `offset` ahead
    of the history's. An operator's `disable` moves roles without being a request to move them."""
    return [
        Move(
            entry.at + offset,
            entry.role,
            entry.details["origin"],
            entry.details["target"],
            entry.details["cause"],
            bool(entry.details["request"]) or entry.details["cause"] == "server_disabled",
        )
        for entry in history
        if entry.kind == kind
        and entry.at + offset >= since
        and entry.details["origin"] not in ("", entry.details["target"])
    ]


def show(story: Story, rounds: Sequence[Round], found: Found, seed: int) -> None:
    """Tables, and a file of results."""
    results = Results(f"soak-{seed}", seed)
    by_kind(story, rounds, found, results)
    slowest(story, found)
    in_all(story, found, results)
    for line in found.diary:
        if line.event in (Event.MISSED, Event.UNREADY, Event.CONTROLLER_ENDED):
            story.tell(f"{line.event.value} {line.number}: {line.kind} {line.target} {line.words}")
    for move in found.needless:
        story.tell(f"needless, {move.at:.3f}: {move.role} {move.origin}→{move.target} {move.cause}")
    story.tell(f"figures are in {results.write()}")


def by_kind(story: Story, rounds: Sequence[Round], found: Found, results: Results) -> None:
    """How long users were without, for each kind of fault that was planned."""
    planned = [fault.kind for round_ in rounds for fault in round_.faults]
    rows = []
    for kind in (kind for kind in Kind if kind in planned):
        mine = [each for each in found.served if each.kind is kind]
        for name, chosen in (
            ("alone", [each for each in mine if each.alone]),
            ("with another", [each for each in mine if not each.alone]),
        ):
            case = f"{kind}, {name}"
            times = [each.seconds for each in chosen if each.seconds is not None]
            results.add(f"{case}: all ways served", "hactrl", "s", times)
            results.add(f"{case}: unserved", "hactrl", "s", [each.unserved for each in chosen])
        never = sum(each.seconds is None for each in mine)
        results.add(f"{kind}: never served again", "hactrl", "times", [float(never)])
        rows.append(
            (
                kind.value,
                f"{len(mine)} of {planned.count(kind)}",
                _told([x.seconds for x in mine if x.alone and x.seconds is not None]),
                _told([x.seconds for x in mine if not x.alone and x.seconds is not None]),
                _told([each.unserved for each in mine]),
                str(never or ""),
            )
        )
    columns = ("fault", "struck", "alone", "with another", "unserved", "never")
    story.table("Until all ways were served: number, median and most, in seconds", columns, rows)


def in_all(story: Story, found: Found, results: Results) -> None:
    """What is counted over the whole soak."""
    totals = {
        "faults that struck": len(found.served),
        "moves": len(found.moves),
        "needless moves": len(found.needless),
        "controller ended by itself": _count(found, Event.CONTROLLER_ENDED),
        "rounds unserved after mending": _count(found, Event.UNSERVED),
        "rounds not ready after mending": _count(found, Event.UNREADY),
        "acknowledged mails": found.account.acknowledged,
        "acknowledged mails lost": len(found.account.lost),
        "mails delivered twice": found.account.duplicates,
        "mails damaged": found.account.damaged,
        "looks of the witness": found.seen.looks or 0,
        "double mounts": len(found.seen.doubles),
    }
    story.table("In all", ("what", "times"), [(k, f"{v:,}") for k, v in totals.items()])
    for what, count in totals.items():
        results.add(what, "hactrl", "times", [float(count)])
    stalls = [] if found.seen.stalled is None else [found.seen.stalled]
    results.add("longest stall of the witness", "witness", "s", stalls)


def slowest(story: Story, found: Found) -> None:
    """The faults after which somebody was unserved for longest, though somebody could serve."""
    struck = {line.number: line for line in found.diary if line.event is Event.STRUCK}
    rows = []
    for each in sorted(found.served, key=lambda each: -each.unserved)[:_SLOWEST]:
        line, (way, protocol, family) = struck[each.number], each.channel
        where = ", ".join(filter(None, (line.target, *line.where)))
        seconds = "never" if each.seconds is None else f"{each.seconds:.1f}"
        row = (f"{each.number} {line.kind}", where, f"({way}) {protocol} IPv{family}")
        rows.append((*row, seconds, f"{each.unserved:.1f}"))
    columns = ("fault", "where", "slowest", "served after", "unserved")
    story.table("Longest unserved though somebody could have served, in seconds", columns, rows)


def _count(found: Found, event: Event) -> int:
    return sum(line.event is event for line in found.diary)


def _told(seconds: Sequence[float]) -> str:
    if not seconds:
        return ""
    return f"{len(seconds)}: {median(seconds):.1f} / {max(seconds):.1f}"


def promise(story: Story, rounds: Sequence[Round], found: Found) -> None:
    """What must hold whatever strikes; and that something did."""
    struck = {each.kind for each in found.served}
    never = {fault.kind for each in rounds for fault in each.faults} - struck
    story.expect(not never, "every kind of fault struck that was planned", ", ".join(sorted(never)))
    doubles = ", ".join(f"{x.at:.3f}: {' '.join(x.devices)}" for x in found.seen.doubles)
    story.expect(not doubles, "never had two the spool mounted", doubles)
    stalled = found.seen.stalled
    story.expect(
        stalled is not None and stalled <= AWAKE,
        f"the witness was awake: it looked {found.seen.looks} times",
        f"it did not look for {stalled} s",
    )
    single = [change for change in found.seen.changes if len(change.devices) == 1]
    story.expect(
        bool(single), f"it saw who has the spool: {len(single)} times somebody else, or again"
    )
    lost = found.account.lost
    story.expect(not lost, "no acknowledged mail was lost", f"{len(lost)}: {', '.join(lost[:10])}")
    story.expect(
        not found.account.damaged, "no mail arrived damaged", f"{found.account.damaged} damaged"
    )
    unserved = [line for line in found.diary if line.event is Event.UNSERVED]
    story.expect(
        not unserved,
        f"all ways were served within {WITHIN:.0f} s after everything was mended",
        "; ".join(f"round {line.number}: {line.words}" for line in unserved),
    )
