"""A worker reduced to its journal: appends numbered records, and says so on standard output.

It speaks after each record like a worker that answers, or, with ``silent``, once and then never again, to be at full
speed.
"""

import os
import sys
from pathlib import Path

from controlplane.gateway.journal import Journal
from tests.controlplane.gateway.journal.records import numbered_record

if __name__ == "__main__":
    directory, capacity = Path(sys.argv[1]), int(sys.argv[2])
    packed = [numbered_record(index) for index in range(5000)]
    journal = Journal.create(directory, capacity)
    if sys.argv[3:] == ["silent"]:
        os.write(1, b".")
        while True:
            for record in packed:
                journal.append(record)
    while True:
        for record in packed:
            journal.append(record)
            os.write(1, b".")  # the last byte of an answer: only now does a client know
