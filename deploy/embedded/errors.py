"""What stops the embedded stack: one sentence that says what to do."""


class StackError(Exception):
    """Something the operator has to change; its text is printed alone, without a traceback."""
