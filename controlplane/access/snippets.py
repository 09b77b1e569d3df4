"""Code that calls the gateway with a new key, ready to paste."""

from __future__ import annotations

import json
import shlex
from fnmatch import fnmatchcase
from typing import Any

from controlplane.access.models import ApiKey
from controlplane.access.services import IssuedKey
from controlplane.audit.staff_admin import Snippet
from controlplane.env import control_settings
from controlplane.registry.domain import VersionState
from controlplane.registry.models import Alias

_LARGEST_EXAMPLE = 4000
"""Characters of a golden sample's inputs that a snippet shows; a larger one is left out."""

_PYTHON = """\
import os
import numpy as np
import tritonclient.{transport} as triton
from tritonclient.utils import triton_to_np_dtype

client = triton.InferenceServerClient({address!r}{ssl})
inputs = []
for tensor in {inputs}:
    data = np.array(tensor["data"], dtype=triton_to_np_dtype(tensor["datatype"])).reshape(tensor["shape"])
    inputs.append(triton.InferInput(tensor["name"], tensor["shape"], tensor["datatype"]))
    inputs[-1].set_data_from_numpy(data)
headers = {{"authorization": "Bearer " + os.environ["API_KEY"]}}
print(client.infer({slug!r}, inputs, headers=headers).get_response())"""


def snippets_for(issued: IssuedKey) -> list[Snippet]:
    """How to call the gateway by curl and by tritonclient, with a model the key may use where there is one."""
    alias = _example_alias(issued.key)
    slug = alias.model.slug if alias else "MODEL"
    inputs = _example_inputs(alias)
    settings = control_settings()
    host = settings.gateway_url.split("://", 1)[-1].rstrip("/")
    ssl = ", ssl=True" if settings.gateway_url.startswith("https:") else ""
    example = {"slug": slug, "inputs": repr(inputs), "ssl": ssl}
    return [
        Snippet("Shell", f"export API_KEY='{issued.secret}'"),
        Snippet("curl", _curl(settings.gateway_url.rstrip("/"), slug, inputs)),
        Snippet("tritonclient, HTTP", _PYTHON.format(transport="http", address=host, **example)),
        Snippet("tritonclient, gRPC", _PYTHON.format(transport="grpc", address=settings.gateway_grpc, **example)),
    ]


def _example_alias(key: ApiKey) -> Alias | None:
    aliases = Alias.objects.filter(version__state=VersionState.PUBLISHED).select_related("model", "version")
    usable = (
        alias
        for alias in aliases.order_by("model__slug")
        if alias.name == alias.model.default_alias
        and any(fnmatchcase(alias.model.slug, pattern) for pattern in key.model_patterns)
    )
    return next(usable, None)


def _example_inputs(alias: Alias | None) -> list[dict[str, Any]]:
    """A golden sample's inputs, or the form of an input where there is no small one."""
    sample = alias.version.golden_samples.first() if alias else None
    if sample is not None and len(json.dumps(sample.inputs)) <= _LARGEST_EXAMPLE:
        return list(sample.inputs)
    return [{"name": "INPUT", "shape": [1, 1], "datatype": "FP32", "data": [0.0]}]


def _curl(url: str, slug: str, inputs: list[dict[str, Any]]) -> str:
    body = shlex.quote(json.dumps({"inputs": inputs}))
    return f'curl -sS {url}/v2/models/{slug}/infer \\\n  -H "Authorization: Bearer $API_KEY" \\\n  -d {body}'
