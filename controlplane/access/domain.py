"""What a key may do."""

from __future__ import annotations

from django.db import models


class Scope(models.TextChoices):
    """What a key may be used for at the gateway. No scope opens the control API."""

    INFER = "infer", "Inference"
    METADATA = "metadata", "Metadata"
    STATISTICS = "statistics", "Statistics"


ALL_SCOPES: tuple[str, ...] = tuple(scope.value for scope in Scope)
