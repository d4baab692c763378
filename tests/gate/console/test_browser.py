"""Guard's console, visitor's page and recordings in a real browser, with a real gate behind them.

    MASK_GATE_SCREENSHOTS=assets/readme python -m pytest tests/gate/console/test_browser.py

also keeps pictures of both pages.
"""

import contextlib
import csv
import http.server
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
import yaml

from mask_gate.gate.config.schema import parse_config
from mask_gate.gate.console.login import write_password
from mask_gate.gate.display.video_recorder import VideoRecorder

ROOT = Path(__file__).resolve().parents[3]
COMMAND = "import sys, mask_gate.gate.commands.gate; sys.exit(mask_gate.gate.commands.gate.main())"
PATIENCE_S = 60.0
DESKTOP, PHONE = (1280, 900), (390, 844)

pytest.importorskip("uvicorn", reason="needs the console extra: pip install -e '.[console]'")
webdriver = pytest.importorskip("selenium.webdriver", reason="needs the dev extra")
Keys = webdriver.Keys
pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("chromium") is None or shutil.which("chromedriver") is None,
        reason="apt-get install chromium chromium-driver to try the pages in a browser",
    ),
]


def until(condition):
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        if met := condition():
            return met
        time.sleep(0.1)
    return condition()


class RunningGate:
    """`mask-gate` with a console, and what it says."""

    def __init__(self, folder, weights, text="gate: lobby\n", flags=("--camera", "demo"), more=""):
        (folder / "run").mkdir(mode=0o700)
        config = folder / "gate.yaml"
        config.write_text(f"{text}console: {{enabled: true, port: 0, {more}}}\n")
        self.log = folder / "log"
        environment = {
            **os.environ, "RUNTIME_DIRECTORY": str(folder / "run"), "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, "--config", str(config), "--headless", "--mute",
                 "--weights", str(weights), "--engine", "onnx", *flags],
                cwd=ROOT, env=environment, stderr=log,
            )  # fmt: skip

    def said(self, pattern):
        found = until(lambda: re.search(pattern, self.log.read_text()))
        assert found, self.log.read_text()
        return found[1]

    def reached(self):
        return self.said(r"console: (http\S+/)"), self.said(r"the password of this run is (\S+)")

    def close(self):
        self.process.terminate()
        self.process.wait(PATIENCE_S)


@pytest.fixture
def gate(tmp_path, small_detector):
    with contextlib.closing(RunningGate(tmp_path, small_detector)) as gate:
        yield gate


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
        "disable-background-networking", "disable-component-update", "disable-dev-shm-usage",
        f"user-data-dir={tmp_path / 'profile'}", "lang=en",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.page_load_strategy = "none"  # a page with a live picture is never quite loaded
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options, service)
    driver.set_window_size(*DESKTOP)
    yield Browser(driver)
    driver.quit()


