"""A run that was stopped and goes on is the run that would have been, bit for bit."""

import csv
import json
import os
import shutil
import signal
import time

import pytest
import torch
from cli import is_one_line
from killing import TINY, child, ended, resume, start, weights_of
from worlds import MAIN, MAIN_IDS

import policies
from policies import LoadError
from train import checkpoint, directory, training
from train.cli import main
from train.config import TrainConfig


def stopped(out, at, changes):
    """Train until a rollout, and stop there as if by a signal."""

    def report(progress):
        if progress.env_steps == at:
            os.kill(os.getpid(), signal.SIGINT)

    return training.train(TrainConfig(out=out, **{**TINY, **changes}), report)


def every_world_and_policy():
    """All of them; all but each policy in one world and each world with one policy take long."""
    for world, name in zip(MAIN, MAIN_IDS, strict=True):
        for policy in policies.names():
            marks = [] if world == MAIN[0] or policy == "sa" else [pytest.mark.long]
            yield pytest.param(*world, policy, marks=marks, id=f"{name} {policy}")


@pytest.mark.slow
@pytest.mark.parametrize(("env", "parameters", "policy"), list(every_world_and_policy()))
def test_a_resumed_run_ends_with_the_same_weights(tmp_path, env, parameters, policy):
    given = tuple(f"{name}={value}" for name, value in parameters.items() if name != "n_agents")
    same = {"n_agents": "2-6", "env_params": given, "total_steps": 256, "save_every": "9999min"}
    changes = {"env": env, "policy": policy, **same}
    assert training.train(TrainConfig(out=tmp_path / "whole", **{**TINY, **changes})) == 0
    assert stopped(tmp_path / "parts", 192, changes) == 130
    saved = checkpoint.load(tmp_path / "parts")
    assert saved.env_steps == 128, "the start of the rollout that was running"
    assert resume(tmp_path / "parts") == 0
    assert weights_of(tmp_path / "parts") == weights_of(tmp_path / "whole")
    whole, parts = (rows(tmp_path / name) for name in ("whole", "parts"))
    assert [row[directory.STEPS] for row in whole] == [row[directory.STEPS] for row in parts]
    for name in ("rollout/reward_per_agent_step", "rollout/ep_rew_mean", "time/agent_steps"):
        assert [row.get(name) for row in whole] == [row.get(name) for row in parts], name
    assert directory.read_log(tmp_path / "parts")[directory.STEPS] == [64, 128, 192, 256]


def rows(run):
    with (run / directory.LOG).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(tmp_path):
    short = {"total_steps": 128}
    start(tmp_path / "whole", short)
    config = TrainConfig(out=tmp_path / "killed", **{**TINY, **short})
    config.out.mkdir()
    directory.create(config)
    assert resume(config.out) == 0
    assert weights_of(config.out) == weights_of(tmp_path / "whole")
    assert resume(config.out) == 0, "there is nothing left to do"
    assert checkpoint.load(config.out).env_steps == 128


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_writes_a_checkpoint_within_ten_seconds(tmp_path, number, status):
    process = child(start, tmp_path / "run", {"total_steps": 10**5, "save_every": "9999min"})
    log = tmp_path / "run" / directory.LOG
    end = time.monotonic() + 100
    while not (log.exists() and len(log.read_text().splitlines()) > 3):
        assert time.monotonic() < end
        time.sleep(0.05)
    asked = time.monotonic()
    os.kill(process.pid, number)
    assert ended(process, 30) == status
    assert time.monotonic() - asked < 10
    assert checkpoint.load(tmp_path / "run").env_steps >= 64


def test_a_second_ctrl_c_stops_at_once_and_a_save_is_not_cut(tmp_path, monkeypatch):
    real, signals = checkpoint.save, []

    def slow(*arguments, **options):
        os.kill(os.getpid(), signal.SIGINT)  # the first comes while a checkpoint is written: it is finished
        path = real(*arguments, **options)
        signals.append(path)
        return path

    monkeypatch.setattr(checkpoint, "save", slow)
    assert start(tmp_path / "run") == 130
    assert len(signals) == 1
    assert checkpoint.load(tmp_path / "run").path == signals[0]

    def slower(*arguments, **options):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("not reached")

    monkeypatch.setattr(checkpoint, "save", slower)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "other")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "as it was before"


