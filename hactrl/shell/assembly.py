"""All parts of a controller, wired together: who tells the engine what, who carries out what.

AgentServer, PowerFencer, ProberClient, sessions ──► Runtime ──► the same, Keeper, Api
"""

from __future__ import annotations

import logging
import secrets
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from flows.planner import Planner
from flows.sparing import Sparing
from hactrl import hub
from hactrl.control.answered import answered_for
from hactrl.control.present import Present
from hactrl.control.runtime import Outlets, Runtime
from hactrl.control.stretch import Stretch
from hactrl.engine.decide import initial
from hactrl.engine.effects import (
    AnnounceHost,
    AskAgent,
    AskHost,
    FencePower,
    GrantLease,
    JudgeAnew,
    KeepHosts,
    ProbeEagerly,
    Record,
    Remember,
    SendAgain,
    StorePlacement,
)
from hactrl.engine.events import EpochStored, Noticed, Remembered
from hactrl.engine.roles import leases
from hactrl.engine.roles.ownership import forgetful
from hactrl.health.client import ProberClient
from hactrl.hub import LightQueue, Semaphore
from hactrl.listeners import AGENTS, OPEN, check_descriptors, rooms
from hactrl.outlets.agent_server import AgentServer, read_tokens
from hactrl.outlets.backbone_ports import BackbonePorts
from hactrl.outlets.power import PowerFencer
from hactrl.outlets.reply_counts import AnswerCounter
from hactrl.rest import Api
from hactrl.rest.hosts import own_names
from hactrl.site.model import Site
from hactrl.store.keeper import Keeper
from hactrl.store.lease_ends import LeaseEnds, Run
from hactrl.store.store import SqliteStore, StoreError
from hactrl.switches.board import Listeners, Switchboard
from hactrl.tokens import header_token, read_secret
from hactrl.vocabulary import EntryKind, Outcome

LOG = logging.getLogger(__name__)

#: Seconds between two tries to write a journal that cannot be written.
JOURNAL_PAUSE = 1.0

#: Seconds after which the log says again for the same reason that the store cannot be written.
SAID_AGAIN = 600.0

#: Requests that are worked on in threads at a time. The threads are the store's too, which must
#: always find a free one, and more of them would only share one interpreter.
ASIDE = 2

#: (name, function): run the function in a greenlet whose failure ends the controller.
Supervise = Callable[[str, Callable[[], None]], None]


class StartError(Exception):
    """A controller cannot be started; the message names the file and what is wrong with it."""


