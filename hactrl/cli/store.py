"""`hactl store`: copies of the store. They work on its file, without a controller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from hactrl.cli.common import Exit, Yes, confirmed, err, out
from hactrl.store.copies import UnfinishedError
from hactrl.store.copies import backup as make_copy
from hactrl.store.copies import restore as put_back
from hactrl.store.file import StoreError

app = typer.Typer(
    help="Make copies of the controller's store, and put them back.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Store = Annotated[Path, typer.Argument(help="`controller.store` of the site file.")]


@app.command()
def backup(
    store: Store, file: Annotated[Path, typer.Argument(help="A new file for the copy.")]
) -> None:
    """Write a copy of the store, also while a controller uses it."""
    with _told():
        make_copy(store, file)
    out.print(escape(f"{file}: a copy of {store}"))


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A copy that `hactl store backup` made.")],
    store: Store,
    yes: Yes = False,
) -> None:
    """Put a copy in the place of the store, while no controller uses it."""
    if not yes and not confirmed(f"Replace {store} by {file}?"):
        err.print("nothing done")
        raise typer.Exit(Exit.REFUSED)
    with _told():
        replaced = put_back(file, store)
    kept = f"; what was there is {replaced}" if replaced else ""
    out.print(escape(f"{store}: restored from {file}{kept}"))


@contextmanager
def _told() -> Iterator[None]:
    """What fails ends the program with the exit code that says whether something has changed."""
    try:
        yield
    except UnfinishedError as error:
        err.print(f"[red]unknown:[/] {escape(str(error))}")
        raise typer.Exit(Exit.UNKNOWN) from error
    except StoreError as error:
        err.print(f"[red]refused:[/] {escape(str(error))}")
        raise typer.Exit(Exit.REFUSED) from error
