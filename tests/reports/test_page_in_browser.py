"""The page in Debian's Chromium: nothing is said on its console, nothing is loaded, everybody can move the slider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser as chromium
import pytest
from clips import make_clip
from pages import RUN

from deblurcli.console import Reporter
from deblurcli.jobs.compare import CompareJob
from deblurcli.options.compare import CompareOptions

MISSING = chromium.missing()
pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(MISSING), reason=MISSING)]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    before = make_clip(folder / "in <b>&amp;.mkv", size=(256, 144), frames=12, codec="libx264", crf=40)
    after = make_clip(folder / "out $title.mkv", size=(256, 144), frames=12)
    job = CompareJob(before, after, folder / "page.html", CompareOptions(frames=3, crops=2), RUN)
    return job.make(Reporter.silent()).destination


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    browser = chromium.opened()
    yield browser
    browser.quit()


@pytest.fixture
def browser(opened: Any, page: Path) -> Any:
    opened.get_log("browser"), opened.get_log("performance")
    opened.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    chromium.show(opened, page)
    return opened


def divider(browser: Any) -> float:
    """Where the divider is, in percent of the width, as it is drawn."""
    script = "const s = document.querySelector('.stage'), b = s.querySelector('.bar').getBoundingClientRect();"
    script += "const r = s.getBoundingClientRect(); return 100 * (b.x + b.width / 2 - r.x) / r.width"
    return float(browser.execute_script(script))


def stage(browser: Any) -> dict[str, float]:
    script = "return document.querySelector('.stage').getBoundingClientRect().toJSON()"
    return browser.execute_script(script)  # type: ignore[no-any-return]


def requests(browser: Any) -> set[str]:
    """What was asked for, besides what is in the file itself."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return {url for url in sent if not url.startswith("data:")}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_said_and_nothing_loaded(browser: Any, page: Path, scheme: str) -> None:
    chromium.show(browser, page, scheme=scheme)
    assert browser.get_log("browser") == []
    assert requests(browser) == {page.as_uri()}
    assert browser.title == "in <b>&amp;.mkv and out $title.mkv"
    broken = "return [...document.images].filter((each) => !each.naturalWidth).length"
    assert browser.execute_script(broken) == 0 and browser.execute_script("return document.images.length") > 20


def test_that_an_error_would_be_seen(browser: Any) -> None:
    browser.execute_script("setTimeout(() => { throw new Error('seen') })")
    browser.execute_script("document.body.append(Object.assign(new Image(), {src: 'https://example.org/a.png'}))")
    browser.execute_async_script("setTimeout(arguments[0], 50)")
    said = [entry["message"] for entry in browser.get_log("browser")]
    assert any("seen" in line for line in said) and any("Content Security Policy" in line for line in said)


def test_the_mouse_moves_the_divider(browser: Any) -> None:
    assert divider(browser) == pytest.approx(50, abs=0.5)
    box = stage(browser)

    def mouse(kind: str, share: float) -> None:
        at = {"x": box["x"] + share * box["width"], "y": box["y"] + box["height"] / 2}
        press = {"button": "left", "buttons": 1, "clickCount": 1}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, **at, **press})

    mouse("mousePressed", 0.2)
    assert divider(browser) == pytest.approx(20, abs=1.5)
    for share in (0.4, 0.8):
        mouse("mouseMoved", share)
    mouse("mouseReleased", 0.8)
    assert divider(browser) == pytest.approx(80, abs=1.5)
    shown = browser.execute_script("return getComputedStyle(document.querySelector('.stage .top')).clipPath")
    right = float(shown.split()[1].rstrip("px%)"))
    assert right == pytest.approx(20 if "%" in shown.split()[1] else box["width"] * 0.2, rel=0.1)


