"""What this library raises. Faults of a *model* are `Finding`s; these are for wrong calls and for a failing disk."""


class ModelRepositoryError(Exception):
    """Root of the tree. `code` is stable and meant for programs, the text is meant for people."""

    code = "model_repository.error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class UnsafePathError(ModelRepositoryError):
    """A file name that could leave its folder, or that some system would read as another name."""

    code = "path.unsafe"


class InvalidTensorError(ModelRepositoryError):
    """A JSON tensor that is not what the V2 protocol allows."""

    code = "tensor.invalid"


class NotServableError(ModelRepositoryError):
    """A configuration was asked for a model that Triton could not serve."""

    code = "model.not_servable"


class InvalidModelError(ModelRepositoryError):
    """A file that is not the model it was taken for."""

    code = "model.invalid"


class ReferenceFailedError(ModelRepositoryError):
    """The reference runtime is missing, or could not load or run the model."""

    code = "reference.failed"


class RepositoryError(ModelRepositoryError):
    """A step on a model repository did not happen; running it again is always allowed."""

    code = "repository.error"


class RepositoryConflictError(RepositoryError):
    """The name is taken by other bytes."""

    code = "repository.conflict"


class NotInRepositoryError(RepositoryError):
    """The model that a step is about is not where the step needs it."""

    code = "repository.not_found"


class StageLostError(RepositoryError):
    """The stage vanished: another attempt of the same publication took over, or it was reaped. Stage again."""

    code = "repository.stage_lost"


class InvalidKeyError(ModelRepositoryError):
    """A key or certificate that is none, or of a kind that is not supported. Its text is never part of the message."""

    code = "key.invalid"


class InvalidTrustError(ModelRepositoryError):
    """A trust store that cannot be read."""

    code = "trust.invalid"


class SigningUnavailableError(ModelRepositoryError):
    """The packages that signatures need are not installed."""

    code = "signing.unavailable"
