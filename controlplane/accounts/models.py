"""People and the tokens that act for them."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone

from controlplane.accounts.domain import Role, TokenScope, permissions_of
from controlplane.audit.domain import Actor


class User(AbstractUser):
    """A person of the staff."""

    role = models.CharField(max_length=20, choices=Role.choices, default=Role.VIEWER)

    def as_actor(self, address: str = "") -> Actor:
        """This person as the actor of a service call; a superuser has every permission of an owner."""
        role = Role.OWNER if self.is_superuser else self.role
        return Actor(f"user:{self.get_username()}", permissions_of(role), self.pk, address)


class ApiToken(models.Model):
    """A token for the control plane's REST API or for one gateway. Its text is shown once and never stored."""

    name = models.CharField(max_length=100)
    scope = models.CharField(max_length=20, choices=TokenScope.choices)
    token_id = models.CharField(max_length=20, unique=True)
    digest = models.BinaryField(max_length=32)
    user = models.ForeignKey(User, null=True, blank=True, on_delete=models.CASCADE, related_name="tokens")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="To the minute.")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name

    @property
    def usable(self) -> bool:
        """Whether the token opens anything at this moment."""
        now = timezone.now()
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)

    def as_actor(self, address: str = "") -> Actor:
        """The token as the actor of a service call, with the permissions of the person it acts for."""
        if self.user is None:
            return Actor(f"token:{self.name}", address=address)
        owner = self.user.as_actor()
        return Actor(f"token:{self.name} of {owner.name}", owner.permissions, self.user.pk, address)