def test_a_finger_moves_the_divider(browser: Any, page: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    chromium.show(browser, page, width=390, height=844)
    box = stage(browser)
    y = box["y"] + box["height"] / 2

    def touch(kind: str, *shares: float) -> None:
        points = [{"x": box["x"] + share * box["width"], "y": y} for share in shares]
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 0.5)
    for share in (0.55, 0.6, 0.7):
        touch("touchMove", share)
    touch("touchEnd")
    assert divider(browser) == pytest.approx(70, abs=4)


def test_the_keyboard_moves_the_divider_and_shows_where_it_is(browser: Any) -> None:
    from selenium.webdriver import ActionChains, Keys

    def focused() -> str:
        return str(browser.execute_script("return document.activeElement.id || document.activeElement.name || ''"))

    passed = []
    while focused() != "slide" and len(passed) < 6:
        ActionChains(browser).send_keys(Keys.TAB).perform()
        passed.append(focused())
    assert passed == ["view", "marks", "slide"]
    outline = "return getComputedStyle(document.querySelector('.stage')).outlineStyle"
    assert browser.execute_script(outline) == "solid"
    for key, place in ((Keys.ARROW_RIGHT, 50.5), (Keys.HOME, 0), (Keys.END, 100), (Keys.ARROW_LEFT, 99.5)):
        ActionChains(browser).send_keys(key).perform()
        assert divider(browser) == pytest.approx(place, abs=0.3)
    slide = browser.find_element("id", "slide")
    assert slide.accessible_name == "Divider between before on the left and after on the right"
    assert slide.get_attribute("aria-valuetext") == "100 % before, 0 % after"


def test_key_frames_and_ways_to_look_are_chosen(browser: Any) -> None:
    buttons = browser.find_elements("css selector", ".thumbs button")
    assert len(buttons) == 3 and buttons[0].accessible_name.startswith("Show frame ")
    buttons[2].click()
    assert [b.get_attribute("aria-current") for b in buttons] == ["false", "false", "true"]
    caption = browser.find_element("css selector", ".at").text
    assert caption == buttons[2].accessible_name.replace("Show frame", "Frame").replace(",", " at")
    for value, pictures in (("side", 2), ("apart", 2), ("slider", 2)):
        browser.execute_script(f"document.querySelector('input[value={value}]').click()")
        assert len(browser.find_elements("css selector", ".stage img")) == pictures
        assert bool(browser.find_elements("id", "slide")) == (value == "slider")
    browser.find_element("id", "marks").click()
    assert len(browser.find_elements("css selector", ".stage .mark")) == 2


def test_the_run_is_told(browser: Any) -> None:
    text = browser.find_element("id", "page").text
    told = ["adapted: 20 steps", "blur of 3 to 8 pixels", "blur below 3 pixels", "1 frames came out broken"]
    assert [line for line in told if line not in text] == []
    assert "The weights half-way to those of step 20 were kept: +0.15 dB" in text
    charts = browser.find_elements("css selector", ".chart > svg")
    assert [chart.get_attribute("role") for chart in charts] == ["img"] * 3
    assert all(chart.get_attribute("aria-label") for chart in charts)
    assert len(browser.find_elements("css selector", ".map rect")) == 3


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    light = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), light, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_legible_on_every_screen(browser: Any, page: Path, scheme: str, width: int) -> None:
    chromium.show(browser, page, scheme=scheme, width=width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    look = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    ground = luminance(browser.execute_script(look, "body", "backgroundColor"))
    assert (ground < 0.05) == (scheme == "dark")
    for selector in ("body", ".quiet", ".of-before", ".of-after"):
        text = luminance(browser.execute_script(look, selector, "color"))
        contrast = (max(text, ground) + 0.05) / (min(text, ground) + 0.05)
        assert contrast >= 4.5, f"{selector}: {contrast:.1f}"  # WCAG 2.2, 1.4.3


def test_on_paper_both_versions_of_every_key_frame_stand(browser: Any) -> None:
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = "return [...document.querySelectorAll(arguments[0])].filter((each) => each.offsetHeight).length"
    assert browser.execute_script(shown, ".print img") == 6 and browser.execute_script(shown, ".screen") == 0
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
