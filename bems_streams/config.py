"""What a process is told from outside: environment variables `BEMS_…`, overridden by command-line options.

Read once, in composition roots only. Not here: the catalogue (topics.py), which is a file, not a setting.
"""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from bems_streams.topics import Overrides


class Settings(BaseSettings):
    """Settings that more than one role shares. Every field is an environment variable BEMS_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="BEMS_", extra="ignore", frozen=True)

    cell: str = Field(
        default="local-1", min_length=1, max_length=64, description="Cell id, on every record and receipt."
    )
    region: str = Field(default="local", min_length=1, max_length=64, description="Region of the cell.")
    bootstrap: str = Field(
        default="127.0.0.1:9092", min_length=1, description="Kafka bootstrap servers, host:port[,…]."
    )
    catalogue: Path | None = Field(
        default=None, description="Path of topics.yaml; by default the one in this folder or package."
    )
    partitions: int | None = Field(
        default=None, description="Partitions of every topic, instead of the catalogue's number."
    )
    replication: int | None = Field(
        default=None, description="Copies of every topic, instead of the catalogue's number."
    )
    min_insync_replicas: int | None = Field(
        default=None,
        description="Copies that must have a record before it counts as durable, instead of the catalogue's.",
    )
    store: str | None = Field(default=None, description="Store URL; by default the SQLite file in the state folder.")
    state_dir: Path = Field(default=Path(".bems"), description="Where local state lives: store, tables.")
    table_memory_mb: int = Field(
        default=256,
        ge=16,
        description="Memory for the invoice table of a tracker, all its partitions together, in MiB.",
    )
    host: str = Field(default="127.0.0.1", description="Address that listening sockets bind to.")
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")
    time_scale: float = Field(
        default=1.0,
        gt=0,
        description="Divides every stuck limit: 86400 turns days into seconds, for a demo of a month in a minute.",
    )
    operator: str | None = Field(
        default=None, max_length=128, description="Who is at work, in audit entries; by default the user and the host."
    )
    clock_offset_file: Path | None = Field(
        default=None, description="For proofs: a worker's clock is wrong by the seconds in this file, as they change."
    )

    @property
    def overrides(self) -> Overrides:
        """What this cluster has otherwise than the catalogue: the second argument of `load_catalogue`."""
        return Overrides(self.partitions, self.replication, self.min_insync_replicas)
