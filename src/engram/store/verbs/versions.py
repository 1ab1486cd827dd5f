"""Keeping versions and opening them again: all of them, or only the weights that are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from numpy import ndarray

from engram.errors import UsageError
from engram.records import Certificate, Model, Report, TrainingState, Version
from engram.store import given, inventory, references, versions, writing
from engram.store.inventory import Item
from engram.store.objects import Content
from engram.store.verbs._opened import Opened
from engram.store.versions import Kept
from engram.store.weights import contents
from engram.store.writing import Site

if TYPE_CHECKING:
    import torch
    from torch import nn

    from engram.store.weights.filling import Filled

__all__ = ["Versions"]

_TEXTS = {"pipeline": "pipeline.toml", "lock": "lock.toml"}


class Versions(Opened):
    """The verbs about kept versions."""

    def keep(  # noqa: PLR0913 - all that a version can hold, each by its name
        self,
        name: str,
        model: Model,
        *,
        state: TrainingState | None = None,
        report: Report | None = None,
        pipeline: str = "",
        lock: str = "",
        certificate: Certificate | None = None,
        data: str = "",
        parents: Sequence[str] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> Version:
        """Keep a model, with whatever else is known of it, as the next version of a name.

        Args:
            name: of the network.
            model: its arrays must not change meanwhile.
            state: what training would go on from.
            report: its scores become the version's metrics.
            pipeline, lock: the pipeline file and its lock file, as text.
            certificate: where the model came from another format.
            data: digest of the training data.
            parents: digests of the versions it was made from.
            facts: everything else, plain JSON values.

        Raises:
            UsageError: the name cannot be one, or something cannot be kept exactly; it is named.
            StoreError: the disk or the catalog refused; the store is as it was.
        """
        references.check_name(name)
        _sensible(model, state, report, certificate)
        came = given.words(parents, "parents", "sha256:9f2c41aa…")
        texts = {
            key: given.text(said, key, repr("[data]")) for key, said in {"pipeline": pipeline, "lock": lock}.items()
        }
        parts: dict[str, dict[str, Content]] = {
            "model": contents.pack_model(model),
            "training": contents.pack_state(state) if state else {},
            "report": contents.pack_report(report) if report else {},
            **{key: {_TEXTS[key]: said.encode()} if said else {} for key, said in texts.items()},
            "certificate": contents.pack_certificate(certificate) if certificate else {},
        }
        kept = Kept(
            name=name,
            when=self._now(),
            holds=contents.holds(model, parts),
            metrics=versions.metrics(report),
            data=given.text(data, "data", "sha256:9f2c41aa…"),
            parents=came,
            facts=given.mapping(facts or {}, "facts"),
        )
        files = {path: content for part in parts.values() for path, content in part.items()}
        site = Site(self._plain, self._catalog, self._now)
        made = writing.commit(site, versions.draft(kept, versions.config(model), files))
        self._index.publish(later=True)
        return made

    def load(self, reference: str, *, verify: bool = False) -> Model:
        """The model that a reference means, its weights as read-only views of the store's own bytes.

        Args:
            reference: ``income``, ``income:7``, ``income@prod``, ``income@prod@2026-05-03`` or ``sha256:9f2c41aa``.
            verify: hash the weights, too, before they are handed out.

        Raises:
            UsageError: it is no reference.
            VersionNotFound: there is no such version.
            StoreError: something in it is gone or damaged.
        """
        return replace(contents.model(self._files(reference, verify=verify)), answer=self._answer)

    def weights(self, reference: str, names: Sequence[str] = (), *, verify: bool = False) -> dict[str, ndarray]:
        """The weights of these names, or all; only the blobs that hold them are opened.

        Raises:
            UnknownName: a version has no weight of a name; the message gives the nearest.
        """
        wanted = given.words(names, "names", "layer1.weight")
        return contents.weights(self._files(reference, verify=verify), wanted)

    def load_into(
        self,
        module: nn.Module,
        reference: str,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        strict: bool = True,
        verify: bool = False,
    ) -> Filled:
        """Copy the weights of a version into a torch module that is there already, in place, wherever it is.

        Args:
            module: its parameters and buffers are filled.
            reference: to the version.
            optimizer: of the module's parameters; goes on from the version's training state, whoever trained it.
            strict: whether a name that only one side has is an error; if not, it is passed over.
            verify: hash the weights, too, before they are copied.

        Raises:
            UnknownName: only one side has a name; nothing was copied.
            ShapeError: a shape or a type differs; nothing was copied.
            UsageError: a parameter has no memory yet, two weights are to share one, or the training state is another
                optimizer's; nothing was copied.
            VersionNotFound: an optimizer was given, and the version was kept without a training state.
            StoreError: something in the version is gone or damaged.
        """
        from engram.store.weights import filling  # imports torch, which who loads no module does without

        files = self._files(reference, verify=verify)
        if optimizer is None:
            return filling.fill(module, files, strict=strict)
        from engram.training import optimizer_state

        state = contents.state(files)
        optimizer_state.fit(optimizer, module, state)
        filled = filling.fill(module, files, strict=strict)
        optimizer_state.restore(optimizer, module, state)
        return filled

    def version(self, reference: str) -> Version:
        """The version that a reference means."""
        with self._reading() as connection:
            return versions.version(references.resolve(connection, reference))

    def report(self, reference: str) -> Report:
        """The report a version was kept with; VersionNotFound if it was kept without."""
        return contents.report(self._files(reference, signed=False))

    def state(self, reference: str, *, verify: bool = False) -> TrainingState:
        """The training state a version was kept with; VersionNotFound if it was kept without."""
        return contents.state(self._files(reference, verify=verify))

    def certificate(self, reference: str) -> Certificate:
        """The certificate a version was kept with; VersionNotFound if it was kept without."""
        return contents.certificate(self._files(reference, signed=False))

    def text(self, reference: str, part: str) -> str:
        """The ``pipeline`` or the ``lock`` a version was kept with; VersionNotFound if it was kept without."""
        if given.text(part, "part", "pipeline or lock") not in _TEXTS:
            raise UsageError(f"a version has no text {part!r}; there are {', '.join(_TEXTS)}")
        return self._files(reference, signed=False).content(_TEXTS[part]).decode()

    def versions(self, name: str = "", *, most: int = 0) -> list[Version]:
        """The versions of a name, the highest number first, or of all names, the newest first.

        Args:
            name: of the network; empty for all.
            most: how many; 0 for all.
        """
        given.text(name, "name", "income")
        given.number(most, "most")
        with self._reading() as connection:
            return versions.listed(connection, name, most)

    def inventory(self, reference: str) -> tuple[Item, ...]:
        """Every part that a version can have, with what of it this one has."""
        return inventory.inventory(self._files(reference, signed=False))

    def newest(self) -> list[Version]:
        """The newest version of every name, by name."""
        with self._reading() as connection:
            return versions.newest(connection)

    def counted(self, name: str = "") -> int:
        """How many versions a name has, or all names have."""
        given.text(name, "name", "income")
        with self._reading() as connection:
            return versions.counted(connection, name)

    def names(self) -> list[str]:
        """The names under which something is kept, sorted."""
        with self._reading() as connection:
            return versions.names(connection)


def _sensible(
    model: object, state: TrainingState | None, report: Report | None, certificate: Certificate | None
) -> None:
    given.record(model, Model, "model")
    for value, kind, what in (
        (state, TrainingState, "state"),
        (report, Report, "report"),
        (certificate, Certificate, "certificate"),
    ):
        if value is not None:
            given.record(value, kind, what)
