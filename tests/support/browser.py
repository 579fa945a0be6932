"""Debian's Chromium without a screen, driven by Selenium."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromedriver")


def missing() -> str:
    """What is not installed, for the reason of a skip; empty where everything is."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed (pip install selenium)"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"{absent[0]} is not installed (apt-get install chromium chromium-driver)" if absent else ""


def opened() -> Any:
    """A browser that reports everything it would say on its console, and whom no connection is allowed."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(flag)
    options.add_argument("--window-size=1280,900")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=str(shutil.which("chromedriver")))
    return webdriver.Chrome(options=options, service=service)


def show(browser: Any, page: Path, *, scheme: str = "light", width: int = 1280, height: int = 900) -> None:
    """Open a file as a browser with this colour scheme and window does."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(page.as_uri())


def picture(browser: Any, path: Path) -> None:
    """The whole page as a PNG."""
    import base64

    taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    path.write_bytes(base64.b64decode(taken["data"]))
