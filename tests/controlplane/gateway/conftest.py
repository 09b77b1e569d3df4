"""Fixtures of the gateway's tests: a real worker in front of a real Triton."""

from tests.support.gateway import echo_triton, gateway, start_gateway

__all__ = ["echo_triton", "gateway", "start_gateway"]
