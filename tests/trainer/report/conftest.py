"""The real Chromium that the operator's page is tested with, for the report's page."""

from tests.browser.conftest import browser

__all__ = ["browser"]
