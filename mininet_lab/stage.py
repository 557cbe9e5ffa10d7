"""The lab as every scenario but the first finds it: all on, controller in charge, mail flowing if
anybody sends it. And the questions that scenarios ask the controller, as an operator would."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hactrl.client import Client, ClientError, RefusedError, UnknownOutcomeError, UnreachableError
from mininet_lab.clock import now
from mininet_lab.lab import Lab, StageError
from mininet_lab.mail.description import MailSite
from mininet_lab.report import Story
from mininet_lab.servers import LabServer, ServerError

Json = dict[str, Any]

#: Seconds between two looks at what has no event to wait for.
_LOOK = 0.1

_NETWORKING = (
    ("ip", "-brief", "address"),
    ("ip", "route"),
    ("ip", "-6", "route"),
    ("ip", "neighbour"),
    ("ss", "--listening", "--tcp", "--numeric", "--no-header"),
)


@dataclass
class Stage:
    """A standing lab, and its operator's eyes and hands."""

    lab: Lab
    story: Story
    client: Client
    wan_mail: Path

    def status(self) -> Json | None:
        """None while the controller does not answer."""
        try:
            return self.client.status()
        except (UnreachableError, UnknownOutcomeError):
            return None

    def await_status(self, what: str, holds: Callable[[Json], list[str]], timeout: float) -> float:
        """Wait until `holds` names nothing that is missing; seconds that it took.

        Raises:
            StageError: `timeout` seconds were not enough.
        """
        begun = now()
        with self.story.working(what):
            missing = ["the controller does not answer"]
            while now() < begun + timeout and self.lab.controller.is_running:
                if (status := self.status()) is not None and not (missing := holds(status)):
                    return now() - begun
                time.sleep(_LOOK)
        raise StageError(
            f"{what}: not after {now() - begun:.1f} s: {'; '.join(missing)}\n{self.background()}"
        )

    def await_served(self, role: str, server: str, timeout: float = 30.0) -> float:
        """Until a role is served by a server."""

        def missing(status: Json) -> list[str]:
            return not_served(status, role, server)

        return self.await_status(f"waiting until {server} serves {role}", missing, timeout)

    def background(self, entries: int = 30) -> str:
        """What a person wants to read when something did not come about."""
        log = f"the controller's log ends with:\n{self.lab.controller.log_tail()}"
        try:
            history = self.client.history(limit=entries)
        except ClientError as error:
            return f"{error}\n{log}"
        offset = now() - time.time()
        lines = [f"{e.at + offset:10.3f} {e.role:10} {e.words}" for e in reversed(history)]
        return "\n".join(
            [f"{now():10.3f} is now; the history ends with:", *lines, log, *self._networking()]
        )

    def _networking(self) -> Iterator[str]:
        """How every role's network stands on every server that is on: addresses, routes,
        neighbours and who listens."""
        for server in self.lab.servers.values():
            roles = [
                role.name for role in self.lab.site.roles.values() if server.name in role.servers
            ]
            for role in roles if server.is_on else ():
                yield f"{role} on {server.name}:"
                for question in _NETWORKING:
                    try:
                        yield server.run_in_role(role, *question)
                    except ServerError as error:
                        yield str(error)

    def repair(self, server: str) -> None:
        """Switch a server on again, and give it back every role that prefers it."""
        with self.story.working(f"repairing {server}: switching it on"):
            self.lab.power_on(server)
        self.put_in_order()

    def put_in_order(self, timeout: float = 60.0) -> None:
        """Wait until everybody could do everything, and give each role to whom it prefers."""
        what = "waiting until every role is served and every standby is ready"
        self.await_status(what, unready, timeout)
        for role in self.lab.site.roles.values():
            preferred = role.servers[0]
            if (status := self.status()) and status["roles"][role.name]["server"] != preferred:
                self._fail_back(role.name, now() + timeout)
                self.await_served(role.name, preferred)
        self.await_status("waiting until nothing is under way", unready, timeout)

    def _fail_back(self, role: str, deadline: float) -> None:
        """As an operator would: who is refused while a server is still coming up asks again.

        Raises:
            RefusedError: it was still refused at the deadline.
        """
        while True:
            try:
                self.client.failback(role, reason="everything is well again")
                return
            except RefusedError:
                if now() > deadline:
                    raise
            time.sleep(_LOOK)

    def finished_takeover(self, role: str, since: float, timeout: float = 30.0) -> Json:
        """The journal's entry of the first takeover of a role that ended after `since`; with
        `began` and `ended` on the clock of CLOCK_BOOTTIME.

        Raises:
            StageError: there was none within `timeout` seconds.
        """
        deadline = now() + timeout
        while now() < deadline:
            offset = now() - time.time()
            for entry in self.client.history(role=role):
                ended = entry.at + offset
                if entry.kind == "takeover.finished" and ended >= since:
                    details = entry.details
                    return {**details, "ended": ended, "began": ended - details["total"]}
            time.sleep(_LOOK)
        raise StageError(f"no takeover of {role} in the history within {timeout:.0f} s")


@contextmanager
def standing(directory: Path, story: Story, mail: MailSite | None = None) -> Iterator[Stage]:
    """Build it, start it, wait until it is ready; take it down afterwards."""
    lab = Lab(directory, mail)
    with story.working("building the network: 5 switches, 2 servers, WAN and clients"):
        lab.__enter__()
    try:
        with story.working("switching both servers on"), ThreadPoolExecutor() as both:
            list(both.map(LabServer.power_on, lab.servers.values()))
        with story.working("starting the WAN's mail server and ryu-manager hactrl"):
            wan_mail = lab.start_wan_mail()
            lab.controller.start()
            lab.network.connect_to_controller()
        listen = lab.site.controller.rest
        client = Client(f"http://{listen.host}:{listen.port}", token=lab.operator_token)
        stage = Stage(lab, story, client, wan_mail)
        try:
            stage.put_in_order()
            yield stage
        finally:
            (directory / "history.txt").write_text(stage.background(entries=1000))
    finally:
        with story.working("taking everything down"):
            lab.__exit__(None, None, None)


def unready(status: Json) -> list[str]:
    """What is missing until every role is served, and could be by everybody else."""
    missing = [] if status["settled"] else ["the controller has not settled"]
    for name, role in status["roles"].items():
        missing += not_served(status, name, role["server"])
        for server, candidate in role["candidates"].items():
            missing += [
                f"{name} on {server}: {obstacle['words']}" for obstacle in candidate["obstacles"]
            ]
    return missing


def not_served(status: Json, role: str, server: str | None) -> list[str]:
    """What is missing until a server serves a role, every service of it."""
    found = status["roles"][role]
    if server is None or found["server"] != server:
        return [f"{role} is at {found['server'] or 'nobody'}"]
    if found["takeover"] is not None:
        return [f"{role}: {found['takeover']['step_words']}"]
    return [
        f"{role}'s {name} is {service['verdict']}"
        for name, service in found["services"].items()
        if service["verdict"] != "healthy"
    ]
