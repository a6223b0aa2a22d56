"""Every tenant's models in MLflow: logged with all that a person needs to judge them, registered, aliased.

The alias ``champion`` is what serves. It is moved here when a new version passes its gate and need not wait, or by a
person in MLflow's user interface: both count the same, because nothing else is asked. A version that waits for a trial
or a person, or that was refused, is ``challenger``; what served before is ``previous``.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import mlflow.artifacts
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, Run, RunStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient
from requests.exceptions import RequestException

from collectors_dagster.errors import ModelError
from collectors_dagster.integrations.digests import directory_digest
from collectors_dagster.integrations.mlflow.failures import is_absent, meaning, mlflow_errors
from collectors_dagster.integrations.mlflow.files import keep_newest, place
from collectors_dagster.integrations.mlflow.model_directory import FILES, write_model, write_plots
from collectors_dagster.integrations.mlflow.process import settle_process
from collectors_dagster.patterns.policies import Guards, Policies
from collectors_dagster.patterns.policy import Policy
from collectors_dagster.records import ModelPackage, TrainingData
from collectors_dagster.tenants import checked_tenant_id

CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS = "previous"
STATUS = "validation_status"
"""Version tag: ``champion``, ``pending`` (it waits), ``superseded`` (by a newer one that waits), ``rejected``,
``untried`` (another one was on trial when it came)."""
REJECTED = "rejected"
"""Version tag, too: the reasons."""
PENDING = "pending"
WAITS_FOR = "waits_for"
_DIGEST = "bundle_sha256"
_CACHED_VERSIONS = 3
"""Kept on disk per model: the champion, the challenger, and what a roll-back would want."""
_LONGEST_WAIT_MILLISECONDS = 14 * 86_400_000
"""A trial that has not come to its end by then is given up for the next version."""
_MOST_VERSIONS = 1000

Gate = Callable[[Mapping[str, float], Mapping[str, float]], Sequence[str]]
"""(candidate's metrics, champion's metrics) to the reasons against promotion; none means that it may serve."""
Wait = Callable[[Mapping[str, float], Mapping[str, float]], str]
"""The same to what a candidate that may serve must still wait for: ``shadow``, ``review``, or nothing."""


def at_once(candidate: Mapping[str, float], champion: Mapping[str, float]) -> str:
    """Let every candidate that passes its gate serve without waiting."""
    return ""


def guarded_by(policies: Policies) -> Guards:
    """Return the policies that the settings describe for ``mlflow``; one per process."""
    return policies.guards("mlflow", classify=meaning)


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A version just registered.

    Attributes
    ----------
    alias : str
        ``champion``, ``challenger``, or nothing: another version was on trial.
    reasons : tuple of str
        Why it does not serve.
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
    """A version's files, on this machine: the champion's or, where it says so, the challenger's.

    Attributes
    ----------
    digest : str
        SHA-256 of the files, as :func:`~collectors_dagster.integrations.digests.directory_digest` gives it.
    metrics : mapping
        Of its training; empty unless they were asked for.
    """

    path: Path
    version: str
    tags: Mapping[str, str]
    digest: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


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
        self._verified: set[tuple[str, str]] = set()

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

    def publish(
        self, tenant_id: str, package: ModelPackage, bundle_dir: Path, *, gate: Gate, wait: Wait = at_once
    ) -> PublishedModel:
        """Log and register a trained model, and let the gate decide whether it may serve, and `wait` whether at once.

        Parameters
        ----------
        package : ModelPackage
            Everything but the files.
        bundle_dir : Path
            The model's files, as its ``save`` wrote them.
        gate : Gate
            Not asked for the first version: something must serve.
        wait : Wait
            Asked about what passed the gate.

        Raises
        ------
        IntegrationError
            MLflow failed; the run, if there is one, is marked as failed and nothing serves.
        """
        return self._once.call(self._published, tenant_id, package, bundle_dir, gate, wait)

    def _published(
        self, tenant_id: str, package: ModelPackage, bundle_dir: Path, gate: Gate, wait: Wait
    ) -> PublishedModel:
        name = self.name(tenant_id, package.kind)
        with mlflow_errors(f"publishing {name}"):
            run = self._start(name, tenant_id, package)
            try:
                found = self._register(name, package, bundle_dir, run)
                published = self._placed(name, found, package, gate, wait)
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
        return self._repeated.call(self._at_hand, self.name(tenant_id, kind), CHAMPION, cache_dir)

    def challenger(self, tenant_id: str, kind: str, cache_dir: Path) -> ChampionModel | None:
        """Return the challenger's files and the metrics of its training, as :meth:`champion` does."""
        return self._repeated.call(self._at_hand, self.name(tenant_id, kind), CHALLENGER, cache_dir)

    def _at_hand(self, name: str, alias: str, cache_dir: Path) -> ChampionModel | None:
        with mlflow_errors(f"finding the {alias} of {name}"):
            found = self._by_alias(name, alias)
            if found is None:
                return None
            path = cache_dir / name / str(found.version)
            self._ensure_intact(found, path)
            metrics = self._metrics_of(found) if alias == CHALLENGER else {}
            return ChampionModel(path, str(found.version), dict(found.tags), found.tags[_DIGEST], metrics)

    def _ensure_intact(self, found: ModelVersion, path: Path) -> None:
        """Have the registered files at `path`; what lies there already is verified once per process."""
        known = (str(path), found.tags.get(_DIGEST, ""))
        if known in self._verified and path.exists():
            return
        if path.exists() and directory_digest(path) != known[1]:
            shutil.rmtree(path)  # it was changed on this disk: what was registered is at hand elsewhere
        if not path.exists():
            place(path, lambda target: self._download(found, target))
            keep_newest(path.parent, _CACHED_VERSIONS)
        self._verified.add(known)

    def promote(self, tenant_id: str, kind: str, version: str) -> None:
        """Let a version serve from now on; what served before is ``previous``."""
        self._once.call(self._promoted, self.name(tenant_id, kind), version)

    def _promoted(self, name: str, version: str) -> None:
        with mlflow_errors(f"promoting version {version} of {name}"):
            self._let_serve(name, version, self._by_alias(name, CHAMPION))

    def reject(self, tenant_id: str, kind: str, version: str, reasons: Sequence[str]) -> None:
        """Note why a challenger does not replace the champion; it stays challenger, for a person to look at."""
        self.note(tenant_id, kind, version, {STATUS: REJECTED, REJECTED: "; ".join(reasons)})

    def note(
        self,
        tenant_id: str,
        kind: str,
        version: str,
        tags: Mapping[str, str],
        metrics: Mapping[str, float] | None = None,
        *,
        at: int = 0,
    ) -> None:
        """Write down what became known of a version after its training.

        Parameters
        ----------
        metrics : mapping, optional
            Added to its run; doing it again for the same instant adds nothing.
        at : int
            Their time, seconds since 1970.
        """
        name = self.name(tenant_id, kind)

        def write() -> None:
            with mlflow_errors(f"writing to version {version} of {name}"):
                for key, value in tags.items():
                    self._client.set_model_version_tag(name, version, key, value)
                if metrics:
                    run_id = str(self._client.get_model_version(name, version).run_id)
                    values = [Metric(key, value, at * 1000, at // 86_400) for key, value in metrics.items()]
                    self._client.log_batch(run_id, metrics=values)

        self._repeated.call(write)

    def prune(self, tenant_id: str, kind: str, keep: int) -> list[str]:
        """Delete all but the `keep` newest versions with their files and pictures; never one that has an alias.

        The run of a deleted version stays, with its metrics: they are small, and the history of a model.

        Returns
        -------
        list of str
            The versions that were deleted.
        """
        return self._once.call(self._pruned, self.name(tenant_id, kind), keep)

    def _pruned(self, name: str, keep: int) -> list[str]:
        with mlflow_errors(f"deleting old versions of {name}"):
            aliased = {str(version) for version in self._client.get_registered_model(name).aliases.values()}
            found = self._client.search_model_versions(f"name = '{name}'", max_results=_MOST_VERSIONS)
            ordered = sorted(found, key=lambda one: int(one.version), reverse=True)
            old = [one for one in ordered[keep:] if str(one.version) not in aliased]
            for version in old:
                self._delete(name, version)
            return [str(one.version) for one in old]

    def _delete(self, name: str, version: ModelVersion) -> None:
        """Delete a version, its files first: one that is left behind half done is found again."""
        model_id = str(version.source).removeprefix("models:/")
        with suppress(MlflowException):  # gone already, or not ours
            location = self._client.get_logged_model(model_id).artifact_location
            self._delete_files(location)
            self._client.delete_logged_model(model_id)
        with suppress(MlflowException):
            location = self._client.get_run(str(version.run_id)).info.artifact_uri
            self._delete_files(location)
        self._client.delete_model_version(name, str(version.version))

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
            if directory_digest(Path(local)) != serving.tags[_DIGEST]:
                message = f"{label} is not what was registered (its digest differs): refused"
                raise ModelError(message)
            shutil.move(local, target)

    def _delete_files(self, location: str) -> None:
        delete: Callable[[], None] = get_artifact_repository(location, tracking_uri=self._uri).delete_artifacts
        delete()

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
        tags = {"tenant": run.data.tags["tenant"], **package.tags, _DIGEST: directory_digest(bundle_dir)}
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
            metrics=[_metric(key, value, at, model_id, package.data) for key, value in package.metrics.items()],
            params=[Param(key, value) for key, value in package.params.items()],
        )
        with tempfile.TemporaryDirectory() as scratch:
            plots, files = Path(scratch, "plots"), Path(scratch, "model")
            write_plots(plots, package.plots)
            write_model(files, package, bundle_dir, model_id=model_id, run_id=run_id)
            self._client.log_artifacts(run_id, str(plots), "plots")
            self._client.log_model_artifacts(model_id, str(files))
        self._client.log_inputs(run_id, [_dataset_input(package.data)])
        self._client.finalize_logged_model(model_id, "READY")
        self._client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
        return model_id

    def _ensure_registered(self, name: str, package: ModelPackage) -> None:
        try:
            self._client.create_registered_model(name, tags={"kind": package.kind})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _placed(self, name: str, found: ModelVersion, package: ModelPackage, gate: Gate, wait: Wait) -> PublishedModel:
        """Give a new version its alias."""
        serving, version = self._by_alias(name, CHAMPION), str(found.version)
        reasons: tuple[str, ...] = ()
        alias, waits = CHAMPION, ""
        if serving is not None:
            before = self._metrics_of(serving)
            reasons = tuple(gate(package.metrics, before))
            waits = "" if reasons else wait(package.metrics, before)
        if reasons or waits:
            alias, reasons = self._set_aside(name, found, reasons, waits)
        else:
            self._let_serve(name, version, serving)
        url = f"{self._uri.rstrip('/')}/#/models/{name}/versions/{version}"
        return PublishedModel(name, version, str(found.run_id), url, alias, reasons)

    def _let_serve(self, name: str, version: str, serving: ModelVersion | None) -> None:
        if serving is not None and str(serving.version) != version:
            self._client.set_registered_model_alias(name, PREVIOUS, serving.version)
        self._client.set_registered_model_alias(name, CHAMPION, version)
        if serving is not None:
            self._client.delete_registered_model_alias(name, CHALLENGER)  # what challenged the old champion
        self._client.set_model_version_tag(name, version, STATUS, CHAMPION)

    def _set_aside(
        self, name: str, found: ModelVersion, reasons: tuple[str, ...], waits: str
    ) -> tuple[str, tuple[str, ...]]:
        """Make a version the challenger, unless another one is on trial; return its alias and why it does not serve."""
        tags = {STATUS: REJECTED, REJECTED: "; ".join(reasons)} if reasons else {STATUS: PENDING, WAITS_FOR: waits}
        alias = CHALLENGER
        on_trial = self._by_alias(name, CHALLENGER)
        if on_trial is not None and _must_finish(on_trial, found):
            alias = ""
            if not reasons:
                tags = {STATUS: "untried"}
                reasons = (f"version {on_trial.version} is on trial",)
        for key, value in tags.items():
            self._client.set_model_version_tag(name, found.version, key, value)
        if alias:
            if on_trial is not None and on_trial.tags.get(STATUS) == PENDING:
                self._client.set_model_version_tag(name, on_trial.version, STATUS, "superseded")
            self._client.set_registered_model_alias(name, alias, found.version)
        return alias, reasons or (f"it waits for {waits}",)

    def _metrics_of(self, found: ModelVersion) -> Mapping[str, float]:
        """Return the metrics of a version; none if its run is gone (a person may delete runs)."""
        try:
            return dict(self._client.get_run(str(found.run_id)).data.metrics)
        except MlflowException as error:
            if is_absent(error):
                return {}
            raise


def _metric(key: str, value: float, at: int, model_id: str, data: TrainingData) -> Metric:
    return Metric(key, value, at, 0, model_id=model_id, dataset_name=data.name, dataset_digest=data.digest)


def _dataset_input(data: TrainingData) -> DatasetInput:
    source, profile = (json.dumps(dict(one), sort_keys=True) for one in (data.source, data.profile))
    dataset = Dataset(data.name, data.digest, "postgresql", source, profile=profile)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _must_finish(on_trial: ModelVersion, found: ModelVersion) -> bool:
    """Say whether a challenger's trial goes on although there is a newer version."""
    waits = on_trial.tags.get(STATUS) == PENDING and on_trial.tags.get(WAITS_FOR) == "shadow"
    return waits and int(found.creation_timestamp) - int(on_trial.creation_timestamp) < _LONGEST_WAIT_MILLISECONDS
