"""Configuration of one online training run, parsed with LeRobot's draccus grammar.

`OnlineTrainConfig` extends LeRobot's `TrainRLServerPipelineConfig` with what LeRobot keeps in
`GaussianActorConfig` (transport, budget, buffer sizes) but flow policies do not have, and with what
only LIBERO rollouts need.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import draccus
from lerobot.configs import parser
from lerobot.configs.policies import PreTrainedConfig
from lerobot.rl.train_rl import TrainRLServerPipelineConfig
from lerobot.utils.constants import CHECKPOINTS_DIR, LAST_CHECKPOINT_LINK, PRETRAINED_MODEL_DIR

import pirl.algorithms  # noqa: F401  (registers the `pi_rl` algorithm)
from pirl.envs.starts import START_KINDS
from pirl.policies.pickled import refuse_pickles
from pirl.runtime.supervisor import STALL_S
from pirl.runtime.tls import TlsConfig, check_exposure

if TYPE_CHECKING:
    from lerobot.envs.configs import LiberoEnv

# Episode numbers of a restarted actor begin at the next multiple, so none repeats (exact in float32).
EPISODES_PER_INCARNATION = 100_000


class ConfigError(ValueError):
    """A setting is missing or wrong; the message names the key and the remedy."""


@dataclass
class TransportConfig:
    """Where the learner listens and how patient both sides are."""

    # Address the learner binds and the actors connect to. Loopback unless told otherwise.
    host: str = "127.0.0.1"
    # 0 lets the operating system choose; the supervisor passes the real port on.
    port: int = 0
    # Seconds an actor waits for the learner's Ready before it gives up.
    connect_timeout_s: float = 120.0
    # Seconds an actor keeps trying after the learner has gone; it may be restarting.
    reconnect_timeout_s: float = 180.0
    # Seconds after which an actor opens its parameter stream anew.
    stream_timeout_s: float = 3600.0
    # Seconds a queue read blocks before it looks at the shutdown flag again.
    poll_s: float = 0.2
    # Seconds between new weights for actors of off-policy algorithms (on-policy: after every update).
    push_every_s: float = 4.0
    # Messages held back by an actor while the learner does not take them; then the actor waits.
    max_queued_messages: int = 64
    # Largest message, in bytes, that the learner takes from an actor.
    max_message_bytes: int = 512 * 1024 * 1024
    # Mutual TLS; required when `host` is not loopback.
    tls: TlsConfig = field(default_factory=TlsConfig)
    # True: talk beyond this machine without TLS (a warning is logged).
    insecure: bool = False


@dataclass
class RolloutConfig:
    """What an actor does in the simulator."""

    # LIBERO task ids of `env.task`'s suite that the policy is trained on.
    task_ids: list[int] = field(default_factory=lambda: [0])
    # Kind of initial states episodes begin from; `official` is kept for tests.
    starts: str = "sampled"
    # Seeds of the starts count up from here: disjoint from those of demonstrations, selection and tests.
    seed_base: int = 10_000_000
    # Episodes that begin from each start, one after the other: GRPO compares them. PPO learns most from 1.
    episodes_per_start: int = 1
    # Executed steps per decision.
    chunk_size: int = 8
    # Episode cap in control steps; null takes the suite's own.
    max_steps: int | None = None
    # Physics fidelity of pirl.envs: `fast` or `exact`.
    fidelity: str = "fast"
    # Environment worker processes per actor.
    workers: int = 2
    # True: an actor waits for new weights after its share of each update (on-policy, no lag).
    synchronous: bool = True


@dataclass
class BudgetConfig:
    """When the run ends, and what it keeps on the way."""

    # Control steps ingested by the learner before the run ends.
    env_steps: int = 20_000
    # End earlier, once this share of the latest 50 episodes succeeded under exploration noise; null: never.
    stop_at_success: float | None = None
    # Checkpoints written over the run, evenly spaced in environment steps; the last is always written.
    checkpoints: int = 4
    # Checkpoints kept: the newest `keep_last` (null: all) and the `keep_best` by rollout success.
    keep_last: int | None = None
    keep_best: int = 1
    # Abort when neither an environment step nor an update happened for this long.
    stall_s: float = STALL_S


@dataclass
class BufferConfig:
    """LeRobot ReplayBuffer sizes, in transitions (decisions)."""

    online_capacity: int = 20_000
    # Transitions before the first update of an off-policy algorithm.
    learning_starts: int = 100
    # Off-policy algorithms: gradient updates per ingested transition.
    updates_per_transition: float = 1.0


@dataclass(kw_only=True)
class OnlineTrainConfig(TrainRLServerPipelineConfig):
    """One online training run: `algorithm.type` selects the recipe, the policy type stays as it is."""

    if TYPE_CHECKING:  # LeRobot's own fields, as they are once `validate` has passed
        policy: PreTrainedConfig
        env: LiberoEnv
        algorithm: Any
        output_dir: Path
        job_name: str
        resume: bool
    # Name under which metrics, checkpoints and reports file this run.
    recipe: str = "pi_rl_flow_sde"
    # Number of actor processes the supervisor starts.
    actors: int = 1
    # Which of the actors this process is, and how often it has been restarted (set by the supervisor).
    actor_id: int = 0
    incarnation: int = 0
    # Processes of the learner that share every update, one per GPU (the supervisor starts them).
    learner_processes: int = 1
    # True: each of them keeps only its part of the policy's blocks and of their optimizer state (FSDP).
    learner_sharding: bool = False
    # Seconds one of them waits for the others before the learner ends.
    learner_timeout_s: float = 600.0
    # Torch threads of each learner process during updates.
    learner_threads: int = 2
    transport: TransportConfig = field(default_factory=TransportConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    buffer: BufferConfig = field(default_factory=BufferConfig)
    # NaN or infinity in an episode or a gradient: `skip` leaves it out and counts it, `stop` ends the run.
    not_finite: str = "skip"
    # MLflow experiment parent this run belongs to (the pipeline run's name); null disables tracking.
    tracking_run: str | None = None
    # Folder of the demonstrations (LeRobotDataset) available to the learner offline.
    demonstrations: Path | None = None

    @property
    def cameras(self) -> tuple[str, ...]:
        """The simulator's names of `env.camera_name`'s cameras."""
        return tuple(name.removesuffix("_image") for name in self.env.camera_name.split(","))

    def validate(self) -> None:
        """Check every setting and resolve `policy.path`.

        LeRobot's own `validate` needs a dataset and refuses an existing output folder; an online run
        has neither restriction, so only its policy resolution is reused.

        Raises:
            ConfigError: naming the key and the remedy.
        """
        self._resolve_policy()
        if self.policy is None:
            raise ConfigError(
                "policy: missing; give --policy.path=<checkpoint folder> or --policy.type=<type>"
            )
        if self.algorithm is None:
            raise ConfigError("algorithm.type: missing; one of pi_rl, sac")
        if self.env is None or self.env.type != "libero":
            raise ConfigError("env.type: only 'libero' is supported; give --env.type=libero")
        if self.output_dir is None:
            raise ConfigError("output_dir: missing; give --output_dir=<folder for logs and checkpoints>")
        if self.rollout.starts not in START_KINDS:
            raise ConfigError(
                f"rollout.starts: {self.rollout.starts!r} is not one of {', '.join(sorted(START_KINDS))}"
            )
        if self.not_finite not in ("skip", "stop"):
            raise ConfigError(f"not_finite: {self.not_finite!r} is not one of skip, stop")
        for key, value in (
            ("actors", self.actors),
            ("learner_processes", self.learner_processes),
            ("rollout.workers", self.rollout.workers),
            ("budget.env_steps", self.budget.env_steps),
            ("rollout.chunk_size", self.rollout.chunk_size),
            ("rollout.episodes_per_start", self.rollout.episodes_per_start),
            ("budget.keep_last", 1 if self.budget.keep_last is None else self.budget.keep_last),
        ):
            if value < 1:
                raise ConfigError(f"{key}: must be at least 1, got {value}")
        stop_at_success = self.budget.stop_at_success
        if stop_at_success is not None and not 0 < stop_at_success <= 1:
            raise ConfigError(f"budget.stop_at_success: must be above 0, at most 1, got {stop_at_success}")
        try:
            check_exposure(self.transport.host, self.transport.tls, self.transport.insecure)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        if getattr(self.algorithm, "advantage", None) == "grpo":
            self._check_groups(self.algorithm.episodes_per_update)
        if not self.rollout.task_ids:
            raise ConfigError("rollout.task_ids: empty; name at least one task of the suite")
        self.job_name = self.job_name or f"{self.env.type}_{self.policy.type}"
        self.output_dir = Path(self.output_dir)
        self.algorithm.policy_config = self.policy

    def _check_groups(self, per_update: int) -> None:
        """GRPO compares the episodes of a start: it needs several, all in one update."""
        per_start = self.rollout.episodes_per_start
        if per_start == 1:
            raise ConfigError(
                "rollout.episodes_per_start: 1 leaves GRPO nothing to compare; give 4 or more "
                "(train.episodes_per_start in an experiment), or algorithm.advantage=gae"
            )
        if per_update % per_start:
            raise ConfigError(
                f"algorithm.episodes_per_update: {per_update} cuts groups of rollout.episodes_per_start="
                f"{per_start} in two; give a multiple of it"
            )

    def _resolve_policy(self) -> None:
        """Take the policy from the last checkpoint when resuming, else from `policy.path` if given."""
        checkpoint = latest_checkpoint(self.output_dir) if self.resume and self.output_dir else None
        try:
            if checkpoint is not None:
                source = checkpoint / PRETRAINED_MODEL_DIR
                self.policy = PreTrainedConfig.from_pretrained(source)
                self.policy.pretrained_path = source
            elif parser.get_path_arg("policy"):
                resume, self.resume = self.resume, False
                self._resolve_pretrained_from_cli()
                self.resume = resume
                refuse_pickles(Path(parser.get_path_arg("policy")))
        except (OSError, ValueError) as error:
            raise ConfigError(f"policy.path: {error}") from error


def latest_checkpoint(output_dir: Path) -> Path | None:
    """The run's newest complete checkpoint folder, or None."""
    link = Path(output_dir) / CHECKPOINTS_DIR / LAST_CHECKPOINT_LINK
    return link.resolve() if link.is_dir() else None


