"""What a person sees while a scenario plays: its chapters, what is being waited for, and at the
end a table and what did not hold."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table


class Story:
    """Tells and keeps account: `expect` collects what must hold, `finish` gives the verdict."""

    def __init__(self, name: str, console: Console | None = None) -> None:
        self.name = name
        self.console = console or Console(highlight=False)
        self._started = time.monotonic()
        self._broken: list[str] = []

    def chapter(self, title: str) -> None:
        self.console.print(f"\n[bold]{title}[/bold]")

    def tell(self, text: str) -> None:
        self.console.print(f"[dim]{self._time()}[/dim] {text}")

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show that something is going on, and how long it took. Without a terminal one line
        when it begins and one when it ends."""
        begun = time.monotonic()
        if not self.console.is_terminal:
            self.tell(f"{text} …")
        outcome = "[red]failed[/red]"
        try:
            with self.console.status(text):
                yield
            outcome = "[green]done[/green]"
        finally:
            self.tell(f"{text}: {outcome} after {time.monotonic() - begun:.1f} s")

    def expect(self, holds: bool, promise: str, otherwise: str = "") -> bool:
        """Something that the scenario promises; told either way."""
        if holds:
            self.tell(f"[green]✓[/green] {promise}")
        else:
            broken = f"{promise}: {otherwise}" if otherwise else promise
            self._broken.append(broken)
            self.tell(f"[red]✗[/red] {broken}")
        return holds

    def table(self, title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
        table = Table(title=title, title_justify="left")
        for number, column in enumerate(columns):
            table.add_column(column, justify="left" if number == 0 else "right")
        for row in rows:
            table.add_row(*row)
        self.console.print()
        self.console.print(table)

    def interrupted(self) -> None:
        self.console.print("\n[yellow]interrupted; everything has been taken down[/yellow]")

    def finish(self) -> int:
        """Say how it ended; the exit status."""
        if not self._broken:
            self.console.print(f"\n[bold green]{self.name}: all promises held.[/bold green]")
            return 0
        self.console.print(f"\n[bold red]{self.name}: did not hold:[/bold red]")
        for broken in self._broken:
            self.console.print(f"  [red]✗[/red] {broken}")
        return 1

    def _time(self) -> str:
        return f"{time.monotonic() - self._started:6.1f}"
