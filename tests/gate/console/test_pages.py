"""The console's pages: who may see what, and what nobody may.

Each line of docs/console.md, "How it is protected", has its test here or in the files it names.
"""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from mask_gate.gate.audit.tally import Tally
from mask_gate.gate.console.door_pages import DoorContext
from mask_gate.gate.console.door_state import DoorState
from mask_gate.gate.console.event_views import EVENT_TYPES
from mask_gate.gate.console.login import Account, Authenticator, Password, Role, hashed
from mask_gate.gate.console.middleware import COOKIE, SiteSettings
from mask_gate.gate.console.order_form import DONE_WORDS, LET_IN_S
from mask_gate.gate.console.orders import Orders
from mask_gate.gate.console.pages import STATIC, Pages
from mask_gate.gate.console.periods import Period
from mask_gate.gate.console.pictures import LivePictures, ViewerLimit
from mask_gate.gate.console.rate_limit import ALL_STRANGERS, PER_ADDRESS, Rate, RateLimiter
from mask_gate.gate.console.templates import TEMPLATES
from mask_gate.gate.display.aim import AimLimits
from mask_gate.gate.display.config import PrivacyConfig
from mask_gate.gate.display.texts import load_texts
from mask_gate.gate.domain import Decision, Reason, Signal, SignalKind, State, Track
from mask_gate.gate.events import EventMaker, Scene
from mask_gate.gate.guard_order import GuardAct, Verdict, order_of
from mask_gate.models.labels import MaskLabel

HOME = "http://localhost:8321"
PASSWORDS = {Role.GUARD: "guard's long password", Role.VISITOR: "visitor's long password"}
KEPT = {Account(role): Password(hashed(text)) for role, text in PASSWORDS.items()}
KIM = "kim's long password"
NAMED = {**KEPT, Account(Role.GUARD, "kim"): Password(hashed(KIM))}
TOKEN = "token-of-prometheus"
LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
AIM = AimLimits(zone=LEFT_HALF, min_face=0.10, near_face=0.07, min_sharpness=5.0)
SESSION = f"{COOKIE}-lobby"
DOORS = "north", "south"

# Written out by hand: what each route is for. A route that is not here fails the test below.
ALLOWED = {
    ("GET", "/"): {Role.GUARD},
    ("GET", "/kiosk"): {Role.GUARD, Role.VISITOR},
    ("GET", "/login"): set(Role),
    ("POST", "/login"): set(Role),
    ("POST", "/logout"): {Role.GUARD, Role.VISITOR},
    ("GET", "/aim"): {Role.GUARD},
    ("GET", "/live.mjpg"): {Role.GUARD},
    ("GET", "/aim.mjpg"): {Role.GUARD},
    ("GET", "/kiosk.mjpg"): {Role.GUARD, Role.VISITOR},
    ("GET", "/api/state"): {Role.GUARD},
    ("GET", "/api/aim"): {Role.GUARD},
    ("GET", "/api/kiosk"): {Role.GUARD, Role.VISITOR},
    ("GET", "/api/chart.svg"): {Role.GUARD},
    ("GET", "/api/events"): {Role.GUARD},
    ("GET", "/counts.csv"): {Role.GUARD},
    ("GET", "/events.csv"): {Role.GUARD},
    ("GET", "/events.json"): {Role.GUARD},
    ("GET", "/healthz"): set(Role),
    ("GET", "/metrics"): {Role.GUARD, Role.SCRAPER},
    **{("GET", f"/static/{name}"): set(Role) for name in STATIC},
}

OF_A_DOOR = {
    "/": {Role.GUARD},
    "/kiosk": {Role.GUARD, Role.VISITOR},
    "/aim": {Role.GUARD},
    "/live.mjpg": {Role.GUARD},
    "/aim.mjpg": {Role.GUARD},
    "/kiosk.mjpg": {Role.GUARD, Role.VISITOR},
    "/tile.jpg": {Role.GUARD},
    "/api/state": {Role.GUARD},
    "/api/aim": {Role.GUARD},
    "/api/kiosk": {Role.GUARD, Role.VISITOR},
    "/api/chart.svg": {Role.GUARD},
    "/api/events": {Role.GUARD},
    "/counts.csv": {Role.GUARD},
    "/events.csv": {Role.GUARD},
    "/events.json": {Role.GUARD},
}
ALLOWED_WITH_DOORS = {
    ("GET", "/"): {Role.GUARD},
    ("GET", "/kiosk"): {Role.GUARD, Role.VISITOR},
    ("GET", "/api/doors"): {Role.GUARD},
    ("GET", "/login"): set(Role),
    ("POST", "/login"): set(Role),
    ("POST", "/logout"): {Role.GUARD, Role.VISITOR},
    ("GET", "/healthz"): set(Role),
    ("GET", "/metrics"): {Role.GUARD, Role.SCRAPER},
    **{("GET", f"/static/{name}"): set(Role) for name in STATIC},
    **{
        ("GET", f"/doors/{door}{path}"): roles
        for door in ("north", "south")
        for path, roles in OF_A_DOOR.items()
    },
}
EVERY_ROUTE = [
    *(((), how, path, roles) for (how, path), roles in ALLOWED.items()),
    *((DOORS, how, path, roles) for (how, path), roles in ALLOWED_WITH_DOORS.items()),
]
PAGES_FOR_PEOPLE = {
    *("/", "/kiosk", "/aim"),
    *(f"/doors/{d}{p}" for d in DOORS for p in ("/", "/kiosk", "/aim")),
}


