"""One role on this server, kept by the agent: its guard, its epoch, and what the verbs do to it.

(verified free) ──start──► standby ──assume──► held ──release──► guard gone ──verify──► ...
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from hactrl.agent.changes import IDLE
from hactrl.agent.config import AgentConfig, RoleConfig
from hactrl.agent.control import (
    DrillEnded,
    GiveUp,
    GuardState,
    Hold,
    HoldAnswered,
    Phase,
    Remark,
    StartDrill,
)
from hactrl.agent.epochs import EpochFile
from hactrl.agent.guard_client import Guarded, Nest
from hactrl.agent.protocol import NoticeKind
from hactrl.agent.verify import Verification
from hactrl.clock import boot_time
from hactrl.engine.events import Held
from hactrl.vocabulary import Holding, Outcome, Proof

LOG = logging.getLogger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
UNWINDING = 1.0
"""Seconds that the kernel may take to end what was killed."""

NEXT_LOOK = 1.0
"""Seconds between looks at resources that should be free and are not."""

SAVING = 1.0
"""Seconds that a release waits for its epoch to be written, beside what it does."""

T = TypeVar("T")

Result = tuple[Outcome, str]
"""With an explanation for people."""

HOLDING_IN = {
    Phase.PREPARING: Holding.NOTHING,
    Phase.STANDBY: Holding.NOTHING,
    Phase.BROKEN: Holding.NOTHING,
    Phase.ASSUMING: Holding.ASSUMING,
    Phase.HELD: Holding.HELD,
    Phase.FAILED: Holding.FAILED,
    Phase.RELEASING: Holding.RELEASING,
}


class RoleKeeper:
    """Use inside a running event loop; `run` never ends."""

    def __init__(
        self,
        config: AgentConfig,
        role: RoleConfig,
        epochs: EpochFile,
        changed: Callable[[Held, str], None],
        notice: Callable[[NoticeKind, str, str], None],
    ) -> None:
        """`changed` is told what is held and why, if there is a reason; `notice` what else is
        worth knowing: the kind, the role, and a text."""
        self._role = role
        self._epochs = epochs
        self._changed = changed
        self._notice = notice
        self._nest = Nest(config, role)
        self._verification = Verification(role, self._killing)
        self._guarded: Guarded | None = None
        self._holding = Holding.RELEASING  # until the resources are verified to be free
        self._told: Held | None = None
        self.outdated = ""  # why its guard does not do what the file says
        self._verdict: tuple[str, ...] | None = None
        self._pause = 0.0
        self._trouble = ""  # why no guard could be started when an assume waited for it
        self._turn = asyncio.Event()
        self._hurry = asyncio.Event()
        self._releases = 0
        self._answers: dict[int, str] = {}  # to `Hold`, by epoch
        self._drills: dict[int, asyncio.Future[str]] = {}

    @property
    def held(self) -> Held:
        """What this server does with the role now. It claims no epoch that a restart of this
        agent would forget."""
        epoch = self._epochs.written(self._role.name)
        if self._guarded is not None and self._holding in (Holding.HELD, Holding.FAILED):
            epoch = max(self._guarded.state.epoch, epoch if self._role.always else 0)
        return Held(self._role.name, self._holding, epoch)

    @property
    def disk_full(self) -> str:
        """What its guard says of a full disk; empty if it is not full."""
        return self._guarded.disk_full if self._guarded else ""

    async def run(self) -> None:
        """Keep a guard alive: the one that is found, else a new one whenever one has ended."""
        guarded = await self._insist(lambda: self._nest.find(self._received))
        if guarded is None:
            await self._insist(self._nest.left_behind)
        elif not await self._insist(partial(self._still_fits, guarded)):
            guarded = None
        while True:
            if guarded is None:
                await self._become_free()
                guarded = await self._start()
            if guarded is not None:
                await self._follow(guarded)
                guarded = None

    async def _still_fits(self, guarded: Guarded) -> bool:
        """End an idle guard that was started with another file; of another one say what it goes
        on with."""
        if not (changes := self._nest.changes()):
            return True
        keys, state = ", ".join(changes), guarded.state
        if state.phase in IDLE:
            LOG.info("%s: prepared anew, because of what has changed: %s", self._role.name, keys)
            guarded.kill()
            await guarded.gone
            return False
        until = f"until its guard, process {state.process}, is ended"
        if not self._role.always:
            until = "until its next release"
        self.outdated = f"goes on as it was started {until}, although this has changed: {keys}"
        LOG.warning("%s: %s", self._role.name, self.outdated)
        return True

    async def _insist(self, look: Callable[[], Awaitable[T]]) -> T:
        """What an agent before this one has left must be known before anything is started."""
        while True:
            try:
                return await look()
            except (OSError, ValueError) as error:
                LOG.error("%s: its guard: %s", self._role.name, error)
                self._set(Holding.FAILED)
                await asyncio.sleep(NEXT_LOOK)

    async def assume(self, epoch: int, proof: Proof, leased: bool) -> Result:
        """Hold the role; see docs/agent.md for the steps."""
        name = self._role.name
        if self._overtaken(epoch):
            return self._refusal(epoch)
        self._epochs.hear(name, epoch)
        releases = self._releases
        if unwritten := await self._save(self._role.assume_timeout):
            LOG.error("%s: assume with epoch %d: %s", name, epoch, unwritten)
            return Outcome.FAILED, unwritten
        if self._role.always:
            return await self._always()
        if self._holding is Holding.FAILED:
            self._give_up(epoch)
        self._hurry.set()
        self._trouble = ""
        try:
            async with asyncio.timeout(self._role.assume_timeout):
                explanation = await self._hold(Hold(epoch, proof, leased), releases)
        except TimeoutError:
            explanation = f"not held after {self._role.assume_timeout} s"
        finally:
            self._hurry.clear()
        if self._overtaken(epoch):
            return self._refusal(epoch)
        if explanation:
            LOG.error("%s: assume with epoch %d: %s", name, epoch, explanation)
            self._give_up(epoch)
            return Outcome.FAILED, explanation
        return Outcome.DONE, ""

    async def release(self, epoch: int) -> Result:
        """Hold the role no more; DONE only if that is verified.

        It is carried out whether or not its epoch can be written. If not, the answer is all that
        proves it: `held` goes on naming the epoch before, so that it proves nothing for long.
        """
        if self._overtaken(epoch):
            return self._refusal(epoch)
        self._epochs.hear(self._role.name, epoch)
        self._releases += 1
        saving = asyncio.create_task(self._save(SAVING))
        outcome, explanation = await self._let_go(epoch)
        unwritten = await saving
        self._publish()
        if unwritten:
            LOG.error("%s: release with epoch %d: %s", self._role.name, epoch, unwritten)
        return outcome, "; ".join(filter(None, (explanation, unwritten)))

    async def _let_go(self, epoch: int) -> Result:
        if self._role.always or self._holding is Holding.NOTHING:
            return Outcome.DONE, ""
        self._verdict = None
        self._give_up(epoch)
        patience = self._role.release_timeout + self._role.verify_timeout + UNWINDING
        try:
            async with asyncio.timeout(patience):
                await self._until(lambda: self._verdict is not None)
        except TimeoutError:
            return Outcome.FAILED, f"processes are left after {patience} s"
        if self._verdict:
            return Outcome.FAILED, "; ".join(self._verdict)
        return Outcome.DONE, ""

    async def _save(self, timeout: float) -> str:
        """Why the epoch of the role is not written; empty if it is."""
        try:
            async with asyncio.timeout(timeout):
                await self._epochs.save(self._role.name)
        except TimeoutError:
            return f"cannot write {self._epochs.path}: not done after {timeout} s"
        except OSError as error:
            return f"cannot write {self._epochs.path}: {error.strerror}"
        return ""

    async def drill(self, number: int) -> Result:
        """Run the role's drill inside its namespaces."""
        if not self._role.drill:
            return Outcome.REFUSED, "not configured"
        if self._guarded is None:
            return Outcome.FAILED, "the role is not prepared"
        ended = self._drills[number] = asyncio.get_running_loop().create_future()
        self._guarded.send(StartDrill(number))
        try:
            async with asyncio.timeout(self._role.assume_timeout):
                explanation = await ended
        except TimeoutError:
            return Outcome.TIMED_OUT, f"not done after {self._role.assume_timeout} s"
        finally:
            del self._drills[number]
        return (Outcome.FAILED if explanation else Outcome.DONE), explanation

    async def _hold(self, order: Hold, releases: int) -> str:
        """Why the role is not held with the order's epoch; empty if it is.

        A release that came after the order, also one with the same epoch, undoes it: between
        that check and the order to the guard nothing else can happen.
        """
        ready = (Phase.STANDBY, Phase.ASSUMING, Phase.HELD)
        await self._until(lambda: self._phase in ready or bool(self._trouble))
        if self._phase not in ready:
            return self._trouble
        guarded = self._guarded
        if self._overtaken(order.epoch) or self._releases != releases or guarded is None:
            return "a release came in between"
        if self._holding is Holding.NOTHING:
            self._set(Holding.ASSUMING)
        self._answers.pop(order.epoch, None)
        guarded.send(order)
        await self._until(lambda: order.epoch in self._answers or self._guarded is not guarded)
        return self._answers.get(order.epoch, "it was ended meanwhile")

    async def _always(self) -> Result:
        self._publish()
        if self._holding is Holding.HELD:
            return Outcome.DONE, ""
        return Outcome.FAILED, "its daemons do not run"

    async def _become_free(self) -> None:
        while True:
            self._verdict = await self._verification.problems()
            if not self._verdict:
                break
            LOG.error("%s: not free: %s", self._role.name, "; ".join(self._verdict))
            self._set(Holding.FAILED)
            self._touch()
            await asyncio.sleep(NEXT_LOOK)
        if not (self._role.always and self._holding is Holding.FAILED):
            self._set(Holding.NOTHING)
        self._touch()

    def _killing(self, users: str) -> None:
        LOG.warning("%s: killing what uses %s", self._role.name, users)
        self._notice(NoticeKind.MOUNT_USERS_KILLED, self._role.name, users)

    async def _start(self) -> Guarded | None:
        """A new guard; after a pause if the last one came to nothing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pause):
                await self._hurry.wait()
        self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * self._pause))
        awaited = self._hurry.is_set()  # else it began before what an assume may wait for
        try:
            guarded = await self._nest.start(self._received)
        except OSError as error:
            guarded = None
            trouble = f"its guard cannot be started: {error}"
            LOG.error("%s: %s", self._role.name, trouble)
            self._trouble = trouble * awaited
            self._touch()
        else:
            if guarded is None:
                LOG.error("%s: its guard ended at once, see above", self._role.name)
        if guarded is None and self._role.always:
            self._set(Holding.FAILED)
        return guarded

    async def _follow(self, guarded: Guarded) -> None:
        self._guarded = guarded
        self._answers.clear()
        self._react(guarded.state)
        self._touch()
        began = boot_time()
        await self._nest.until_gone(guarded)
        self._guarded = None
        self.outdated = ""
        if self._holding in (Holding.ASSUMING, Holding.HELD):
            LOG.error("%s: its guard has ended, and all that it guarded", self._role.name)
            self._set(Holding.FAILED)
        if self._holding is Holding.RELEASING or boot_time() - began > LONGEST_PAUSE:
            self._pause = 0.0
        self._touch()

    def _received(self, message: Any) -> None:
        match message:
            case GuardState():
                self._react(message)
            case HoldAnswered():
                self._answers[message.epoch] = message.explanation
            case DrillEnded() if message.number in self._drills:
                self._drills[message.number].set_result(message.explanation)
            case Remark():
                LOG.warning("%s: %s: %s", self._role.name, message.what.value, message.text)
                self._notice(message.what, self._role.name, message.text)
        self._touch()

    def _react(self, state: GuardState) -> None:
        guarded = self._guarded
        if guarded is None:
            return  # `_follow` looks at the state when it has the guard
        if state.explanation:
            LOG.error("%s: %s: %s", self._role.name, state.phase.value, state.explanation)
        if self._role.always:
            self._react_always(state, guarded)
            return
        self._set(HOLDING_IN[state.phase], state.explanation)
        if state.phase is Phase.BROKEN:
            guarded.kill()

    def _react_always(self, state: GuardState, guarded: Guarded) -> None:
        match state.phase:
            case Phase.STANDBY:
                guarded.send(Hold(self._epochs.known(self._role.name), None, False))
            case Phase.HELD:
                self._set(Holding.HELD)
            case Phase.BROKEN | Phase.FAILED:
                self._set(Holding.FAILED, state.explanation)
                guarded.send(GiveUp(state.epoch))

    @property
    def _phase(self) -> Phase | None:
        return self._guarded.state.phase if self._guarded else None

    def _overtaken(self, epoch: int) -> bool:
        return epoch < self._epochs.known(self._role.name)

    def _refusal(self, epoch: int) -> Result:
        return Outcome.REFUSED, f"epoch {epoch} is below {self._epochs.known(self._role.name)}"

    def _give_up(self, epoch: int) -> None:
        if self._guarded is not None:
            self._guarded.send(GiveUp(epoch))

    async def _until(self, happened: Callable[[], bool]) -> None:
        while not happened():
            await self._turn.wait()

    def _touch(self) -> None:
        self._turn.set()
        self._turn = asyncio.Event()

    def _set(self, holding: Holding, explanation: str = "") -> None:
        self._holding = holding
        self._publish(explanation)

    def _publish(self, explanation: str = "") -> None:
        if self.held != self._told:
            self._told = self.held
            outdated = self.outdated if self._holding is Holding.HELD else ""
            self._changed(self._told, explanation or outdated)
