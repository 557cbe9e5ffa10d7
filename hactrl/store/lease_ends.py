"""When the last leases that were granted have ended, for the controller that comes next.

A controller that starts knows of no grant, and would have to wait a whole lease before it could say
that one has ended. So each writes down, before a grant leaves, when the last one of each role ends.
What is written need not outlive the machine, because the clock that it is told by does not. So it
stands in memory, in a file of /dev/shm: writing there waits for no disk, a full one included, and
is done when the call returns, also for a process that is killed then.

It is believed only where nobody else can have granted anything since:

    the same boot       else the clock is another one
    the same store      and the last run before this one has written it: the store counts runs, and
                        every restoration of a copy raises its floor of epochs
    the two clocks      that of the boot, and the wall's, say that as much time has passed, or the
                        former less: a namespace or a restored process may have another clock
    not long ago        who lets a controller run on another machine, with a store of its own, and
                        then the one here again, will have taken longer; and after an absence
                        that long one lease more is little

In doubt nothing is known, and a whole lease is waited for.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from zlib import crc32

from hactrl.store.file import digest_of

LOG = logging.getLogger(__name__)

#: Memory that outlives a process, and not its machine (shm_overview(7)).
FOLDER = Path("/dev/shm")

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

#: What the names of its files begin with.
PREFIX = "hactrl-leases-"

#: Seconds after which a file that nobody writes any more is removed.
LEFT = 86_400.0

#: Seconds after which nothing that was written is believed.
BELIEVED_FOR = 120.0

#: Seconds by which the wall clock may fall behind: it is slewed, and read a moment later.
SLACK = 1.0

#: Bytes that are kept ready, so that no write needs any that are not there; and that are read.
ROOM, MOST = 4096, 1_048_576


@dataclass(frozen=True)
class Run:
    """Of a store: the number of a run of a controller, and the epoch floor. See `Store`."""

    generation: int
    floor: int


@dataclass(frozen=True)
class Note:
    """What is written, at a moment of both clocks. `ends` by role (clock of the boot)."""

    boot: str
    generation: int
    floor: int
    at: float
    wall: float
    ends: dict[str, float]

    def believed(self, boot: str, last: Run, at: float, wall: float) -> bool:
        """Does nothing speak against it? `last` is the run before this one."""
        passed, by_wall = at - self.at, wall - self.wall
        return (
            (self.boot, self.generation, self.floor) == (boot, last.generation, last.floor)
            and 0.0 <= passed <= BELIEVED_FOR
            and passed <= by_wall + SLACK
        )


class LeaseEnds:
    """`store` is the path of the store, `run` this one; `clock` never jumps (CLOCK_BOOTTIME).

    Where there is no such memory, the log says so, and each start waits for a whole lease.
    """

    def __init__(
        self,
        store: str,
        run: Run,
        clock: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._run, self._clock, self._wall = run, clock, wall
        self._path = FOLDER / f"{PREFIX}{digest_of(os.path.realpath(store))}"
        self._boot = ""
        self._file: int | None = None
        try:
            _sweep(wall())
            self._boot = BOOT_ID.read_text(encoding="ascii").strip()
            self._file = _opened(self._path)
        except OSError as error:
            LOG.warning(
                "%s: %s: a controller that starts waits for a whole lease", self._path, error
            )

    def left_by(self, last: Run) -> Mapping[str, float]:
        """What the run before this one wrote last; nothing where that is not certain."""
        note = None if self._file is None else _note(os.pread(self._file, MOST, 0))
        if note is None or not note.believed(self._boot, last, self._clock(), self._wall()):
            return {}
        return note.ends

    def note(self, ends: Mapping[str, float]) -> None:
        """Write this in the place of what was written before.

        Raises:
            OSError: it cannot be written, nor taken away what was; grant nothing then.
        """
        if self._file is None:
            return
        run = asdict(self._run)
        note = Note(self._boot, at=self._clock(), wall=self._wall(), ends=dict(ends), **run)
        line = _line(note)
        try:
            written = os.pwrite(self._file, line, 0)
            if written < len(line):
                raise OSError(f"only {written} of {len(line)} bytes were written")
        except OSError as error:
            LOG.error("%s: %s: the next controller waits for a whole lease", self._path, error)
            with suppress(FileNotFoundError):
                self._path.unlink()
            os.close(self._file)
            self._file = None


def _sweep(now: float) -> None:
    """Remove what stores have left that are gone: of laboratories and tests, mostly."""
    for path in FOLDER.glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, or gone
            if path.lstat().st_mtime < now - LEFT:
                path.unlink()


def _opened(path: Path) -> int:
    """The file, made if it is not there, and with room.

    Raises:
        OSError: it cannot be, or somebody else has made it, or may write it.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    try:
        found = os.fstat(descriptor)
        ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
        if not ours or found.st_mode & 0o077 or found.st_nlink != 1:
            raise PermissionError("not a file of ours alone; remove it")
        os.posix_fallocate(descriptor, 0, ROOM)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _line(note: Note) -> bytes:
    text = json.dumps(asdict(note)).encode()
    return b"%d %b\n" % (crc32(text), text)


def _note(content: bytes) -> Note | None:
    """The note of a first line; None if it is none, or only a part of one."""
    checksum, _, text = content.partition(b"\n")[0].partition(b" ")
    if checksum != b"%d" % crc32(text):
        return None
    try:
        return Note(**json.loads(text))
    except (ValueError, TypeError):  # of another version
        return None