class Bench:
    """Pages around states and a clock that the test holds; one door, unless they are named."""

    def __init__(self, clock, gate="lobby", doors=(), config=None, passwords=KEPT, orders=None):
        self.clock = clock
        self.authenticator = Authenticator(passwords, TOKEN.encode(), 3600.0, clock)
        languages = {code: load_texts(code) for code in ("en", "ko")}
        limit = ViewerLimit(0)  # no place for viewers: a picture would never end
        self.contexts = [
            DoorContext(
                name,
                f"{gate}-{name}" if name else gate,
                config or {"gate": gate},
                DoorState(clock),
                LivePictures(languages, PrivacyConfig(), AIM, limit, lambda demand: None, clock),
                AIM.zone,
            )
            for name in doors or ("",)
        ]
        self.state = self.contexts[0].state
        self.site = SiteSettings(gate, languages, frozenset({"localhost"}), encrypted=False)
        self.limiter = RateLimiter(clock, refusal_delay_s=0.0)
        self.pages = Pages(
            self.site, self.contexts, self.authenticator, self.limiter, orders=orders
        )
        self.maker = EventMaker("lobby", "sha256:x")

    def as_(self, role, **options):
        headers = {"authorization": f"Bearer {TOKEN}"} if role is Role.SCRAPER else {}
        cookies = {}
        if role in PASSWORDS:
            cookies = {self.site.cookie: self.authenticator.sessions.begin(Account(role))}
        return TestClient(
            self.pages.app(), HOME, headers=headers, cookies=cookies, follow_redirects=False,
            **options,
        )  # fmt: skip

    def deny(self, reason=Reason.NO_MASK, track=1, label=MaskLabel.WITHOUT_MASK):
        votes = {track: {label: 5}}
        face = Track(track, (1.0, 1.0, 9.0, 9.0), (), 0.0, 5.0)
        scene = Scene(Decision(State.DENY, reason, 5.0, votes=votes), (face,))
        signal = Signal(SignalKind.DENY, reason, 5.0, f"id{track}")
        self.state.take_event(self.maker.of_decision(scene, is_open=False))
        self.state.take_event(self.maker.of_signal(signal, scene))

    def open(self, door):
        scene = Scene(Decision(State.ALLOW, Reason.COMPLIANT, 5.0))
        signal = Signal(SignalKind.ALLOW, Reason.COMPLIANT, 5.0, f"open{door}", until_s=9.0)
        self.contexts[door].state.take_event(self.maker.of_signal(signal, scene))

    def hear(self, state=State.IDLE, reason=Reason.NO_FACE, door=0, age_s=0.0, *, is_slow=False):
        self.contexts[door].state.take_status(
            {"frames": 1, "latencies_s": [0.05], "age_s": age_s, "state": state, "reason": reason,
             "faces": 0, "slow": is_slow}
        )  # fmt: skip


@pytest.fixture
def bench(clock):
    return Bench(clock)


@pytest.mark.parametrize(("doors", "allowed"), [((), ALLOWED), (DOORS, ALLOWED_WITH_DOORS)])
def test_the_table_is_the_one_written_here(clock, doors, allowed):
    table = Bench(clock, doors=doors).pages.table
    assert {(entry.method, entry.path): set(entry.roles) for entry in table} == allowed


@pytest.fixture(scope="module")
def benches(make_clock):
    """One of one door and one of two, for tests that change nothing."""
    return {doors: Bench(make_clock(), doors=doors) for doors in ((), DOORS)}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("doors", "how", "path", "allowed"), EVERY_ROUTE)
def test_every_route_for_every_role(benches, doors, how, path, allowed, role):
    bench = benches[doors]
    bench.clock.advance(1.0)
    origin = {"origin": HOME} if how == "POST" else {}
    answer = bench.as_(role).request(how, path, headers=origin)
    code = answer.status_code
    if role in allowed:
        assert code not in (403, 404, 429)
        assert code != 401 or path == "/login"
    elif role is Role.NOBODY:
        assert code == (303 if path in PAGES_FOR_PEOPLE else 401)
        assert code != 303 or answer.headers["location"].startswith("/login")
    else:
        assert code == 403


@pytest.mark.parametrize("how", ["PUT", "DELETE", "PATCH", "OPTIONS", "POST", "TRACE"])
@pytest.mark.parametrize("role", Role)
def test_no_other_method_does_anything(bench, how, role):
    for path in ("/", "/api/state", "/events.csv", "/metrics", "/healthz"):
        answer = bench.as_(role).request(how, path, headers={"origin": HOME})
        assert answer.status_code in (401, 404)


@pytest.mark.parametrize(
    "path",
    ["/open", "/api/open", "/door/set", "/api/config", "/config", "/docs", "/openapi.json",
     "/static/", "/static/../gate.yaml", "/static/%2e%2e/%2e%2e/configs/gate.yaml", "/.git"],
)  # fmt: skip
def test_what_is_not_in_the_table_does_not_exist(bench, path):
    assert bench.as_(Role.NOBODY).get(path).status_code == 401
    assert bench.as_(Role.GUARD).get(path).status_code == 404


def test_nothing_can_be_changed_or_opened(bench):
    changing = {entry.path for entry in bench.pages.table if entry.method != "GET"}
    assert changing == {"/login", "/logout"}


class TestSettingUpTheCamera:
    def test_the_page_has_the_zone_and_the_door_it_is_of(self, clock):
        page = Bench(clock, doors=DOORS).as_(Role.GUARD).get("/doors/north/aim").text
        assert 'data-door="north"' in page
        assert f'data-zone="{json.dumps(LEFT_HALF)}"' in page

    @pytest.mark.parametrize(("code", "told"), [("en", "no picture comes"), ("ko", "화면이")])
    def test_nothing_is_told_of_a_picture_that_nobody_watches(self, bench, code, told):
        answer = bench.as_(Role.GUARD).get(f"/api/aim?lang={code}").json()
        assert answer["facts"] == []
        assert told in answer["advice"][0]

    def test_a_gate_that_is_out_of_order_says_so_first(self, bench):
        bench.hear(State.FAULT, Reason.CAMERA_LOST)
        advice = bench.as_(Role.GUARD).get("/api/aim").json()["advice"]
        assert advice[0] == "the camera is away"


