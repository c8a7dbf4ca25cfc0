"""Register, promote, reject, roll back and prune model versions.

Every change can be repeated after a crash: it looks at what is there before it moves anything.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from closedloop.bundle.own_code import own_types
from closedloop.bundle.skops_model import TRUSTED_TYPES, pinned_requirements, refuse_foreign
from closedloop.errors import RegistryError
from closedloop.registry.download import find_downloads
from closedloop.registry.runs import DIGEST, KEY, MODEL_PATH
from closedloop.registry.versions import (
    DECISION,
    HEAD,
    PREVIOUS,
    PRODUCTION,
    PRUNED,
    PRUNING,
    STATUS,
    Versions,
)


class Registry(Versions):
    """One use case's models in MLflow, with the runs that made them."""

    def save_model(
        self, pipeline: Any, folder: Path, sample: pd.DataFrame, answers: np.ndarray
    ) -> None:
        """Write the pipeline in MLflow's format, for any client of `models:/NAME@production`.

        `sample` and the pipeline's `answers` to it, shape (n, k), become its signature.
        """
        import mlflow.sklearn

        with self._reaching("write the model file"), _naming_foreign_types(pipeline):
            mlflow.sklearn.save_model(
                pipeline,
                str(folder),
                serialization_format="skops",
                skops_trusted_types=[*TRUSTED_TYPES, *own_types()],
                signature=_describe_columns(sample, answers),
                pip_requirements=pinned_requirements(pipeline),
                pyfunc_predict_fn="predict_proba",
            )

    def register(self, key: str, run_id: str, tags: dict[str, str]) -> int:
        """Register the model of a run as a candidate, once per key; returns its version.

        The digest is that of the logged files. A command repeated after a crash has packaged the
        model again, and two packages differ in some bytes.
        """
        if (known := self.find_candidate(key)) is not None:
            return known
        with self._reaching("register a model"):
            if self._model() is None:
                self._client.create_registered_model(self.name)
            run = self._client.get_run(run_id)
            facts = {f"closedloop.{name}": value for name, value in tags.items()}
            self._client.create_model_version(
                self.name,
                source=f"{self._check_place(run.info.artifact_uri)}/{MODEL_PATH}",
                run_id=run_id,
                tags={
                    KEY: key,
                    STATUS: "candidate",
                    DIGEST: run.data.tags.get(DIGEST, ""),
                    **facts,
                },
            )
        # Not the version just created: MLflow's client repeats a request whose answer was lost,
        # and then there are two.
        registered = self.find_candidate(key)
        assert registered is not None
        return registered

    def promote(
        self, number: int, *, instead_of: int | None, reason: str, decision: int | None = None
    ) -> bool:
        """Move `production` to a version; the version it replaces becomes `previous`.

        `decision` is the id of the journal's entry, which the version then names.
        Returns False and changes nothing when production is neither of the two any more, because
        another decision came in between. Raises RegistryError as `loadable`.
        """
        live = self.production()
        if live not in (number, instead_of):
            return False
        self.loadable(number)
        with self._reaching("move the alias production"):
            if instead_of is not None and instead_of != number:
                # `previous` first: after a crash in between production has not moved, and the way
                # back leads to it.
                self._client.set_registered_model_alias(self.name, PREVIOUS, str(instead_of))
            if live != number:
                self._client.set_registered_model_alias(self.name, PRODUCTION, str(number))
            if instead_of is not None and instead_of != number:
                self._tag(instead_of, "archived", f"replaced by version {number}")
            self._tag(number, PRODUCTION, reason, decision)
        return True

    def roll_back(
        self, to: int, *, instead_of: int, reason: str, decision: int | None = None
    ) -> bool:
        """Move `production` back to a version, archive the version it leaves and drop `previous`.

        `decision` as for `promote`.
        Returns False and changes nothing when production is neither of the two any more. Raises
        RegistryError as `loadable`.
        """
        if self.production() not in (to, instead_of):
            return False
        self.loadable(to)
        with self._reaching("move the alias production"):
            self._client.set_registered_model_alias(self.name, PRODUCTION, str(to))
            if self.previous() is not None:
                self._client.delete_registered_model_alias(self.name, PREVIOUS)
            self._tag(instead_of, "archived", f"rolled back to version {to}: {reason}")
            self._tag(to, PRODUCTION, reason, decision)
        return True

    def put_back(self, number: int, *, instead_of: int | None, previous: int | None) -> bool:
        """Move `production` and `previous` back to where they were before somebody else moved them.

        Returns False and changes nothing when production is neither at `number` nor at `instead_of`
        any more. Raises RegistryError as `loadable`.
        """
        live = self.production()
        if live not in (number, instead_of):
            return False
        self.loadable(number)
        with self._reaching("move the alias production"):
            if live != number:
                self._client.set_registered_model_alias(self.name, PRODUCTION, str(number))
            if self.previous() == previous:
                return True
            if previous is None:
                self._client.delete_registered_model_alias(self.name, PREVIOUS)
            elif self._version(previous) is not None:
                self._client.set_registered_model_alias(self.name, PREVIOUS, str(previous))
        return True

    def kept_head(self) -> str | None:
        """The head of the journal's chain as it was kept last; None where nothing was."""
        with self._reaching("read the head of the journal"):
            model = self._model()
        return None if model is None else model.tags.get(HEAD)

    def keep_head(self, head: str) -> None:
        """Keep the head of the journal's chain on the model, once there is one."""
        with self._reaching("keep the head of the journal"):
            if self._model() is not None:
                self._client.set_registered_model_tag(self.name, HEAD, head)

    def reject(self, number: int, *, reason: str, decision: int | None = None) -> None:
        """Tag a candidate as rejected, with the reason; a live version is left alone."""
        if number != self.production():
            with self._reaching("tag a version"):
                self._tag(number, "rejected", reason, decision)

    def prune(self, number: int) -> None:
        """Delete a version's model files for good; its number, tags, run and evidence stay.

        The status is written first, so that after a crash a version with half of its files is not
        taken for a complete one; calling again finishes. Raises RegistryError when an alias points
        at the version; the caller knows whether it is needed otherwise.
        """
        with self._reaching(f"delete the files of version {number}"):
            found = self._version(number)
            if found is None or found.tags.get(STATUS) == PRUNED:
                return
            if found.aliases:
                raise RegistryError(
                    where=f"model {self.name} version {number}",
                    wanted="a version that nothing points at",
                    got=", ".join(found.aliases),
                    then="move the alias first",
                )
            self._client.set_model_version_tag(self.name, str(number), STATUS, PRUNING)
            self._delete(self._client.get_run(found.run_id), MODEL_PATH)
            for folder in find_downloads(self._downloads / self.name, number):
                shutil.rmtree(folder, ignore_errors=True)
            self._client.set_model_version_tag(self.name, str(number), STATUS, PRUNED)

    def _tag(self, number: int, status: str, reason: str, decision: int | None = None) -> None:
        tags = {STATUS: status, "closedloop.reason": reason[:5000]}
        if decision is not None:
            tags[DECISION] = str(decision)
        for tag, value in tags.items():
            self._client.set_model_version_tag(self.name, str(number), tag, value)


@contextmanager
def _naming_foreign_types(pipeline: Any) -> Iterator[None]:
    """Say which types are not trusted, where MLflow refuses to write them."""
    try:
        yield
    except Exception:
        refuse_foreign(pipeline)
        raise


def _describe_columns(sample: pd.DataFrame, answers: np.ndarray) -> Any:
    """MLflow's signature of a model: texts for categories, any number for the rest.

    Not `double`: MLflow refuses whole numbers for it, which is what `pandas.read_csv` makes of a
    column without a fraction. A text that is no number fails in the pipeline.
    """
    from mlflow.models import infer_signature
    from mlflow.types.schema import AnyType, ColSpec, Schema

    described = infer_signature(sample, answers)
    described.inputs = Schema(
        [
            ColSpec(AnyType(), name) if pd.api.types.is_numeric_dtype(sample[name]) else column
            for name, column in zip(sample.columns, described.inputs.inputs, strict=True)
        ]
    )
    return described
