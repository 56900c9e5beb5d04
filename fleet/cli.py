"""The collector's commands."""

from __future__ import annotations

import csv
import logging
import signal
import sys
import threading
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from edge.command_line import run_app
from edge.contract.records import ShareRow
from fleet.collector import Collector
from fleet.errors import UsageError
from fleet.orders import order, send
from fleet.queries import CellRow, open_queries
from fleet.reviewed_cells import LEFT_OUT_NAME, MARGIN, PictureFolder
from fleet.reviewed_cells import export_reviews as export
from fleet.settings import BrokerAccess, parse_address
from fleet.store import FleetStore

app = typer.Typer(
    help="Take what stations publish, keep it, and look at it. Not for diagnosis: a morphologist decides.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DatabaseOption = Annotated[
    Path, typer.Option("--database", "-d", help="The collector's SQLite file.", show_default=False)
]

_LOOK_S = 1.0
_EX_SOFTWARE = 70
_SHOWN = 10
_CELL_COLUMNS = (
    "site",
    "station",
    "boot",
    "sequence",
    "slide",
    "field",
    "captured_at",
    "bundle",
    "cell",
    "object",
    "score",
    "class",
    "probability",
    "doubtful",
    "out_of_distribution",
    "x0_px",
    "y0_px",
    "x1_px",
    "y1_px",
    "reviewed_class",
    "reviewer",
    "reviewed_at",
)


class Protocol(str, Enum):
    """An MQTT version."""

    V5 = "5"
    V311 = "3.1.1"


class Order(str, Enum):
    """What a station can be told."""

    OPEN_SLIDE = "open_slide"
    PAUSE_SLIDE = "pause_slide"
    RESUME_SLIDE = "resume_slide"
    CLOSE_SLIDE = "close_slide"
    REPORT_HEALTH = "report_health"
    LOOK_FOR_UPDATE = "look_for_update"
    CANCEL_UPDATE = "cancel_update"


BrokerOption = Annotated[
    str, typer.Option("--broker", help="HOST, HOST:PORT or mqtts://HOST:PORT.", show_default=False)
]
ProtocolOption = Annotated[Protocol, typer.Option(help="The MQTT version the broker speaks.")]
AuthoritiesOption = Annotated[
    Path | None, typer.Option("--ca-file", help="Authorities that may vouch for the broker (PEM).")
]
CertificateOption = Annotated[
    Path | None, typer.Option("--certificate-file", help="This program's certificate (PEM).")
]
KeyOption = Annotated[Path | None, typer.Option("--key-file", help="Its private key (PEM).")]
UsernameOption = Annotated[str | None, typer.Option("--username", help="Where the broker asks for one.")]
PasswordOption = Annotated[
    Path | None, typer.Option("--password-file", help="File with the password in its first line.")
]