def test_saves_come_as_often_as_they_are_asked_for(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(checkpoint, "save", lambda *a, **k: saved.append(a[2].numbers["env_steps"]))
    start(tmp_path / "steps", {"total_steps": 640, "save_every": "192"})
    assert saved == [192, 384, 576, 640]
    saved.clear()
    start(tmp_path / "minutes", {"total_steps": 256, "save_every": "0.000001min"})
    assert saved == [0, 64, 128, 192, 256]


def test_the_best_checkpoint_is_kept(tmp_path, monkeypatch):
    best = []
    real = checkpoint.save

    def save(run, about, snapshot, *, best=False, **more):
        kept.append((snapshot.numbers["env_steps"], best))
        return real(run, about, snapshot, best=best, **more)

    kept = best
    monkeypatch.setattr(checkpoint, "save", save)
    start(tmp_path / "run", {"total_steps": 512})
    log = directory.read_log(tmp_path / "run")
    reward = dict(zip(log[directory.STEPS], log["rollout/reward_per_agent_step"], strict=True))
    highest = -1e9
    for step, is_best in best:
        assert is_best == (reward[step] > highest)
        highest = max(highest, reward[step])
    last_best = max(step for step, is_best in best if is_best)
    assert checkpoint.load(tmp_path / "run", checkpoint.BEST).env_steps == last_best


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["config"].update(n_worlds="4"), "n_worlds must be of type int, not str"),
        (lambda c: c["config"].update(deterministic=1), "deterministic must be of type bool, not int"),
        (lambda c: c["config"].pop("n_worlds"), "is not the configuration of a run"),
        (lambda c: c.update(config=[]), "is not the configuration of a run"),
        (lambda c: c.pop("threads"), "lacks threads or versions"),
        (lambda c: c["config"].update(d_model=32), "config.json: is not that which"),
        (lambda c: c["config"].update(learning_rate=0.002), "config.json: is not that which"),
        (lambda c: c["config"].update(n_epochs=-1), "--n-epochs must be in [1, 10,000], not -1"),
    ],
)
def test_a_changed_configuration_is_refused(tmp_path, change, message):
    run = tmp_path / "run"
    start(run, {"total_steps": 64})
    about = json.loads((run / directory.CONFIG).read_text())
    about["config"]["total_steps"] = 1000
    change(about)
    (run / directory.CONFIG).write_text(json.dumps(about))
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the text is compared below, unescaped
        resume(run)
    assert message in str(error.value)
    assert checkpoint.load(run).env_steps == 64


def test_what_is_no_run_cannot_go_on(tmp_path):
    with pytest.raises(LoadError, match="holds no run"):
        directory.started(tmp_path)


def test_a_checkpoint_without_its_training_cannot_go_on(tmp_path):
    run = tmp_path / "run"
    start(run, {"total_steps": 64})
    saved = checkpoint.load(run)
    for tensors, numbers, message in (
        ({}, saved.numbers, "has no worlds."),
        (None, {"env_steps": 64}, "the numbers beside it are not a training's"),
        (None, {**saved.numbers, "updates": -1}, "updates must be a whole number"),
        (None, {**saved.numbers, "episodes": [[1]]}, "the numbers beside it are not a training's"),
        (None, {**saved.numbers, "best_reward": "much"}, "best_reward must be a number"),
    ):
        with saved.training() as there:
            like = {name: there._file.get_tensor(name) for name in there.names}
        weights = saved.policy().weights()
        snapshot = checkpoint.Snapshot(weights, like if tensors is None else tensors, numbers)
        checkpoint.save(run, saved.about, snapshot)
        config = directory.started(run)
        config.total_steps = 1000  # else there is nothing left to do
        with pytest.raises(LoadError, match=message):
            training.resume(config)


