"""The document of promises: every test that it names exists, and every promise names one."""

from __future__ import annotations

import ast
import re

import pytest

from tests.conftest import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "reliability.md"
_NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")


def names_in(path):
    """The names of all test functions of a file."""
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_test_that_is_named_exists():
    named = _NAMED.findall(DOCUMENT.read_text())
    assert len(named) > 60
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (REPOSITORY / file).is_file() or (name and name not in names_in(REPOSITORY / file))
    ]
    assert missing == []


def test_every_promise_names_its_test():
    promises = DOCUMENT.read_text().split("## Promises")[1]
    rows = re.findall(r"^\| (?!promise|---)(.+?) \| (.+) \|$", promises, re.MULTILINE)
    assert len(rows) > 50
    assert [promise for promise, tests in rows if not _NAMED.search(tests)] == []


@pytest.mark.parametrize("place", ["edge/daemon/supervision_rules.py", "benchmarks/soak.py"])
def test_the_files_that_it_leads_to_exist(place):
    assert place in DOCUMENT.read_text()
    assert (REPOSITORY / place).is_file()
