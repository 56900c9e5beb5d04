"""An updater in another process: its self-test says that it is at it, and goes on when it is told to."""

import select
import sys
from pathlib import Path

from edge.cancellation import CancelledError
from tests.edge.update.workbench import PASSED, Bench


class WaitingTest:
    def __call__(self, _bundle, *, proving, cancelled):
        proving()
        print("at it", flush=True)
        while not select.select([sys.stdin], [], [], 0.02)[0]:
            if cancelled():
                raise CancelledError
        return PASSED


if __name__ == "__main__":
    print(Bench(place=Path(sys.argv[1])).updater(self_test=WaitingTest()).run_once().kind, flush=True)