class TestRequestsOfOthers:
    @pytest.mark.parametrize(
        "host",
        ["evil.example", "localhost.evil.example", "", "10.0.0.1:8321", "[::1]x.evil", "[::1",
         "localhost:99@evil.example", "localhost:8321/../evil", "localhost:", "[localhost]",
         "localhost@evil.example", "localhost:x", "localhost:999999"],
    )  # fmt: skip
    def test_an_unknown_host_name_is_refused_also_with_a_session(self, bench, host):
        answer = bench.as_(Role.GUARD).get("/api/state", headers={"host": host})
        assert answer.status_code == 421

    @pytest.mark.parametrize(
        "origin",
        [None, "null", "http://evil.example", "https://localhost:8321", "http://localhost"],
    )
    @pytest.mark.parametrize("path", ["/login", "/logout"])
    def test_a_post_of_another_page_is_refused(self, bench, path, origin):
        headers = {} if origin is None else {"origin": origin}
        answer = bench.as_(Role.GUARD).post(path, headers=headers)
        assert answer.status_code == 403

    def test_no_page_may_read_us(self, bench):
        answer = bench.as_(Role.GUARD).get("/api/state", headers={"origin": "http://evil.example"})
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(("how", "path"), ALLOWED)
def test_every_answer_has_the_headers_that_protect_it(bench, how, path):
    answer = bench.as_(Role.GUARD).request(how, path, headers={"origin": HOME})
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers


def test_pages_bring_nothing_from_elsewhere_and_no_inline_script():
    for path in TEMPLATES.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"https?://(?!www\.w3\.org)|//cdn", text), path
        if path.suffix == ".html":
            assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|style=|\|\s*safe", text), (
                path
            )


class TestLogin:
    def log_in(self, bench, password, **headers):
        client = bench.as_(Role.NOBODY)
        headers = {"origin": HOME, **headers}
        return client, client.post("/login", data={"password": password}, headers=headers)

    @pytest.mark.parametrize(
        ("role", "path"), [(Role.GUARD, "/"), (Role.VISITOR, "/kiosk")], ids=str
    )
    def test_the_right_password_opens_the_page_of_its_role(self, bench, role, path):
        client, answer = self.log_in(bench, PASSWORDS[role])
        assert (answer.status_code, answer.headers["location"]) == (303, path)
        assert client.get(path).status_code == 200
        assert client.get("/api/state").status_code == (200 if role is Role.GUARD else 403)

    def test_the_cookie_is_for_the_browser_alone(self, bench):
        _, answer = self.log_in(bench, PASSWORDS[Role.GUARD])
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie

    @pytest.mark.parametrize(
        "password", ["", "wrong", PASSWORDS[Role.GUARD] + " ", "\0", "ü" * 500]
    )
    def test_a_wrong_one_does_not(self, bench, password):
        client, answer = self.log_in(bench, password)
        assert answer.status_code == 401
        assert "not right" in answer.text
        assert client.get("/api/state").status_code == 401

    def test_after_five_wrong_ones_even_the_right_one_has_to_wait(self, bench, clock):
        for _ in range(5):
            assert self.log_in(bench, "wrong")[1].status_code == 401
        _, answer = self.log_in(bench, PASSWORDS[Role.GUARD])
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) == 300
        clock.advance(301)
        assert self.log_in(bench, PASSWORDS[Role.GUARD])[1].status_code == 303

    def test_who_is_said_to_be_spoken_for_does_not_count(self, bench):
        for number in range(5):
            self.log_in(bench, "wrong", **{"x-forwarded-for": f"10.0.0.{number}"})
        assert self.log_in(bench, "wrong")[1].status_code == 429

    def test_a_session_ends_by_itself(self, bench, clock):
        client, _ = self.log_in(bench, PASSWORDS[Role.GUARD])
        clock.advance(3599)
        assert client.get("/api/state").status_code == 200
        clock.advance(2)
        assert client.get("/api/state").status_code == 401

    def test_a_session_ends_by_logging_out_also_for_who_kept_the_cookie(self, bench):
        client, _ = self.log_in(bench, PASSWORDS[Role.GUARD])
        token = client.cookies[SESSION]
        assert client.post("/logout", headers={"origin": HOME}).status_code == 303
        client.cookies.set(SESSION, token)
        assert client.get("/api/state").status_code == 401

    def test_at_one_door_leaves_that_of_another_door_beside_it(self, bench, clock):
        """A browser sends cookies to every port of a machine, and keeps one of a name."""
        client, _ = self.log_in(bench, PASSWORDS[Role.GUARD])
        other, _ = self.log_in(Bench(clock, "yard"), PASSWORDS[Role.GUARD])
        other.cookies.update(client.cookies)
        client.cookies.update(other.cookies)
        assert len(client.cookies) == 2
        for browser in (client, other):
            assert browser.get("/api/state").status_code == 200

    @pytest.mark.parametrize("body", [b"p" * 5000, b"a=1&" * 50])
    def test_a_form_that_is_none_of_ours_is_refused_in_a_sentence(self, bench, body):
        headers = {"origin": HOME, "content-type": "application/x-www-form-urlencoded"}
        answer = bench.as_(Role.NOBODY).post("/login", content=body, headers=headers)
        assert answer.status_code == 400
        assert answer.text.startswith("expected at most")

    def test_the_visitors_password_gives_no_more_guesses_at_the_guards(self, bench):
        for _ in range(4):
            assert self.log_in(bench, "wrong")[1].status_code == 401
        assert self.log_in(bench, PASSWORDS[Role.VISITOR])[1].status_code == 303
        assert self.log_in(bench, "wrong")[1].status_code == 401
        assert self.log_in(bench, PASSWORDS[Role.GUARD])[1].status_code == 429
        assert self.log_in(bench, PASSWORDS[Role.VISITOR])[1].status_code == 303


