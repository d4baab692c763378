"""ConsoleConfig: what gate.yaml may say of the guard's console, and how long it waits."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from mask_gate.gate.guard_order import GuardAct
from mask_gate.models.section import Section

_FILE = Field(default=None, min_length=1)

GuardName = Annotated[str, StringConstraints(pattern=r"^[^\s\x00-\x1f]{1,40}$")]
"""What a guard types at the login."""


class Timeouts(Section):
    """How long the console waits for browsers; not in gate.yaml.

    Attributes:
        slow_viewer_s: a viewer that does not take a picture in this time is dropped.
        idle_connection_s: a request must be whole in this time, and begin in this time after the
            answer to the one before.
        login_form_s: the form with the password must be whole in this time.
    """

    slow_viewer_s: float = 5.0
    idle_connection_s: float = 10.0
    login_form_s: float = 5.0


class ConsoleConfig(Section):
    """Pages for a browser; off unless switched on, and for this machine alone unless it is safe."""

    enabled: bool = False
    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen at")
    port: int = Field(default=8321, ge=0, le=65535, description="0 takes any that is free")
    password_file: str | None = _FILE
    kiosk_password_file: str | None = _FILE
    guard_password_files: Mapping[GuardName, str] = Field(
        default={}, description="a password for each guard by name, as {kim: FILE}"
    )
    guard_may: tuple[Literal["lock_down", "let_in_once"], ...] = Field(
        default=(), description="what guards may do at a door: lock_down, let_in_once"
    )
    let_in_per_h: int = Field(
        default=12,
        ge=1,
        le=60,
        description="so often at most guards may let somebody in at a door within an hour",
    )
    metrics_token_file: str | None = _FILE
    names: tuple[str, ...] = Field(
        default=(), description="names it is reached by, besides this machine's own"
    )
    tls_certificate: str | None = _FILE
    tls_key: str | None = _FILE
    proxies: tuple[str, ...] = Field(default=(), description="addresses of proxies that speak TLS")
    viewers: int = Field(default=8, ge=1, le=64, description="pictures sent at once")
    session_h: float = Field(default=8.0, gt=0, le=24, description="a login is good for so long")

    @property
    def guard_acts(self) -> frozenset[GuardAct]:
        """What guards may have done; whoever may lock down may end that, too."""
        acts = {GuardAct(permission) for permission in self.guard_may}
        return frozenset(acts | {GuardAct.END_LOCK_DOWN} if GuardAct.LOCK_DOWN in acts else acts)

    @property
    def is_local(self) -> bool:
        """Whether only this machine itself can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def is_encrypted(self) -> bool:
        """Whether browsers speak TLS, to us or to a proxy of ours."""
        return self.tls_certificate is not None or bool(self.proxies)

    @property
    def url(self) -> str | None:
        """Where browsers of other machines find it; None where they do not."""
        if not (self.enabled and self.names and self.port):
            return None
        port = "" if self.proxies else f":{self.port}"  # a proxy has a port of its own
        return f"{'https' if self.is_encrypted else 'http'}://{self.names[0]}{port}/"

    @model_validator(mode="after")
    def _is_safe(self) -> ConsoleConfig:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_key: give tls_certificate and tls_key, or neither")
        for proxy in self.proxies:
            try:
                ipaddress.ip_address(proxy)
            except ValueError:
                raise ValueError(f"proxies: expected addresses, got {proxy!r:.60}") from None
        if self.guard_may and not self.guard_password_files:
            raise ValueError("guard_may: needs guard_password_files; the record names who it was")
        if self.is_local:
            return self
        if self.password_file is None and not self.guard_password_files:
            raise ValueError("password_file: needed, for others than this machine can reach it")
        if not self.is_encrypted:
            raise ValueError("tls_certificate: needed (or proxies), for others can listen")
        if not self.names:
            raise ValueError("names: needed, for a browser may be lured here by another name")
        return self
