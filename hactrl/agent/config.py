"""The agent's own file: what each role of this server runs. docs/agent.md is its reference."""

from __future__ import annotations

import difflib
import ipaddress
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Daemon:
    """A process whose end is reported. `command`: started by us and kept in the foreground;
    else `pidfile` names it. `since`: 'prepare' or 'assume', see docs/agent.md."""

    name: str
    command: tuple[str, ...]
    pidfile: str
    since: str


@dataclass(frozen=True)
class RoleConfig:
    """Commands are empty where the file has none. Timeouts are in seconds.

    A guard may be newer than the agent that starts it, so what was added later has a default.
    """

    name: str
    always: bool
    network_namespace: str
    devices: tuple[str, ...]
    prepare: tuple[str, ...]
    standby: tuple[str, ...]
    assume: tuple[str, ...]
    ready: tuple[str, ...]
    release: tuple[str, ...]
    verify: tuple[str, ...]
    drill: tuple[str, ...]
    prepare_timeout: float
    assume_timeout: float
    release_timeout: float
    verify_timeout: float
    daemons: tuple[Daemon, ...]
    check: tuple[str, ...] = ()
    check_write: str = ""
    check_interval: float = 5.0
    check_timeout: float = 5.0
    check_failures: int = 3
    kill_users: bool = False


@dataclass(frozen=True)
class AgentConfig:
    server: str
    controllers: tuple[str, ...]
    token_file: str
    state_directory: str
    run_directory: str
    boot_id_file: str
    roles: tuple[RoleConfig, ...]


class ConfigError(Exception):
    """`errors`: every error of the file, each with its place."""

    def __init__(self, path: Path, errors: list[str]) -> None:
        super().__init__("\n".join(f"{path}: {error}" for error in errors))
        self.errors = tuple(errors)


def load(path: Path) -> AgentConfig:
    """Read and check a file. Raises ConfigError with all errors, OSError if unreadable."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(path, [str(error)]) from None
    errors: list[str] = []
    config = _agent(_Table(document, "", errors))
    if errors:
        raise ConfigError(path, errors)
    return config


def read_token(path: str) -> str:
    """The token in a file of one line. Raises ValueError for another content."""
    token = Path(path).read_text(encoding="utf-8").strip()
    if not token or len(token.split()) != 1:
        raise ValueError(f"{path}: expected one line with this server's token")
    return token


def read_boot_id(path: str) -> str:
    """What tells this boot of the machine from others. Raises ValueError for an empty file."""
    boot = Path(path).read_text(encoding="utf-8").strip()
    if not boot:
        raise ValueError(f"{path}: empty; expected what tells this boot from others")
    return boot


def host_and_port(address: str) -> tuple[str, int]:
    """Split `192.0.2.1:6655` or `[2001:db8::1]:6655`. Raises ValueError for anything else."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is not ADDRESS:PORT")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    parsed = ipaddress.ip_address(bare)
    if (parsed.version == 6) != (bare != host):
        raise ValueError(f"{address!r}: write an IPv6 address in brackets, and only that")
    return bare, int(port)


