"""A real Chromium, headless, for tests that look at a page."""

import shutil

import pytest

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    binary = next((path for path in found if path), None)
    assert binary, "no Chromium on PATH (Debian: apt-get install chromium)"
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=binary, args=FLAGS, headless=True)
        yield chromium
        chromium.close()
