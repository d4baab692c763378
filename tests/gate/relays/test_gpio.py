"""A relay on a pin: every level it ever has, for both kinds of board and both kinds of lock."""

import importlib
import itertools
import random
import sys
from types import ModuleType

import gpiozero
import pytest
from gpiozero.pins.mock import MockFactory, MockPin
from gpiozero.pins.native import NativePin

from mask_gate.gate.errors import OutputError
from mask_gate.gate.relays.gpio import GpioRelay
from mask_gate.gate.relays.relay import Order

ALLOW = Order(unlocks=True, id="a", reason="compliant", hold_s=3.0)
DENY = Order(unlocks=False, id="d", reason="no_mask")
PIN = 17

EVERY_WIRING = pytest.mark.parametrize(
    ("energised", "active_high"), [*itertools.product(["unlocked", "locked"], [True, False])]
)


def go_on():
    return False


def lock_waits():
    return True


def level_of(unlocked, energised, active_high):
    """The reference: which level of the pin means that."""
    is_energised = unlocked if energised == "unlocked" else not unlocked
    return is_energised if active_high else not is_energised


@pytest.fixture
def factory():
    made = MockFactory()
    yield made
    made.reset()


def wired(factory, energised, active_high):
    """A pin that the board's resistor holds at the locking level, before anybody opens it."""
    pin = factory.pin(PIN)
    pin.pull = "up" if level_of(False, energised, active_high) else "down"
    pin.clear_states()
    return pin


def levels(pin):
    return [state.state for state in pin.states]


class TestLevels:
    @EVERY_WIRING
    def test_a_pin_is_never_at_an_unlocking_level_but_between_unlock_and_lock(
        self, factory, energised, active_high
    ):
        locked, unlocked = (level_of(open_, energised, active_high) for open_ in (False, True))
        pin = wired(factory, energised, active_high)
        relay = GpioRelay(PIN, energised, active_high, pin_factory=factory)
        assert levels(pin) == [locked]
        relay.unlock(ALLOW, go_on)
        assert levels(pin) == [locked, unlocked]
        relay.lock(DENY, go_on)
        assert levels(pin) == [locked, unlocked, locked]
        relay.close()
        relay.close()
        assert levels(pin) == [locked, unlocked, locked]

    @EVERY_WIRING
    def test_closing_an_open_relay_locks_it(self, factory, energised, active_high):
        pin = wired(factory, energised, active_high)
        relay = GpioRelay(PIN, energised, active_high, pin_factory=factory)
        relay.unlock(ALLOW, go_on)
        relay.close()
        assert levels(pin)[-1] is level_of(False, energised, active_high)
        assert pin.function == "input"

    @EVERY_WIRING
    def test_a_floating_pin_goes_straight_to_the_locking_level(
        self, factory, energised, active_high
    ):
        pin = factory.pin(PIN)
        found = pin.state
        GpioRelay(PIN, energised, active_high, pin_factory=factory)
        locked = level_of(False, energised, active_high)
        assert levels(pin) == ([found] if found is locked else [found, locked])

    @EVERY_WIRING
    def test_a_thousand_random_traces_give_exactly_the_edges_they_ask_for(
        self, energised, active_high
    ):
        chance = random.Random(20 + active_high)
        for _ in range(250):
            factory = MockFactory()
            pin = wired(factory, energised, active_high)
            relay = GpioRelay(PIN, energised, active_high, pin_factory=factory)
            asked = [False]
            for unlocks in chance.choices([True, False], k=chance.randrange(30)):
                if unlocks:
                    revoked = chance.random() < 0.2
                    relay.unlock(ALLOW, lock_waits if revoked else go_on)
                    unlocks = asked[-1] if revoked else True
                else:
                    relay.lock(DENY, go_on)
                asked.append(unlocks)
            relay.close()
            asked.append(False)
            edges = [open_ for open_, _ in itertools.groupby(asked)]
            assert levels(pin) == [level_of(open_, energised, active_high) for open_ in edges]

    def test_an_opening_that_a_lock_waits_for_does_not_begin(self, factory):
        pin = wired(factory, "unlocked", True)
        GpioRelay(PIN, pin_factory=factory).unlock(ALLOW, lock_waits)
        assert levels(pin) == [False]

    def test_what_is_already_so_makes_no_edge(self, factory):
        pin = wired(factory, "unlocked", True)
        relay = GpioRelay(PIN, pin_factory=factory)
        for _ in range(5):
            relay.lock(DENY, go_on)
        relay.unlock(ALLOW, go_on)
        relay.unlock(ALLOW, go_on)
        assert levels(pin) == [False, True]

    @pytest.mark.parametrize("pin", [17, "17", "GPIO17", "BOARD11"])
    def test_a_pin_has_the_names_that_gpiozero_knows(self, factory, pin):
        relay = GpioRelay(pin, pin_factory=factory)
        relay.unlock(ALLOW, go_on)
        assert factory.pin(PIN).state is True
        assert relay.name == f"gpio pin {pin}"


class StuckPin(MockPin):
    """An output that something holds low, whatever is written."""

    def _change_state(self, value):
        return super()._change_state(False)


class BrokenPin(MockPin):
    """An output whose library throws errors of its own."""

    broken = False

    def _set_state(self, value):
        if self.broken:
            raise RuntimeError("GPIO busy\nmore of it")
        super()._set_state(value)


