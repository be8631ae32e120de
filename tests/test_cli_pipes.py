"""A reader that stops reading, such as `head`, ends nothing with a traceback."""

from __future__ import annotations

import subprocess
import sys


def test_a_reader_may_stop_early() -> None:
    # The reader is gone before a word is written.
    command = f"{sys.executable} -m api.cli encoders --json | {sys.executable} -c 'import os; os.close(0)'"
    shell = f"set -o pipefail; {command}; echo status $?"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stdout == "status 0\n"
    assert not done.stderr