@app.command()
def collect(
    *,
    broker: BrokerOption,
    database: DatabaseOption,
    protocol: ProtocolOption = Protocol.V5,
    ca_file: AuthoritiesOption = None,
    certificate_file: CertificateOption = None,
    key_file: KeyOption = None,
    username: UsernameOption = None,
    password_file: PasswordOption = None,
    name: Annotated[str, typer.Option(help="Tells collectors of one broker apart.")] = "main",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every batch.")] = False,
) -> None:
    """Listen to all stations of a broker until told to stop."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    host, port, tls = parse_address(broker)
    access = BrokerAccess(
        host=host,
        port=port,
        protocol=protocol.value,
        tls=tls or ca_file is not None,
        ca_file=ca_file,
        certificate_file=certificate_file,
        key_file=key_file,
        username=username,
        password_file=password_file,
        name=name,
    )
    leave = threading.Event()

    def told_to_stop(_signal: int, _frame: FrameType | None) -> None:
        leave.set()

    signal.signal(signal.SIGTERM, told_to_stop)
    signal.signal(signal.SIGINT, told_to_stop)
    with FleetStore(database) as store:
        collector = Collector(access=access, store=store)
        collector.start()
        while not leave.wait(_LOOK_S) and collector.running:
            pass
        fault = not collector.running
        collector.stop()
    if fault:
        # The log tells which; a supervisor starts it anew, and the stations send again.
        raise typer.Exit(code=_EX_SOFTWARE)


@app.command("order")
def order_command(
    station: Annotated[str, typer.Argument(metavar="SITE/STATION", help="Whom the order is for.")],
    what: Annotated[Order, typer.Argument(help="What it is to do.")],
    *,
    broker: BrokerOption,
    slide: Annotated[str | None, typer.Option("--slide", help="With open_slide: the accession id.")] = None,
    cells: Annotated[
        int | None, typer.Option("--cells", min=1, max=10_000, help="With open_slide: named cells to reach.")
    ] = None,
    valid_s: Annotated[float, typer.Option("--valid-s", min=1, help="Not carried out after so long.")] = 3600,
    wait_s: Annotated[
        float, typer.Option("--wait-s", min=0, help="How long to wait for the station's answer.")
    ] = 10,
    protocol: ProtocolOption = Protocol.V5,
    ca_file: AuthoritiesOption = None,
    certificate_file: CertificateOption = None,
    key_file: KeyOption = None,
    username: UsernameOption = None,
    password_file: PasswordOption = None,
) -> None:
    """Give a station an order and show its answer; it fails where the station says that it did not do it.

    An order never brings a bundle: the station looks at its own repository, and believes what is signed.
    """
    site, slash, name = station.partition("/")
    if not slash:
        raise UsageError(f"{station!r} names no station.", remedy="Write SITE/STATION.")
    host, port, tls = parse_address(broker)
    access = BrokerAccess(
        host=host,
        port=port,
        protocol=protocol.value,
        tls=tls or ca_file is not None,
        ca_file=ca_file,
        certificate_file=certificate_file,
        key_file=key_file,
        username=username,
        password_file=password_file,
    )
    command = order(what.value, slide=slide, target_cells=cells, valid_s=valid_s)
    answer = send(command, site=site, station=name, access=access, wait_s=wait_s)
    typer.echo(f"{command.id}: {what.value} for {station}")
    if answer is not None:
        typer.echo(f"{answer.outcome.replace('_', ' ')}{answer.detail and f': {answer.detail}'}")
        raise typer.Exit(code=0 if answer.outcome == "done" else 1)
    if wait_s:
        typer.echo("no answer yet; the broker keeps the order for a station that is away")


@app.command()
def stations(database: DatabaseOption) -> None:
    """List the stations, and what of theirs is here or missing."""
    with open_queries(database) as queries:
        for row in queries.stations():
            state = row.state.state if row.state else "unknown"
            faults = [
                f"{count} {word}"
                for count, word in (
                    (row.missing, "missing"),
                    (row.discarded, "discarded by the station"),
                    (row.not_understood, "not understood"),
                    (row.conflicts, "in conflict"),
                )
                if count
            ]
            typer.echo(
                f"{row.site}/{row.station}: {state}, {row.records} records"
                f"{''.join(', ' + fault for fault in faults)}, last {row.last_received_at or 'never'}"
            )
        rejected = queries.rejected()
    if rejected:
        last = rejected[-1]
        typer.echo(
            f"{len(rejected)} messages were rejected; the last at {last.received_at} on {last.topic}: "
            f"{last.reason}"
        )


@app.command()
def slides(database: DatabaseOption) -> None:
    """List the slide sessions with their differential."""
    with open_queries(database) as queries:
        for slide in queries.slides():
            typer.echo(
                f"{slide.stamp.site}/{slide.stamp.key.station} {slide.slide}: {slide.state}, "
                f"{slide.fields} fields, {slide.named_cells} named cells, {slide.doubtful_cells} doubtful, "
                f"{slide.out_of_distribution_cells} out of distribution, {slide.artefacts} artefacts, "
                f"{slide.unclassified} that cannot be named"
            )
            for row in slide.differential:
                typer.echo(
                    f"  {row.cell_class:<24} {row.count:>5}  {row.share:6.1%}  "
                    f"95% interval {row.low:.1%} to {row.high:.1%}{_corrected(row)}"
                )
            for each in slide.blasts.passes if slide.blasts else ():
                typer.echo(f"  blasts above {each.threshold:.1%}: probability {each.probability:.2f}")


def _corrected(row: ShareRow) -> str:
    if row.corrected is None or row.corrected_low is None or row.corrected_high is None:
        return ""
    return f"  corrected {row.corrected:.1%}, {row.corrected_low:.1%} to {row.corrected_high:.1%}"


@app.command()
def cells(
    database: DatabaseOption,
    destination: Annotated[
        str, typer.Option("--csv", help="Where the table goes; '-' for standard output.")
    ] = "-",
) -> None:
    """Write every cell as a line of CSV, with the person's label beside the machine's."""
    with open_queries(database) as queries:
        if destination == "-":
            writer = csv.writer(sys.stdout)
            writer.writerow(_CELL_COLUMNS)
            writer.writerows(_cell_line(row) for row in queries.cells())
            return
        with Path(destination).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(_CELL_COLUMNS)
            writer.writerows(_cell_line(row) for row in queries.cells())


@app.command()
def export_reviews(
    database: DatabaseOption,
    *,
    out: Annotated[Path, typer.Option("--out", help="The folder to make.", show_default=False)],
    pictures: Annotated[
        Path,
        typer.Option(
            "--pictures",
            help="Crops named STATION/BOOT/SEQUENCE-CELL.png, or frames under the names the records give.",
            show_default=False,
            exists=True,
            file_okay=False,
        ),
    ],
    margin: Annotated[
        float, typer.Option(min=1, help="Side of a crop cut from a frame, in parts of its box's longer side.")
    ] = MARGIN,
) -> None:
    """Write the cells that people reviewed as a folder to train from: `leukoscope-trainer data check OUT`."""
    with open_queries(database) as queries:
        found = export(queries.reviews(), pictures=PictureFolder(folder=pictures, margin=margin), out=out)
    typer.echo(f"{out}: {found.reviews} reviews of {found.cells} cells")
    if not found.left_out:
        return
    typer.echo(f"{len(found.left_out)} reviews were left out; {out / LEFT_OUT_NAME} names each:", err=True)
    for each in found.left_out[:_SHOWN]:
        typer.echo(f"  {each}", err=True)
    if len(found.left_out) > _SHOWN:
        typer.echo(f"  and {len(found.left_out) - _SHOWN} more", err=True)


def _cell_line(row: CellRow) -> tuple[object, ...]:
    record, cell, review = row.record, row.cell, row.review
    return (
        record.stamp.site,
        record.stamp.key.station,
        record.stamp.key.boot,
        record.stamp.key.sequence,
        record.slide,
        record.field,
        record.captured_at.isoformat(),
        record.stamp.bundle,
        row.index,
        cell.object.value,
        cell.score,
        cell.cell_class,
        cell.probability,
        cell.doubtful,
        cell.out_of_distribution,
        *cell.box_px,
        review.reviewed_class if review else None,
        review.reviewer if review else None,
        review.reviewed_at.isoformat() if review else None,
    )


def main() -> None:
    """Run the command line."""
    run_app(app)


if __name__ == "__main__":
    main()
