"""A report on disk: one page that needs nothing beside it, and the same facts as JSON."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from trainer.report.page import page
from trainer.report.report import Report

PAGE: Final = "report.html"
FACTS: Final = "report.json"


def write_report(out: Path, report: Report) -> None:
    """Write ``report.html`` and ``report.json`` into the folder ``out``, each replaced atomically."""
    html = page(report)
    out.mkdir(parents=True, exist_ok=True)
    _replace(out / PAGE, html)
    _replace(out / FACTS, report.model_dump_json(indent=1) + "\n")


def _replace(file: Path, text: str) -> None:
    partial = file.with_name(f".{file.name}.partial")
    with partial.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(file)
