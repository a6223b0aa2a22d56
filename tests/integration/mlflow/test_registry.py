"""Models go into a real MLflow, and only the champion, unharmed, comes out."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.artifacts import download_artifacts

from collectors_dagster.errors import (
    ModelError,
    ServiceUnreachableError,
    TenantIsolationError,
)
from collectors_dagster.features.signals import SIGNALS
from collectors_dagster.integrations.digests import directory_digest
from collectors_dagster.integrations.mlflow import ModelRegistry
from collectors_dagster.models.anomaly import TenantDetector
from collectors_dagster.models.gates import anomaly_gate
from collectors_dagster.models.training import TrainedDetector, TrainedForecaster
from tests.integration.mlflow.conftest import Shop, passes, refuses, waiting_for
from tests.support.histories import quiet_host

ROOT = Path(__file__).resolve().parents[3]


def test_the_first_version_serves_and_is_described(shop: Shop, detector: TrainedDetector) -> None:
    published = shop.publish(detector, refuses)  # nobody to compare with
    version = shop.client.get_model_version(f"{shop.tenant}.anomaly", published.version)
    run = shop.run(published)
    assert (published.alias, published.reasons) == ("champion", ())
    assert run.info.status == "FINISHED"
    assert run.data.metrics == pytest.approx(dict(detector.package.metrics))
    assert run.data.params == dict(detector.package.params)
    assert version.description == detector.package.card
    assert {"tenant", "feature_set", "code_version", "window_start", "window_end", "rows", "state"} <= set(version.tags)
    assert version.tags["tenant"] == shop.tenant
    assert run.inputs is not None
    [dataset] = [one.dataset for one in run.inputs.dataset_inputs]
    assert (dataset.name, dataset.digest) == ("aurora.minutes", version.tags["dataset_digest"])
    assert json.loads(str(dataset.profile)) == {"hosts": 1, "minutes": 90, "signals": len(SIGNALS)}
    logged = shop.client.get_logged_model(str(version.source).removeprefix("models:/"))
    assert {one.dataset_digest for one in logged.metrics or ()} == {dataset.digest}
    plots = {one.path for one in shop.client.list_artifacts(published.run_id, "plots")}
    assert plots == {f"plots/{name}" for name in detector.package.plots}


def test_the_champion_scores_as_the_model_that_was_published(shop: Shop, detector: TrainedDetector) -> None:
    shop.publish(detector)
    found = shop.registry.champion(shop.tenant, "anomaly", shop.place / "cache")
    assert found is not None
    loaded = TenantDetector.load(found.path, found.version)
    rows = quiet_host(30, first=90)
    again = [one.score for one in loaded.detector("quiet-1").score(rows, None)]
    assert again == [one.score for one in detector.model.detector("quiet-1").score(rows, None)]


def test_the_files_name_their_loader_and_hold_no_pickle(
    shop: Shop, detector: TrainedDetector, forecaster: TrainedForecaster
) -> None:
    for trained in (detector, forecaster):
        published = shop.publish(trained)
        version = shop.client.get_model_version(published.name, published.version)
        logged = shop.client.get_logged_model(str(version.source).removeprefix("models:/"))
        local = Path(
            download_artifacts(
                artifact_uri=logged.artifact_location,
                dst_path=str(shop.place / trained.package.kind),
                tracking_uri=shop.registry._uri,
            )
        )
        names = {path.name for path in local.rglob("*") if path.is_file()}
        assert {"MLmodel", "requirements.txt", "python_env.yaml", "input_example.json", "bundle.json"} <= names
        assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]
        assert "collectors_dagster.models.serving" in (local / "MLmodel").read_text()
        assert len(json.loads((local / "input_example.json").read_text())["data"]) <= 5


@pytest.mark.filterwarnings("ignore:.*type hint.*:UserWarning")  # MLflow warns about its own code while it is imported
def test_mlflow_itself_can_serve_the_model(shop: Shop, detector: TrainedDetector) -> None:
    import mlflow

    published = shop.publish(detector)
    mlflow.set_tracking_uri(shop.registry._uri)
    served = mlflow.pyfunc.load_model(f"models:/{published.name}@champion")
    answer = served.predict(served.input_example)
    assert list(answer["anomaly_score"]) == pytest.approx(detector.package.answer["anomaly_score"])
    required = {one.name for one in served.metadata.signature.inputs if one.required}
    assert required == {"host", "timestamp"}
    assert set(SIGNALS) < {one.name for one in served.metadata.signature.inputs}


def test_a_candidate_that_fails_its_gate_only_challenges(shop: Shop, detector: TrainedDetector) -> None:
    shop.publish(detector)
    second = shop.publish(detector, refuses)
    version = shop.client.get_model_version(second.name, second.version)
    assert (second.alias, second.reasons) == ("challenger", ("it is worse", "and louder"))
    assert version.tags["rejected"] == "it is worse; and louder"
    assert shop.aliases(second.name) == {"champion": "1", "challenger": "2"}
    assert shop.champion_version() == "1"


def test_a_candidate_that_passes_replaces_and_the_old_one_is_previous(shop: Shop, detector: TrainedDetector) -> None:
    shop.publish(detector)
    shop.publish(detector, refuses)
    third = shop.publish(detector)
    assert shop.aliases(third.name) == {"champion": "3", "previous": "1"}
    assert shop.champion_version() == "3"


def test_the_gate_sees_the_champions_metrics(shop: Shop, detector: TrainedDetector) -> None:
    shop.publish(detector)
    worse = replace(detector.package, metrics={**detector.package.metrics, "alert_episodes_per_host_day": 40.0})
    second = shop.publish(TrainedDetector(detector.model, worse), anomaly_gate)
    assert second.alias == "challenger"
    assert "40.0 times" in second.reasons[0]


def test_a_person_who_moves_the_alias_decides(shop: Shop, detector: TrainedDetector) -> None:
    first = shop.publish(detector)
    shop.publish(detector)
    assert shop.champion_version() == "2"
    shop.client.set_registered_model_alias(first.name, "champion", first.version)
    assert shop.champion_version() == "1"
    shop.client.delete_registered_model_alias(first.name, "champion")
    assert shop.champion_version() is None


def test_mlflow_sends_no_usage_data(tmp_path: Path) -> None:
    """In a process of its own: MLflow is silent under pytest anyway."""
    code = (
        "from mlflow.telemetry import get_telemetry_client as client\n"
        "print(client() is None)\n"
        "from collectors_dagster.integrations.mlflow import ModelRegistry\n"
        "ModelRegistry('http://127.0.0.1:9')\n"
        "print(client() is None)\n"
    )
    environment = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "True"]


def test_nothing_serves_before_the_first_version(shop: Shop) -> None:
    assert shop.champion_version() is None


def test_a_version_is_downloaded_once_and_old_ones_leave_the_disk(shop: Shop, detector: TrainedDetector) -> None:
    for _ in range(5):
        shop.publish(detector)
        shop.champion_version()
    kept = sorted(path.name for path in (shop.place / "cache" / f"{shop.tenant}.anomaly").iterdir())
    assert kept == ["3", "4", "5"]
    (shop.place / "cache" / f"{shop.tenant}.anomaly" / "5" / "mark").touch()
    shop.champion_version()
    assert (shop.place / "cache" / f"{shop.tenant}.anomaly" / "5" / "mark").exists()


def test_files_changed_in_the_store_are_refused(shop: Shop, detector: TrainedDetector) -> None:
    published = shop.publish(detector)
    version = shop.client.get_model_version(published.name, published.version)
    (shop.place / "bundle.json").write_text("{}")
    model_id = str(version.source).removeprefix("models:/")
    shop.client.log_model_artifact(model_id, str(shop.place / "bundle.json"), "data")
    with pytest.raises(ModelError, match="digest differs"):
        shop.champion_version()


def test_a_version_that_we_did_not_register_is_refused(shop: Shop, detector: TrainedDetector) -> None:
    published = shop.publish(detector)
    shop.client.delete_model_version_tag(published.name, published.version, "bundle_sha256")
    with pytest.raises(ModelError, match="not registered by this platform"):
        shop.champion_version()


def test_a_tenant_id_that_is_none_reaches_no_url(shop: Shop) -> None:
    with pytest.raises(TenantIsolationError):
        shop.registry.champion("../etc", "anomaly", shop.place)


def test_a_server_that_is_away_is_said_to_be_away(tmp_path: Path) -> None:
    registry = ModelRegistry("http://127.0.0.1:9")
    with pytest.raises(ServiceUnreachableError, match="is it running") as caught:
        registry.champion("aurora", "anomaly", tmp_path)
    assert caught.value.transient
    assert caught.value.service == "mlflow"


def test_a_failed_publication_serves_nothing_and_is_marked(shop: Shop, detector: TrainedDetector) -> None:
    with pytest.raises(FileNotFoundError):
        shop.registry.publish(shop.tenant, detector.package, shop.place / "absent", gate=passes)
    experiment = shop.client.get_experiment_by_name(shop.tenant)
    assert experiment is not None
    [run] = shop.client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"
    assert shop.champion_version() is None


def status(shop: Shop, version: str) -> str:
    return str(shop.client.get_model_version(f"{shop.tenant}.anomaly", version).tags["validation_status"])


def test_a_candidate_that_waits_is_the_challenger_and_serves_once_it_is_promoted(
    shop: Shop, detector: TrainedDetector
) -> None:
    first = shop.publish(detector, wait=waiting_for("review"))  # something must serve
    second = shop.publish(detector, wait=waiting_for("review"))
    assert (first.alias, second.alias, second.reasons) == ("champion", "challenger", ("it waits for review",))
    assert status(shop, "2") == "pending"
    found = shop.registry.challenger(shop.tenant, "anomaly", shop.place / "cache")
    assert found is not None
    assert (found.version, found.tags["waits_for"]) == ("2", "review")
    assert found.metrics == pytest.approx(dict(detector.package.metrics))
    shop.registry.promote(shop.tenant, "anomaly", "2")
    assert shop.aliases(first.name) == {"champion": "2", "previous": "1"}
    assert shop.registry.challenger(shop.tenant, "anomaly", shop.place / "cache") is None
    assert shop.champion_version() == "2"


def test_a_trial_by_the_day_is_not_ended_by_the_next_training_but_a_person_sees_the_newest(
    shop: Shop, detector: TrainedDetector
) -> None:
    shop.publish(detector)
    shop.publish(detector, wait=waiting_for("shadow"))
    third = shop.publish(detector, wait=waiting_for("shadow"))
    assert (third.alias, third.reasons) == ("", ("version 2 is on trial",))
    assert shop.publish(detector, refuses).alias == ""
    assert shop.aliases(third.name) == {"champion": "1", "challenger": "2"}
    assert [status(shop, version) for version in "1234"] == ["champion", "pending", "untried", "rejected"]
    shop.registry.reject(shop.tenant, "anomaly", "2", ["it is louder"])
    shop.publish(detector, wait=waiting_for("review"))
    shop.publish(detector, wait=waiting_for("review"))
    assert shop.aliases(third.name) == {"champion": "1", "challenger": "6"}
    assert [status(shop, version) for version in "256"] == ["rejected", "superseded", "pending"]


def test_what_becomes_known_of_a_version_is_written_once_whoever_repeats(shop: Shop, detector: TrainedDetector) -> None:
    published = shop.publish(detector)
    for _ in range(2):
        shop.registry.note(shop.tenant, "anomaly", "1", {"shadow.day": "{}"}, {"shadow_psi": 0.1}, at=86_400 * 20_000)
    [one] = shop.client.get_metric_history(published.run_id, "shadow_psi")
    assert (one.value, one.step) == (0.1, 20_000)
    assert shop.client.get_model_version(published.name, "1").tags["shadow.day"] == "{}"


def test_old_versions_leave_the_store_with_their_files_but_none_that_has_an_alias(
    shop: Shop, detector: TrainedDetector
) -> None:
    published = [shop.publish(detector) for _ in range(6)]
    name = published[0].name
    shop.client.set_registered_model_alias(name, "the-good-one", "1")
    old = shop.client.get_model_version(name, "2")
    location = shop.client.get_logged_model(str(old.source).removeprefix("models:/")).artifact_location
    files = shop.artifacts / str(location).removeprefix("mlflow-artifacts:/")
    assert list(files.rglob("bundle.json"))
    assert shop.registry.prune(shop.tenant, "anomaly", keep=2) == ["4", "3", "2"]
    left = shop.client.search_model_versions(f"name = '{name}'")
    assert sorted(str(one.version) for one in left) == ["1", "5", "6"]
    assert shop.aliases(name) == {"champion": "6", "previous": "5", "the-good-one": "1"}
    assert [path for path in files.rglob("*") if path.is_file()] == []
    assert shop.client.list_artifacts(published[1].run_id, "plots") == []
    assert shop.run(published[1]).data.metrics  # the history of the model stays
    assert shop.registry.prune(shop.tenant, "anomaly", keep=2) == []
    assert shop.champion_version() == "6"


def test_files_changed_on_this_disk_are_fetched_again(shop: Shop, detector: TrainedDetector) -> None:
    shop.publish(detector)
    found = shop.registry.champion(shop.tenant, "anomaly", shop.place / "cache")
    assert found is not None
    (found.path / "bundle.json").write_text("{}")
    again = ModelRegistry(shop.registry._uri).champion(shop.tenant, "anomaly", shop.place / "cache")
    assert again is not None
    assert directory_digest(again.path) == again.digest == again.tags["bundle_sha256"]
