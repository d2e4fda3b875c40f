"""What `import duomi` costs compared with `import httpx, attrs`, in a fresh process each time."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from figures import ratio, table

STATEMENTS = [
    "import httpx, attrs",
    "import httpx, attrs, duomi_api.models, duomi_api.api.videos.get_video_task",
    "import duomi",
]
EXTRA = """
import sys, httpx, attrs, duomi_api.models, duomi_api.api.videos.get_video_task, duomi_api.contract
before = set(sys.modules)
import duomi
print(*sorted(name for name in set(sys.modules) - before if not name.startswith("duomi")))
"""


# pip compiles what it installs; a checkout that cannot keep its bytecode would be compiled again each time.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def main() -> None:
    """Print the table."""
    times: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    for turn in range(41):
        for statement in STATEMENTS:
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], env=ENVIRONMENT, check=True)
            if turn:
                times[statement].append(time.perf_counter() - began)
    base, *_, ours = times.values()
    print("Interpreter and import, in a fresh process each time:\n")
    print(table(["statement", "time"], [[f"`{name}`", ratio(each, base)] for name, each in times.items()]))
    extra = subprocess.run([sys.executable, "-c", EXTRA], capture_output=True, text=True, check=True).stdout.strip()
    print(f"\nModules of others that only `import duomi` loads: {extra or 'none'}.\n")
    figure = ratio(ours, base)
    print(
        table(
            ["figure", "measured"],
            [["`import duomi` relative to `import httpx, attrs`", figure]],
        )
    )


if __name__ == "__main__":
    main()
