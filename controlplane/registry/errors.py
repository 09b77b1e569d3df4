"""Errors of the registry."""

from controlplane.wire.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, UnavailableError


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


class VersionInUseError(ConflictError):
    """Something needs the version; `details["uses"]` says what."""

    code = "version.in_use"


class ApprovalMissingError(ConflictError):
    """Too few people approved the version."""

    code = "approval.missing"


class ApprovalRefusedError(ForbiddenError):
    """This person may not approve this version."""

    code = "approval.refused"


class InvalidSchemaError(InvalidError):
    """What was said of a model's parameters, inputs or outputs does not hold together."""

    code = "model.invalid_schema"


class SignatureInvalidError(ConflictError):
    """What lies here is not what the publisher signed."""

    code = "signature.invalid"


class SigningUnavailableError(UnavailableError):
    """This process has no key to sign with."""

    code = "signing.unavailable"
