"""What Triton calls: load, execute, release."""

import json
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from .batching import Array, Tensors, Work, group, join, split
from .errors import ModelLoadError, RequestError, explain


class TritonPythonModel:
    """One instance of one model: a process of its own with one ONNX Runtime session.

    Source: the interface of Triton's python_backend. `auto_complete_config` is left out on purpose: our servers run
    with `--disable-auto-complete-config`, because a model without config.pbtxt is one that is still being published.
    """

    def initialize(self, args: Mapping[str, str]) -> None:
        """Loads the ONNX file of this version.

        Raises:
            ModelLoadError: The model cannot be served; the message says why.
        """
        self._name = args["model_name"]
        try:
            self._load(args)
        except ModelLoadError:
            raise
        except ImportError as error:
            raise ModelLoadError(
                f"Triton's environment lacks the package '{error.name}': run `make triton-env`"
            ) from None
        except Exception as error:  # noqa: BLE001  whatever it is, the client gets a sentence and the log the rest
            pb_utils.Logger.log_error(f"{self._name}: {traceback.format_exc()}")
            raise ModelLoadError(f"an unexpected {type(error).__name__}, explained in the server's log") from None

    def _load(self, args: Mapping[str, str]) -> None:
        # Imported here so that a missing onnxruntime is a sentence and not a stack trace.
        from . import session, tensors

        self._tensors = tensors
        config = json.loads(args["model_config"])
        path = _model_file(Path(args["model_repository"]) / args["model_version"], config["default_model_filename"])
        self._session, self._signature = session.open_session(
            path,
            config,
            kind=args["model_instance_kind"],
            device_id=int(args["model_instance_device_id"]),
            warn=lambda text: pb_utils.Logger.log_warn(f"{self._name}: {text}"),
        )

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answers every request, in one run where their shapes allow it; an error stays with the request at fault."""
        responses: list[Any] = [None] * len(requests)
        works = []
        for index, request in enumerate(requests):
            try:
                works.append(self._read(index, request))
            except RequestError as error:
                responses[index] = _refusal(str(error))
        for works_of_one_run in group(works, batching=self._signature.max_batch_size > 0):
            for work, response in zip(works_of_one_run, self._answer(works_of_one_run), strict=True):
                responses[work.index] = response
        return responses

    def finalize(self) -> None:
        """Releases the session: Triton ends this process only some time after the model is unloaded."""
        self._session = None

    def _read(self, index: int, request: Any) -> Work:
        feed: Tensors = {}
        for tensor in request.inputs():
            name = tensor.name()
            values = self._tensors.read(tensor, self._signature.input_types[name])
            feed[name] = values.reshape(()) if name in self._signature.scalars else values
        wanted = frozenset(request.requested_output_names()) or frozenset(self._signature.output_types)
        return Work(index=index, feed=feed, wanted=wanted)

    def _answer(self, works: Sequence[Work]) -> list[Any]:
        """Answers a group in one run; if that fails, each request alone, so that only the culprit gets the error."""
        try:
            return self._answer_together(works)
        except Exception as error:  # noqa: BLE001  ONNX Runtime's exceptions have no base of their own
            if len(works) > 1:
                return [response for work in works for response in self._answer([work])]
            return [_refusal(str(error)) if isinstance(error, RequestError) else _failure(explain(error))]

    def _answer_together(self, works: Sequence[Work]) -> list[Any]:
        outputs = self._run(join(works), frozenset().union(*(work.wanted for work in works)))
        answers = split(outputs, works) if self._signature.max_batch_size > 0 else [outputs]
        return [self._response(answer, work.wanted) for answer, work in zip(answers, works, strict=True)]

    def _run(self, feed: Tensors, wanted: frozenset[str]) -> Tensors:
        names = sorted(wanted)
        if self._signature.uses_bfloat16:
            types = self._signature.input_types
            return self._tensors.run_with_bfloat16(self._session, feed, names, input_types=types)
        return self._tensors.run(self._session, feed, names)

    def _response(self, answer: Mapping[str, Array], wanted: frozenset[str]) -> Any:
        tensors = []
        for name in sorted(wanted):
            scalar_dims = self._signature.scalars.get(name)
            values = answer[name] if scalar_dims is None else answer[name].reshape(scalar_dims)
            tensors.append(self._tensors.write(name, values, self._signature.output_types[name]))
        return pb_utils.InferenceResponse(tensors)


def _model_file(version_folder: Path, name: str) -> Path:
    """Returns the file to load; a folder of that name holds it as `model.onnx`, as with the native backend."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ModelLoadError(f"default_model_filename '{name}' does not lie in the version folder")
    path = version_folder / name
    return path / "model.onnx" if path.is_dir() else path


def _refusal(message: str) -> Any:
    """The request is at fault: 400 over HTTP, INVALID_ARGUMENT over gRPC."""
    return pb_utils.InferenceResponse([], pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG))


def _failure(message: str) -> Any:
    """ONNX Runtime gave up: 500 and INTERNAL, as the native backend answers."""
    return pb_utils.InferenceResponse([], pb_utils.TritonError(message, pb_utils.TritonError.INTERNAL))
