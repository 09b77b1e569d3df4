"""Carrying out publications: the steps, and the runner that takes a publication through them."""

from controlplane.fleet.publishing.runner import run_publication

__all__ = ["run_publication"]
