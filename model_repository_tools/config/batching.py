"""How requests are put together: scheduling options of a model, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from model_repository_tools.tensors import DataType


class TimeoutAction(StrEnum):
    """What becomes of a request that waited too long: an error at once, or service after all others."""

    REJECT = "REJECT"
    DELAY = "DELAY"


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """How long requests may wait, and how many.

    Attributes:
        default_timeout_us: 0 means: for ever.
        allow_timeout_override: A request may bring a shorter timeout of its own.
        max_queue_size: More are refused at once; 0 means: no limit.
    """

    timeout_action: TimeoutAction = TimeoutAction.REJECT
    default_timeout_us: int = 0
    allow_timeout_override: bool = False
    max_queue_size: int = 0


@dataclass(frozen=True, slots=True)
class DynamicBatching:
    """Run waiting requests together.

    Attributes:
        preferred_batch_sizes: Sizes that are run at once when reached; mostly best left empty.
        max_queue_delay_us: How long a request may wait for company. 0 adds no latency, and still batches what queues
            up while the model is busy.
        preserve_ordering: Answers leave in the order the requests came.
        priority_levels: 0 for none; 1 is the most urgent level.
        default_priority_level: Of requests that name none.
        queue_policy: Of every level that has none of its own.
        priority_queue_policies: By level.
    """

    preferred_batch_sizes: tuple[int, ...] = ()
    max_queue_delay_us: int = 0
    preserve_ordering: bool = False
    priority_levels: int = 0
    default_priority_level: int = 0
    queue_policy: QueuePolicy | None = None
    priority_queue_policies: Mapping[int, QueuePolicy] = field(default_factory=dict)


class ControlKind(StrEnum):
    """What a control input tells the model about a request's place in its sequence."""

    START = "CONTROL_SEQUENCE_START"
    READY = "CONTROL_SEQUENCE_READY"
    END = "CONTROL_SEQUENCE_END"
    CORRELATION_ID = "CONTROL_SEQUENCE_CORRID"


@dataclass(frozen=True, slots=True)
class SequenceControl:
    """An input that Triton fills in: (0, 1) in the model's type for flags, the id for `CORRELATION_ID`."""

    name: str
    kind: ControlKind
    dtype: DataType


@dataclass(frozen=True, slots=True)
class SequenceState:
    """A tensor that Triton keeps between the requests of a sequence; it begins with zeros."""

    input_name: str
    output_name: str
    dtype: DataType
    dims: tuple[int, ...]


class SequenceStrategy(StrEnum):
    """`DIRECT` gives each sequence a slot of its own; `OLDEST` batches requests of several sequences."""

    DIRECT = "direct"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class SequenceBatching:
    """Send all requests of a sequence to the same instance.

    Attributes:
        max_sequence_idle_us: A sequence without requests for so long is forgotten; 0 takes Triton's second.
        max_candidate_sequences, preferred_batch_sizes: For `OLDEST` only.
        minimum_slot_utilization: For `DIRECT` only; the part of the slots that must wait to be run at once.
    """

    strategy: SequenceStrategy = SequenceStrategy.DIRECT
    controls: tuple[SequenceControl, ...] = ()
    states: tuple[SequenceState, ...] = ()
    max_sequence_idle_us: int = 0
    max_queue_delay_us: int = 0
    max_candidate_sequences: int = 0
    preferred_batch_sizes: tuple[int, ...] = ()
    minimum_slot_utilization: float = 0.0
