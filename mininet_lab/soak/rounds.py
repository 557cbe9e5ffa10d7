"""Plays a plan: strikes, mends, does what an operator would, and waits until all is well again."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from hactrl.client import ClientError
from mininet_lab.clock import now
from mininet_lab.lab import StageError
from mininet_lab.mail.ledger import Kind, MailRecord
from mininet_lab.powercut import PowerCutError
from mininet_lab.servers import ServerError
from mininet_lab.soak.diary import Diary, Event, Line
from mininet_lab.soak.plan import Fault, Round
from mininet_lab.soak.score import UNSERVED, Channel
from mininet_lab.soak.strikes import Striker
from mininet_lab.soak.struck import NotStruckError, Struck
from mininet_lab.stage import Stage, unready
from mininet_lab.ways import Traffic

#: Seconds after everything was mended within which all ways must be served, and all standbys be
#: ready again.
WITHIN = 60.0

#: Seconds in which a fault must strike: while a role moves there may be nobody to be struck.
STRIKES_WITHIN = 3.0

#: Seconds between two looks at what has no event to wait for, and between two at the power.
_LOOK, _POWER_LOOK = 0.2, 0.02

#: What a strike, or its mending, may meet.
_TROUBLES = (NotStruckError, ServerError, PowerCutError, ClientError, OSError, RuntimeError)

#: All that `ways.Traffic` asks by.
CHANNELS: tuple[Channel, ...] = tuple(
    (way, protocol, family)
    for way, protocol in (("a", "smtp"), ("b", "imap"), ("b", "pop3"), ("c", "smtp"))
    for family in (4, 6)
)

#: What stands in a role's way until an operator says that the server is mended.
_REMEMBERED = ("failed_before", "rests", "held_down")


@dataclass
class Tail:
    """What is new in the ledgers: when the last success of every channel began."""

    files: Iterable[Path]
    last: dict[Channel, float] = field(default_factory=lambda: dict.fromkeys(CHANNELS, 0.0))
    _read: dict[Path, int] = field(default_factory=dict)

    def unserved_since(self, moment: float) -> list[Channel]:
        """The channels without a success that began since then."""
        for file in self.files:
            self._catch_up(file)
        return sorted(channel for channel, began in self.last.items() if began < moment)

    def _catch_up(self, file: Path) -> None:
        with file.open("rb") as lines:
            lines.seek(self._read.get(file, 0))
            new = lines.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read[file] = self._read.get(file, 0) + len(whole)
        for line in map(json.loads, whole.splitlines()):
            entry = MailRecord(**line | {"kind": Kind(line["kind"])})
            channel = (entry.way, entry.protocol, entry.family)
            good = entry.kind in (Kind.ACKNOWLEDGED, Kind.SERVED)
            began = entry.began if good else 0.0
            self.last[channel] = max(self.last[channel], began)


class Attendant:
    """Notes whose power is on, and starts a controller that has ended by itself, as a supervisor
    would. Context manager: a thread inside it, whose failure is raised at the end."""

    def __init__(self, stage: Stage, striker: Striker, diary: Diary) -> None:
        self._stage, self._striker, self._diary = stage, striker, diary
        self._ended = threading.Event()
        self._threads = ThreadPoolExecutor(1, "attendant")

    def __enter__(self) -> Self:
        self._attending = self._threads.submit(self._attend)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._threads.shutdown()
        self._attending.result()

    def _attend(self) -> None:
        on = dict.fromkeys(self._stage.lab.servers, True)
        while not self._ended.wait(_POWER_LOOK):
            for name, server in self._stage.lab.servers.items():
                if server.is_on != on[name]:
                    on[name] = not on[name]
                    event = Event.POWER_ON if on[name] else Event.POWER_OFF
                    self._diary.write(Line(event, now(), target=name))
            controller = self._stage.lab.controller
            if not controller.is_running and not self._striker.controller_is_away:
                words = controller.log_tail(3)
                self._diary.write(Line(Event.CONTROLLER_ENDED, now(), words=words))
                controller.start()


@dataclass
class Player:
    """Plays rounds on a stage, under `traffic`."""

    stage: Stage
    traffic: Traffic
    striker: Striker
    diary: Diary

    def __post_init__(self) -> None:
        self._tail = Tail(self.traffic.ledgers.values())
        #: What is left of a round is hurried through: it has failed, or nobody waits for it.
        self._hurried = threading.Event()

    def play(self, rounds: Iterable[Round]) -> bool:
        """All rounds, or until users are not served after one: nothing is learnt from striking
        who lies on the ground. Whether all was played.

        Raises:
            StageError: mail did not even begin.
        """
        begun = now()
        if silent := self._await(lambda: self._unserved(begun)):
            raise StageError(f"mail does not flow: {'; '.join(silent)}")
        for number, round_ in enumerate(rounds):
            time.sleep(round_.rest)
            if not self._round(number, round_):
                return False
        return True

    def _round(self, number: int, round_: Round) -> bool:
        """Whether all ways are served after it."""
        if (status := self.stage.status()) is not None:
            self.striker.note(status)
        began = now()
        self.diary.write(Line(Event.ROUND_BEGAN, began, number))
        with ThreadPoolExecutor(len(round_.faults)) as both:
            try:
                list(both.map(lambda fault: self._fault(began, fault), round_.faults))
            finally:
                self._hurried.set()
        self._hurried.clear()
        self._attend(number)
        self.diary.write(Line(Event.ROUND_MENDED, now(), number))
        return self._recover(number)

    def _fault(self, began: float, fault: Fault) -> None:
        self._wait_until(began + fault.after)
        if self._hurried.is_set() or (struck := self._strike(fault)) is None:
            return
        self._wait_until(began + fault.after + fault.lasts)
        self._insist(fault, struck.mend)

    def _wait_until(self, moment: float) -> None:
        self._hurried.wait(max(0.0, moment - now()))

    def _strike(self, fault: Fault) -> Struck | None:
        until = now() + STRIKES_WITHIN
        while True:
            at = now()
            try:
                struck = self.striker.strike(fault)
            except _TROUBLES as error:
                if now() < until:
                    time.sleep(_POWER_LOOK)
                    continue
                self._note(Event.MISSED, at, fault, (), str(error))
                return None
            self._note(Event.STRUCK, at, fault, struck.where, struck.words)
            return struck

    def _insist(self, fault: Fault, mend: Callable[[], None]) -> None:
        """Until it is mended.

        Raises:
            OSError, RuntimeError and the like: it is not, for so long that the lab is broken.
        """
        until = now() + WITHIN
        while True:
            try:
                mend()
            except _TROUBLES:
                if now() > until:
                    raise
                time.sleep(_LOOK)
            else:
                self._note(Event.MENDED, now(), fault, (), "")
                return

    def _note(
        self, event: Event, at: float, fault: Fault, where: tuple[str, ...], words: str
    ) -> None:
        line = Line(event, at, fault.number, fault.kind.value, fault.target, where, words)
        self.diary.write(line)
        told = ", ".join(filter(None, (fault.target, *where, words)))
        self.stage.story.tell(f"{event.value:6} {fault.number:3} {fault.kind.value} ({told})")

    def _attend(self, number: int) -> None:
        """What an operator does when all is over: who is off is switched on."""
        for server in self.stage.lab.servers.values():
            if not server.is_on:
                server.power_on()
                self._tell_attended(number, f"switched {server.name} on")

    def _tell_attended(self, number: int, words: str) -> None:
        self.diary.write(Line(Event.ATTENDED, now(), number, words=words))
        self.stage.story.tell(words)

    def _recover(self, number: int) -> bool:
        """Wait until all ways are served and all standbys are ready, each for so long; whether all
        ways are served."""
        mended = now()
        served = self._await(lambda: self._unserved(mended))
        event = Event.UNSERVED if served else Event.ROUND_SERVED
        self.diary.write(Line(event, now(), number, words="; ".join(served)))
        lacking = self._await(lambda: self._unready(number))
        event = Event.UNREADY if lacking else Event.ROUND_READY
        self.diary.write(Line(event, now(), number, words="; ".join(lacking)))
        if served or lacking:
            self.stage.story.tell(f"after {now() - mended:.0f} s: {'; '.join(served + lacking)}")
            file = self.stage.lab.directory / f"background-{number}.txt"
            file.write_text(self.stage.background(entries=200))
        return not served

    def _await(self, missing: Callable[[], list[str]]) -> list[str]:
        """What is missing to the end; empty as soon as nothing is."""
        until = now() + WITHIN
        while (lacking := missing()) and now() < until:
            time.sleep(_LOOK)
        return lacking

    def _unready(self, number: int) -> list[str]:
        """Who was fenced meanwhile is switched on, and where hactrl waits for an operator's word
        that a server is mended, it is said."""
        self._attend(number)
        if (status := self.stage.status()) is None:
            return ["the controller does not answer"]
        for name, role in status["roles"].items():
            obstacles = [x for c in role["candidates"].values() for x in c["obstacles"]]
            obstacles += status["unprotected"].get(name, [])
            if any(x["reason"] in _REMEMBERED for x in obstacles):
                self._retry(number, name)
        unprotected = [
            f"{role}: {reason['words']}"
            for role, reasons in status["unprotected"].items()
            for reason in reasons
        ]
        return unready(status) + unprotected + self._unserved(now() - UNSERVED)

    def _unserved(self, since: float) -> list[str]:
        return [
            f"way ({way}) by {protocol} over IPv{family}"
            for way, protocol, family in self._tail.unserved_since(since)
        ]

    def _retry(self, number: int, role: str) -> None:
        try:
            self.stage.client.retry(role, reason="everything is mended")
        except ClientError as error:
            self._tell_attended(number, f"retry of {role}: {error}")
        else:
            self.diary.write(Line(Event.ATTENDED, now(), number, words=f"retry of {role}"))
