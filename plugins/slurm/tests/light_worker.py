#!/usr/bin/env -S python3 -IS
"""A worker that keeps the protocol of `collegium.worker` without importing torch: it starts in no time.

Called as the executor's `python`: ``light_worker.py -u -m collegium.worker JOB.json FD``. The job's option `do` says how it ends:
``finish``, ``raise``, ``die``, ``die-once``, ``wait``, ``wait-once``.
"""

import json
import os
import sys
import time
from pathlib import Path

job = json.loads(Path(sys.argv[4]).read_text())
do = job["options"]["do"]
starts = Path(job["directory"]) / "starts"
with open(starts, "a") as file:
    file.write(json.dumps({"pid": os.getpid(), "SLURM_JOB_ID": os.environ["SLURM_JOB_ID"]}) + "\n")
first = len(starts.read_text().splitlines()) == 1
with open(int(sys.argv[5]), "w", buffering=1) as channel:
    event = {"stage": job["id"], "kind": "step", "step": 1, "total": 1, "metrics": {"loss": 0.5}}
    channel.write(json.dumps({"event": event}) + "\n")
    if do == "die" or (do == "die-once" and first):
        os.kill(os.getpid(), 9)
    while do == "wait" or (do == "wait-once" and first):
        time.sleep(0.02)
    outcome = {"stage": job["id"], "status": "completed", "seconds": 1.0}
    if do == "raise":
        outcome.update(status="failed", kind="ValueError", problem="told to fail", owner="collegium-toy")
    channel.write(json.dumps({"outcome": outcome}) + "\n")
