"""A real Samba server in a file server's network namespace, and its clients."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from mininet_lab.network import Node

SHARE = "share"

#: Seconds until Samba listens, at most.
_PATIENCE = 20.0


@dataclass
class Samba:
    """`directory`: all its files. Whoever connects is a guest, and reads."""

    node: Node
    directory: Path
    _process: subprocess.Popen[bytes] | None = None

    @property
    def share(self) -> Path:
        return self.directory / SHARE

    def start(self) -> None:
        """Start it, and return when it listens.

        Raises:
            RuntimeError: it does not; with its log.
        """
        for name in (SHARE, "private", "state"):
            (self.directory / name).mkdir(parents=True, exist_ok=True, mode=0o755)
        file = self.directory / "smb.conf"
        file.write_text(configuration(self.directory))
        words = ("smbd", "--foreground", "--no-process-group", f"--configfile={file}")
        with (self.directory / "smbd.out").open("ab") as log:
            self._process = subprocess.Popen(
                self.node.command(*words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _PATIENCE
        while ":445" not in self.node.run("ss", "--listening", "--tcp", "--numeric", "--no-header"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                wrote = (self.directory / "smbd.out").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"smbd of {self.node.name} does not listen: {wrote}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it and all its children."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10.0)


def configuration(directory: Path) -> str:
    """Of one server that neither looks around in the network nor touches the machine's Samba."""
    lines = {
        "workgroup": "CAMPUS",
        "server role": "standalone server",
        "map to guest": "Bad User",
        "smb ports": "445",
        "disable netbios": "yes",
        "load printers": "no",
        "printcap name": "/dev/null",
        "bind interfaces only": "no",
        "server multi channel support": "no",
        "server min protocol": "SMB2",
        "private dir": f"{directory}/private",
        "pid directory": f"{directory}/state",
        "lock directory": f"{directory}/state",
        "state directory": f"{directory}/state",
        "cache directory": f"{directory}/state",
        "ncalrpc dir": f"{directory}/state/ncalrpc",
        "log file": f"{directory}/smbd.log",
    }
    text = "".join(f"  {key} = {value}\n" for key, value in lines.items())
    share = f"  path = {directory}/{SHARE}\n  guest ok = yes\n  read only = yes\n"
    return f"[global]\n{text}\n[{SHARE}]\n{share}"


def fetch_words(address: str, name: str, target: Path) -> tuple[str, ...]:
    """The command that fetches a file from a server's share into `target`."""
    configured = ("--configfile=/dev/null", "--no-pass", "--option=client min protocol=SMB2")
    return ("smbclient", *configured, f"//{address}/{SHARE}", "--command", f"get {name} {target}")
