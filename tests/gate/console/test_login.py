"""Login: passwords that cannot be read back, sessions that end, tries that are counted."""

import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.gate.console.login import (
    Account,
    LoginRateLimiter,
    Password,
    Role,
    Sessions,
    hashed,
    new_password,
    write_password,
)
from mask_gate.gate.errors import ConfigError, OutputError

GUARD, VISITOR = Account(Role.GUARD), Account(Role.VISITOR)
GOOD = "a password of some length"


def test_what_is_kept_is_not_the_password_and_differs_each_time():
    one, other = hashed(GOOD), hashed(GOOD)
    assert one != other
    assert GOOD not in one
    assert one.startswith("scrypt$32768$8$1$")
    assert Password(one).matches(GOOD)
    assert not Password(one).matches(GOOD.upper())


@pytest.mark.parametrize("text", ["", "short", "11 letters!", "x" * 201])
def test_too_short_and_too_long_ones_are_refused(text):
    with pytest.raises(ConfigError, match="expected 12 to 200"):
        hashed(text)


def test_made_ones_are_long_and_differ():
    made = {new_password() for _ in range(100)}
    assert len(made) == 100
    assert min(map(len, made)) >= 12


class TestFile:
    def test_it_is_written_for_us_alone_and_read_back(self, tmp_path):
        path = tmp_path / "password"
        write_password(path, GOOD)
        assert stat.S_IMODE(path.stat().st_mode) & stat.S_IRWXO == 0
        assert Password.read(str(path)).matches(GOOD)
        write_password(path, GOOD + "2")
        assert not Password.read(str(path)).matches(GOOD)
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize(
        "text",
        [GOOD, "scrypt$1$8$1$aa$aa", "scrypt$32768$8$1$$$", "scrypt$99999999999$8$1$YQ==$YQ==",
         "md5$32768$8$1$YQ==$YQ==", "scrypt$32768$8$1$!$!", "scrypt$a$b$c$d$e", "\xff\xfe"],
    )  # fmt: skip
    def test_any_other_text_is_refused_in_a_sentence(self, tmp_path, text):
        path = tmp_path / "password"
        path.write_text(text, encoding="latin-1")
        path.chmod(0o600)
        with pytest.raises(OutputError, match="--set-password"):
            Password.read(str(path))

    def test_one_that_others_can_read_is_refused(self, tmp_path):
        path = tmp_path / "password"
        write_password(path, GOOD)
        path.chmod(0o644)
        with pytest.raises(OutputError, match="open to every user"):
            Password.read(str(path))


class TestSessions:
    def test_a_token_is_good_for_its_account_and_its_time(self, clock):
        sessions = Sessions(60.0, clock)
        token = sessions.begin(Account(Role.GUARD, "kim"), "10.0.0.1")
        assert sessions.account(token) == (Role.GUARD, "kim")
        assert (sessions.knows("10.0.0.1"), sessions.knows("10.0.0.2")) == (True, False)
        clock.advance(60.0)
        assert sessions.role(token) is Role.NOBODY
        assert not sessions.knows("10.0.0.1")

    @pytest.mark.parametrize("token", [None, "", "x", "\ud800", "0" * 10_000])
    def test_any_other_is_nobodys(self, clock, token):
        sessions = Sessions(60.0, clock)
        sessions.begin(GUARD)
        assert sessions.role(token) is Role.NOBODY
        sessions.end(token)

    def test_logins_without_end_do_not_fill_the_memory(self, clock):
        sessions = Sessions(60.0, clock)
        tokens = [sessions.begin(GUARD) for _ in range(300)]
        valid = [sessions.role(token) is Role.GUARD for token in tokens]
        assert valid == [False] * 200 + [True] * 100

    def test_logins_without_end_log_nobody_out_of_another_account(self, clock):
        sessions = Sessions(60.0, clock)
        others = [sessions.begin(account) for account in (GUARD, Account(Role.GUARD, "kim"))]
        for _ in range(300):
            sessions.begin(VISITOR)
        assert [sessions.role(token) for token in others] == [Role.GUARD] * 2


class TestRateLimiter:
    def test_each_address_has_five_tries(self, clock):
        limiter = LoginRateLimiter(clock)
        for _ in range(5):
            assert limiter.wait_s("a", GUARD) == 0
            limiter.failed("a", [GUARD])
        assert limiter.wait_s("a", GUARD) == 300
        assert limiter.wait_s("b", GUARD) == 0
        clock.advance(300)
        assert limiter.wait_s("a", GUARD) == 0

    def test_all_together_have_fifty_for_an_account(self, clock):
        limiter = LoginRateLimiter(clock)
        for number in range(50):
            limiter.failed(f"10.0.0.{number}", [GUARD])
        assert limiter.wait_s("another", GUARD) == 300
        assert limiter.wait_s("another", VISITOR) == 0

    def test_a_right_one_clears_the_count_of_its_address(self, clock):
        limiter = LoginRateLimiter(clock)
        for _ in range(5):
            limiter.failed("a", [GUARD])
        limiter.succeeded("a", GUARD, tried=[GUARD])
        limiter.failed("a", [GUARD])
        assert limiter.wait_s("a", GUARD) == 0

    def test_a_right_one_leaves_the_count_of_every_other_account_as_it_was(self, clock):
        """Whoever knows the visitor's password may not guess the guard's for ever."""
        limiter = LoginRateLimiter(clock)
        both = [GUARD, VISITOR]
        for _ in range(4):
            limiter.failed("a", both)
        for _ in range(20):
            limiter.failed("a", both)
            limiter.succeeded("a", VISITOR, tried=both)
        assert limiter.wait_s("a", GUARD) == 0
        limiter.failed("a", both)
        assert (limiter.wait_s("a", GUARD), limiter.wait_s("a", VISITOR)) == (300, 0)

    @settings(max_examples=50)
    @given(pauses=st.lists(st.floats(0, 400), max_size=80))
    def test_never_more_than_five_in_any_five_minutes(self, make_clock, pauses):
        clock = make_clock()
        limiter, tried = LoginRateLimiter(clock), []
        for pause in pauses:
            clock.advance(pause)
            if limiter.wait_s("a", GUARD) == 0:
                limiter.failed("a", [GUARD])
                tried.append(clock())
        for first, sixth in zip(tried, tried[5:], strict=False):
            assert sixth - first >= 300
