"""A station in miniature that updates itself, and kills itself at a named step of it.

Reads a case in JSON from each line of standard input and answers with one. Each of the station's processes
is forked, which spares the imports, and is started anew until it has nothing more to do, or was killed too
often for that ever to come. After every death all promises are checked.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from tests.edge.update.workbench import FAILED, GOOD, PASSED, SLOW, Bench, copy_of, remove

MOST_STARTS = 16
STATIONS = {"good": (GOOD, PASSED), "slow": (SLOW, PASSED), "disagrees": (GOOD, FAILED)}
QUIET, AGAIN = 0, 10


def run(case: dict[str, str], *, template: Path, place: Path) -> dict[str, object]:
    figures, proof = STATIONS[case["station"]]
    bench = replace(copy_of(Bench(place=template), place), figures=figures, proof=proof)
    forever = case["how_often"] == "for ever"
    deaths, broken, quiet = 0, [], False
    opened_before = len(bench.openings())
    for starts in range(1, MOST_STARTS + 1):  # noqa: B007 - told when the loop has ended
        status = start(bench, case, may_kill=forever or not deaths)
        if os.WIFSIGNALED(status):
            deaths += 1
            broken += bench.broken(quiet=False)
        elif os.WEXITSTATUS(status) == QUIET:
            quiet = True
            break
        elif os.WEXITSTATUS(status) != AGAIN:
            broken.append(f"the process ended with {os.WEXITSTATUS(status)}")
            break
    opened = len(bench.openings()) - opened_before
    if not quiet and not broken:
        # Nothing can be counted where the counting itself is killed; without that fault all is well again.
        for _ in range(MOST_STARTS):
            status = start(bench, case, may_kill=False)
            if status == QUIET:
                break
        else:
            broken.append("never quiet, though nothing kills it any more")
    broken += bench.broken(quiet=True)
    states = bench.sink.states(bench.candidate_id)
    remove(place)
    return {
        "starts": starts,
        "opened": opened,
        "deaths": deaths,
        "quiet": quiet,
        "broken": broken,
        "states": states,
    }


def start(bench: Bench, case: dict[str, str], *, may_kill: bool) -> int:
    """One process of the station; its wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    status = 1
    try:
        status = QUIET if bench.live(watcher=watcher(case, may_kill=may_kill)) == "quiet" else AGAIN
    finally:
        os._exit(status)


def watcher(case: dict[str, str], *, may_kill: bool):
    def watch(point: str, when: str) -> None:
        if may_kill and point == case["point"] and when == case["when"]:
            os.kill(os.getpid(), signal.SIGKILL)

    return watch


def main() -> None:
    gc.freeze()  # a child need not copy what only its collector would touch
    template, place = Path(sys.argv[1]), Path(sys.argv[2])
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line), template=template, place=place)), flush=True)


if __name__ == "__main__":
    main()