class TestGuardsWithNames:
    @pytest.fixture
    def bench(self, clock):
        return Bench(clock, passwords=NAMED)

    def log_in(self, bench, name, password):
        client = bench.as_(Role.NOBODY)
        form = {"name": name, "password": password}
        return client, client.post("/login", data=form, headers={"origin": HOME})

    def test_log_in_with_name_and_password_and_see_who_they_are(self, bench):
        assert 'name="name"' in bench.as_(Role.NOBODY).get("/login").text
        client, answer = self.log_in(bench, "kim", KIM)
        assert answer.status_code == 303
        assert '<b id="account">kim</b>' in client.get("/").text

    def test_without_names_nobody_is_asked_for_one(self, clock):
        assert 'name="name"' not in Bench(clock).as_(Role.NOBODY).get("/login").text

    @pytest.mark.parametrize(
        ("name", "password"),
        [("", KIM), ("lee", KIM), ("kim", PASSWORDS[Role.GUARD]), ("KIM", KIM), ("kim", "")],
    )
    def test_one_without_the_other_is_wrong(self, bench, name, password):
        assert self.log_in(bench, name, password)[1].status_code == 401

    def test_are_counted_each_for_themselves(self, bench):
        for name in ("kim", "nobody"):
            for _ in range(5):
                assert self.log_in(bench, name, "wrong")[1].status_code == 401
        assert self.log_in(bench, "kim", KIM)[1].status_code == 429
        assert self.log_in(bench, "nobody", KIM)[1].status_code == 429
        assert self.log_in(bench, "", PASSWORDS[Role.GUARD])[1].status_code == 303


class TestState:
    def test_it_says_what_the_gate_says(self, bench):
        bench.deny()
        bench.hear(State.DENY, Reason.NO_MASK)
        now = bench.as_(Role.GUARD).get("/api/state").json()
        assert now["state_text"] == "Stop"
        assert now["reason_text"] == "somebody wears no mask"
        assert (now["denials"], now["openings"]) == (1, 0)
        assert now["health"]["camera"]["is"] == "ok"
        assert [event["state"] for event in now["history"]] == ["deny"]

    def test_its_history_has_a_line_for_each_change_from_when_it_began(self, bench):
        for _ in range(3):  # said again to whoever stays
            bench.deny()
        client = bench.as_(Role.GUARD)
        (line,) = client.get("/api/state").json()["history"]
        every = client.get("/api/events").json()
        assert line["id"] == every[-1]["id"]
        assert client.get("/api/state").json()["newest"] == every[0]["id"]

    @pytest.mark.parametrize("path", ["/api/state", "/api/kiosk"])
    def test_a_gate_that_is_silent_is_out_of_order_whatever_it_said_last(self, bench, clock, path):
        bench.hear(State.ALLOW, Reason.COMPLIANT)
        client = bench.as_(Role.GUARD)
        assert client.get(path).json()["state"] == "allow"
        assert client.get("/healthz").status_code == 200
        clock.advance(2.5)
        now = client.get(path).json()
        assert (now["state"], now["fresh"]) == ("fault", False)
        assert client.get("/healthz").status_code == 503

    def test_nothing_heard_yet_is_out_of_order_too(self, bench):
        assert bench.as_(Role.NOBODY).get("/healthz").status_code == 503

    @pytest.mark.parametrize(
        ("reason", "part"),
        [(Reason.FROZEN, "camera"), (Reason.MODEL_FAULT, "model"),
         (Reason.OUTPUT_FAULT, "relay"), (Reason.AUDIT_UNAVAILABLE, "audit")],
    )  # fmt: skip
    def test_the_part_that_fails_is_named(self, bench, reason, part):
        bench.hear(State.FAULT, reason)
        health = bench.as_(Role.GUARD).get("/api/state").json()["health"]
        assert [name for name, is_ in health.items() if is_["is"] == "problem"] == [part]
        bench.hear()
        health = bench.as_(Role.GUARD).get("/api/state").json()["health"]
        assert {is_["is"] for is_ in health.values()} == {"ok"}

    def test_a_detector_that_cannot_keep_its_rate_is_slow_and_visitors_wait(self, bench):
        bench.hear(State.CHECKING, Reason.UNCERTAIN, is_slow=True)
        guard = bench.as_(Role.GUARD)
        assert guard.get("/api/state").json()["health"]["model"] == {"is": "slow", "text": "slow"}
        assert guard.get("/api/kiosk").json()["advice_text"] == "One moment, please"
        metrics = guard.get("/metrics").text
        assert 'mask_gate_slow{gate="lobby"} 1.0' in metrics
        assert 'mask_gate_part_up{gate="lobby",part="model"} 1.0' in metrics
        bench.hear(State.CHECKING, Reason.UNCERTAIN)
        assert guard.get("/api/state").json()["health"]["model"]["is"] == "ok"
        assert guard.get("/api/kiosk").json()["advice_text"] == "Look at the camera"

    def test_health_tells_strangers_a_word_and_no_more(self, bench):
        bench.hear(State.FAULT, Reason.OUTPUT_FAULT)
        assert bench.as_(Role.NOBODY).get("/healthz").json() == {"status": "fault"}


