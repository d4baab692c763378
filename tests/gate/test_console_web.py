"""The console's pages: who may see what, and what nobody may.

Each line of the security check list (reliability notes, section C) has its test here or in
`test_console_access.py` and `test_console_config.py`.
"""

import csv
import io
import json
import re
from datetime import datetime

import pytest
from starlette.testclient import TestClient

from gate.console_access import Doorman, Password, Role, hashed
from gate.console_board import Board
from gate.console_pictures import Pictures
from gate.console_web import COOKIE, PAGES, STATIC, Pages, Site
from gate.domain import Decision, Reason, Signal, SignalKind, State, Track
from gate.events import EventMaker, Scene
from gate.privacy_config import PrivacyConfig
from gate.words import load_words
from models.labels import MaskLabel

HOME = "http://localhost:8321"
PASSWORDS = {Role.GUARD: "guard's long password", Role.VISITOR: "visitor's long password"}
KEPT = {role: Password(hashed(text)) for role, text in PASSWORDS.items()}
TOKEN = "token-of-prometheus"
SESSION = f"{COOKIE}-lobby"

# Written out by hand: what each route is for. A route that is not here fails the test below.
ALLOWED = {
    ("GET", "/"): {Role.GUARD},
    ("GET", "/kiosk"): {Role.GUARD, Role.VISITOR},
    ("GET", "/login"): set(Role),
    ("POST", "/login"): set(Role),
    ("POST", "/logout"): {Role.GUARD, Role.VISITOR},
    ("GET", "/live.mjpg"): {Role.GUARD},
    ("GET", "/kiosk.mjpg"): {Role.GUARD, Role.VISITOR},
    ("GET", "/api/state"): {Role.GUARD},
    ("GET", "/api/kiosk"): {Role.GUARD, Role.VISITOR},
    ("GET", "/api/chart.svg"): {Role.GUARD},
    ("GET", "/api/events"): {Role.GUARD},
    ("GET", "/events.csv"): {Role.GUARD},
    ("GET", "/events.json"): {Role.GUARD},
    ("GET", "/healthz"): set(Role),
    ("GET", "/metrics"): {Role.GUARD, Role.SCRAPER},
    **{("GET", f"/static/{name}"): set(Role) for name in STATIC},
}


class Bench:
    """Pages around a board and a clock that the test holds."""

    def __init__(self, clock, gate="lobby"):
        self.clock = clock
        self.board = Board(clock)
        # No place for viewers: a picture would never end.
        self.pictures = Pictures(
            load_words("en"), PrivacyConfig(), 0, lambda _: None
        )  # full: it would never end
        self.doorman = Doorman(KEPT, TOKEN.encode(), 3600.0, clock)
        words = {code: load_words(code) for code in ("en", "ko")}
        site = Site(gate, {"gate": gate}, words, frozenset({"localhost"}), encrypted=False)
        self.pages = Pages(site, self.board, self.pictures, self.doorman)
        self.maker = EventMaker("lobby", "sha256:x")

    def as_(self, role, **options):
        headers = {"authorization": f"Bearer {TOKEN}"} if role is Role.SCRAPER else {}
        cookies = {}
        if role in PASSWORDS:
            cookies = {self.pages._site.cookie: self.doorman.sessions.begin(role)}
        return TestClient(
            self.pages.app(), HOME, headers=headers, cookies=cookies, follow_redirects=False,
            **options,
        )  # fmt: skip

    def deny(self, reason=Reason.NO_MASK, track=1, label=MaskLabel.WITHOUT_MASK):
        votes = {track: {label: 5}}
        face = Track(track, (1.0, 1.0, 9.0, 9.0), (), 0.0, 5.0)
        scene = Scene(Decision(State.DENY, reason, 5.0, votes=votes), (face,))
        signal = Signal(SignalKind.DENY, reason, 5.0, f"id{track}")
        self.board.take(self.maker.of_decision(scene, is_open=False))
        self.board.take(self.maker.of_signal(signal, scene))

    def hear(self, state=State.IDLE, reason=Reason.NO_FACE):
        self.board.hear(
            {"frames": 1, "latencies_s": [0.05], "age_s": 0.0, "state": state, "reason": reason,
             "faces": 0}
        )  # fmt: skip


@pytest.fixture
def bench(clock):
    return Bench(clock)


def test_the_table_is_the_one_written_here(bench):
    assert {(how, path): set(roles) for how, path, roles, _ in bench.pages.table} == ALLOWED


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("how", "path"), ALLOWED)
def test_every_route_for_every_role(bench, how, path, role):
    origin = {"origin": HOME} if how == "POST" else {}
    code = bench.as_(role).request(how, path, headers=origin).status_code
    if role in ALLOWED[how, path]:
        assert code not in (403, 404)
        assert code != 401 or path == "/login"
    elif role is Role.NOBODY:
        assert code == (303 if path in ("/", "/kiosk") else 401)
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
    changing = {path for how, path, _, _ in bench.pages.table if how != "GET"}
    assert changing == {"/login", "/logout"}


class TestRequestsOfOthers:
    @pytest.mark.parametrize(
        "host", ["evil.example", "localhost.evil.example", "", "10.0.0.1:8321"]
    )
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
def test_every_answer_has_the_headers_that_guard_it(bench, how, path):
    answer = bench.as_(Role.GUARD).request(how, path, headers={"origin": HOME})
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers


def test_pages_bring_nothing_from_elsewhere_and_no_inline_script():
    for path in PAGES.iterdir():
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

    def test_a_long_body_is_not_read(self, bench):
        client = bench.as_(Role.NOBODY)
        answer = client.post("/login", content=b"p" * 5000, headers={"origin": HOME})
        assert answer.status_code == 400


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

    def test_health_tells_strangers_a_word_and_no_more(self, bench):
        bench.hear(State.FAULT, Reason.OUTPUT_FAULT)
        assert bench.as_(Role.NOBODY).get("/healthz").json() == {"status": "fault"}


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
    bench = Bench(clock)
    words = {"en": load_words("en")}
    site = Site("<b>x", {"camera": "<script>1</script>"}, words, frozenset({"localhost"}), False)
    bench.pages = Pages(site, bench.board, bench.pictures, bench.doorman)
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


@pytest.mark.parametrize(("token", "code"), [("", 401), ("wrong", 401), (TOKEN + "x", 401)])
def test_a_wrong_token_reads_no_metrics(bench, token, code):
    client = bench.as_(Role.NOBODY)
    answer = client.get("/metrics", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == code


def test_all_words_of_the_pages_are_used_and_exist():
    text = "".join(path.read_text() for path in PAGES.glob("*.html"))
    text += (PAGES.parents[1] / "gate/console_web.py").read_text()
    text += (PAGES.parents[1] / "gate/console_chart.py").read_text()
    used = set(re.findall(r"page\.(\w+)|page\[\"(\w+)\"", text))
    used = {one or other for one, other in used}
    dynamic = {"camera", "model", "relay", "audit", "ok", "problem", "unknown", "open", "closed"}
    assert used | dynamic == set(load_words("en").page)
