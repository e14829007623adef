"""What the local stack raises on purpose.

::

    LibraError (shared.errors)
    └── StackError          something the local stack needs is missing, or did not start
"""

from shared.errors import LibraError


class StackError(LibraError):
    """Something the local stack needs is missing or did not start; the message says what to do."""
