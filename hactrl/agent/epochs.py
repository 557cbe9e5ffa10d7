"""The highest epoch of each role that this server has ever heard of, in memory and on disk."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from pathlib import Path

from hactrl.agent.aside import aside


class EpochFile:
    """What is heard counts at once, and for ever once it is written: the new file is on disk,
    and its name too, before `save` returns. There is one writer, the agent.

    Use `save` inside a running event loop.
    """

    def __init__(self, path: Path) -> None:
        """Read the file; one that does not exist yet means that no epoch is known.

        Raises ValueError for a file that this class has not written: starting over with no
        epoch would let an overtaken controller back in.
        """
        self.path = path
        self._written = _read(path)
        self._heard = dict(self._written)
        self._writing: asyncio.Task[None] | None = None

    def known(self, role: str) -> int:
        """The highest epoch of a role that this process has heard of or read, 0 if none."""
        return self._heard.get(role, 0)

    def written(self, role: str) -> int:
        """The highest epoch of a role that is known after a restart too."""
        return self._written.get(role, 0)

    def hear(self, role: str, epoch: int) -> None:
        """Raises ValueError if a higher one is known."""
        if epoch < self.known(role):
            raise ValueError(f"epoch {epoch} of {role} is below {self.known(role)}")
        self._heard[role] = epoch

    async def save(self, role: str) -> None:
        """Return once what is known of the role is written. Raises OSError if it cannot be.

        A disk may take for ever; whoever stops waiting stops nothing.
        """
        wanted = self.known(role)
        while self.written(role) < wanted:
            if self._writing is None or self._writing.done():
                self._writing = asyncio.create_task(self._write(dict(self._heard)))
                self._writing.add_done_callback(_seen)
            writing = self._writing
            await asyncio.wait([writing])
            writing.result()

    async def _write(self, epochs: dict[str, int]) -> None:
        content = json.dumps(epochs, indent=1, sort_keys=True).encode() + b"\n"
        await aside(replace_file, self.path, content)
        self._written = epochs


def _seen(writing: asyncio.Task[None]) -> None:
    """Whoever waits raises what it raised; nobody may have waited for so long."""
    if not writing.cancelled():
        writing.exception()


def _read(path: Path) -> dict[str, int]:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return {}
    remedy = "restore it, or remove it once no controller with a lower epoch can be left"
    try:
        epochs = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {remedy}") from None
    if not isinstance(epochs, dict) or not all(
        type(epoch) is int and epoch >= 0 for epoch in epochs.values()
    ):
        raise ValueError(f"{path}: not a table of epochs; {remedy}")
    return epochs


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; content and name are on disk on return."""
    temporary = path.with_name(path.name + ".new")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):  # what is left of it takes room, and harms nobody
            temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