class TestFaults:
    def test_a_level_that_does_not_follow_is_an_error(self):
        relay = GpioRelay(PIN, pin_factory=MockFactory(pin_class=StuckPin))
        with pytest.raises(OutputError, match=r"^gpio pin 17: its level is not what was written"):
            relay.unlock(ALLOW, go_on)

    def test_a_pin_that_cannot_lock_is_no_relay_and_is_given_back(self):
        factory = MockFactory(pin_class=StuckPin)
        for _ in range(2):
            with pytest.raises(OutputError, match="its level is not what was written"):
                GpioRelay(PIN, energised="locked", pin_factory=factory)

    def test_whatever_the_library_throws_is_one_sentence(self):
        factory = MockFactory(pin_class=BrokenPin)
        relay = GpioRelay(PIN, pin_factory=factory)
        factory.pin(PIN).broken = True
        for change in (relay.unlock, relay.lock):
            with pytest.raises(OutputError, match=r"^gpio pin 17: does not switch \(GPIO busy\)$"):
                change(ALLOW, go_on)
        with pytest.raises(OutputError, match="does not switch"):
            relay.close()
        relay.close()  # let go of all the same

    @pytest.mark.parametrize("pin", ["GPIO99", 99, "", "J8:99"])
    def test_a_pin_that_is_not_there_is_named(self, factory, pin):
        with pytest.raises(OutputError, match=rf"^gpio pin {pin}: cannot be used .*check the pin"):
            GpioRelay(pin, pin_factory=factory)

    def test_two_relays_cannot_have_one_pin(self, factory):
        first = GpioRelay(PIN, pin_factory=factory)
        with pytest.raises(OutputError, match="already in use"):
            GpioRelay("BOARD11", pin_factory=factory)
        first.close()
        GpioRelay("BOARD11", pin_factory=factory)

    @EVERY_WIRING
    def test_a_pin_with_a_resistor_that_unlocks_is_refused(self, factory, energised, active_high):
        if level_of(False, energised, active_high):  # GPIO2 is pulled up on the computer itself
            GpioRelay("GPIO2", energised, active_high, pin_factory=factory)
        else:
            with pytest.raises(OutputError, match="pulls it up, which would unlock"):
                GpioRelay("GPIO2", energised, active_high, pin_factory=factory)

    def test_pins_that_open_at_any_level_are_refused(self):
        class Native(MockFactory):
            def pin(self, name, pin_class=None):
                return object.__new__(NativePin)

        with pytest.raises(OutputError, match="may unlock for a moment when they are opened"):
            GpioRelay(PIN, pin_factory=Native())

    def test_a_machine_without_pins_is_one_sentence(self, monkeypatch, recwarn):
        def none_found():
            raise gpiozero.BadPinFactory("Unable to load any default pin factory!")

        monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
        monkeypatch.setattr(gpiozero.Device, "_default_pin_factory", none_found)
        with pytest.raises(OutputError, match="no pins on this machine; on a Raspberry Pi") as said:
            GpioRelay(PIN)
        assert "\n" not in str(said.value)
        assert not recwarn.list

    def test_a_missing_package_is_one_sentence(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "gpiozero", None)
        with pytest.raises(
            OutputError, match=r'needs gpiozero; run pip install "mask-gate\[gpio\]'
        ):
            GpioRelay(PIN)


class FakeLgpio(ModuleType):
    """The lgpio module as far as gpiozero uses it for outputs; keeps every level a line had."""

    BOTH_EDGES, RISING_EDGE, FALLING_EDGE = 3, 1, 2
    SET_PULL_UP, SET_PULL_DOWN, SET_PULL_NONE = 32, 64, 128

    def __init__(self):
        super().__init__("lgpio")
        self.levels = []
        self.is_output = False

    def gpiochip_open(self, chip):
        return 0

    def gpiochip_close(self, handle):
        return 0

    def gpio_claim_input(self, handle, gpio, flags=0):
        self.is_output = False
        return 0

    def gpio_claim_output(self, handle, gpio, level=0, flags=0):
        self.is_output = True
        return self.gpio_write(handle, gpio, level)

    def gpio_write(self, handle, gpio, level):
        assert self.is_output
        self.levels.append(bool(level))
        return 0

    def gpio_read(self, handle, gpio):
        return int(self.levels[-1]) if self.levels else 0

    def gpio_get_mode(self, handle, gpio):
        return 2 if self.is_output else 0


@pytest.fixture
def lgpio(monkeypatch):
    fake = FakeLgpio()
    monkeypatch.setitem(sys.modules, "lgpio", fake)
    monkeypatch.delitem(sys.modules, "gpiozero.pins.lgpio", raising=False)
    module = importlib.import_module("gpiozero.pins.lgpio")
    monkeypatch.setattr(module.LGPIOFactory, "_get_revision", lambda self: 0xA02082)
    factory = module.LGPIOFactory()
    yield fake, factory
    factory.close()
    factory.pins.clear()
    factory._reservations.clear()
    sys.modules.pop("gpiozero.pins.lgpio")


class TestLgpio:
    """The library of today's Raspberry Pi OS, with gpiozero's own code above it.

    gpiozero itself opens every one of its pins low for a moment.
    """

    @EVERY_WIRING
    def test_the_relay_opens_it_at_the_locking_level(self, lgpio, energised, active_high):
        fake, factory = lgpio
        locked, unlocked = (level_of(open_, energised, active_high) for open_ in (False, True))
        relay = GpioRelay(PIN, energised, active_high, pin_factory=factory)
        assert set(fake.levels) == {locked}
        relay.unlock(ALLOW, go_on)
        relay.lock(DENY, go_on)
        relay.close()
        edges = [level for level, _ in itertools.groupby(fake.levels)]
        assert edges == [locked, unlocked, locked]
