"""A simulator of the API on port 8000: 100 tasks that finish after a few polls, and one that fails."""

import threading

from duomi.simulator import Script, Simulator

tasks = {f"task-{number}": Script(pending=0, running=(60, 95)) for number in range(100)}
tasks["task-bad"] = Script(pending=0, running=(20,), outcome="error", message="the prompt was refused")

if __name__ == "__main__":
    with Simulator(tasks).serve(port=8000) as base_url:
        print(base_url, flush=True)
        threading.Event().wait()