class TestSeveralDoors:
    @pytest.fixture
    def bench(self, clock):
        return Bench(clock, doors=DOORS)

    def tiles(self, bench):
        return bench.as_(Role.GUARD).get("/api/doors").json()["doors"]

    def test_that_open_at_the_same_time_are_both_seen(self, bench):
        for door in (0, 1):
            bench.hear(State.ALLOW, Reason.COMPLIANT, door)
            bench.open(door)
        tiles = self.tiles(bench)
        assert [tiles[name]["door"] for name in DOORS] == ["open", "open"]
        assert [tiles[name]["state_text"] for name in DOORS] == ["Come in", "Come in"]
        assert [tiles[name]["openings"] for name in DOORS] == [1, 1]

    @pytest.mark.parametrize("trouble", ["silent", "stuck", "camera", "out of service"])
    def test_one_in_trouble_shows_it_at_its_own_tile_alone(self, bench, clock, trouble):
        bench.hear(door=0)
        bench.hear(door=1)
        clock.advance(2.5)
        bench.hear(door=1)
        if trouble == "stuck":  # its thread turns no more
            bench.hear(door=0, age_s=3.0)
        elif trouble == "camera":
            bench.hear(State.FAULT, Reason.CAMERA_LOST, door=0)
        elif trouble == "out of service":
            bench.hear(State.FAULT, Reason.OUTPUT_FAULT, door=0)
        tiles = self.tiles(bench)
        assert tiles["north"]["state"] == "fault"
        assert tiles["south"]["state"] == "idle"
        told = {
            "camera": "the camera is away",
            "out of service": "the door control does not answer",
        }
        assert tiles["north"]["reason_text"] == told.get(trouble, "The gate does not answer")
        assert {part["is"] for part in tiles["south"]["health"].values()} == {"ok"}
        assert bench.as_(Role.NOBODY).get("/healthz").status_code == 503

    def test_one_that_has_not_begun_is_starting_and_not_well_yet(self, bench):
        for door in (0, 1):
            bench.hear(None, None, door, age_s=None)
        tile = self.tiles(bench)["north"]
        assert (tile["state"], tile["reason_text"]) == ("checking", "starting up")
        assert bench.as_(Role.NOBODY).get("/healthz").status_code == 503

    def test_have_one_history_that_names_them_and_leaves_out_who_is_being_looked_at(self, bench):
        bench.deny()
        bench.open(1)
        looking = Scene(Decision(State.CHECKING, Reason.UNCERTAIN, 5.0))
        bench.state.take_event(bench.maker.of_decision(looking, is_open=False))
        history = bench.as_(Role.GUARD).get("/api/doors").json()["history"]
        assert sorted(line["name"] for line in history) == ["north", "south"]

    def test_are_told_apart_by_pages_events_and_metrics(self, bench):
        bench.deny()
        client = bench.as_(Role.GUARD)
        assert client.get("/doors/north/api/state").json()["denials"] == 1
        assert client.get("/doors/south/api/state").json()["denials"] == 0
        assert client.get("/doors/south/api/events").json() == []
        named = client.get("/doors/north/events.csv").headers["content-disposition"]
        assert "mask-gate-events-north.csv" in named
        text = client.get("/metrics").text
        for door, count in (("north", 1.0), ("south", 0.0)):
            sample = f'mask_gate_denials_total{{gate="lobby-{door}",reason="no_mask"}} {count}'
            assert sample in text

    @pytest.mark.parametrize("path", ["/doors/west/", "/doors//", "/doors/north", "/live.mjpg"])
    def test_no_other_door_exists(self, bench, path):
        assert bench.as_(Role.GUARD).get(path).status_code == 404

    def test_a_door_without_a_picture_has_an_empty_tile_in_bounded_time(self, bench):
        assert bench.as_(Role.GUARD).get("/doors/north/tile.jpg").status_code == 503

    def test_whoever_sets_up_a_screen_is_asked_for_its_door(self, bench):
        text = bench.as_(Role.VISITOR).get("/kiosk").text
        for name in DOORS:
            assert f'href="/doors/{name}/kiosk"' in text

    @pytest.mark.parametrize(
        ("role", "to", "then"),
        [
            (Role.GUARD, "/doors/south/", "/doors/south/"),
            (Role.VISITOR, "/doors/south/kiosk", "/doors/south/kiosk"),
            (Role.VISITOR, "/doors/south/", "/kiosk"),  # not for them
            (Role.GUARD, "/metrics", "/"),  # no page
            (Role.GUARD, "//evil.example/", "/"),
            (Role.GUARD, "https://evil.example/", "/"),
        ],
    )
    def test_logging_in_leads_to_the_page_that_was_asked_for(self, bench, role, to, then):
        form = {"password": PASSWORDS[role], "to": to}
        answer = bench.as_(Role.NOBODY).post("/login", data=form, headers={"origin": HOME})
        assert (answer.status_code, answer.headers["location"]) == (303, then)

    def test_the_question_for_the_password_remembers_the_page_in_every_language(self, bench):
        client = bench.as_(Role.NOBODY)
        asked = client.get("/doors/north/kiosk").headers["location"]
        assert asked == "/login?to=/doors/north/kiosk"
        text = client.get(asked).text
        assert 'name="to" value="/doors/north/kiosk"' in text
        assert 'href="?lang=ko&amp;to=/doors/north/kiosk"' in text
        assert "evil" not in client.get("/login?to=//evil.example").text


class TestTooManyRequests:
    def test_of_one_address_are_refused_until_it_has_paused(self, bench, clock):
        client = bench.as_(Role.GUARD)
        codes = [client.get("/api/state").status_code for _ in range(int(PER_ADDRESS.burst) + 5)]
        assert codes == [200] * int(PER_ADDRESS.burst) + [429] * 5
        assert client.get("/api/state").headers["retry-after"] == "1"
        clock.advance(1.0)
        assert client.get("/api/state").status_code == 200

    def test_of_one_address_leave_the_others_theirs(self, clock):
        limiter = RateLimiter(clock)
        while limiter.admits("10.0.0.1"):
            pass
        assert limiter.admits("10.0.0.2")

    def test_of_many_addresses_are_refused_too(self, clock):
        limiter = RateLimiter(clock)
        taken = sum(limiter.admits(f"10.0.{n // 250}.{n % 250}") for n in range(5000))
        assert taken == ALL_STRANGERS.burst

    def test_of_more_addresses_than_are_remembered_the_oldest_begins_anew(self, clock):
        limiter = RateLimiter(clock, Rate(1.0, 1.0), most_addresses=2)
        assert [limiter.admits(address) for address in "aabca"] == [True, False, True, True, True]

    def test_of_strangers_keep_no_guard_waiting(self, bench):
        while bench.limiter.admits("10.0.0.1") or bench.limiter.admits("10.0.0.2"):
            pass
        assert not bench.limiter.admits("10.0.0.4")
        assert bench.as_(Role.NOBODY).get("/login").status_code == 429
        assert bench.as_(Role.GUARD).get("/api/state").status_code == 200


