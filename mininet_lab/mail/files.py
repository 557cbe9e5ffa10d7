"""Rendered files and directories as values, and the one function that writes them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from shutil import chown

#: Postfix reads a file only when it is more than a second old, lest it reads half of one
#: (dict_load_file_xt), and starts late for it. Ours are whole, so they are dated back. Seconds.
_COOLING = 10.0


@dataclass(frozen=True)
class File:
    """A text file of root's; `mode` 0755 for a script."""

    text: str
    mode: int = 0o644
    group: str | int = "root"


@dataclass(frozen=True)
class Directory:
    """A directory with its owner (name or number) and mode."""

    owner: str | int = "root"
    group: str | int = "root"
    mode: int = 0o755


def install(directories: dict[Path, Directory], files: dict[Path, File]) -> None:
    """Make the directories, parents first, then write the files. What is there is replaced.

    Raises:
        OSError: a path cannot be made.
        LookupError: an owner or a group does not exist.
    """
    for path in sorted(directories):
        wanted = directories[path]
        path.mkdir(parents=True, exist_ok=True)
        chown(path, wanted.owner, wanted.group)
        path.chmod(wanted.mode)
    for path, file in files.items():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, file.mode), "w") as out:
            out.write(file.text)
        chown(path, "root", file.group)
        path.chmod(file.mode)
        written = path.stat().st_mtime - _COOLING
        os.utime(path, (written, written))


def queue_directories(root: Path) -> dict[Path, Directory]:
    """Postfix's queue, owned as its `conf/postfix-files` says."""
    private = Directory("postfix", "root", 0o700)
    names = "active bounce corrupt defer deferred flush hold incoming private saved trace"
    return {
        root: Directory(),
        root / "pid": Directory(),
        root / "maildrop": Directory("postfix", "postdrop", 0o730),
        root / "public": Directory("postfix", "postdrop", 0o710),
    } | {root / name: private for name in names.split()}