class Browser:
    def __init__(self, driver):
        self.driver = driver

    def open(self, url):
        self.driver.get(url)

    def find(self, selector):
        return until(lambda: next(iter(self.driver.find_elements("css selector", selector)), None))

    def text(self, selector):
        with contextlib.suppress(Exception):  # replaced while it was read
            return self.driver.find_element("css selector", selector).text
        return ""

    def texts(self, selector):
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)"
        return self.driver.execute_script(script, selector)

    def state(self):
        return self.driver.execute_script("return document.body?.dataset.state")

    def buttons(self):
        return self.driver.find_elements("css selector", "#by-hand button")

    def pixels(self, selector):
        png = self.driver.find_element("css selector", selector).screenshot_as_png
        return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)

    def zone(self):
        """The corners, as the lines to paste say."""
        return yaml.safe_load(self.text("#yaml"))["policy"]["zone"]

    def drag(self, selector, number, by):
        """Move the pointer from one of several dots by a part of the picture."""
        size = self.driver.find_element("css selector", "#zone").size
        dot = self.driver.find_elements("css selector", selector)[number]
        right, down = round(by[0] * size["width"]), round(by[1] * size["height"])
        hand = webdriver.ActionChains(self.driver).click_and_hold(dot)
        hand.move_by_offset(right, down).release().perform()

    def double_click(self, selector, number):
        dot = self.driver.find_elements("css selector", selector)[number]
        webdriver.ActionChains(self.driver).double_click(dot).perform()

    def tiles(self):
        """State and reason of each tile, in words, by its door."""
        script = """
            const text = (tile, key) => tile.querySelector(`[data-shows="${key}"]`).textContent;
            return Object.fromEntries([...document.querySelectorAll(".tile")].map(tile => [
                tile.dataset.name,
                [tile.dataset.door, text(tile, "state_text"), text(tile, "reason_text")]]));
        """
        return self.driver.execute_script(script)

    def complaints(self):
        """What the browser holds against the pages, besides requests that were refused."""
        said = [line["message"] for line in self.driver.get_log("browser")]
        return [m for m in said if "Content Security Policy" in m or "Error" in m]

    def keep(self, name):
        if folder := os.environ.get("MASK_GATE_SCREENSHOTS"):
            png = np.frombuffer(self.driver.get_screenshot_as_png(), np.uint8)
            path = str(Path(folder) / f"{name}.jpg")
            assert cv2.imwrite(path, cv2.imdecode(png, 1), [cv2.IMWRITE_JPEG_QUALITY, 80])

    def phone(self, on):
        """A phone's narrow window, which no desktop browser offers by itself."""
        width, height = PHONE
        metrics = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": True}
        command = "setDeviceMetricsOverride" if on else "clearDeviceMetricsOverride"
        self.driver.execute_cdp_cmd(f"Emulation.{command}", metrics if on else {})


PLAYER = b"""<!doctype html><video muted src="recording"></video><canvas></canvas>"""
READ = """
    const video = document.querySelector("video"), canvas = document.querySelector("canvas");
    const paint = canvas.getContext("2d");
    paint.drawImage(video, 0, 0, canvas.width, canvas.height);
    const [red, green, blue] = paint.getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data;
    return [video.ended, video.videoWidth, video.videoHeight, video.duration, red, green, blue];
"""


