"""The highest epoch of each role that this server has ever heard of, on disk."""

from __future__ import annotations

import json
import os
from pathlib import Path


class EpochFile:
    """Survives a power cut: the new file is on disk, and its name too, before `raise_to`
    returns. There is one writer, the agent."""

    def __init__(self, path: Path) -> None:
        """Read the file; one that does not exist yet means that no epoch is known.

        Raises ValueError for a file that this class has not written: starting over with no
        epoch would let an overtaken controller back in.
        """
        self._path = path
        self._epochs = _read(path)

    def known(self, role: str) -> int:
        """The highest epoch of a role, 0 if none is known."""
        return self._epochs.get(role, 0)

    def raise_to(self, role: str, epoch: int) -> None:
        """Remember an epoch durably. Raises ValueError if a higher one is known."""
        if epoch < self.known(role):
            raise ValueError(f"epoch {epoch} of {role} is below {self.known(role)}")
        if epoch == self.known(role):
            return
        epochs = self._epochs | {role: epoch}
        _replace(self._path, json.dumps(epochs, indent=1, sort_keys=True).encode() + b"\n")
        self._epochs = epochs


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


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
