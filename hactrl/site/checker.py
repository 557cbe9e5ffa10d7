"""What all checks of a site file need: names that must resolve, and things claimed once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hactrl.site.document import Document
from hactrl.site.errors import Path, closest
from hactrl.site.schema import InterfacePart, SitePart
from hactrl.site.structure import Sound


class Checker:
    """One run over one file. What is `written` in the file counts as known, also where it is
    wrong: one fault is not to be told twice.
    """

    def __init__(self, document: Document, sound: Sound) -> None:
        self.document = document
        self.sound = sound
        self.site: SitePart = sound.site
        self.switch_of: dict[str, str] = {
            switch: name for name, part in self.site.segments.items() for switch in part.switches
        }
        self.written_switches = {
            switch
            for segment in self.written("segments")
            for switch in self.written("segments", segment, "switches")
        }
        self.written_cards = {
            card
            for server in self.written("servers")
            for card in self.written("servers", server, "interfaces")
        }

    def written(self, *path: str) -> list[str]:
        part = self.document.data
        for key in path:
            part = part.get(key, {}) if isinstance(part, dict) else {}
        return [str(key) for key in part] if isinstance(part, dict) else []

    def known(self, path: Path, what: str, name: str, names: Iterable[str]) -> bool:
        """Note an unknown name, with what is known and what it resembles."""
        choices = sorted(names)
        if name in choices:
            return True
        expected = f"one of {', '.join(choices)}" if choices else f"no {what} is described"
        self.document.add(path, f"unknown {what} {name!r}", expected, closest(name, choices))
        return False

    def once(self, items: Iterable[tuple[Path, str]], what: str) -> None:
        """Note every value that an earlier place has already claimed."""
        first: dict[str, Path] = {}
        for path, value in items:
            if value in first:
                other = dotted(self.document.in_file(first[value]))
                self.document.add(path, f"{what} {value} is already that of {other}", "another one")
            else:
                first[value] = path

    def cards(self) -> Iterator[tuple[Path, InterfacePart]]:
        for server, part in self.site.servers.items():
            for name, card in part.interfaces.items():
                yield ("servers", server, "interfaces", name), card

    def cut(self, *path: str) -> bool:
        return not self.sound.complete(*path)


def dotted(path: Path) -> str:
    return ".".join(str(part) for part in path)


def listed(items: Iterable[object]) -> str:
    return ", ".join(str(item) for item in items)