@contextlib.contextmanager
def served(recording):
    """A page with the recording on it, at an address of this machine."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            is_page = self.path == "/"
            body = PLAYER if is_page else recording.read_bytes()
            kind = "text/html" if is_page else f"video/{recording.suffix[1:]}"
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_recording_plays_in_the_browser(tmp_path, browser, suffix):
    """From its first picture to its last, with its size, its length and its colours."""
    bgr = np.zeros((240, 320, 3), np.uint8)
    green, blue = bgr + np.uint8([0, 200, 0]), bgr + np.uint8([200, 0, 0])
    recorder = VideoRecorder(tmp_path / f"door{suffix}", fps=10.0, queue_frames=20)
    for number in range(20):
        recorder.write(green if number < 10 else blue, number / 10)
    recorder.close()
    with served(recorder.path) as address:
        browser.open(address)
        video = browser.find("video")
        ready = "return document.querySelector('video').readyState >= 2"
        assert until(lambda: browser.driver.execute_script(ready))
        ended, *size_wh, duration_s, red, green, blue = browser.driver.execute_script(READ)
        assert (ended, size_wh) == (False, [320, 240])
        assert duration_s == pytest.approx(2.0, abs=0.2)
        assert green > 150 > 90 > max(red, blue)
        browser.driver.execute_script("arguments[0].play()", video)
        assert until(lambda: browser.driver.execute_script(READ)[0])
        *_, red, green, blue = browser.driver.execute_script(READ)
        assert blue > 150 > 90 > max(red, green)


def test_a_guards_shift(gate, browser):
    home, password = gate.reached()
    browser.open(home)  # without a password: nothing but the question for it
    browser.find("#password").send_keys("not the right one")
    browser.find(".login button").click()
    assert until(lambda: "not right" in browser.text(".complaint"))
    assert browser.driver.current_url == f"{home}login"
    assert httpx.get(f"{home}live.mjpg").status_code == 401

    browser.find("#password").send_keys(password)
    browser.find(".login button").click()
    assert browser.find("#live")
    assert until(lambda: "works" in browser.text("#part-camera"))

    first = browser.pixels("#live")  # the picture moves
    assert until(lambda: (browser.pixels("#live") != first).mean() > 0.01)

    assert until(lambda: browser.state() == "deny")  # a denial appears
    browser.keep("console-desktop")
    assert until(lambda: "Stop" in browser.texts("#history b"))
    assert until(lambda: int(browser.text("#denials") or 0) >= 1)
    assert browser.driver.execute_script("return document.querySelector('#chart svg title')")

    select = browser.driver.find_element("css selector", "select[name=type]")  # filter
    assert until(lambda: "signal" in browser.texts("#events td:nth-child(2)"))
    select.send_keys("signal")
    browser.find("#filter button").click()
    assert until(lambda: set(browser.texts("#events td:nth-child(2)")) == {"signal"})

    cookies = {c["name"]: c["value"] for c in browser.driver.get_cookies()}  # export
    exported = {}
    for kind in ("csv", "json"):
        address = browser.find(f"#{kind}").get_attribute("href")
        assert "type=signal" in address
        exported[kind] = httpx.get(address, cookies=cookies).text
    rows = list(csv.DictReader(io.StringIO(exported["csv"])))
    assert rows
    assert {row["type"] for row in rows} == {"signal"}
    assert {event["type"] for event in json.loads(exported["json"])} == {"signal"}

    browser.find("#lang-ko").click()  # language
    assert until(lambda: "상태 점검" in browser.texts("h2"))
    browser.phone(True)
    browser.open(f"{home}?lang=ko")
    assert until(lambda: browser.state() in ("deny", "allow"))
    assert browser.driver.execute_script(
        "return document.documentElement.scrollWidth <= window.innerWidth"
    )
    browser.keep("console-phone")
    assert browser.complaints() == []


BY_HAND = "guard_password_files: {{kim: {folder}/kim}}, guard_may: [lock_down, let_in_once]"


def test_a_guard_locks_down_and_lets_in_once(tmp_path, small_detector, browser, camera):
    """By a form that works without a script, in both languages, at a desk and on a phone."""
    camera.mode = "bare"
    write_password(tmp_path / "kim", "kim's long password")
    text = f'gate: lobby\ncamera: {{source: "{camera.url}"}}\n'
    more = BY_HAND.format(folder=tmp_path)
    with contextlib.closing(RunningGate(tmp_path, small_detector, text, (), more)) as gate:
        home = gate.said(r"console: (http\S+/)")
        browser.open(home)
        browser.find("#name").send_keys("kim")
        browser.find("#password").send_keys("kim's long password")
        browser.find(".login button").click()

        def order(act):
            browser.find("#by-hand [name=why]").send_keys("a parcel for the lab")
            browser.find("#by-hand [name=password]").send_keys("kim's long password")
            browser.find(f"#by-hand [value={act}]").click()
            assert until(lambda: browser.text("#verdict"))

        assert until(lambda: browser.state() == "deny")
        browser.keep("by-hand-desktop")
        order("let_in_once")
        assert "opened once" in browser.text("#verdict")
        browser.keep("by-hand-done")
        browser.find(".login a").click()
        assert until(lambda: "a guard let somebody in" in browser.texts("#history span"))
        order("lock_down")
        browser.find(".login a").click()
        assert until(lambda: browser.text("#reason") == "a guard locked the door down")
        assert browser.text("#lockdown") == "kim: a parcel for the lab"
        shown = [b.get_attribute("value") for b in browser.buttons() if b.is_displayed()]
        assert shown == ["end_lock_down"]
        browser.keep("by-hand-locked")

        browser.phone(True)
        browser.open(f"{home}?lang=ko")
        assert until(lambda: browser.text("#reason") == "경비원이 문을 봉쇄함")
        assert browser.driver.execute_script(
            "return document.documentElement.scrollWidth <= window.innerWidth"
        )
        browser.keep("by-hand-phone")
        order("end_lock_down")
        browser.keep("by-hand-phone-done")
        assert "봉쇄를 해제했습니다" in browser.text("#verdict")
        assert browser.complaints() == []


def test_whoever_puts_the_camera_up(gate, browser):
    """Sees what is measured and what to change, and draws a zone that gate.yaml takes."""
    home, password = gate.reached()
    browser.open(f"{home}aim")
    browser.find("#password").send_keys(password)
    browser.find(".login button").click()
    assert until(lambda: any("face" in fact for fact in browser.texts("#facts li")))
    assert any(fact.startswith("light ") for fact in browser.texts("#facts li"))
    assert until(lambda: len(browser.texts("#zone .corner")) == 4)
    assert browser.zone() == [[0, 0], [1, 0], [1, 1], [0, 1]]

    browser.drag("#zone .corner", 0, by=(0.25, 0.1))
    browser.drag("#zone .between", 1, by=(-0.2, 0.0))  # a new corner in the right edge
    moved = [[0.25, 0.1], [1, 0], [0.8, 0.5], [1, 1], [0, 1]]
    assert np.allclose(browser.zone(), moved, atol=0.01)
    assert np.allclose(parse_config(browser.text("#yaml"), "pasted").policy.zone, moved, atol=0.01)
    browser.keep("aim-desktop")
    browser.double_click("#zone .corner", 2)
    assert until(lambda: len(browser.zone()) == 4)
    browser.find("#configured").click()
    assert browser.zone() == [[0, 0], [1, 0], [1, 1], [0, 1]]

    browser.phone(True)
    browser.open(f"{home}aim?lang=ko")
    assert until(lambda: any("얼굴" in fact for fact in browser.texts("#facts li")))
    assert browser.driver.execute_script(
        "return document.documentElement.scrollWidth <= window.innerWidth"
    )
    browser.keep("aim-phone")
    gate.close()  # what nobody answers for is not shown as it was
    assert until(lambda: browser.texts("#advice li") == ["게이트가 응답하지 않습니다"])
    assert browser.complaints() == []


def test_a_visitors_tablet(gate, browser):
    home, password = gate.reached()
    browser.open(f"{home}kiosk")
    browser.find("#password").send_keys(password)
    browser.find(".login button").click()
    assert browser.find("#live")
    browser.phone(True)
    browser.open(f"{home}kiosk?lang=ko")
    assert until(lambda: browser.text("#state") in ("멈춤", "들어오세요"))
    time.sleep(0.3)  # the colour fades in
    browser.keep("kiosk-phone")
    browser.phone(False)
    browser.open(f"{home}kiosk?lang=en")
    assert until(lambda: browser.text("#state") in ("Stop", "Come in"))
    time.sleep(0.3)
    browser.keep("kiosk-desktop")

    gate.close()  # what nobody answers for is out of order, whatever was shown last
    assert until(lambda: browser.state() == "fault")
    assert browser.text("#state") == "Out of order"
    assert browser.complaints() == []


FOUR_DOORS = """\
gate: lobby
detector: {{device: cpu}}
camera: {{timeout_s: 3.0}}
tracker: {{max_missed_s: 3.0, max_gap_s: 3.0, memory_s: 3.0}}
policy: {{window_s: 3.0, evidence_gap_s: 2.0, hold_s: 6.0, lease_s: 4.0, cool_down_s: 0.2}}
door: {{max_open_s: 10.0, decision_max_age_s: 2.0}}
doors:
"""
ONE_OF_FOUR = """\
  {name}:
    camera: {{source: "{url}"}}
    relays: [{{kind: recording, path: "{folder}/{name}.door"}}]
    audit: {{path: "{folder}/{name}.sqlite"}}