class _Table:
    """One table of the file. Each getter notes what is wrong and goes on with a default."""

    def __init__(self, content: Mapping[str, Any], place: str, errors: list[str]) -> None:
        self._content = content
        self._place = place
        self._asked: set[str] = set()
        self.errors = errors

    def wrong(self, key: str, problem: str) -> None:
        self.errors.append(f"{self._at(key)}: {problem}")

    def text(self, key: str, default: str | None = None) -> str:
        value = self._get(key, default, "")
        if not isinstance(value, str) or (default is None and key in self._content and not value):
            self.wrong(key, f"expected a string that is not empty, got {value!r}")
            return ""
        return value

    def path(self, key: str, default: str | None = None) -> str:
        value = self.text(key, default)
        if value and not value.startswith("/"):
            self.wrong(key, f"expected an absolute path, got {value!r}")
        return value

    def texts(self, key: str, required: bool = False) -> tuple[str, ...]:
        value = self._get(key, None if required else [], [])
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
            self.wrong(key, f"expected a list of strings, got {value!r}")
            return ()
        if key in self._content and not value:
            self.wrong(key, "expected a list that is not empty, or no such key")
        return tuple(value)

    def flag(self, key: str) -> bool:
        value = self._get(key, False, False)
        if not isinstance(value, bool):
            self.wrong(key, f"expected true or false, got {value!r}")
        return value is True

    def seconds(self, key: str, default: float) -> float:
        value = self._get(key, default, default)
        if type(value) not in (int, float) or not math.isfinite(value) or value <= 0:
            self.wrong(key, f"expected seconds, more than 0, got {value!r}")
            return default
        return float(value)

    def count(self, key: str, default: int) -> int:
        value = self._get(key, default, default)
        if type(value) is not int or value < 1:
            self.wrong(key, f"expected a number, at least 1, got {value!r}")
            return default
        return value

    def tables(self, key: str, required: bool = False) -> dict[str, _Table]:
        value = self._get(key, None if required else {}, {})
        if not isinstance(value, dict):
            self.wrong(key, f"expected a table, got {value!r}")
            return {}
        found = {}
        for name, content in value.items():
            if isinstance(content, dict):
                found[name] = _Table(content, self._at(key) + f".{name}", self.errors)
            else:
                self.wrong(f"{key}.{name}", f"expected a table, got {content!r}")
        return found

    def finish(self) -> None:
        """Note every key that nobody asked for."""
        for key in self._content.keys() - self._asked:
            close = difflib.get_close_matches(key, self._asked, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            self.wrong(key, f"unknown key{hint}")

    def _at(self, key: str) -> str:
        return f"{self._place}.{key}".strip(".")

    def _get(self, key: str, default: Any, missing: Any) -> Any:
        self._asked.add(key)
        if key in self._content:
            return self._content[key]
        if default is None:
            self.wrong(key, "is missing")
            return missing
        return default


def _agent(table: _Table) -> AgentConfig:
    config = AgentConfig(
        server=table.text("server"),
        controllers=table.texts("controllers", required=True),
        token_file=table.path("token_file"),
        state_directory=table.path("state_directory"),
        run_directory=table.path("run_directory"),
        boot_id_file=table.path("boot_id_file", "/proc/sys/kernel/random/boot_id"),
        roles=tuple(_role(name, t) for name, t in table.tables("roles", required=True).items()),
    )
    for controller in config.controllers:
        try:
            host_and_port(controller)
        except ValueError as error:
            table.wrong("controllers", f"{error}; expected an address and port, as 192.0.2.1:6655")
    table.finish()
    return config


def _role(name: str, table: _Table) -> RoleConfig:
    daemons = table.tables("daemons")
    role = RoleConfig(
        name=name,
        always=table.flag("always"),
        network_namespace=table.text("network_namespace", ""),
        devices=table.texts("devices"),
        prepare=table.texts("prepare"),
        standby=table.texts("standby"),
        assume=table.texts("assume"),
        ready=table.texts("ready"),
        release=table.texts("release"),
        verify=table.texts("verify"),
        drill=table.texts("drill"),
        prepare_timeout=table.seconds("prepare_timeout", 30.0),
        assume_timeout=table.seconds("assume_timeout", 25.0),
        release_timeout=table.seconds("release_timeout", 2.0),
        verify_timeout=table.seconds("verify_timeout", 2.0),
        daemons=tuple(_daemon(daemon, t) for daemon, t in daemons.items()),
        check=table.texts("check"),
        check_write=table.path("check_write", ""),
        check_interval=table.seconds("check_interval", 5.0),
        check_timeout=table.seconds("check_timeout", 5.0),
        check_failures=table.count("check_failures", 3),
        kill_users=table.flag("kill_users"),
    )
    if not name or "/" in name or name.startswith("."):
        table.wrong("", f"{name!r} cannot be the name of a role")
    if not role.always and not role.assume:
        table.wrong("assume", "is missing; only an `always` role can do without")
    if role.always and not role.assume and not role.daemons:
        table.wrong("daemons", "is missing; an `always` role needs at least one, or `assume`")
    waits = [daemon for daemon in role.daemons if daemon.since == "prepare"]
    if not role.always and not role.standby and not waits:
        table.wrong(
            "standby",
            "is missing; what answers 'try again later' for the role's services while it is held "
            "elsewhere, or the role is never placed here. Without services, and where `prepare` "
            'leaves behind what answers: ["sleep", "infinity"]',
        )
    if role.kill_users and not role.devices:
        table.wrong("kill_users", "there are no `devices` whose users could be known")
    if role.always and (role.standby or role.devices):
        table.wrong("always", "a role that runs always has no `standby` and no `devices`")
    table.finish()
    return role


def _daemon(name: str, table: _Table) -> Daemon:
    daemon = Daemon(
        name=name,
        command=table.texts("command"),
        pidfile=table.path("pidfile", ""),
        since=table.text("from", "assume"),
    )
    if bool(daemon.command) == bool(daemon.pidfile):
        table.wrong("", "expected either `command` or `pidfile`")
    if daemon.since not in ("prepare", "assume"):
        table.wrong("from", f"expected 'prepare' or 'assume', got {daemon.since!r}")
    table.finish()
    return daemon
