"""``leukoscope-trainer data fetch``: public collections, on their terms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from tqdm import tqdm

from trainer.data.download import Progress
from trainer.data.fetch import fetch as fetch_source
from trainer.data.public import SOURCES, PublicSource, RemoteFile, source

_NAME_WIDTH: Final = 10


def fetch(
    name: Annotated[str | None, typer.Argument(help="The collection; --list tells which there are.")] = None,
    *,
    to: Annotated[Path | None, typer.Option(help="Folder in which the collection's own is made.")] = None,
    base_url: Annotated[
        str | None, typer.Option("--from", help="A mirror's folder, with the files under their own names.")
    ] = None,
    keep_archives: Annotated[bool, typer.Option(help="Keep what was downloaded, in NAME.archives.")] = False,
    list_all: Annotated[bool, typer.Option("--list", help="List the collections and their terms.")] = False,
) -> None:
    """Fetch a public collection, or say how a person gets it; Ctrl-C stops, the same command goes on."""
    if list_all:
        typer.echo(table(SOURCES))
        return
    if name is None or to is None:
        raise typer.BadParameter("Give a collection and --to DIR; --list tells which collections there are.")
    chosen = source(name)
    with _bars() as bar:
        fetched = fetch_source(chosen, to, base_url=base_url, keep_archives=keep_archives, progress=bar)
    if fetched.already:
        typer.echo(f"{fetched.folder} is there already, whole as it was fetched.")
    for each in fetched.trusted:
        typer.echo(
            f"Nobody published a checksum of {each}: this download was trusted, and its checksum is recorded "
            f"in {to / f'{chosen.name}.lock.json'}. Later ones are held to it."
        )
    typer.echo(
        f"{chosen.title}: {chosen.licence}. May a network trained on it be given to others? {chosen.terms}"
    )
    typer.echo(f"Now: leukoscope-trainer data check {fetched.folder}")


def table(sources: tuple[PublicSource, ...]) -> str:
    """Each collection as a few lines of text."""
    return "\n\n".join("\n".join(_lines(each)) for each in sources)


def _lines(each: PublicSource) -> Iterator[str]:
    pictures = "" if each.pictures is None else f", {each.pictures:,} pictures"
    yield f"{each.name:<{_NAME_WIDTH}}{each.title}{pictures}"
    facts = {
        "what": each.content,
        "home": f"{each.home} (doi:{each.doi})" if each.doi else each.home,
        "licence": each.licence,
        "ship": each.terms,
        "fetch": _how(each),
    }
    for title, fact in facts.items():
        yield f"{'':<{_NAME_WIDTH}}{title + ':':<9}{fact}"


def _how(each: PublicSource) -> str:
    if not each.files:
        return f"by hand; data fetch {each.name} --to DIR tells the steps"
    size = "size not published" if each.size_bytes is None else f"{each.size_bytes / 1e6:.1f} MB"
    checked = all(file.sha256 is not None for file in each.files)
    return f"by program, {size}, " + (
        "checksum published" if checked else "no checksum published: the first download is trusted"
    )


@contextmanager
def _bars() -> Iterator[Callable[[RemoteFile], Progress]]:
    """A progress bar a file, on a terminal only."""
    with ExitStack() as stack:

        def begin(file: RemoteFile) -> Progress:
            bar = stack.enter_context(
                tqdm(desc=file.name, unit="B", unit_scale=True, unit_divisor=1000, disable=None)
            )

            def move(have: int, whole: int | None) -> None:
                bar.total = whole
                bar.n = have
                bar.update(0)

            return move

        yield begin
