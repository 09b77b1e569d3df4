"""What may go wrong, in sentences that hold no path, no Python frame and no C++ signature."""

import os
import re

_ORT_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : (\d+) : [A-Z_]+ : ")
_LOAD_PREFIX = re.compile(r"Load model (?:from )?\S+ failed[:.] ?")
# A file of ONNX Runtime's source with its line, followed by the signature or the name of the function.
_SOURCE_LOCATION = re.compile(r"\S+\.(?:cc|cpp|cu|cuh|h|hpp):\d+ (?:[\w:~<>&*, ]+\([^()]*\)(?: const)? |\w+ )?")
_TEMPLATE_ARGUMENTS = re.compile(r"\s*\[with [^\]]*\]")


class ModelLoadError(Exception):
    """Refuses a model; its text is all that a client of the repository API gets to see.

    pybind11 appends the Python frames to an exception that leaves `initialize`, but hands the result on as a C string:
    a NUL at the end of the message keeps the frames out of the load error and out of the repository index (measured
    on 2.51). It puts the name of the class in front, so the name is part of the sentence.
    """

    def __str__(self) -> str:
        return f"{super().__str__()}\0"


ModelLoadError.__name__ = "unable to load the model"


class RequestError(Exception):
    """Refuses one request because of what it contains."""


def explain(error: Exception, *, directory: str | None = None) -> str:
    """Says what ONNX Runtime complained about, fit for a client.

    The form is the native backend's: `onnx runtime error <code>: <message>`. Left out are the places in ONNX Runtime's
    source and `directory`, where the model lies; names inside the graph stay, also those that look like paths.
    """
    text = str(error).strip()
    prefix = _ORT_PREFIX.match(text)
    code = prefix.group(1) if prefix else "1"
    text = text[prefix.end() :] if prefix else text
    for pattern in (_LOAD_PREFIX, _SOURCE_LOCATION, _TEMPLATE_ARGUMENTS):
        text = pattern.sub("", text)
    for place in (directory, directory and os.path.realpath(directory)):
        text = text.replace(f"{place}/", "") if place else text
    return f"onnx runtime error {code}: {text.strip()}"
