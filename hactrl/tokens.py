"""Files that hold tokens: for their owner alone, and text."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

#: What a mode may not have: anything for the group or for others.
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_secret(path: Path) -> str:
    """The text of a file that nobody but its owner may read or write.

    Raises:
        ValueError: others may, or it is no text; the message has the remedy.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISREG(mode) and mode & OTHERS:
            raise ValueError(
                f"{path}: others may read or change it (mode {stat.S_IMODE(mode):04o});"
                f" `chmod 600 {shlex.quote(str(path))}`"
            )
        content = file.read()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}:{line}: not UTF-8; write the token anew") from error


def header_token(token: str, origin: str) -> str:
    """A token as it can stand in an HTTP header; `origin` names it in the error.

    Raises:
        ValueError: it cannot.
    """
    if not (token.isascii() and token.isprintable()):
        raise ValueError(f"{origin}: a token is one line of ASCII characters")
    return token
