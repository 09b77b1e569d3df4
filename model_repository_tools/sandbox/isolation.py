"""What a child gives up before it looks at anything hostile."""

import ctypes
import resource
import signal
from enum import StrEnum

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


class Network(StrEnum):
    """What the child could reach: nothing, or what its parent can (the kernel forbids us to take it away)."""

    UNREACHABLE = "unreachable"
    SHARED = "shared"


def leave_network() -> Network:
    """Move this process into a network of its own, with no way out of it, and out of root's privileges.

    Must be called before anything starts a thread: the kernel separates only processes of one thread. Some containers
    and hosts forbid it; then nothing changes, and the answer says so.
    Source: unshare(2), user_namespaces(7).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0 or libc.unshare(_CLONE_NEWNET) == 0
    return Network.UNREACHABLE if done else Network.SHARED


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies, and never let it gain privileges."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def limit_resources(address_space_bytes: int, cpu_s: int, report_bytes: int) -> None:
    """Limit this process for good."""
    # One second between soft and hard: SIGXCPU tells the parent why.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes, address_space_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (report_bytes, report_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
