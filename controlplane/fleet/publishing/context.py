"""What every step works on, and what several of them need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controlplane.audit.domain import Actor
from controlplane.fleet.domain import Health, PlacementState, ServerState
from controlplane.fleet.errors import StepFailedError
from controlplane.fleet.models import Placement, Publication, Server
from controlplane.fleet.services.upkeep import stage_id
from controlplane.registry.errors import SignatureInvalidError
from controlplane.registry.signing import Statement, version_signer
from model_repository_tools.manifest import Manifest
from model_repository_tools.repository.folder import FolderRepository

POLL_S = 0.05


@dataclass(frozen=True)
class StepContext:
    """What a step works on.

    Attributes:
        publication: the publication, with version, model and pool.
        actor: on whose behalf the worker writes.
        checkpoint: to be called where a step waits; raises when the publication was cancelled or taken over.
    """

    publication: Publication
    actor: Actor
    checkpoint: Callable[[], None]

    @property
    def triton_name(self) -> str:
        """The version's model name in Triton."""
        return self.publication.version.triton_name

    @property
    def repository(self) -> FolderRepository:
        """The pool's model repository."""
        return FolderRepository(Path(self.publication.pool.repository))

    @property
    def stage_id(self) -> str:
        """Names this publication's stage beside the repository."""
        return stage_id(self.publication.pk)

    def servers(self) -> list[Server]:
        """The pool's servers that should serve the version now.

        Raises:
            StepFailedError: there is none.
        """
        servers = list(self.publication.pool.servers.exclude(state=ServerState.CORDONED).exclude(health=Health.DOWN))
        if not servers:
            raise StepFailedError(
                f"Pool {self.publication.pool.slug!r} has no server that is up and not cordoned; start one and retry."
            )
        return servers

    def serves_here(self) -> bool:
        """Whether the version may be routed to in this pool."""
        publication = self.publication
        return Placement.objects.filter(
            version=publication.version, server__pool=publication.pool, proven=True
        ).exists()

    def signed_manifest(self) -> Manifest:
        """The manifest of what is to lie in the repository, after a look at the publisher's signature on it.

        Raises:
            StepFailedError: the signature is missing or wrong, or of another key; the message says which.
        """
        manifest = manifest_from_json(self.publication.manifest)
        try:
            version_signer().check(self.statement(manifest), self.publication.signature)
        except SignatureInvalidError as error:
            raise StepFailedError(error.message, code=error.code) from error
        return manifest

    def statement(self, manifest: Manifest) -> Statement:
        """What the publisher signs: these files under this name in this pool."""
        return Statement("publication", self.triton_name, manifest.digest, self.publication.pool.slug)


def note(server: Server, publication: Publication, state: PlacementState, reason: str = "") -> None:
    """Remembers what was seen of the version on a server."""
    seen = {"state": state, "reason": reason}
    Placement.objects.update_or_create(server=server, version=publication.version, defaults=seen)


def manifest_as_json(manifest: Manifest) -> dict[str, object]:
    """A manifest as a publication keeps it."""
    files = [{"path": entry.path, "sha256": entry.sha256, "size": entry.size_bytes} for entry in manifest.entries]
    return {"digest": manifest.digest, "files": files}


def manifest_from_json(value: dict[str, list[dict[str, object]]]) -> Manifest:
    """Undoes `manifest_as_json`."""
    return Manifest.of_entries(
        (str(file["path"]), str(file["sha256"]), int(str(file["size"]))) for file in value.get("files", [])
    )
