"""The lab's own Open vSwitch, and what it tells about its switches.

Its sockets are the usual ones, under the /run that only the lab's inside sees.
"""

from __future__ import annotations

import re
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_RUN = Path("/run/openvswitch")

#: Messages by which a controller changes a switch, as ovs-vswitchd's debug log names them.
_CHANGES = {"OFPT_FLOW_MOD": "flow", "OFPT_GROUP_MOD": "group", "OFPT_METER_MOD": "meter"}

#: Seconds between two purges of the datapath's cache.
PURGE_INTERVAL = 1.0


class OpenVswitch:
    """ovsdb-server and ovs-vswitchd with the userspace datapath; context manager.

    Raises:
        RuntimeError: one of them did not start; with what it wrote.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._log = directory / "ovs-vswitchd.log"
        self._ended = threading.Event()
        self._purging = threading.Thread(target=self._purge, name="purge", daemon=True)

    def __enter__(self) -> Self:
        _RUN.mkdir(parents=True, exist_ok=True)
        self.directory.mkdir(parents=True, exist_ok=True)
        database = _RUN / "conf.db"
        database.unlink(missing_ok=True)  # of a lab that ended in this one's namespaces
        self._run("ovsdb-tool", "create", str(database), _SCHEMA)
        self._run(
            *("ovsdb-server", str(database), f"--remote=punix:{_RUN}/db.sock"),
            *(f"--log-file={self.directory}/ovsdb-server.log", "--pidfile", "--detach"),
        )
        self._run("ovs-vsctl", "--no-wait", "init")
        # Two cores are shared with everything else of the lab.
        threads = ("other_config:n-handler-threads=1", "other_config:n-revalidator-threads=1")
        self._run("ovs-vsctl", "--no-wait", "set", "Open_vSwitch", ".", *threads)
        self._run(
            *("ovs-vswitchd", "--disable-system", "--pidfile", "--detach"),
            f"--log-file={self._log}",
        )
        self._purging.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._purging.join()
        for daemon in ("ovs-vswitchd", "ovsdb-server"):
            self._run("ovs-appctl", "-t", daemon, "exit")

    def _purge(self) -> None:
        """Empty the datapath's cache now and then.

        The userspace datapath of Open vSwitch 3.1.0 can keep an outdated flow for as long as
        packets hit it: where cached flows overlap, a change of one can hit the other one, and
        nobody looks at the first one again. About one return of a server in twenty, on a busy
        machine, ended with its answers dropped for good, while the rules were right (seen as
        `actions:drop` in `ovs-appctl dpctl/dump-flows`, and gone after `revalidator/purge`).
        """
        while not self._ended.wait(PURGE_INTERVAL):
            self._run("ovs-appctl", "revalidator/purge")

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def dump_flows(self, switch: str) -> list[str]:
        """Flow entries of a switch, one a line, without counters."""
        lines = self._run("ovs-ofctl", "-O", "OpenFlow13", "--no-stats", "dump-flows", switch)
        return sorted(line.strip() for line in lines.splitlines() if "actions=" in line)

    def packets(self, switch: str, rules: str) -> int:
        """How many packets these rules have matched, up to now; named as `ovs-ofctl` does."""
        self._run("ovs-appctl", "revalidator/wait")
        answer = self._run(*("ovs-ofctl", "-O", "OpenFlow13", "dump-aggregate", switch, rules))
        found = re.search(r"packet_count=(\d+)", answer)
        assert found, answer
        return int(found[1])

    def delete_flow(self, switch: str, flow: str) -> None:
        """Delete the one flow entry that `dump_flows` printed as `flow`, as a careless person
        would: strictly this one, by hand."""
        entry = flow_key(flow)
        self._run("ovs-ofctl", "-O", "OpenFlow13", "--strict", "del-flows", switch, entry)

    def watch_changes(self) -> ChangeWatch:
        """From now on count what controllers change.

        The switch itself logs each OpenFlow message that it receives; nobody else's word counts.
        """
        self._run("ovs-appctl", "vlog/set", "vconn:file:dbg")
        self._run("ovs-appctl", "vlog/disable-rate-limit", "vconn")
        return ChangeWatch(self._log, self._log.stat().st_size, self)

    def stop_watching(self) -> None:
        self._run("ovs-appctl", "vlog/set", "vconn:file:info")


@dataclass(frozen=True)
class ChangeWatch:
    log: Path
    offset: int
    switches: OpenVswitch

    def stop(self) -> dict[str, int]:
        """Stop, and return how many flow-, group- and meter-mods came, by 'flow' and so on."""
        self.switches.stop_watching()
        with self.log.open(encoding="utf-8", errors="replace") as lines:
            lines.seek(self.offset)
            return count_changes(lines.read())


def count_changes(log: str) -> dict[str, int]:
    """Changing messages received in an excerpt of ovs-vswitchd's debug log of `vconn`."""
    received = "\n".join(line for line in log.splitlines() if "sent (" not in line)
    return {
        name: len(re.findall(rf"\b{message}\b", received)) for message, name in _CHANGES.items()
    }


def flow_key(flow: str) -> str:
    """Table, priority and match of a printed flow entry: what `--strict` deletes by."""
    fields = flow.split(" actions=", maxsplit=1)[0].replace(" ", "")
    ignored = ("cookie=", "idle_timeout=", "hard_timeout=", "send_flow_rem", "reset_counts")
    return ",".join(f for f in fields.split(",") if f and not f.startswith(ignored))
