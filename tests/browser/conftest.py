"""A real Chromium, and a page in it that is watched for everything a user would not see."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from edge.web.server import PageServer
from edge.web.testing import FakeStation

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")  # playwright keeps an event loop running, which asyncio.run elsewhere forbids
def browser() -> Iterator[Browser]:
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    executable = next((path for path in found if path), None)
    if executable is None:
        pytest.skip("no Chromium on PATH; install the package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def station() -> FakeStation:
    station = FakeStation()
    station.advance(12)
    return station


@pytest.fixture
def server(station: FakeStation) -> Iterator[PageServer]:
    with PageServer(view=station, port=0) as server:
        yield server


@pytest.fixture
def visit(browser: Browser, server: PageServer):
    """Opens the page; afterwards it must have said nothing in the console and asked nobody else.

    ``expected`` are parts of console messages that the test provokes.
    """

    @contextmanager
    def opened(*, expected: tuple[str, ...] = (), **context) -> Iterator[Page]:
        said, asked, url = [], [], server.url
        options = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"} | context
        with browser.new_context(**options) as tab:
            page = tab.new_page()
            page.set_default_timeout(20_000)
            page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
            page.on("pageerror", lambda error: said.append(f"uncaught: {error}"))
            page.on("request", lambda request: asked.append(request.url))
            page.goto(url)
            page.wait_for_selector("body[data-link=live]")
            yield page
            unexpected = [words for words in said if not any(part in words for part in expected)]
            assert unexpected == []
            assert {urlsplit(each).netloc for each in asked} == {urlsplit(url).netloc}

    return opened
