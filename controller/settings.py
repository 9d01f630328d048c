"""The operator's settings, from the environment (PAPLOSS_...) or the command line; nothing is made on import."""

import json
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from paploss.client.notifications import MAIL_ADDRESS
from paploss.jobs.logs import LogFormat
from paploss.jobs.settings import ProcessSettings

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
SECRETS = {"admin_key", "worker_key", "viewer_key", "smtp_url", "oidc_client_secret"}
"""Settings that the server alone needs, and no process beside it."""
Grant = Annotated[str, Field(pattern=r"^(admin|((\*|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?):)?(viewer|user))$")]
"""What a group gives: a role, with the project that it is in before a colon."""
SMTP_PORTS: Final = {"smtp": 587, "smtps": 465, "smtp+insecure": 25}
"""Default port of each scheme of `smtp_url`."""


class Settings(ProcessSettings):
    """Where the parts of the platform are, and how patient they are with each other. Durations are in seconds."""

    model_config = SettingsConfigDict(env_prefix="PAPLOSS_", frozen=True, extra="forbid", ser_json_inf_nan="constants")

    state_dir: Path = Field(Path("state"), description="folder for the database file and exports")
    database_url: str = Field("", description="SQLAlchemy URL; empty means a SQLite file in state_dir")
    redis_url: str = "redis://127.0.0.1:6379/0"
    data_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="folders whose data sets and weights a request may name; separated by ':' in the environment"
    )

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="names that a request's Host header may carry, separated by ':' in the environment; by default the "
        "loopback's names when the controller listens there, else any",
    )
    max_body_bytes: int = Field(1_000_000, ge=1000, description="a larger request is refused")
    keep_files_days: float = Field(
        7, ge=0, description="checkpoints and logs of trials that have ended stay so long in the workers' state folder"
    )
    keep_details_days: float = Field(
        180,
        ge=0,
        description="log lines, log tails, learning curves and pictures of experiments that have ended stay so long",
    )
    max_load_bytes: int = Field(500_000_000, ge=1000, description="a larger file of `paploss load` is refused")
    requests_per_second: float = Field(100, gt=0, description="of one API key and the browsers it opened")
    worker_requests_per_second: float = Field(2000, gt=0, description="of one worker key, which all workers may share")
    anonymous_requests_per_second: float = Field(20, gt=0, description="of one address without a valid key")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: LogFormat = Field("text", description="json: one object a line; ids of experiment, trial and worker")
    session_seconds: float = Field(12 * 3600, gt=0, description="how long a browser stays signed in")

    public_url: str = Field(
        "",
        pattern=r"^(https?://[!-~]+)?$",
        description="address of the page as people reach it; notifications link to it, and single sign-on needs it",
    )
    oidc_issuer: str = Field("", description="address of the OpenID Connect provider; no single sign-on where empty")
    oidc_client_id: str = Field("", description="what the provider calls this controller")
    oidc_client_secret: SecretStr | None = Field(None, description="where the provider gives one")
    oidc_scopes: str = Field("openid profile email", description="what is asked for, separated by spaces")
    oidc_groups_claim: str = Field("groups", description="the claim that has the groups of a person")
    oidc_roles: dict[str, Grant] = Field(
        {},
        description='role by group, as JSON: {"detection": "user", "birds": "bird-lab:user"}, with a project, or * for '
        "all of them, before the role; without, in the project default. Whoever is in none of them is refused",
    )

    admin_key: SecretStr | None = Field(
        None, min_length=20, description="API key of an administrator, installed at start"
    )
    worker_key: SecretStr | None = Field(None, min_length=20, description="API key of the workers, installed at start")
    viewer_key: SecretStr | None = Field(None, min_length=20, description="API key of who scrapes /metrics, likewise")
    worker_pools_file: Path | None = Field(
        None, description="elastic workers: the pools of controller.scaling.pools, as YAML; none where empty"
    )
    start_seconds: float = Field(
        0, ge=0, description="how long to wait at start for a database and a Redis that cannot be reached yet"
    )
    search_resources_namespace: str = Field(
        "", description="Kubernetes: the namespace whose Search resources are run; none where empty"
    )
    scaling_seconds: float = Field(
        5, gt=0, description="pause between two looks at the cluster: at elastic workers, at Search resources"
    )

    notify_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (),
        description="networks that webhooks may reach besides public addresses, e.g. 10.1.0.0/16; separated by ',' in "
        "the environment",
    )
    smtp_url: SecretStr | None = Field(
        None,
        description="server for mail: smtp://USER:PASSWORD@HOST:587 (STARTTLS), smtps:// (TLS from the start), or "
        "smtp+insecure:// (neither); none: no mail",
    )
    mail_from: str = Field("", description="sender of mail, e.g. paploss@example.org; needed with smtp_url")
    mail_domains: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="domains that mail may go to, separated by ':' in the environment; by default that of mail_from"
    )
    stalled_seconds: float = Field(
        1800, gt=0, description="an experiment in which no trial begins, advances or ends for so long has stalled"
    )

    lease_seconds: float = Field(60, gt=0, description="a worker that is silent for so long has lost its trial")
    renew_seconds: float = Field(5, gt=0, description="how often a worker renews its lease")
    leader_lease_seconds: float = Field(15, gt=0, description="a leader that is silent for so long is replaced")
    tick_seconds: float = Field(0.5, gt=0, description="pause between two looks of the leader at its searches")
    queue_margin: int = Field(8, ge=1, description="trials kept in a queue beyond two for each live worker")

    @field_validator("data_roots", "allowed_hosts", "mail_domains", "notify_networks", mode="before")
    @classmethod
    def _split_list(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        separator = "," if info.field_name == "notify_networks" else ":"  # which IPv6 has within
        return json.loads(value) if value.startswith("[") else [part for part in value.split(separator) if part]

    @field_validator("data_roots")
    @classmethod
    def _check_roots(cls, roots: tuple[Path, ...]) -> tuple[Path, ...]:
        for root in roots:
            if not root.is_absolute() or ".." in root.parts:
                raise ValueError(f"expected absolute folders without '..', got {root}")
        return roots

    @field_validator("smtp_url")
    @classmethod
    def _check_smtp(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            parts = urlsplit(url.get_secret_value())
            _ = parts.port  # raises where it is none
            if parts.scheme not in SMTP_PORTS or not parts.hostname:
                schemes = ", ".join(f"{scheme}://HOST" for scheme in SMTP_PORTS)
                raise ValueError(f"expected one of {schemes}, with USER:PASSWORD@ and :PORT where they are needed")
        return url

    @model_validator(mode="after")
    def _check_mail(self) -> Self:
        if self.smtp_url is not None and not MAIL_ADDRESS.fullmatch(self.mail_from):
            raise ValueError(f"mail_from: expected a mail address with smtp_url, got {self.mail_from!r}")
        return self

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        roles: dict[str, str] = {}  # a key has one role
        for name in ("admin_key", "worker_key", "viewer_key"):
            key = getattr(self, name)
            if key is not None and (other := roles.setdefault(key.get_secret_value(), name)) != name:
                raise ValueError(f"{name}: expected another key than that of {other}")
        return self

    @model_validator(mode="after")
    def _check_durations(self) -> Self:
        if self.renew_seconds * 2 > self.lease_seconds:
            raise ValueError(
                f"renew_seconds: expected at most half of lease_seconds, "
                f"got {self.renew_seconds} with {self.lease_seconds}"
            )
        return self

    @model_validator(mode="after")
    def _check_single_sign_on(self) -> Self:
        if not self.oidc_issuer:
            return self
        for name in ("oidc_client_id", "oidc_roles", "public_url"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected a value, because oidc_issuer has one")
        for name in ("oidc_issuer", "public_url"):
            address = urlsplit(getattr(self, name))
            if address.scheme != "https" and not (address.scheme == "http" and address.hostname in LOOPBACK_HOSTS):
                raise ValueError(
                    f"{name}: expected an https address (http on the loopback alone), got {address.geturl()}"
                )
        if "openid" not in self.oidc_scopes.split():
            raise ValueError(f"oidc_scopes: expected openid among them, got {self.oidc_scopes!r}")
        return self

    @property
    def resolved_database_url(self) -> str:
        """The database's URL, with the default filled in."""
        return self.database_url or f"sqlite:///{quote(str(self.state_dir.absolute()))}/paploss.db"
