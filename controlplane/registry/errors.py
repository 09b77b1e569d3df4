"""Errors of the registry."""

from controlplane.wire.errors import (
    ConflictError,
    ControlPlaneError,
    ErrorKind,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)


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


class UploadNotFoundError(NotFoundError):
    """The caller has no such upload."""

    code = "upload.not_found"


class UploadGoneError(NotFoundError):
    """The upload was, and takes no more bytes: it expired or failed."""

    code = "upload.gone"


class UploadOffsetError(ConflictError):
    """Bytes were sent for another place than the one the upload has come to; `details["offset"]` is that place."""

    code = "upload.wrong_offset"


class UploadBusyError(ConflictError):
    """Another request writes to the upload at this moment."""

    code = "upload.busy"


class UploadStateError(ConflictError):
    """The upload is not in a state that allows the step."""

    code = "upload.invalid_state"


class UploadTooLargeError(ControlPlaneError):
    """The file is larger than uploads may be, or than was announced."""

    kind = ErrorKind.TOO_LARGE
    code = "upload.too_large"


class TooManyUploadsError(ControlPlaneError):
    """The caller has as many open uploads as anybody may."""

    kind = ErrorKind.LIMITED
    code = "upload.too_many"


class UploadBrokenOffError(ControlPlaneError):
    """The bytes stopped coming before the request ended; what came is kept."""

    kind = ErrorKind.TIMEOUT
    code = "upload.broken_off"


class DigestMismatchError(InvalidError):
    """Bytes arrived that are not those the caller meant to send."""

    code = "upload.digest_mismatch"


class StoreFullError(ControlPlaneError):
    """The artifact store has no room left; what was stored is kept."""

    kind = ErrorKind.UNAVAILABLE
    code = "store.full"


class ImportNotFoundError(NotFoundError):
    """There is no such import."""

    code = "import.not_found"


class ImportStateError(ConflictError):
    """The import is not in a state that allows the step."""

    code = "import.invalid_state"


class ImportPathError(InvalidError):
    """The server does not import from this path."""

    code = "import.path_refused"


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
