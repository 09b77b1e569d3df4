"""Fixtures of the whole suite: real servers, each started on demand."""

pytest_plugins = ["tests.support.triton", "tests.support.services", "tests.support.stack"]
