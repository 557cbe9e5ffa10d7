"""How each kind of fault strikes the standing lab, and how it is mended.

A strike returns when it has been seen to be there, with where it struck, and with what mends it.
Mending is done again until it succeeds, and does nothing where there is nothing to mend any more.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from hactrl.client import ClientError, RefusedError
from mininet_lab.network import management_device
from mininet_lab.processes import send
from mininet_lab.servers import LabServer, ServerError
from mininet_lab.soak import processes, spool_faults, witness
from mininet_lab.soak.fences import BrokenFence
from mininet_lab.soak.kinds import DAEMONS, DELAYS, ROLE, SERVING, Kind
from mininet_lab.soak.network_faults import part, pull, switch_off
from mininet_lab.soak.plan import Fault
from mininet_lab.soak.struck import NotStruckError, Struck, undone_by
from mininet_lab.stage import Json, Stage


@dataclass
class Striker:
    """Strikes on one stage. Faults may strike from several threads."""

    stage: Stage
    #: By a fault, so that no supervisor is to start it again.
    controller_is_away: bool = False
    _served: dict[str, str] = field(default_factory=dict)

    def note(self, status: Json) -> None:
        """Remember who plays which role."""
        self._served |= {
            name: role["server"] for name, role in status["roles"].items() if role["server"]
        }

    def strike(self, fault: Fault) -> Struck:
        """
        Raises:
            NotStruckError, ServerError, OSError: it is not there; nothing is to be mended.
        """
        return STRIKES[fault.kind](self, fault)

    def serving(self, role: str = ROLE) -> LabServer:
        """Who plays a role: for the one with the spool, who has it mounted, else who was noted
        last. Nobody is asked, because the controller may be what does not answer."""
        lab = self.stage.lab
        role_ = lab.site.roles[role]
        if role_.owns:
            for server in lab.servers.values():
                disk = server.disk
                if disk is not None and disk.name in witness.mounted(server.image):
                    self._served[role] = server.name
        return lab.servers[self._served.get(role, role_.servers[0])]

    def side(self, side: str, role: str = ROLE) -> LabServer:
        """The server that serves, or the other one."""
        serving = self.serving(role)
        if side == SERVING:
            return serving
        others = [x for x in self.stage.lab.site.roles[role].servers if x != serving.name]
        return self.stage.lab.servers[others[0]]

    # Servers.

    def power_cut(self, fault: Fault) -> Struck:
        server = self.side(fault.target)
        self.stage.lab.power_cut(server.name)
        return Struck((server.name,), server.power_on)

    def server_frozen(self, fault: Fault) -> Struck:
        server = self.side(fault.target)
        mend = self._thaw(server, server.processes)
        with undone_by(mend):
            stopped = processes.stop_all(server.processes)
        return Struck((server.name,), mend, f"{len(stopped)} processes")

    def daemon(self, fault: Fault) -> Struck:
        """Killed, or stopped with all of its processes."""
        role = fault.target.partition("/")[0]
        server = self.serving(role)
        found = processes.find(server, DAEMONS[fault.target])
        if not found:
            raise NotStruckError(f"{fault.target} does not run on {server.name}")
        where = (f"{role} on {server.name}",)
        if fault.kind is Kind.DAEMON_KILLED:
            send(found, signal.SIGKILL)
            processes.ended_indeed(found)
            return Struck(where, words=fault.target)

        def everyone() -> list[int]:
            return processes.family(found)

        mend = self._thaw(server, everyone)
        with undone_by(mend):
            stopped = processes.stop_all(everyone)
        return Struck(where, mend, f"{fault.target}, {len(stopped)} processes")

    def agent(self, fault: Fault) -> Struck:
        server = self.side(fault.target)
        found = processes.find(server, ("hactrl-agent", "agent.toml"))
        if not found:
            raise NotStruckError(f"no agent runs on {server.name}")

        def mend() -> None:
            if server.is_on and fault.kind is Kind.AGENT_KILLED:
                server.start_agent()
            elif server.is_on:
                _resume_agent(server)

        with undone_by(mend):
            if fault.kind is Kind.AGENT_KILLED:
                server.signal_agent(signal.SIGKILL)
                processes.ended_indeed(found)
            else:
                server.signal_agent(signal.SIGSTOP)
                processes.stopped_indeed(found)
        return Struck((server.name,), mend)

    def guard(self, fault: Fault) -> Struck:
        role, _, side = fault.target.partition(" on ")
        server = self.side(side, role)
        found = processes.guard(server, role)
        if not found:
            raise NotStruckError(f"{role} has no guard on {server.name}")
        where = (f"{role} on {server.name}",)
        if fault.kind is Kind.GUARD_KILLED:
            send(found, signal.SIGKILL)
            processes.ended_indeed(found)
            return Struck(where)
        mend = self._thaw(server, lambda: found)
        with undone_by(mend):
            send(found, signal.SIGSTOP)
            processes.stopped_indeed(found)
        return Struck(where, mend)

    def _thaw(self, server: LabServer, whom: Callable[[], list[int]]) -> Callable[[], None]:
        """Let them go on, if it is still the same life of the server."""
        init = server.init

        def mend() -> None:
            if server.is_on and server.init == init:
                send(whom(), signal.SIGCONT)
                _resume_agent(server)

        return mend

    # The network.

    def card(self, fault: Fault) -> Struck:
        card = self.stage.lab.site.network.interfaces[fault.target]
        server = self.stage.lab.servers[card.server]
        owner = server if fault.kind is Kind.CARD_SERVER_SIDE else None
        return pull(self.stage.lab, (card.name,), [card.attachment], owner)

    def cards(self, fault: Fault) -> Struck:
        server = self.side(fault.target)
        ports = [card.attachment for card in server.server.interfaces]
        owner = server if fault.kind is Kind.CARDS_SERVER_SIDE else None
        return pull(self.stage.lab, (server.name,), ports, owner)

    def trunk(self, fault: Fault) -> Struck:
        links = self.stage.lab.site.network.links
        link = next(link for link in links if str(link) == fault.target)
        return pull(self.stage.lab, (fault.target,), [link.a])

    def switch_cut_off(self, fault: Fault) -> Struck:
        links = self.stage.lab.site.network.links
        ports = [end for x in links for end in (x.a, x.b) if end.switch == fault.target]
        return pull(self.stage.lab, (fault.target,), ports)

    def switch_alone(self, fault: Fault) -> Struck:
        return part(self.stage.lab, fault.target)

    def switch_dead(self, fault: Fault) -> Struck:
        return switch_off(self.stage.lab, fault.target)

    def management(self, fault: Fault) -> Struck:
        server = self.side(fault.target)
        outside, device = self.stage.lab.network.outside, management_device(server.name)
        outside.set_link(device, up=False)
        return Struck((server.name,), lambda: outside.set_link(device, up=True))

    # The controller.

    def controller_killed(self, _fault: Fault) -> Struck:
        controller = self.stage.lab.controller

        def mend() -> None:
            if not controller.is_running:
                controller.start()
            self.controller_is_away = False

        with undone_by(mend):
            self.controller_is_away = True
            controller.kill()
        return Struck((), mend)

    def controller_frozen(self, _fault: Fault) -> Struck:
        controller = self.stage.lab.controller

        def mend() -> None:
            if controller.is_running:
                controller.resume()

        with undone_by(mend):
            controller.pause()
            processes.stopped_indeed([controller.pid])
        return Struck((), mend)

    def prober(self, fault: Fault) -> Struck:
        killed = fault.kind is Kind.PROBER_KILLED
        pid = self.stage.lab.controller.signal_prober(signal.SIGKILL if killed else signal.SIGSTOP)
        if killed:
            processes.ended_indeed([pid])
            return Struck(())

        def mend() -> None:
            send([pid], signal.SIGCONT)

        with undone_by(mend):
            processes.stopped_indeed([pid])
        return Struck((), mend)

    # The spool.

    def spool(self, fault: Fault) -> Struck:
        servers = self.stage.lab.servers
        place = spool_faults.find(list(servers.values()))
        act = {
            Kind.SPOOL_FULL: spool_faults.fill,
            Kind.SPOOL_FAILING: spool_faults.fail,
            Kind.SPOOL_READ_ONLY: spool_faults.make_read_only,
        }[fault.kind]
        if fault.kind is Kind.SPOOL_FULL:
            with undone_by(self._make_room):
                act(place)
            return Struck((), self._make_room, place.server)
        act(place)

        def mend() -> None:
            """What the file system has lost, only its next mount brings back."""
            if spool_faults.still_mounted(place):
                self.stage.story.tell(f"{place.server} still has the spool that failed")
                servers[place.server].power_off()

        return Struck((place.server,), mend)

    def _make_room(self) -> None:
        spool_faults.empty(spool_faults.find(list(self.stage.lab.servers.values())))

    # Fences.

    def fence(self, fault: Fault) -> Struck:
        """Until it is mended, the power switch does not do what it is asked, or late."""
        broken = BrokenFence(self.stage.lab.power, fault.kind, DELAYS.get(fault.target, 0.0))
        return Struck((), broken.mend, fault.target)

    # Operators.

    def request(self, fault: Fault) -> Struck:
        """What the controller answers is told, and is no matter: refused or not, nobody may be
        the worse for it."""
        client, reason = self.stage.client, "the soak asks"
        match fault.kind:
            case Kind.ASKED_FAILOVER:
                answer = _told(lambda: client.failover(fault.target, reason))
            case Kind.ASKED_FAILBACK:
                answer = _told(lambda: client.failback(fault.target, reason))
            case Kind.ASKED_RETRY:
                answer = _told(lambda: client.retry(fault.target, reason))
            case _:
                return self._confirm_off(fault)
        return Struck((), words=f"{fault.target}: {answer}")

    def disable(self, fault: Fault) -> Struck:
        server = self.side(fault.target).name
        client = self.stage.client
        answer = _told(lambda: client.disable(server, "the soak asks"))

        def mend() -> None:
            try:
                client.enable(server, "the soak asks")
            except RefusedError:
                return  # it was not disabled

        return Struck((server,), mend, answer)

    def _confirm_off(self, fault: Fault) -> Struck:
        """An operator says it of who is off, and does not lie: while all are on, nothing."""
        off = [x for x in self.stage.lab.servers.values() if not x.is_on]
        server = off[0] if off else self.side(fault.target)
        if server.is_on:
            return Struck((), words=f"{server.name} is on: not said")
        client = self.stage.client
        answer = _told(lambda: client.confirm_off(server.name, "the soak asks"))
        return Struck((), words=f"{server.name}: {answer}")


def _resume_agent(server: LabServer) -> None:
    try:
        server.signal_agent(signal.SIGCONT)
    except ServerError:
        server.start_agent()  # it has ended meanwhile


def _told(ask: Callable[[], object]) -> str:
    """What became of a request."""
    try:
        ask()
    except ClientError as error:
        return f"{type(error).__name__.removesuffix('Error').lower()}: {error}"
    return "accepted"


#: By kind.
STRIKES: dict[Kind, Callable[[Striker, Fault], Struck]] = {
    Kind.POWER_CUT: Striker.power_cut,
    Kind.SERVER_FROZEN: Striker.server_frozen,
    Kind.DAEMON_KILLED: Striker.daemon,
    Kind.DAEMON_FROZEN: Striker.daemon,
    Kind.AGENT_KILLED: Striker.agent,
    Kind.AGENT_FROZEN: Striker.agent,
    Kind.GUARD_KILLED: Striker.guard,
    Kind.GUARD_FROZEN: Striker.guard,
    Kind.CARD_SWITCH_SIDE: Striker.card,
    Kind.CARD_SERVER_SIDE: Striker.card,
    Kind.CARDS_SWITCH_SIDE: Striker.cards,
    Kind.CARDS_SERVER_SIDE: Striker.cards,
    Kind.SWITCH_DEAD: Striker.switch_dead,
    Kind.SWITCH_ALONE: Striker.switch_alone,
    Kind.TRUNK_DOWN: Striker.trunk,
    Kind.SWITCH_CUT_OFF: Striker.switch_cut_off,
    Kind.MANAGEMENT_CUT: Striker.management,
    Kind.CONTROLLER_KILLED: Striker.controller_killed,
    Kind.CONTROLLER_FROZEN: Striker.controller_frozen,
    Kind.PROBER_KILLED: Striker.prober,
    Kind.PROBER_FROZEN: Striker.prober,
    Kind.SPOOL_FULL: Striker.spool,
    Kind.SPOOL_FAILING: Striker.spool,
    Kind.SPOOL_READ_ONLY: Striker.spool,
    Kind.FENCE_FAILS: Striker.fence,
    Kind.FENCE_SLOW: Striker.fence,
    Kind.FENCE_HANGS: Striker.fence,
    Kind.ASKED_FAILOVER: Striker.request,
    Kind.ASKED_FAILBACK: Striker.request,
    Kind.ASKED_DISABLE: Striker.disable,
    Kind.ASKED_RETRY: Striker.request,
    Kind.ASKED_CONFIRM_OFF: Striker.request,
}