def test_a_log_that_a_killed_process_left_is_gone_on_with(tmp_path):
    run = tmp_path / "run"
    start(run, {"total_steps": 256})
    log = run / directory.LOG
    whole = log.read_text()
    lines = whole.splitlines()
    log.write_text("\n".join([*lines[:3], lines[3][:20]]))
    assert [row[directory.STEPS] for row in directory._rows(log)] == ["64", "128"]
    writer = directory.logger(run, 64)
    writer.close()
    assert log.read_text().splitlines() == lines[:2]
    log.write_text("")
    directory.logger(run, 64).close()
    assert log.read_text() == ""
    log.write_text(f"{directory.STEPS},note\n64,1\n128,nothing\n")
    assert directory.read_log(run) == {directory.STEPS: [64], "note": [1]}
    log.unlink()
    log.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text(whole)
    with pytest.raises(LoadError, match=r"progress\.csv: is a link"):
        directory.read_log(run)


def test_what_is_given_with_resume_on_the_command_line(tmp_path, capsys):
    run = tmp_path / "run"
    start(run, {"total_steps": 64})
    for arguments, message in (
        (["--n-epochs", "7"], "--n-epochs must not be given with --resume"),
        (["--total-steps=409600"], "--total-steps must not be given with --resume"),
        (["--no-deterministic"], "--deterministic must not be given with --resume"),
        (["--policy", "sa"], "--policy must not be given with --resume"),
        (["--out", "elsewhere"], "--out must not be given with --resume"),
        (["--save-every", "soon"], "--save-every must be"),
        (["--threads", "-1"], "--threads must be in [0, 4096], not -1"),
        (["--checkpoint", "newest"], "checkpoint must be latest, best or the name of one"),
        (["--checkpoint", "step_000000000999"], "step_000000000999/manifest.json: No such file"),
    ):
        is_one_line(main(["train", "--resume", str(run), *arguments]), capsys.readouterr().err, message)
    is_one_line(main(["train", "--resume", str(tmp_path)]), capsys.readouterr().err, "holds no run")
    is_one_line(main(["train"]), capsys.readouterr().err, "--out must be given")
    assert main(["train", "--resume", str(run), "--threads", "1", "--save-every", "1min"]) == 0
    about = json.loads((run / directory.CONFIG).read_text())
    about["versions"]["torch"] = "1.0"
    (run / directory.CONFIG).write_text(json.dumps(about))
    message = "config.json: is not that which"
    is_one_line(main(["train", "--resume", str(run)]), capsys.readouterr().err, message)
    for left in (checkpoint.LATEST, checkpoint.BEST):
        (run / left).unlink(missing_ok=True)
    message = "holds no checkpoint (others, for --checkpoint: step_000000000064)"
    is_one_line(main(["train", "--resume", str(run)]), capsys.readouterr().err, message)
    shutil.rmtree(run / "step_000000000064")
    assert main(["train", "--resume", str(run)]) == 0
    assert "not bit for bit as it would have: torch 1.0 then" in capsys.readouterr().err
    about["config"]["policy"] = "elsewhere:mine"
    (run / directory.CONFIG).write_text(json.dumps(about))
    message = "--policy elsewhere:mine must be given with --resume: it is the run's own"
    is_one_line(main(["train", "--resume", str(run)]), capsys.readouterr().err, message)


