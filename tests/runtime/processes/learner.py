"""A learner without learning: counts to its budget, one step per tenth of a second, and behaves as told."""

import json
import os
import sys
import time
from pathlib import Path

from pirl.files import write_json_atomically

settings = json.loads(Path(sys.argv[sys.argv.index("--config_path") + 1]).read_text())
output = Path(settings["output_dir"])
behaviour = settings["behaviour"]
rank = os.environ.get("RANK", "0")
followers = output / "follower_starts.txt"
if rank != "0":
    with open(followers, "a") as file:
        file.write(f"{os.getpid()} of={os.environ['WORLD_SIZE']} port={os.environ['MASTER_PORT']}\n")
    if behaviour == "follower dies once" and len(followers.read_text().splitlines()) == 1:
        time.sleep(0.5)
        sys.exit("out of memory")
    while behaviour != "stop" or not (output / "learner.json").exists():
        time.sleep(0.1)
    sys.exit("lost the others")
starts = output / "learner_starts.txt"
with open(starts, "a") as file:
    file.write(f"{os.getpid()} {sys.argv[-1]}\n")
if behaviour == "die at start" and len(starts.read_text().splitlines()) == 1:
    os.kill(os.getpid(), 9)
if behaviour == "refuse":
    sys.exit("pirl-learner: nothing works today")
write_json_atomically(output / "learner.json", {"port": 50123, "pid": os.getpid()})
if behaviour == "stop":
    time.sleep(2.0 * (os.environ.get("WORLD_SIZE", "1") != "1"))  # the others are seen to end first
    print("pirl-learner: a loss is not finite", file=sys.stderr)
    sys.exit(3)
followers.touch()
while len(followers.read_text().splitlines()) < int(os.environ["WORLD_SIZE"]) - 1:
    time.sleep(0.1)  # as the first collective operation would
for step in range(settings["budget"]["env_steps"]):
    time.sleep(0.1)
    if behaviour == "die once" and step == 3 and len(starts.read_text().splitlines()) == 1:
        os.kill(os.getpid(), 9)
    while behaviour == "stall" and step == 3:
        time.sleep(0.1)
    write_json_atomically(
        output / "status.json", {"env_steps": step + 1, "updates": 0, "episodes": 0, "budget": 0}
    )
write_json_atomically(output / "train.json", {"recipe": "test", "env_steps": step + 1, "updates": 0})
if behaviour == "abort at the end":
    os.abort()
