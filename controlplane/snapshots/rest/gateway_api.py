"""What gateways call: the snapshot by long poll, and usage batches.

Plain asynchronous views, not DRF: a hundred gateways waiting for news must not hold a hundred threads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from controlplane.accounts.domain import TokenScope
from controlplane.accounts.errors import InvalidTokenError
from controlplane.accounts.models import ApiToken
from controlplane.accounts.rest.authentication import bearer_token
from controlplane.accounts.selectors import get_token
from controlplane.snapshots.selectors import head_revision, signed_snapshot
from controlplane.snapshots.services import note_gateway
from controlplane.usage.services import ingest_batch
from controlplane.wire.errors import ControlPlaneError, InvalidError
from controlplane.wire.usage import decode_batch

LONGEST_WAIT_S = 20.0
_POLL_S = 0.04

View = Callable[[HttpRequest, ApiToken], Coroutine[Any, Any, HttpResponse]]
AsyncView = Callable[[HttpRequest], Coroutine[Any, Any, HttpResponse]]


def gateway_view(method: str) -> Callable[[View], AsyncView]:
    """A view for one method that only a gateway's token opens; its errors are JSON."""

    def decorate(view: View) -> AsyncView:
        @csrf_exempt
        @wraps(view)
        async def guarded(request: HttpRequest) -> HttpResponse:
            if request.method != method:
                return JsonResponse({"error": {"code": "method_not_allowed", "message": f"Use {method}."}}, status=405)
            try:
                token = await sync_to_async(_authenticate)(request)
                return await view(request, token)
            except ControlPlaneError as error:
                return JsonResponse(error.as_dict(), status=error.http_status)

        return guarded

    return decorate


@gateway_view("GET")
async def snapshot(request: HttpRequest, token: ApiToken) -> HttpResponse:
    """``GET /internal/snapshot?since=R&instance=I&wait=S``: 200 with a signed snapshot, or 204 when nothing is newer.

    ``since`` doubles as the acknowledgement: all workers of this gateway obey the snapshot up to there.
    """
    since, wait_s = _number(request, "since"), min(_number(request, "wait"), LONGEST_WAIT_S)
    instance = request.GET.get("instance", "")
    await sync_to_async(_note)(request, token, since)
    deadline = time.monotonic() + wait_s
    while instance and since:
        revision = await sync_to_async(head_revision)()
        if revision != since:
            break
        if time.monotonic() >= deadline:
            return HttpResponse(status=204)
        await asyncio.sleep(_POLL_S)
    envelope = await sync_to_async(signed_snapshot)(since=since, instance=instance)
    return HttpResponse(envelope, content_type="application/octet-stream")


@gateway_view("POST")
async def usage(request: HttpRequest, _token: ApiToken) -> HttpResponse:
    """``POST /internal/usage``: one batch; 200 says it is counted, now or before."""
    batch = decode_batch(request.body)
    new = await sync_to_async(ingest_batch)(batch)
    return JsonResponse({"duplicate": not new})


def _authenticate(request: HttpRequest) -> ApiToken:
    text = bearer_token(request)
    if text is None:
        raise InvalidTokenError("Send the gateway's token as `Authorization: Bearer tgt_...`.")
    return get_token(text, TokenScope.GATEWAY)


def _note(request: HttpRequest, token: ApiToken, revision: int) -> None:
    note_gateway(
        token=token,
        name=request.headers.get("X-Gateway-Name", token.name)[:100],
        release=request.headers.get("X-Gateway-Release", ""),
        revision=revision,
        address=request.META.get("REMOTE_ADDR", ""),
    )


def _number(request: HttpRequest, name: str) -> int:
    text = request.GET.get(name, "0")
    if not text.isdecimal() or len(text) > 18:
        raise InvalidError(f"{name} must be a whole number.", code="snapshot.invalid_query")
    return int(text)
