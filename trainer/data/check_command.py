"""``leukoscope-trainer data check``: a collection's report, for a person and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from trainer.data.check import check_collection
from trainer.data.check_report import CheckReport, ColourTells, Figure, Sizes
from trainer.data.collection import KNOWN
from trainer.errors import DataError, RunError, TrainerError

_SHOWN: Final = 10


def check(
    folder: Annotated[Path, typer.Argument(help="The collection's folder.")],
    *,
    format: Annotated[  # noqa: A002
        str | None,
        typer.Option(help=f"Its layout, where it does not tell: {', '.join(each.name for each in KNOWN)}."),
    ] = None,
    skip_broken: Annotated[
        bool,
        typer.Option(
            "--skip-broken", help="Name what is broken or mislabelled, and do not end with an error."
        ),
    ] = False,
    stop_at_broken: Annotated[
        bool, typer.Option("--stop-at-broken", help="Stop where something is, before anything is compared.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write the report as JSON, too.")] = None,
) -> None:
    """Count, measure and compare everything in a folder of labelled pictures before anything is trained."""
    if skip_broken and stop_at_broken:
        raise TrainerError(
            "--skip-broken and --stop-at-broken contradict each other.", remedy="Give one of them."
        )
    report = check_collection(
        folder, format=format, broken="fatal" if stop_at_broken else "report", quiet=False
    )
    typer.echo(in_words(report))
    if json is not None:
        _write(report, json)
    if not (skip_broken or report.sound):
        raise typer.Exit(DataError.exit_code)


def _write(report: CheckReport, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(report.model_dump_json(by_alias=True, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"{file} cannot be written: {error.strerror}.", remedy="Name another file with --json."
        ) from error


def in_words(report: CheckReport) -> str:
    """The report as text: what is there, what is wrong, what would leak."""
    return "\n".join(
        [
            _headline(report),
            *_block("licence", [report.licence or "not told: find out before anything is trained"]),
            *_block("classes", _classes(report)),
            *_block("sizes", _sizes(report)),
            *_block("who", _identity(report)),
            *_block("parts", _parts(report)),
            *_block("the same", _duplicates(report)),
            *_block("colour", _colour(report)),
            *_block("problems", _problems(report)),
        ]
    )


def _headline(report: CheckReport) -> str:
    name = report.folder.resolve().name
    return f"{name}: {report.samples} samples in {report.pictures} pictures, read as {report.format}"


def _block(title: str, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if number == 0:
            yield ""
        yield f"{title if number == 0 else '':<10}{line}"


def _classes(report: CheckReport) -> Iterator[str]:
    width = max((len(each.label) for each in report.classes), default=0)
    for each in report.classes:
        known = [
            _count(count, word)
            for count, word in ((each.patients, "patient"), (each.slides, "slide"))
            if count is not None
        ]
        yield f"{each.label:<{width}}  {each.samples:>6}  {each.share:6.1%}" + "".join(
            f"  {one}" for one in known
        )
    if report.imbalance is not None and len(report.classes) > 1:
        yield f"the largest has {report.imbalance:.1f} times the samples of the smallest"
    if len(report.laboratories) > 1:
        yield "laboratories: " + ", ".join(f"{name} {count}" for name, count in report.laboratories.items())


def _sizes(report: CheckReport) -> Iterator[str]:
    if report.picture_sizes:
        yield f"pictures {_size(report.picture_sizes)}"
    if report.box_sizes:
        yield f"boxes    {_size(report.box_sizes)}"


def _size(sizes: Sizes) -> str:
    width, height = sizes.commonest_px
    if sizes.distinct == 1:
        return f"all {width}x{height}"
    spans = " and ".join(
        f"{name} {each.least:g} to {each.greatest:g} (median {each.median:g})"
        for name, each in (("width", sizes.width_px), ("height", sizes.height_px))
    )
    return (
        f"{spans} px; {sizes.distinct} different, most often {width}x{height} ({sizes.commonest_count} times)"
    )


def _identity(report: CheckReport) -> Iterator[str]:
    told = report.identity
    if told is None:
        return
    counts = [
        _count(count, word)
        for count, word in ((told.patients, "patient"), (told.slides, "slide"))
        if count is not None
    ]
    yield f"{', '.join(counts) or 'neither patient nor slide is told'}; honest splits go by {told.grouped_by}"
    yield told.words


def _parts(report: CheckReport) -> Iterator[str]:
    for each in report.parts:
        labels = ", ".join(f"{label} {count}" for label, count in each.labels.items())
        patients = "" if each.patients is None else f"; {_count(each.patients, 'patient')}"
        yield f"{each.part}: {each.samples} ({labels}{patients})"
    for overlap in report.overlaps:
        one, other = overlap.parts
        yield (
            f"{one} and {other} share {_count(len(overlap.names), overlap.of)} ({_listed(overlap.names)}): "
            "what is trained on one and measured on the other flatters itself"
        )


def _duplicates(report: CheckReport) -> Iterator[str]:
    found = report.duplicates
    if not (found.exact_groups or found.near_groups or found.turned_groups):
        yield "no two pictures show the same"
        return
    for how, pictures, groups in (
        ("exactly", found.exact_pictures, found.exact_groups),
        ("nearly", found.near_pictures, found.near_groups),
        ("turned by quarters or mirrored", found.turned_pictures, found.turned_groups),
    ):
        if groups:
            yield f"{how}: {pictures} pictures in {_count(groups, 'group')}"
    if found.across_parts:
        yield f"in more than one of the collection's own parts: {_count(found.across_parts, 'group')}"
    if found.across_patients:
        yield f"of more than one patient: {_count(found.across_patients, 'group')}"
    for conflict in found.conflicts[:_SHOWN]:
        files = ", ".join(_shown(each, report) for each in conflict.files)
        yield f"labelled {' and '.join(conflict.labels)}: {files}"
    if len(found.conflicts) > _SHOWN:
        yield f"and {len(found.conflicts) - _SHOWN} more groups with contradicting labels"


def _colour(report: CheckReport) -> Iterator[str]:
    for each in report.colour:
        yield (
            f"six colour statistics tell the {each.of} (balanced accuracy of the nearest neighbour, "
            f"{each.folds} folds; guessing reaches {each.guessing:.0%})"
        )
        unseen = f"on {report.identity.grouped_by if report.identity else 'group'}s not seen"
        yield f"  {unseen:<20} {_percent(each.honest)}"
        yield f"  {'on a random split':<20} {_percent(each.by_chance)}{_leak(each)}"
        if each.left_out:
            yield f"  without {', '.join(each.left_out)}: a single group, nothing to hold out"
    if report.colour:
        yield "a network has learnt more than colour only where it does better than that"
    yield from report.colour_unasked


def _leak(each: ColourTells) -> str:
    leak = each.by_chance.value - each.honest.value
    return f"  which leaks {100 * leak:.1f} points" if leak > 0 else ""


def _percent(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:.1%}"
    return f"{figure.value:.1%} ({figure.low:.1%} to {figure.high:.1%})"


def _problems(report: CheckReport) -> Iterator[str]:
    if not report.problems:
        yield "none: every file is readable and in its place"
        return
    undecoded = f"; {_count(report.unreadable, 'picture')} cannot be decoded" if report.unreadable else ""
    yield f"{_count(len(report.problems), 'problem')}{undecoded}"
    for each in report.problems[:_SHOWN]:
        yield f"{_shown(each.file, report)}: {each.what}. {each.remedy}"
    if len(report.problems) > _SHOWN:
        yield f"and {len(report.problems) - _SHOWN} more; --json lists all"


def _shown(file: Path, report: CheckReport) -> str:
    return file.relative_to(report.folder).as_posix() if file.is_relative_to(report.folder) else str(file)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
