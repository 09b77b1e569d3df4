"""Running work on hostile files in a child process with limits and without a network."""

from model_repository_tools.sandbox.isolation import Network
from model_repository_tools.sandbox.process import Limits, Outcome, run_limited

__all__ = ["Limits", "Network", "Outcome", "run_limited"]