def test_a_damaged_checkpoint_is_not_the_end(tmp_path, capsys):
    whole, run = tmp_path / "whole", tmp_path / "run"
    start(whole, {"total_steps": 320})
    start(run, {"total_steps": 320})
    last = checkpoint.load(run).path
    (last / checkpoint.TRAINING).write_bytes(b"")
    before = next(name for name in reversed(checkpoint.kept(run)) if name != last.name)
    is_one_line(
        main(["train", "--resume", str(run)]), capsys.readouterr().err, f"--checkpoint: {last.name}, "
    )
    assert main(["train", "--resume", str(run), "--checkpoint", before]) == 0
    assert weights_of(run) == weights_of(whole)
    history = [json.loads(line) for line in (run / directory.HISTORY).read_text().splitlines()]
    assert [entry["threads"] for entry in history] == [1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_got_lost_is_asked_for_again(tmp_path, monkeypatch):
    """Python drops what is raised while an object is deleted."""

    class Deleted:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)

    take = training.snapshot.take

    def taken(model):
        if model.num_timesteps == 128:
            Deleted()
        return take(model)

    monkeypatch.setattr(training.snapshot, "take", taken)
    config = TrainConfig(out=tmp_path / "run", **{**TINY, "total_steps": 640})
    assert training.train(config) == 143
    assert checkpoint.load(tmp_path / "run").env_steps == 128


def test_no_folder_of_another_is_touched(tmp_path):
    run = tmp_path / "run"
    for name in ("step_100", "step_000000000064_mine", ".step_notes"):
        (run / name).mkdir(parents=True)
        (run / name / "note").write_text("mine")
    (run / "step_notes.txt").write_text("mine")
    assert start(run, {"total_steps": 320}) == 0
    assert len(list(run.glob("*/note"))) == 3
    assert (run / "step_notes.txt").read_text() == "mine"
    (run / directory.CONFIG).unlink()
    with pytest.raises(FileExistsError, match="holds checkpoints already"):
        start(run)


def test_what_is_written_follows_no_link(tmp_path):
    run, victim = tmp_path / "run", tmp_path / "victim"
    stopped(run, 128, {"total_steps": 256})
    victim.write_text("mine")
    for name in (".latest", ".progress.csv", "learning_curve.png", ".learning_curve.png", ".resumed.jsonl"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(victim)
    assert main(["train", "--resume", str(run)]) == 0
    assert not list(run.glob(".*.csv"))
    os.mkfifo(run / ".learning_curve.png")
    assert main(["train", "--resume", str(run)]) == 0
    assert victim.read_text() == "mine"
    assert not (run / "learning_curve.png").is_symlink()


def turned(dtypes, value):
    def change(tensors):
        for name, tensor in tensors.items():
            if name.startswith("worlds.") and tensor.dtype in dtypes:
                tensor.fill_(value)

    return change


WHOLE = (torch.int32, torch.int64)
TAMPERED = {
    "a position beyond the generator's words": lambda t: t["random.numpy"][-1].fill_(2**31 - 1),
    "no state of a generator": lambda t: t["random.torch"].zero_(),
    "large whole numbers": turned(WHOLE, 2**30),
    "negative whole numbers": turned(WHOLE, -5),
    "nobody": turned((torch.bool,), False),
    "all over": lambda t: t["worlds.over"].fill_(True),
    "a heading that is none": lambda t: t["worlds.state.heading"].fill_(9),
    "a step beyond the last": lambda t: t["worlds.clock.steps"].fill_(10**6),
    "large floats": turned((torch.float32,), torch.inf),
    "moments that are none": lambda t: t["optimizer.0.exp_avg"].fill_(torch.nan),
}


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED)
def test_a_state_that_cannot_be_is_refused(tmp_path, change, monkeypatch):
    """Whoever means harm can make the sums fit: what comes out must be worlds that can be stepped."""
    run = tmp_path / "run"
    stopped(run, 128, {})
    saved = checkpoint.load(run)
    with saved.training() as there:
        tensors = {name: there._file.get_tensor(name) for name in there.names}
    change(tensors)
    monkeypatch.setattr(torch, "isfinite", lambda t: torch.ones(()))  # or it would not be saved
    checkpoint.save(run, saved.about, checkpoint.Snapshot(saved.policy().weights(), tensors, saved.numbers))
    monkeypatch.undo()
    with pytest.raises(LoadError, match=r"training\.safetensors: "):
        resume(run)
