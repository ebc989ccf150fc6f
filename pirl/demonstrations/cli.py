"""`pirl-demos`: record scripted demonstrations in LIBERO.

`pirl-demos --suite libero_object --task_ids '[0,1]' --episodes 50 --out data/demos/libero_object`
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, cast

import draccus
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pirl.demonstrations.datasets import SETTINGS, DatasetError, check_dataset, write_dataset
from pirl.demonstrations.episodes import Episode
from pirl.demonstrations.layouts import CAMERAS, check_control_mode, check_layout, features
from pirl.demonstrations.recording import Job, Recording, RecordingError, record


@dataclass
class DemosConfig:
    """Settings of one call."""

    out: Path
    """Folder of the new data set."""
    suite: str = "libero_object"
    """LIBERO suite."""
    task_ids: list[int] = field(default_factory=list)
    """Tasks of the suite; empty means all."""
    episodes: int = 10
    """Successful episodes per task."""
    starts: str = "sampled"
    """sampled, wide or official (the official starts are for tests)."""
    seed: int = 0
    """First seed of the starts; episode i uses [seed + 8 i, seed + 8 i + 8)."""
    layout: str = "libero"
    """libero (as HuggingFaceVLA/libero) or xvla (as LeRobot's XVLA processors)."""
    control_mode: str = "relative"
    """Of the data set's actions: relative, or absolute (layout xvla; the expert itself acts in relative)."""
    cameras: list[str] = field(default_factory=lambda: list(CAMERAS))
    """Cameras: agentview, robot0_eye_in_hand."""
    height: int = 128
    """Image height, pixels."""
    width: int = 128
    """Image width, pixels."""
    workers: int = 2
    """Recording processes."""
    action_noise: float = 0.0
    """Standard deviation of DART noise on executed actions; labels stay clean."""
    fidelity: str = "exact"
    """exact or fast simulation."""

    def recording(self) -> Recording:
        """What shall be recorded, checked.

        Raises:
            ValueError: Naming the flag and what is allowed.
        """
        from pirl.envs.tasks import get_task, num_tasks

        task_ids = tuple(self.task_ids) or tuple(range(num_tasks(self.suite)))
        for task_id in task_ids:
            get_task(self.suite, task_id)
        check_layout(self.layout)
        check_control_mode(self.layout, self.control_mode)
        features(self.layout, self.cameras, self.height, self.width)
        for flag, allowed in (("starts", ("sampled", "wide", "official")), ("fidelity", ("exact", "fast"))):
            if getattr(self, flag) not in allowed:
                raise ValueError(f"--{flag}: '{getattr(self, flag)}' is not one of {', '.join(allowed)}")
        for flag, least in (
            ("episodes", 1),
            ("height", 1),
            ("width", 1),
            ("workers", 1),
            ("action_noise", 0),
        ):
            if getattr(self, flag) < least:
                raise ValueError(f"--{flag}: {getattr(self, flag)} is less than {least}")
        if not self.cameras:
            raise ValueError(f"--cameras: name at least one of {', '.join(CAMERAS)}")
        return Recording(
            self.suite,
            task_ids,
            self.episodes,
            cast(Literal["official", "sampled", "wide"], self.starts),
            self.seed,
            tuple(self.cameras),
            self.height,
            self.width,
            self.action_noise,
            cast(Literal["exact", "fast"], self.fidelity),
        )


def make_demonstrations(config: DemosConfig, console: Console | None = None) -> Path:
    """Record what `config` asks for and write the data set, or find it already there.

    An interrupted call is continued by calling again with the same settings: finished episodes wait
    in `<out>.partial`.

    Returns:
        The data set's folder.

    Raises:
        ValueError, DatasetError, RecordingError: Saying what, where and what to do.
    """
    console = console or Console(stderr=True)
    recording = config.recording()
    settings = json.loads(
        json.dumps({**asdict(recording), "layout": config.layout, "control_mode": config.control_mode})
    )
    if config.out.exists():
        check_dataset(config.out)
        found = json.loads((config.out / SETTINGS).read_text(encoding="utf-8"))
        if found != settings:
            changed = ", ".join(sorted(key for key in settings if found.get(key) != settings[key]))
            raise DatasetError(
                f"{config.out} was recorded with other settings ({changed});"
                " delete it or choose another --out"
            )
        console.print(f"{config.out}: complete already")
        return config.out
    folder = config.out.with_name(f"{config.out.name}.partial")
    jobs = recording.jobs()
    failures = 0
    with _progress(console) as progress:
        bar = progress.add_task(f"{recording.suite}: episodes", total=len(jobs))
        progress.update(bar, completed=sum(job.path(folder).is_file() for job in jobs))

        def advance(_: Job, success: bool) -> None:
            nonlocal failures
            failures += not success
            progress.update(bar, advance=int(success), failures=failures)

        record(recording, folder, config.workers, advance)
        bar = progress.add_task("writing the data set", total=len(jobs))

        def episodes():
            for job in jobs:
                yield Episode.load(job.path(folder))
                progress.update(bar, advance=1)

        write_dataset(episodes(), config.out, config.layout, settings, config.control_mode)
    shutil.rmtree(folder)
    console.print(f"{config.out}: {len(jobs)} episodes ({failures} failed attempts left out)")
    return config.out


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Console entry; returns the exit status."""
    config = draccus.parse(config_class=DemosConfig, args=arguments)
    try:
        make_demonstrations(config)
    except (ValueError, RecordingError, FileExistsError) as error:
        print(f"pirl-demos: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"pirl-demos: interrupted; the same command goes on from {config.out}.partial", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    os.environ.setdefault("MUJOCO_GL", "egl")
    sys.exit(main())
