"""Where things are, never what to decide: read from the environment (and .env) by `Settings()`,
once, by whoever starts up.

The embedded default keeps everything under one folder, `var/`: MLflow and Prefect on SQLite,
records and journal on SQLite.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

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
    records_sync: Literal["normal", "full"] = "normal"
    mlflow_url: str | None = Field(
        default=None, validation_alias=AliasChoices("CLOSEDLOOP_MLFLOW_URL", "MLFLOW_TRACKING_URI")
    )
    mlflow_public_url: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    mlflow_port: int = 5000
    prefect_port: int = 4200
    follow_seconds: float = 0.25
    workers: int = 1
    keep_reports: int = 100
    train_separately: bool = False
    answer_without_records: bool = False
    api_keys_file: Path | None = None
    api_key: SecretStr | None = Field(default=None, min_length=16)
    revision: str | None = None
    max_body_bytes: int = Field(default=10_000_000, ge=1)
    max_rows: int = Field(default=10_000, ge=1)
    max_waiting_requests: int = Field(default=512, ge=1)
    request_seconds: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    to_database_url: str | None = None
    to_mlflow_url: str | None = None

    @property
    def home_folder(self) -> Path:
        return self.home.expanduser().resolve()

    @property
    def deployed_use_cases(self) -> tuple[Path, ...]:
        """The use cases that a team's Prefect server looks after."""
        named = tuple(Path(one.strip()) for one in self.use_cases.split(",") if one.strip())
        return named or (self.use_case,)

    @property
    def store_url(self) -> str:
        """SQLAlchemy address of records and journal."""
        return self.database_url or f"sqlite:///{self.home_folder / 'closedloop.db'}"

    @property
    def tracking_uri(self) -> str:
        """MLflow's address: a server, or the embedded SQLite file."""
        return self.mlflow_url or f"sqlite:///{self.home_folder / 'mlflow.db'}"

    @property
    def mlflow_ui(self) -> str:
        """Where people see MLflow; not always where programs find it."""
        return (
            self.mlflow_public_url or self.mlflow_url or f"http://{self.host}:{self.mlflow_port}"
        ).rstrip("/")

    @property
    def artifacts_folder(self) -> Path:
        """Where the embedded MLflow keeps artifacts."""
        return self.home_folder / "artifacts"

    @property
    def keys_file(self) -> Path:
        """Where the hashes of the API keys are."""
        return (self.api_keys_file or self.home_folder / "api_keys.json").expanduser().absolute()

    def library_environment(self) -> dict[str, str]:
        """What Prefect, MLflow and Evidently have to find in the environment before they are
        imported: their state under `home`, no telemetry, little noise. A variable that the user has
        set is left as it is."""
        return {
            "DO_NOT_TRACK": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_HOME": str(self.home_folder / "prefect"),
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
            # The first start makes a database, which takes longer than Prefect's own patience on a
            # busy machine.
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        }