def _first_cause(error: BaseException) -> str:
    """Where the settings came from, and what was wrong with them rather than what failed because of it."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return f"{parser.parse_arg('config_path') or 'command line'}: {error}"


def parse_config(args: Sequence[str] | None = None) -> OnlineTrainConfig:
    """Parse `--config_path X.json` and dotted overrides, as every LeRobot command does.

    Args:
        args: command-line words; `sys.argv[1:]` when omitted.

    Returns:
        A validated configuration.

    Raises:
        ConfigError: on an unknown key or a wrong value, in one line.
    """
    words = sys.argv
    sys.argv = words if args is None else [words[0], *args]
    _note_path(sys.argv[1:])
    try:
        config = _parse()
        config.validate()
    finally:
        sys.argv = words
    return config


def _note_path(words: list[str]) -> None:
    """Tell LeRobot's parser the file's own `policy.path` beforehand, and no other.

    It notes a file's paths only after it has sorted out the flags that go with one, and keeps them for good:
    the first file of a process would refuse `--policy.*`, and the next be given the path of the one before.
    """
    parser._config_path_args.clear()
    parser._config_yaml_overrides.clear()
    file = parser.parse_arg("config_path", words)
    if file and Path(file).is_file():
        with contextlib.suppress(ValueError):  # not JSON: the parser says so itself
            cleaned = parser.extract_path_fields_from_config(file, OnlineTrainConfig.__get_path_fields__())
            if cleaned != file:
                Path(cleaned).unlink()


def _parse() -> OnlineTrainConfig:
    def identity(cfg):  # type: ignore[no-untyped-def]
        return cfg

    identity.__annotations__["cfg"] = OnlineTrainConfig  # LeRobot's parser reads the class from here
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parser.wrap()(identity)()
    except (draccus.utils.DecodingError, draccus.ParsingError) as error:
        raise ConfigError(_first_cause(error)) from error
    except SystemExit as leaving:
        if (
            leaving.code == 1 and leaving.__context__ is not None
        ):  # LeRobot's parser has printed half the story
            raise ConfigError(_first_cause(leaving.__context__)) from leaving
        sys.stderr.write(said.getvalue())
        raise
    except FileNotFoundError as error:
        raise ConfigError(f"{error.filename or error}: no such file") from error
