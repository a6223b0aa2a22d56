"""Every tenant's models in MLflow: logged with all that a person needs to judge them, registered, aliased.

The alias ``champion`` is what serves. It is moved here when a new version passes its gate, or by a person in MLflow's
user interface: both count the same, because nothing else is asked.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import mlflow.artifacts
from mlflow.entities import LoggedModelOutput, Metric, Param, Run, RunStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from requests.exceptions import RequestException

from collectors_dagster.errors import ModelError
from collectors_dagster.integrations.mlflow.failures import is_absent, meaning, mlflow_errors
from collectors_dagster.integrations.mlflow.files import digest, keep_newest, place
from collectors_dagster.integrations.mlflow.model_directory import FILES, write_model, write_plots
from collectors_dagster.integrations.mlflow.process import settle_process
from collectors_dagster.patterns.policies import Guards, Policies
from collectors_dagster.patterns.policy import Policy
from collectors_dagster.records import ModelPackage
from collectors_dagster.tenants import checked_tenant_id

CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS = "previous"
_DIGEST = "bundle_sha256"
_CACHED_VERSIONS = 3
"""Kept on disk per model: the champion, and what a roll-back would want."""

Gate = Callable[[Mapping[str, float], Mapping[str, float]], Sequence[str]]
"""(candidate's metrics, champion's metrics) to the reasons against promotion; none means promote."""


def guarded_by(policies: Policies) -> Guards:
    """Return the policies that the settings describe for ``mlflow``; one per process."""
    return policies.guards("mlflow", classify=meaning)


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A version just registered.

    Attributes
    ----------
    alias : str
        ``champion`` or ``challenger``.
    reasons : tuple of str
        Why it is only a challenger.
    url : str
        Its page in MLflow.
    """

    name: str
    version: str
    run_id: str
    url: str
    alias: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChampionModel:
    """The champion's files, on this machine."""

    path: Path
    version: str
    tags: Mapping[str, str]