"""


@pytest.fixture
def cameras(gate_bench):
    """Of a hall with four doors; slow, for whatever machine tests has to judge all of them."""
    cameras = {name: gate_bench.DoorCamera(fps=3.0) for name in ("north", "east", "south", "west")}
    cameras["south"].mode = "bare"
    yield cameras
    for camera in cameras.values():
        camera.mode = "close"
        camera.vanish()


def test_a_guard_with_four_doors(tmp_path, small_detector, browser, cameras):
    text = FOUR_DOORS.format() + "".join(
        ONE_OF_FOUR.format(name=name, url=camera.url, folder=tmp_path)
        for name, camera in cameras.items()
    )
    with contextlib.closing(RunningGate(tmp_path, small_detector, text, flags=())) as gate:
        home, password = gate.reached()
        browser.open(home)  # one login for all doors
        browser.find("#password").send_keys(password)
        browser.find(".login button").click()
        assert browser.find(".tile")
        assert browser.texts(".tile .picture b") == list(cameras)

        cameras["west"].vanish()
        fault = ["locked", "Out of order", "the camera is away"]
        assert until(lambda: browser.tiles()["west"] == fault), browser.tiles()

        def both_open():  # at the same time, in one look
            tiles = browser.tiles()
            return [tiles[name][:2] for name in ("north", "east")] == [["open", "Come in"]] * 2

        assert until(both_open), browser.tiles()
        assert browser.tiles()["west"] == fault
        assert until(lambda: browser.tiles()["south"][1] == "Stop")
        assert until(lambda: browser.text("#sum-fault") == "1")

        first = browser.pixels("#door-south img")  # the picture of a tile moves
        assert until(lambda: (browser.pixels("#door-south img") != first).mean() > 0.01)
        pictures = "return [...document.querySelectorAll('.tile img')].map(i => !i.hidden)"
        assert until(
            lambda: both_open() and browser.driver.execute_script(pictures) == [True] * 3 + [False]
        )
        browser.driver.set_window_size(1280, 1000)
        browser.keep("doors-desktop")
        browser.phone(True)
        browser.open(f"{home}?lang=ko")
        assert until(lambda: browser.find(".tile") and "들어오세요" in str(browser.tiles()))
        assert until(
            lambda: (
                browser.driver.execute_script(pictures) == [True] * 3 + [False]
                and both_in_korean(browser)
            )
        )
        browser.keep("doors-phone")
        assert browser.driver.execute_script(
            "return document.documentElement.scrollWidth <= window.innerWidth"
        )

        browser.phone(False)
        browser.open(f"{home}?lang=en")
        browser.find("#door-south a").click()  # to the page of that door, and back
        assert until(lambda: browser.driver.current_url == f"{home}doors/south/")
        assert browser.find("h1").text == "lobby-south"
        assert until(lambda: browser.state() == "deny")
        assert until(lambda: int(browser.text("#denials") or 0) >= 1)
        browser.find(".back").click()
        assert until(lambda: browser.driver.current_url == home)

        cameras["west"].appear()  # whoever was in trouble comes back by itself

        def west_is_back():  # before the page's script has run, there is no `data-door`
            door, state, _ = browser.tiles().get("west", fault)
            return door is not None and state != "Out of order"

        assert until(west_is_back), browser.tiles()
        assert browser.complaints() == []

        gate.close()  # what nobody answers for is out of order, whatever was shown last
        silent = {name: ["The gate does not answer", ""] for name in cameras}
        assert until(lambda: {n: t[1:] for n, t in browser.tiles().items()} == silent), (
            browser.tiles()
        )


def both_in_korean(browser):
    tiles = browser.tiles()
    return all(tiles[name][1] == "들어오세요" for name in ("north", "east"))
