"""Where things are and how much is allowed, read once at the start from the environment and .env.

By default everything is kept under one folder, `var/`: MLflow, Prefect, records and journal, all on
SQLite. What decides anything stands in loop.toml instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from closedloop.errors import UseCaseError

DEFAULT_USE_CASE = Path("data/streamflow/loop.toml")


class Settings(BaseSettings):
    """Every variable is documented in `.env.example`."""

    model_config = SettingsConfigDict(
        env_prefix="CLOSEDLOOP_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    home: Path = Path("var")
    use_case: Path = DEFAULT_USE_CASE
    use_cases: str = ""
    data: Path | None = None
    database_url: str | None = None
    archive: str | None = None
    records_sync: Literal["normal", "full"] = "normal"
    mlflow_url: str | None = Field(
        default=None, validation_alias=AliasChoices("CLOSEDLOOP_MLFLOW_URL", "MLFLOW_TRACKING_URI")
    )
    mlflow_public_url: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    mlflow_host: str = "127.0.0.1"
    mlflow_port: int = 5000
    prefect_host: str = "127.0.0.1"
    prefect_port: int = 4200
    page_host: str = "127.0.0.1"
    page_port: int = 8001
    page_url: str | None = None
    allowed_hosts: str = ""
    follow_seconds: float = 0.25
    workers: int = 1
    report_windows: Literal["drifted", "all"] = "drifted"
    keep_reports: int = 100
    train_separately: bool = False
    dask: str | None = None
    answer_without_records: bool = False
    api_keys_file: Path | None = None
    api_key: SecretStr | None = Field(default=None, min_length=16)
    revision: str | None = None
    max_body_bytes: int = Field(default=10_000_000, ge=1)
    max_rows: int = Field(default=10_000, ge=1)
    max_explained_rows: int = Field(default=100, ge=1)
    max_waiting_requests: int = Field(default=512, ge=1)
    request_seconds: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    max_header_bytes: int = Field(default=32_768, ge=1_024)
    max_connections: int = Field(default=1_000, ge=1)
    header_seconds: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    stall_seconds: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    keep_alive_seconds: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    source_url: str | None = None
    alert_webhook_url: SecretStr | None = None
    alert_webhook_secret: SecretStr | None = None
    alert_urls: SecretStr | None = None
    api_url: str | None = None
    to_database_url: str | None = None
    to_mlflow_url: str | None = None

    @classmethod
    def read(cls, environment: Mapping[str, str], **given: Any) -> Settings:
        """What is given, then the settings of an environment, and of .env where it is silent.

        Raises UseCaseError that names the variable with a wrong value.
        """
        try:
            return cls(**{"environment": environment, **given})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            raise UseCaseError(
                where=name if name.isupper() else f"CLOSEDLOOP_{name.upper()}",
                wanted=first["msg"].removeprefix("Input should be "),
                got=repr(first["input"]),
                then="correct it in the environment or in .env",
            ) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Explicit values first, then the environment (of `read` or the process), then .env."""
        assert isinstance(init_settings, InitSettingsSource)
        assert isinstance(env_settings, EnvSettingsSource)
        environment = init_settings.init_kwargs.pop("environment", None)
        if environment is not None:
            env_settings.env_vars = {
                name.lower(): value for name, value in environment.items() if value
            }
        return init_settings, env_settings, dotenv_settings

    @property
    def home_folder(self) -> Path:
        return self.home.expanduser().resolve()

    @property
    def named_use_cases(self) -> tuple[Path, ...]:
        """The use cases that CLOSEDLOOP_USE_CASES names; without any, CLOSEDLOOP_USE_CASE.

        Where CLOSEDLOOP_USE_CASE is one of them, it comes first.
        """
        paths = [Path(path.strip()) for path in self.use_cases.split(",") if path.strip()]
        first = _as_file(self.use_case)
        return tuple(sorted(paths, key=lambda path: _as_file(path) != first)) or (self.use_case,)

    @property
    def store_url(self) -> str:
        """The database of records and journal, as a SQLAlchemy URL."""
        return self.database_url or f"sqlite:///{self.home_folder / 'closedloop.db'}"

    @property
    def tracking_uri(self) -> str:
        """The address of MLflow: a server, or the embedded SQLite file."""
        return self.mlflow_url or f"sqlite:///{self.home_folder / 'mlflow.db'}"

    @property
    def mlflow_ui(self) -> str:
        """The address of MLflow for people, which may differ from that for programs."""
        return (self.mlflow_public_url or self.mlflow_url or self.mlflow_address).rstrip("/")

    @property
    def api_address(self) -> str:
        """Where the API answers this machine."""
        return _address(self.host, self.port)

    @property
    def page_address(self) -> str:
        """Where the page answers this machine."""
        return _address(self.page_host, self.page_port)

    @property
    def page_link(self) -> str:
        """Where people find the page, which may differ from where it answers this machine."""
        return (self.page_url or self.page_address).rstrip("/")

    @property
    def mlflow_address(self) -> str:
        """Where the MLflow of `closedloop up` answers this machine."""
        return _address(self.mlflow_host, self.mlflow_port)

    @property
    def prefect_address(self) -> str:
        """Where the Prefect of `closedloop up` answers this machine."""
        return _address(self.prefect_host, self.prefect_port)

    @property
    def further_hosts(self) -> tuple[str, ...]:
        """Names beside their own under which the servers may be asked."""
        return tuple(name.strip() for name in self.allowed_hosts.split(",") if name.strip())

    @property
    def artifacts_folder(self) -> Path:
        """The folder of the embedded MLflow's artifacts."""
        return self.home_folder / "artifacts"

    @property
    def tried_folder(self) -> Path:
        """The notes of which models were tried here before they were loaded."""
        return self.home_folder / "tried"

    @property
    def keys_file(self) -> Path:
        """The file with the hashes of the API keys."""
        return (self.api_keys_file or self.home_folder / "api_keys.json").expanduser().absolute()

    def library_environment(self) -> dict[str, str]:
        """Variables to set before Prefect, MLflow and Evidently are imported.

        They keep state under `home`, send no telemetry and log little.
        """
        return {
            "DO_NOT_TRACK": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_HOME": str(self.home_folder / "prefect"),
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
            # The first start creates a database, which may take longer than the default.
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        }


def _as_file(use_case: Path) -> Path:
    """The loop.toml of a use case that may be named by its folder."""
    return (use_case if use_case.suffix == ".toml" else use_case / "loop.toml").resolve()


def _address(host: str, port: int) -> str:
    """For clients of this machine: a server that listens on every address is on loopback, too.

    Not `localhost`, which may lead to somebody else on ::1.
    """
    host = {"localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
