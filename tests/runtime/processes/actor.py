"""An actor that only exists: with a child of its own, until it is told to leave."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

settings = json.loads(Path(sys.argv[sys.argv.index("--config_path") + 1]).read_text())
output = Path(settings["output_dir"])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
incarnations = output / "actor_starts.txt"
with open(incarnations, "a") as file:
    file.write(f"{os.getpid()} {child.pid} {' '.join(sys.argv[-2:])}\n")
if settings["behaviour"] == "actor dies once" and len(incarnations.read_text().splitlines()) == 1:
    time.sleep(0.3)
    sys.exit(3)
if settings["behaviour"] == "actor dies":
    sys.exit("pirl-actor: no luck")
time.sleep(600)