class Assembly:
    """`board` has the switches that are connected.

    Raises:
        StartError: the store, or a file of tokens, cannot be used.
    """

    def __init__(self, site: Site, clock: Callable[[], float], board: Switchboard) -> None:
        try:
            store = SqliteStore(site.controller.store)
            floor, last = store.epoch_floor(), store.generation()
            self.generation_id = store.next_generation()
            run = Run(self.generation_id, floor)
            self._lease_ends = LeaseEnds(site.controller.store, run, clock)
            state = initial(
                site,
                store.placements(),
                clock(),
                store.hosts(),
                store.memory(),
                lease_ends=self._lease_ends.left_by(Run(last, floor)),
            )
            state = forgetful(state, floor)
            self._lease_ends.note(leases.ends(state))
            tokens = read_tokens(Path(site.controller.agent_tokens))
            operator = operator_token(Path(site.controller.operator_token))
        except (StoreError, OSError, ValueError) as error:
            raise StartError(str(error)) from error
        self._keeper = Keeper(store)
        self._clock = clock
        self._unwritable = Sparing(SAID_AGAIN, clock=clock)
        events, present, planner = LightQueue(), Present(state), Planner(Stretch().pause)
        self._agents = AgentServer(
            site, tokens, events.put, lambda role: present.state.epochs.get(role, 0)
        )
        self._power = PowerFencer(site.power_fences, events.put)
        self._prober = ProberClient(site, events.put)
        self.backbone = BackbonePorts(board, present.get, events.put, clock)
        self.answers = AnswerCounter(board, present.get, planner, events.put)
        outlets: Outlets = {
            AskAgent: self._agents.ask,
            FencePower: self._power.fence,
            StorePlacement: partial(hub.spawn_n, self._store_placement),
            Remember: partial(hub.spawn_n, self._remember),
            GrantLease: self._grant,
            ProbeEagerly: self._probe_eagerly,
            JudgeAnew: self._prober.judge_anew,
            AskHost: self.backbone.ask,
            SendAgain: self.backbone.send_again,
            AnnounceHost: self.backbone.announce_host,
            KeepHosts: self._keep_hosts,
            Record: self._record,
        }
        self.runtime = Runtime(
            present,
            events,
            outlets,
            planner,
            want=board.want,
            clock=clock,
            awaited=self.backbone.awaited,
        )
        board.tell(
            Listeners(
                installed=(self.runtime.installed, self.backbone.installed),
                counted=(self.answers.counted,),
                restored=(self._restored,),
            )
        )
        self.api = Api(
            snapshot=lambda: (present.state, clock()),
            submit=self.runtime.submit,
            history=self._keeper.history,
            tables=lambda: self.runtime.rule_sets,
            counters=lambda: board.counters,
            looking_round=lambda: self.runtime.looking_round,
            sightings_lost=lambda: self.runtime.sightings_lost,
            token=operator,
            hosts=names_of(site),
            aside=few_at_a_time(hub.execute_in_thread),
            notice=self.runtime.post,
        )

    def start(self, supervise: Supervise) -> None:
        """Listen to agents, start probing, write the journal."""
        check_descriptors(rooms(self.runtime.state.site))
        supervise("journal", self._keep_journal)
        supervise("agents", lambda: self._agents.serve(OPEN[AGENTS]))
        supervise("prober", self._prober.run)
        supervise("discovery", self.backbone.announce)
        supervise("answers", self.answers.run)

    def _store_placement(self, effect: StorePlacement) -> None:
        with answered_for(effect, self.runtime.post):
            outcome = self._stored(
                lambda: self._keeper.place(effect.role, effect.server, effect.epoch)
            )
            self.runtime.post(EpochStored(effect.operation, outcome))

    def _remember(self, effect: Remember) -> None:
        with answered_for(effect, self.runtime.post):
            outcome = self._stored(lambda: self._keeper.remember(effect.text))
            self.runtime.post(Remembered(effect.operation, outcome))

    def _stored(self, write: Callable[[], None]) -> Outcome:
        """The engine tries again, and operators ask again, for as long as it cannot be written."""
        try:
            write()
        except StoreError as error:
            self._unwritable.log(("asked", str(error)), LOG.error, "%s", error)
            return Outcome.FAILED
        return Outcome.DONE

    def flush(self) -> None:
        """Write the journal before the end; what cannot be written is told in the log."""
        try:
            self._keeper.flush()
        except StoreError as error:
            LOG.error("the journal's last entries are lost: %s", error)

    def _keep_journal(self) -> None:
        """A full disk ends no failover; what could not be written stays for the next time. That it
        could not be is an entry itself, which can be read meanwhile, and counts."""
        while True:
            try:
                self._keeper.run()
            except StoreError as error:
                said = "%s; trying again every %s s"
                cause = "journal", str(error)
                self._unwritable.log(cause, LOG.error, said, error, JOURNAL_PAUSE)
                details = (("why", str(error)),)
                self.runtime.post(Noticed(EntryKind.STORE_UNWRITABLE, details=details))
            hub.sleep(JOURNAL_PAUSE)

    def _grant(self, effect: GrantLease) -> None:
        """The next controller must be able to know of a grant before anybody has it."""
        if effect.granted:
            self._lease_ends.note(leases.ends(self.runtime.state))
        self._agents.grant(effect)

    def _probe_eagerly(self, effect: ProbeEagerly) -> None:
        seconds = effect.until - self._clock()
        self._prober.probe_eagerly(effect.role, effect.server, max(0.0, seconds))

    def _keep_hosts(self, effect: KeepHosts) -> None:
        self._keeper.keep_hosts(effect.hosts)

    def _restored(self, switch: str, changes: int) -> None:
        details = ("switch", switch), ("count", changes)
        self.runtime.post(Noticed(EntryKind.RULES_RESTORED, details=details))

    def _record(self, record: Record) -> None:
        self._keeper.append(record)
        self.api.happenings.observe(record)


Result = TypeVar("Result")


def few_at_a_time(
    run: Callable[[Callable[[], Result]], Result], most: int = ASIDE
) -> Callable[[Callable[[], Result]], Result]:
    """`run`, but those of its callers wait who would make it more than `most` at a time."""
    free = Semaphore(most)

    def wait_and_run(work: Callable[[], Result]) -> Result:
        with free:
            return run(work)

    return wait_and_run


def names_of(site: Site) -> frozenset[str]:
    """Under which names the REST interface may be asked for."""
    file = Path("/etc/hosts")
    known = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    controller = site.controller
    return own_names((controller.rest.host, *controller.rest_hosts), socket.gethostname(), known)


def operator_token(path: Path) -> str:
    """The operator's bearer token; a new one, readable by its owner only, if there is no file.

    Raises:
        ValueError: the file is empty, or no such token, or others may read it.
        OSError: it cannot be read or written.
    """
    try:
        token = read_secret(path).strip()
    except FileNotFoundError:
        token = secrets.token_urlsafe(32)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(token + "\n", encoding="utf-8")
    if not token:
        raise ValueError(f"{path} is empty; remove it, and a new token is made")
    return header_token(token, str(path))
