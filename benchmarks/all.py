"""Runs every benchmark, and writes RESULTS.md and the plots next to this file."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS = {
    "overhead.py": (),
    "many.py": ("--plot", "many.svg"),
    "polling.py": ("--plot", "polling.svg"),
    "rate.py": ("--plot", "rate.svg"),
    "imports.py": (),
}
PACKAGES = ("duomi", "httpx", "httpcore", "anyio", "attrs", "openai", "runwayml")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    """Run all of them, one after the other."""
    parts = [
        "# Benchmarks",
        (
            "Written by `make bench`. The figures are ratios from one run on one machine. A shared machine is noisy, so ignore the last"
            " digit. There are no absolute figures, on purpose."
        ),
        (
            f"{platform.system()}, {os.cpu_count()} cores, {_processor()}; Python {platform.python_version()};"
            f" {', '.join(f'{name} {version(name)}' for name in PACKAGES)}."
        ),
    ]
    for program, arguments in PROGRAMS.items():
        done = subprocess.run(
            [sys.executable, program, *arguments], cwd=HERE, stdout=subprocess.PIPE, text=True, check=True
        )
        parts += [f"## {program}", done.stdout.strip()]
        if arguments:
            parts.append(f"![{program}]({arguments[1]})")
        print(done.stdout, flush=True)
    (HERE / "RESULTS.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
