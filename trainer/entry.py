"""The door to ``leukoscope-trainer``, which says what to install where its packages are missing."""

from __future__ import annotations

from edge.command_line import run_with_extra


def main() -> None:
    """Run the command line."""
    run_with_extra("trainer.cli", extra="trainer")


if __name__ == "__main__":
    main()
