"""A large file under way from a file server to a client, while something is done to the network."""

from __future__ import annotations

import hashlib
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mininet_lab.network import Node
from mininet_lab.samba import fetch_words

#: Seconds that a file may take.
_PATIENCE = 120.0


def write_file(path: Path, size: int, seed: int) -> str:
    """A file of random octets; its digest."""
    content = random.Random(seed).randbytes(size)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def fetch(node: Node, address: str, name: str, target: Path) -> str:
    """Fetch a file of a server's share; the digest of what came.

    Raises:
        RuntimeError: it was not fetched.
    """
    node.run(*fetch_words(address, name, target), timeout=_PATIENCE)
    return hashlib.sha256(target.read_bytes()).hexdigest()


@dataclass
class Transfer:
    """`errors` is what the client wrote, once it is finished."""

    process: subprocess.Popen[str]
    target: Path
    errors: str = ""

    @property
    def is_under_way(self) -> bool:
        return self.process.poll() is None

    def await_octets(self, number: int) -> None:
        """Until so many have arrived, or it has ended."""
        while (not self.target.exists() or self.target.stat().st_size < number) and (
            self.is_under_way
        ):
            time.sleep(0.02)

    def finish(self) -> str:
        """Wait for its end; the digest of what came, empty if nothing did."""
        _, self.errors = self.process.communicate(timeout=_PATIENCE)
        if not self.target.exists():
            return ""
        return hashlib.sha256(self.target.read_bytes()).hexdigest()


@contextmanager
def fetching(node: Node, address: str, name: str, target: Path) -> Iterator[Transfer]:
    """Begin to fetch a file of a server's share; what is left of it at the end is stopped."""
    target.unlink(missing_ok=True)
    process = subprocess.Popen(
        node.command(*fetch_words(address, name, target)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Transfer(process, target)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
