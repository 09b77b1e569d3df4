"""The console script `model-repository`. Exit status: 0 fine, 1 findings that forbid it, 2 the call was wrong."""

from model_repository_tools.cli.app import app, main

__all__ = ["app", "main"]
