"""hactrl with its agents: each server's agent runs the greeter, and hears of its end from the
kernel."""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import uuid4

from mininet_lab.race.arena import ROLE, Arena, Machine
from mininet_lab.race.contenders import ours
from mininet_lab.race.contenders.contender import Setting
from mininet_lab.servers import new_token, toml


class Attended(ours.Ours):
    """See `Contender`."""

    def __init__(self, arena: Arena) -> None:
        super().__init__(arena)
        self._tokens = {name: new_token() for name in arena.machines}
        lines = [f"{name}: {token}\n" for name, token in self._tokens.items()]
        Path(arena.site.controller.agent_tokens).write_text("".join(lines))

    def start(self) -> None:
        """See `Contender`."""
        super().start()
        for machine in self._arena.machines.values():
            machine.end()  # the greeter is the agent's from now on
            machine.start("agent", *self._agent(machine))

    def _agent(self, machine: Machine) -> tuple[str, str]:
        """Its program, and its file."""
        place = self._arena.directory / f"agent-{machine.name}"
        for directory in (place / "state", place / "run"):
            directory.mkdir(parents=True)
        (place / "boot-id").write_text(f"{uuid4()}\n")  # all servers have one kernel here
        token = place / "token"
        token.touch(mode=0o600)
        token.write_text(f"{self._tokens[machine.name]}\n")
        listen = self._arena.site.controller.agents
        greeter = {"command": [sys.executable, *machine.greeter]}
        file = place / "agent.toml"
        file.write_text(
            toml(
                {
                    "server": machine.name,
                    "controllers": [f"{listen.host}:{listen.port}"],
                    "token_file": str(token),
                    "state_directory": str(place / "state"),
                    "run_directory": str(place / "run"),
                    "boot_id_file": str(place / "boot-id"),
                    "roles": {ROLE: {"always": True, "daemons": {"greeter": greeter}}},
                }
            )
        )
        return str(Path(sys.executable).with_name("hactrl-agent")), str(file)


SETTING = Setting(
    "hactrl-agents", "hactrl, fastest, with agents", (), ours.configure, Attended, ours.FASTEST
)
