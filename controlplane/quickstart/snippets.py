"""Ready-to-paste requests: a real digit, sent with curl and with tritonclient."""

from __future__ import annotations

import json
from textwrap import dedent

from controlplane.registry.models import GoldenSample

_CURL = """\
curl -s {gateway_url}/v2/models/{slug}/infer -H "Authorization: Bearer {api_key}" -d '{request}'"""

_PYTHON = """\
import numpy as np
import tritonclient.http as triton

client = triton.InferenceServerClient("{gateway_host}")
pixels = np.array({pixels}, dtype=np.float32)
image = triton.InferInput("{input}", list(pixels.shape), "FP32")
image.set_data_from_numpy(pixels)
answer = client.infer("{slug}", [image], headers={{"Authorization": "Bearer {api_key}"}})
print(answer.as_numpy("probabilities").round(3))"""


def demo_sample(slug: str) -> GoldenSample | None:
    """The first golden sample of a model's oldest version; None where it has none."""
    return GoldenSample.objects.filter(version__model__slug=slug).order_by("version__number", "id").first()


def demo_request(sample: GoldenSample) -> dict[str, object]:
    """A sample's first row as a V2 request, its numbers as short as they are."""
    inputs = []
    for tensor in sample.inputs:
        row = tensor["shape"][1:]
        size = 1
        for extent in row:
            size *= extent
        data = [int(value) if float(value).is_integer() else value for value in tensor["data"][:size]]
        inputs.append({**tensor, "shape": [1, *row], "data": data})
    return {"inputs": inputs}


def snippets(values: dict[str, str], slug: str, sample: GoldenSample) -> dict[str, str]:
    """``curl`` and ``python`` requests for a model.

    Args:
        values: what `quickstart.env` holds.
        slug: the model.
        sample: whose input to send.
    """
    request = demo_request(sample)
    tensor = sample.inputs[0]
    first = json.loads(json.dumps(request))["inputs"][0]
    common = {"slug": slug, "api_key": values["API_KEY"]}
    return {
        "curl": _CURL.format(
            gateway_url=values["GATEWAY_URL"], request=json.dumps(request, separators=(",", ":")), **common
        ),
        "python": dedent(_PYTHON).format(
            gateway_host=values["GATEWAY_URL"].partition("://")[2],
            input=tensor["name"],
            pixels=[first["data"]],
            **common,
        ),
    }
