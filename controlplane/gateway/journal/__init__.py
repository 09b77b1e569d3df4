"""The journal: what a worker served, written down so that no death of a process loses or doubles a request.

`writer.Journal` is the worker's side, `reader.JournalReader` the agent's, `batches` what the control plane is sent.
"""

from __future__ import annotations

from controlplane.gateway.journal.writer import Journal, JournalFullError

__all__ = ["Journal", "JournalFullError"]
