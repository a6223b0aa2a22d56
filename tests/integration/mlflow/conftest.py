"""A real MLflow for all tests of this folder, and one tenant's part of it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from collectors_dagster.integrations.mlflow import Gate, ModelRegistry, PublishedModel, Wait, at_once
from collectors_dagster.models.training import TrainedDetector, TrainedForecaster, train_detector, train_forecaster
from tests.support.histories import quiet_host, with_values
from tests.support.mlflow import running_mlflow

FRAMES = {"quiet-1": [quiet_host(90)]}


@pytest.fixture(scope="session")
def server_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def uri(server_place: Path) -> Iterator[str]:
    with running_mlflow(server_place) as address:
        yield address


@pytest.fixture(scope="session")
def detector() -> TrainedDetector:
    return train_detector("aurora", FRAMES, seed=0)


@pytest.fixture(scope="session")
def other() -> TrainedDetector:
    """Return a detector that was trained on as much, but of a host that works harder."""
    frame = quiet_host(90)
    return train_detector("aurora", {"quiet-1": [with_values(frame, frame.values * 4.0)]}, seed=0)


@pytest.fixture(scope="session")
def forecaster() -> TrainedForecaster:
    return train_forecaster("aurora", FRAMES, seed=0)


@pytest.fixture
def tenant() -> str:
    """Return a tenant that no other test uses."""
    return f"t{uuid4().hex[:10]}"


def passes(_candidate: Mapping[str, float], _champion: Mapping[str, float]) -> list[str]:
    return []


def refuses(_candidate: Mapping[str, float], _champion: Mapping[str, float]) -> list[str]:
    return ["it is worse", "and louder"]


class Shop:
    """One tenant's registry, with what tests do again and again."""

    def __init__(self, uri: str, tenant: str, place: Path, artifacts: Path) -> None:
        self.client = MlflowClient(uri, uri)
        self.registry = ModelRegistry(uri)
        self.tenant = tenant
        self.place = place
        self.artifacts = artifacts

    def publish(
        self, trained: TrainedDetector | TrainedForecaster, gate: Gate = passes, wait: Wait = at_once
    ) -> PublishedModel:
        bundle = self.place / uuid4().hex
        trained.model.save(bundle)
        return self.registry.publish(self.tenant, trained.package, bundle, gate=gate, wait=wait)

    def champion_version(self) -> str | None:
        found = self.registry.champion(self.tenant, "anomaly", self.place / "cache")
        return found.version if found else None

    def run(self, published: PublishedModel) -> Run:
        return self.client.get_run(published.run_id)

    def aliases(self, name: str) -> dict[str, str]:
        return {key: str(value) for key, value in self.client.get_registered_model(name).aliases.items()}


@pytest.fixture
def shop(uri: str, tenant: str, tmp_path: Path, server_place: Path) -> Shop:
    return Shop(uri, tenant, tmp_path, server_place / "artifacts")


def waiting_for(what: str) -> Wait:
    """Return the policy that lets every candidate wait."""
    return lambda _candidate, _champion: what