class TestLanguage:
    def test_it_is_the_gates_until_another_is_asked_for_and_then_stays(self, bench):
        client = bench.as_(Role.GUARD)
        assert "Health" in client.get("/").text
        assert "상태 점검" in client.get("/?lang=ko").text
        assert "상태 점검" in client.get("/").text
        bench.hear(State.DENY, Reason.NO_MASK)
        assert client.get("/api/kiosk").json()["advice_text"] == "마스크를 써 주세요"
        assert "Health" in client.get("/?lang=en").text

    @pytest.mark.parametrize("lang", ["xx", "", "../en", "<script>"])
    def test_an_unknown_one_changes_nothing(self, bench, lang):
        answer = bench.as_(Role.GUARD).get("/", params={"lang": lang})
        assert 'lang="en"' in answer.text
        assert "set-cookie" not in answer.headers


class TestEvents:
    def test_filters(self, bench):
        bench.deny(Reason.NO_MASK, 1)
        bench.deny(Reason.MASK_INCORRECT, 2, MaskLabel.MASK_WEARED_INCORRECT)
        get = bench.as_(Role.GUARD).get
        assert len(get("/api/events").json()) == 4
        assert len(get("/api/events?type=signal").json()) == 2
        assert len(get("/api/events?reason=no_mask&type=signal").json()) == 1
        assert get("/api/events?state=allow").json() == []
        today = datetime.now().astimezone().date().isoformat()
        assert len(get(f"/api/events?from={today}&to={today}").json()) == 4
        assert get("/api/events?to=2020-01-01T08:00").json() == []
        assert get("/api/events?from=2999-01-01").json() == []

    @pytest.mark.parametrize("asked", ["type=x", "state=%00", "reason=*", "from=yesterday", "to=1"])
    def test_what_cannot_be_asked_for_gets_a_sentence(self, bench, asked):
        for path in ("/api/events", "/events.csv", "/events.json"):
            answer = bench.as_(Role.GUARD).get(f"{path}?{asked}")
            assert answer.status_code == 400
            assert "expected" in answer.text

    def test_exports_hold_the_same_events(self, bench):
        bench.deny()
        get = bench.as_(Role.GUARD).get
        rows = list(csv.DictReader(io.StringIO(get("/events.csv?type=signal").text)))
        (event,) = json.loads(get("/events.json?type=signal").text)
        assert [row["id"] for row in rows] == [event["id"]] == ["id1"]
        assert "attachment" in get("/events.csv").headers["content-disposition"]

    @pytest.mark.parametrize("name", ["=1+1", "@sum", "+1", "-1", "<script>alert(1)</script>"])
    def test_no_text_becomes_a_formula_or_a_script(self, clock, name):
        bench = Bench(clock)
        bench.maker = EventMaker(name)
        bench.deny()
        get = bench.as_(Role.GUARD).get
        rows = list(csv.DictReader(io.StringIO(get("/events.csv").text)))
        assert not rows[0]["gate"].startswith(("=", "+", "-", "@"))
        assert get("/events.json").headers["content-type"] == "application/json"


def test_the_gates_name_and_configuration_are_escaped(clock):
    bench = Bench(clock, "<b>x", config={"camera": "<script>1</script>"})
    text = bench.as_(Role.GUARD).get("/").text
    assert "<b>x" not in text
    assert "<script>1" not in text
    assert "&lt;script&gt;1" in text


def test_metrics_have_the_names_that_dashboards_use(bench, repo_root):
    bench.deny()
    bench.hear(State.DENY, Reason.NO_MASK)
    text = bench.as_(Role.SCRAPER).get("/metrics").text
    assert 'mask_gate_denials_total{gate="lobby",reason="no_mask"} 1.0' in text
    assert 'mask_gate_state{gate="lobby",state="deny"} 1.0' in text
    assert 'mask_gate_latency_seconds_bucket{gate="lobby",le="0.05"} 1.0' in text
    dashboard = (repo_root / "assets/grafana/mask-gate.json").read_text()
    told = set(re.findall(r"^(mask_gate_\w+)\{", text, re.MULTILINE))
    assert set(re.findall(r"mask_gate_\w+", json.dumps(json.loads(dashboard)))) <= told


def test_metrics_are_those_that_the_manual_lists(bench, repo_root):
    bench.hear()
    text = bench.as_(Role.SCRAPER).get("/metrics").text
    told = set(re.findall(r"^# TYPE (\S+ \S+)$", text, re.MULTILINE))
    manual = (repo_root / "docs/events.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(mask_gate_\w+)` \| (\w+) \|", manual, re.MULTILINE)
    assert {f"{name} {kind}" for name, kind in listed} == told
    assert re.search(
        r'^mask_gate_build_info\{python="[^"]+",version="[^"]+"\} 1\.0', text, re.MULTILINE
    )


