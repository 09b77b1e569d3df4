"""Who acts."""

from __future__ import annotations

from dataclasses import dataclass, field

from controlplane.audit.errors import PermissionMissingError


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever asks for a write: a person, a token of theirs, or a process of the control plane itself.

    Attributes:
        name: as the audit log shows it, e.g. ``user:ana``, ``token:ci``, ``system:controller``.
        permissions: what this actor may do; services ask with `require`.
        user_id: the person behind it; None for a process.
        address: where the request came from; empty for a process.
    """

    name: str
    permissions: frozenset[str] = field(default_factory=frozenset)
    user_id: int | None = None
    address: str = ""
    unrestricted: bool = False

    def may(self, permission: str) -> bool:
        """Whether this actor has a permission."""
        return self.unrestricted or permission in self.permissions

    def require(self, permission: str) -> None:
        """Lets the actor pass, or refuses.

        Raises:
            PermissionMissingError: the actor lacks the permission.
        """
        if not self.may(permission):
            raise PermissionMissingError(
                f"{self.name} may not do this: it needs the permission {str(permission)!r}. "
                "Ask an owner for a role that has it.",
                details={"permission": str(permission)},
            )


def system_actor(process: str) -> Actor:
    """The control plane itself, acting for nobody: ``controller``, ``worker``, ``bootstrap``."""
    return Actor(name=f"system:{process}", unrestricted=True)
