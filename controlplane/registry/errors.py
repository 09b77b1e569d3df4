"""Errors of the registry."""

from controlplane.wire.errors import ConflictError, InvalidError, NotFoundError


class ModelNotFoundError(NotFoundError):
    """No model has this slug."""

    code = "model.not_found"


class VersionNotFoundError(NotFoundError):
    """The model has no such version."""

    code = "version.not_found"


class AliasNotFoundError(NotFoundError):
    """The model has no such alias."""

    code = "alias.not_found"


class InvalidNameError(InvalidError):
    """A slug, alias or semver breaks the rules for names."""

    code = "name.invalid"


class AlreadyExistsError(ConflictError):
    """The name is taken."""

    code = "name.taken"


class InvalidTransitionError(ConflictError):
    """The version is not in a state that allows the step."""

    code = "version.invalid_transition"


class ArtifactRefusedError(InvalidError):
    """The files of a version cannot be served; `details["findings"]` says why."""

    code = "artifact.refused"


class RevisionConflictError(ConflictError):
    """Somebody else changed the object between reading and writing it."""

    code = "revision.conflict"