@pytest.mark.parametrize(("token", "code"), [("", 401), ("wrong", 401), (TOKEN + "x", 401)])
def test_a_wrong_token_reads_no_metrics(bench, token, code):
    client = bench.as_(Role.NOBODY)
    answer = client.get("/metrics", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == code


def test_all_words_of_the_pages_are_used_and_exist():
    text = "".join(path.read_text() for path in TEMPLATES.glob("*.html"))
    for name in ("pages", "door_pages", "order_form", "event_views", "chart"):
        text += (TEMPLATES.parents[1] / f"gate/console/{name}.py").read_text()
    text += (TEMPLATES.parents[1] / "gate/commands/audit_report.py").read_text()
    used = set(re.findall(r"page\.(\w+)|page\[[\"'](\w+)[\"']", text))
    used = {one or other for one, other in used}
    used.discard("get")  # a method, of what an event is called
    dynamic = {"camera", "model", "relay", "audit", "ok", "problem", "unknown", "open", "locked"}
    dynamic |= {*Period, *EVENT_TYPES, *GuardAct, *DONE_WORDS.values()}
    assert used | dynamic == set(load_texts("en").page)


class TestLanguageOfABrowser:
    @pytest.mark.parametrize(
        ("header", "code"),
        [("ko-KR,ko;q=0.9,en;q=0.8", "ko"), ("de-DE,ko;q=0.3,en;q=0.7", "en"), ("fr", "en"),
         ("ko;q=0,en", "en"), ("", "en"), ("*", "en"), ("ko;q=x", "en"), (",;=,q" * 99, "en"),
         ("KO", "ko")],
    )  # fmt: skip
    def test_is_the_one_that_the_browser_likes_best(self, bench, header, code):
        answer = bench.as_(Role.NOBODY).get("/login", headers={"accept-language": header})
        assert f'<html lang="{code}">' in answer.text

    def test_that_was_chosen_counts_more_than_what_the_browser_likes(self, bench):
        client = bench.as_(Role.NOBODY)
        client.get("/login?lang=en")
        answer = client.get("/login", headers={"accept-language": "ko"})
        assert '<html lang="en">' in answer.text

    def test_of_a_page_is_that_of_all_its_words(self, bench):
        bench.deny()
        client = bench.as_(Role.GUARD)
        korean = {"accept-language": "ko"}
        kinds = {event["type_text"] for event in client.get("/api/events", headers=korean).json()}
        assert kinds == {"판단", "신호"}
        assert 'value="signal">신호</option>' in client.get("/", headers=korean).text
        assert "미착용" in client.get("/api/chart.svg", headers=korean).text


class TestPeriods:
    @pytest.fixture
    def client(self, bench):
        past, today = Tally(), bench.state.today.today
        maker = EventMaker("lobby", wall=lambda: datetime.now(UTC) - timedelta(days=9))
        for track in (1, 2):
            face = Track(track, (1.0, 1.0, 9.0, 9.0), (), 0.0, 5.0)
            votes = {track: {MaskLabel.WITH_MASK: 5}}
            scene = Scene(Decision(State.ALLOW, Reason.COMPLIANT, 5.0, votes=votes), (face,))
            signal = Signal(SignalKind.ALLOW, Reason.COMPLIANT, 5.0, f"o{track}", until_s=9.0)
            past.add(maker.of_signal(signal, scene))
        bench.deny()
        bench.state.today.take_past_days(past)
        self.nine_days_ago = (today - timedelta(days=9)).isoformat()
        self.today = today.isoformat()
        return bench.as_(Role.GUARD)

    @pytest.mark.parametrize(
        ("period", "rows"), [("today", 1), ("week", 7), ("month", 28), ("quarter", 84)]
    )
    def test_are_exported_with_a_row_for_each_day(self, client, period, rows):
        answer = client.get(f"/counts.csv?period={period}")
        assert "mask-gate-counts" in answer.headers["content-disposition"]
        days = {row["date"]: row for row in csv.DictReader(io.StringIO(answer.text))}
        assert len(days) == rows
        assert days[self.today]["denials"] == "1"
        if rows > 9:
            then = days[self.nine_days_ago]
            assert (then["openings"], then["denials"], then["with_mask"]) == ("2", "0", "2")

    @pytest.mark.parametrize(
        ("period", "people"), [("today", 0), ("week", 0), ("month", 2), ("quarter", 2)]
    )
    def test_are_shown_as_a_chart(self, client, period, people):
        chart = client.get(f"/api/chart.svg?period={period}&width=360").text
        assert f"People seen: Mask {people}, No mask 1" in chart
        assert 'viewBox="0 0 360 ' in chart

    @pytest.mark.parametrize(
        "query", ["period=year", "width=x", "width=-1", "width=1e9", "period[]=1"]
    )
    def test_that_are_none_are_refused_in_a_sentence(self, client, query):
        answer = client.get(f"/api/chart.svg?{query}")
        assert answer.status_code == (200 if query == "period[]=1" else 400)


class TestOrdersOfGuards:
    """What a guard may have done at a door: nothing by default, and nothing but by form."""

    ID = "0123456789abcdef" * 2

    @pytest.fixture
    def given(self):
        """Orders as the gate gets them; it does each of them, or what `verdict` says."""
        return []

    @pytest.fixture
    def bench(self, clock, given):
        def say(line):
            word, _, text = line.partition(" ")
            order = order_of(text.encode())
            assert (word, order is None) == ("order", False)
            given.append(order)
            if self.verdict is not None:
                bench.orders.take_answer(order.id, self.verdict)

        self.verdict = Verdict.DONE
        orders = Orders(frozenset(GuardAct), say, answer_s=0.05)
        bench = Bench(clock, passwords=NAMED, orders=orders)
        bench.orders = orders
        return bench

    def kim(self, bench):
        cookie = bench.authenticator.sessions.begin(Account(Role.GUARD, "kim"))
        return TestClient(
            bench.pages.app(), HOME, cookies={bench.site.cookie: cookie}, follow_redirects=False
        )

    def order(self, client, act="let_in_once", origin=HOME, **changes):
        form = {"act": act, "id": self.ID, "why": "parcel", "password": KIM, **changes}
        return client.post("/orders", data=form, headers={"origin": origin})

    def test_are_no_page_by_default(self, clock):
        bench = Bench(clock, passwords=NAMED)
        assert self.order(self.kim(bench)).status_code == 404
        assert 'action="orders"' not in self.kim(bench).get("/").text

    @pytest.mark.parametrize("act", GuardAct)
    def test_reach_the_gate_with_name_and_reason(self, bench, given, act):
        answer = self.order(self.kim(bench), act)
        assert answer.status_code == 200
        assert load_texts("en").page[DONE_WORDS[act]] in answer.text
        (order,) = given
        assert (order.act, order.door, order.id) == (act, 0, self.ID)
        assert (order.name, order.why) == ("kim", "parcel")

    def test_are_for_the_door_whose_page_has_the_form(self, clock):
        given = []
        orders = Orders(frozenset(GuardAct), given.append, answer_s=0.01)
        bench = Bench(clock, doors=DOORS, passwords=NAMED, orders=orders)
        form = {"act": "lock_down", "id": self.ID, "why": "drill", "password": KIM}
        client = self.kim(bench)
        for door in reversed(DOORS):
            client.post(f"/doors/{door}/orders", data=form, headers={"origin": HOME})
        assert [order_of(line.removeprefix("order ").encode()).door for line in given] == [1, 0]
        assert client.post("/orders", data=form, headers={"origin": HOME}).status_code == 404

    def test_have_a_form_whose_number_is_another_each_time(self, bench):
        pages = [self.kim(bench).get("/").text for _ in range(2)]
        ids = [re.search(r'name="id" value="([0-9a-f]{32})"', page)[1] for page in pages]
        assert ids[0] != ids[1]
        assert all(f'value="{act}"' in pages[0] for act in GuardAct)

    def test_of_a_visitor_are_refused(self, bench, given):
        assert self.order(bench.as_(Role.VISITOR)).status_code == 403
        assert self.order(bench.as_(Role.NOBODY)).status_code == 401
        assert self.order(bench.as_(Role.SCRAPER)).status_code == 403
        assert given == []

    @pytest.mark.parametrize("origin", ["null", "http://evil.example", ""])
    def test_of_another_page_are_refused(self, bench, given, origin):
        assert self.order(self.kim(bench), origin=origin).status_code == 403
        assert given == []

    def test_are_never_taken_from_an_address(self, bench, given):
        query = f"act=let_in_once&id={self.ID}&why=parcel&password=x"
        assert self.kim(bench).get(f"/orders?{query}").status_code == 404
        assert given == []

    def test_need_a_guard_with_a_name(self, bench, given):
        guard = bench.as_(Role.GUARD)
        assert self.order(guard, password=PASSWORDS[Role.GUARD]).status_code == 403
        assert 'action="orders"' not in guard.get("/").text
        assert "your own name" in guard.get("/").text
        assert given == []

    def test_with_a_wrong_password_are_counted_like_logins_and_do_nothing(self, bench, given):
        client = self.kim(bench)
        for _ in range(5):
            assert self.order(client, password="wrong").status_code == 401
        assert self.order(client).status_code == 429
        assert given == []
        form = {"name": "kim", "password": KIM}
        answer = client.post("/login", data=form, headers={"origin": HOME})
        assert answer.status_code == 429

    def test_take_no_other_guards_password(self, bench, given):
        assert self.order(self.kim(bench), password=PASSWORDS[Role.GUARD]).status_code == 401
        assert given == []

    @pytest.mark.parametrize("why", ["", "  ", "x" * 121, "a\nb", "a\x1b[31mb", "a\u202eb"])
    def test_need_a_reason_that_can_be_printed(self, bench, given, why):
        assert self.order(self.kim(bench), why=why).status_code == 400
        assert given == []

    @pytest.mark.parametrize(
        "changes", [{"act": "open"}, {"act": ""}, {"id": ""}, {"id": "x" * 32}, {"id": "0" * 33}]
    )
    def test_that_are_none_of_ours_are_refused(self, bench, given, changes):
        assert self.order(self.kim(bench), **changes).status_code == 400
        assert given == []

    @pytest.mark.parametrize("code", ["en", "ko"])
    @pytest.mark.parametrize("verdict", [v for v in Verdict if v is not Verdict.DONE])
    def test_that_are_refused_say_why(self, bench, verdict, code):
        self.verdict = verdict
        client = self.kim(bench)
        client.get(f"/login?lang={code}")
        answer = self.order(client)
        assert answer.status_code == (503 if verdict is Verdict.NO_ANSWER else 409)
        assert load_texts(code).verdicts[verdict] in answer.text

    def test_that_get_no_answer_send_the_guard_to_the_door(self, bench):
        self.verdict = None
        answer = self.order(self.kim(bench))
        assert answer.status_code == 503
        assert "Look at the door" in answer.text

    @pytest.mark.parametrize(("act", "code"), [("let_in_once", 409), ("lock_down", 200)])
    def test_whose_password_took_too_long_to_check_let_nobody_in(
        self, bench, given, monkeypatch, act, code
    ):
        """On a busy machine whoever stood there may have gone; a lock is never too late."""
        form = bench.pages.order_forms[0]
        times_s = iter([100.0, 100.1 + LET_IN_S])
        monkeypatch.setattr(form, "_clock", lambda: next(times_s))
        assert self.order(self.kim(bench), act).status_code == code
        assert len(given) == (act == "lock_down")

    def test_have_their_lockdown_shown_and_escaped(self, bench):
        status = {"frames": 1, "latencies_s": [], "age_s": 0.0, "faces": 0, "slow": False}
        bench.state.take_status({**status, "lockdown": ["kim", "<b>drill"]})
        client = self.kim(bench)
        assert 'data-locked="true"' in client.get("/").text
        assert "kim: &lt;b&gt;drill" in client.get("/").text
        assert client.get("/api/state").json()["lockdown"] == "kim: <b>drill"
        assert 'mask_gate_locked_down{gate="lobby"} 1.0' in client.get("/metrics").text
        bench.state.take_status({**status, "lockdown": None})
        assert 'data-locked="false"' in client.get("/").text