class ModelRegistry:
    """Publishes and finds models.

    Parameters
    ----------
    tracking_uri : str
        Of the MLflow server. Nothing is connected before the first call.
    guards : Guards, optional
        The policies to call it under; see :func:`guarded_by`. What publishes is never repeated.
    """

    def __init__(self, tracking_uri: str, guards: Guards | None = None) -> None:
        settle_process()
        self._uri = tracking_uri
        self._repeated = guards.policy if guards is not None else Policy()
        self._once = guards.once if guards is not None else Policy()
        self._client_or_none: MlflowClient | None = None

    @property
    def _client(self) -> MlflowClient:
        if self._client_or_none is None:
            self._client_or_none = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
        return self._client_or_none

    @staticmethod
    def name(tenant_id: str, kind: str) -> str:
        """Return the registered model's name.

        Examples
        --------
        >>> ModelRegistry.name("aurora", "anomaly")
        'aurora.anomaly'
        """
        return f"{checked_tenant_id(tenant_id)}.{kind}"

    def publish(self, tenant_id: str, package: ModelPackage, bundle_dir: Path, *, gate: Gate) -> PublishedModel:
        """Log and register a trained model, and let the gate decide whether it serves from now on.

        Parameters
        ----------
        package : ModelPackage
            Everything but the files.
        bundle_dir : Path
            The model's files, as its ``save`` wrote them.
        gate : Gate
            Not asked for the first version: something must serve.

        Raises
        ------
        IntegrationError
            MLflow failed; the run, if there is one, is marked as failed and nothing serves.
        """
        return self._once.call(self._published, tenant_id, package, bundle_dir, gate)

    def _published(self, tenant_id: str, package: ModelPackage, bundle_dir: Path, gate: Gate) -> PublishedModel:
        name = self.name(tenant_id, package.kind)
        with mlflow_errors(f"publishing {name}"):
            run = self._start(name, tenant_id, package)
            try:
                found = self._register(name, package, bundle_dir, run)
                published = self._promote(name, found, package, gate)
            except BaseException:
                with suppress(MlflowException, RequestException):  # the first failure is the one to tell
                    self._client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.FAILED))
                raise
            self._client.set_terminated(run.info.run_id)
            return published

    def champion(self, tenant_id: str, kind: str, cache_dir: Path) -> ChampionModel | None:
        """Return the serving model's files, downloaded once per version; None if nothing serves yet.

        Raises
        ------
        ModelError
            If what MLflow delivers is not what was registered.
        IntegrationError
            MLflow failed.
        """
        return self._repeated.call(self._champion, self.name(tenant_id, kind), cache_dir)

    def _champion(self, name: str, cache_dir: Path) -> ChampionModel | None:
        with mlflow_errors(f"finding the champion of {name}"):
            serving = self._by_alias(name, CHAMPION)
            if serving is None:
                return None
            path = cache_dir / name / str(serving.version)
            if not path.exists():
                place(path, lambda target: self._download(serving, target))
                keep_newest(path.parent, _CACHED_VERSIONS)
            return ChampionModel(path, str(serving.version), dict(serving.tags))

    def _by_alias(self, name: str, alias: str) -> ModelVersion | None:
        try:
            return self._client.get_model_version_by_alias(name, alias)
        except MlflowException as error:
            # An alias that is not set is answered as an invalid parameter, unlike an unknown model.
            if is_absent(error) or f"alias {alias} not found" in str(error).lower():
                return None
            raise

    def _download(self, serving: ModelVersion, target: Path) -> None:
        label = f"{serving.name} version {serving.version}"
        model_id = str(serving.source).removeprefix("models:/")
        if not model_id.startswith("m-") or _DIGEST not in serving.tags:
            message = f"{label} was not registered by this platform: refused; move the alias back"
            raise ModelError(message)
        location = self._client.get_logged_model(model_id).artifact_location
        with tempfile.TemporaryDirectory() as scratch:
            local = mlflow.artifacts.download_artifacts(
                artifact_uri=f"{location}/{FILES}", dst_path=scratch, tracking_uri=self._uri
            )
            if digest(Path(local)) != serving.tags[_DIGEST]:
                message = f"{label} is not what was registered (its digest differs): refused"
                raise ModelError(message)
            shutil.move(local, target)

    def _start(self, name: str, tenant_id: str, package: ModelPackage) -> Run:
        tags = {"tenant": tenant_id, **package.tags, "mlflow.note.content": package.card}
        return self._client.create_run(self._experiment(tenant_id), run_name=name, tags=tags)

    def _experiment(self, tenant_id: str) -> str:
        found = self._client.get_experiment_by_name(tenant_id)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(tenant_id))
        except MlflowException:
            found = self._client.get_experiment_by_name(tenant_id)  # another run was a moment faster
            if found is None:
                raise
            return str(found.experiment_id)

    def _register(self, name: str, package: ModelPackage, bundle_dir: Path, run: Run) -> ModelVersion:
        tags = {"tenant": run.data.tags["tenant"], **package.tags, _DIGEST: digest(bundle_dir)}
        model_id = self._log_model(name, package, bundle_dir, run, tags)
        self._ensure_registered(name, package)
        return self._client.create_model_version(
            name,
            f"models:/{model_id}",
            run_id=run.info.run_id,
            tags=tags,
            description=package.card,
            model_id=model_id,
        )

    def _log_model(self, name: str, package: ModelPackage, bundle_dir: Path, run: Run, tags: Mapping[str, str]) -> str:
        """Log parameters, metrics, plots and files; return the logged model's id."""
        run_id = str(run.info.run_id)
        logged = self._client.create_logged_model(
            run.info.experiment_id,
            name=name.replace(".", "-"),  # MLflow refuses dots here, unlike in registered names
            source_run_id=run_id,
            tags=dict(tags),
            params=dict(package.params),
            model_type=package.kind,
        )
        model_id = str(logged.model_id)
        at = int(run.info.start_time)
        self._client.log_batch(
            run_id,
            metrics=[Metric(key, value, at, 0, model_id=model_id) for key, value in package.metrics.items()],
            params=[Param(key, value) for key, value in package.params.items()],
        )
        with tempfile.TemporaryDirectory() as scratch:
            plots, files = Path(scratch, "plots"), Path(scratch, "model")
            write_plots(plots, package.plots)
            write_model(files, package, bundle_dir, model_id=model_id, run_id=run_id)
            self._client.log_artifacts(run_id, str(plots), "plots")
            self._client.log_model_artifacts(model_id, str(files))
        self._client.finalize_logged_model(model_id, "READY")
        self._client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
        return model_id

    def _ensure_registered(self, name: str, package: ModelPackage) -> None:
        try:
            self._client.create_registered_model(name, tags={"kind": package.kind})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _promote(self, name: str, found: ModelVersion, package: ModelPackage, gate: Gate) -> PublishedModel:
        serving = self._by_alias(name, CHAMPION)
        reasons = tuple(gate(package.metrics, self._metrics_of(serving))) if serving is not None else ()
        alias = CHALLENGER if reasons else CHAMPION
        if serving is not None and not reasons:
            self._client.set_registered_model_alias(name, PREVIOUS, serving.version)
            self._client.delete_registered_model_alias(name, CHALLENGER)  # what challenged the old champion
        self._client.set_registered_model_alias(name, alias, found.version)
        self._client.set_model_version_tag(name, found.version, "validation_status", alias)
        if reasons:
            self._client.set_model_version_tag(name, found.version, "rejected", "; ".join(reasons))
        version = str(found.version)
        url = f"{self._uri.rstrip('/')}/#/models/{name}/versions/{version}"
        return PublishedModel(name, version, str(found.run_id), url, alias, reasons)

    def _metrics_of(self, found: ModelVersion) -> Mapping[str, float]:
        """Return the metrics of a version; none if its run is gone (a person may delete runs)."""
        try:
            return dict(self._client.get_run(str(found.run_id)).data.metrics)
        except MlflowException as error:
            if is_absent(error):
                return {}
            raise
