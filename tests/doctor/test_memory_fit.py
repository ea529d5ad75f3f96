"""Whether the job fits the memory, which a container may limit."""

from pathlib import Path

from partialfc.doctor import Level
from partialfc.doctor.memory_fit import NO_LIMIT, cgroup_room, judge_memory
from partialfc.plan import Setting, memory_of
from tests.doctor.cases import found, quick


def test_a_head_too_large_is_red_and_says_what_would_fit(folder):
    check = found(quick(folder, "data.num_classes=10_000_000_000", "head.sample_rate=0.001"), "memory")
    assert check.level == Level.RED
    assert "does not fit" in check.says
    check = found(quick(folder, "data.num_classes=10_000_000_000", "head.sample_rate=0.001"), "disk space")
    assert check.level == Level.RED


def test_memory_is_judged_by_the_plan_and_what_the_backbone_takes():
    setting = Setting(classes=10_000_000, embedding=512, gpus=8, batch=128, sample_rate=0.1)
    roomy = judge_memory(setting, backbone=2 << 30, available=80 << 30, with_activations=True)
    assert roomy.level == Level.GREEN
    need = memory_of(setting).total + (2 << 30)
    tight = judge_memory(setting, backbone=2 << 30, available=need, with_activations=True)
    assert tight.level == Level.YELLOW
    small = judge_memory(setting, backbone=2 << 30, available=need - 1, with_activations=True)
    assert small.level == Level.RED
    assert "--" in small.remedy
    hopeless = judge_memory(setting, backbone=2 << 30, available=1 << 30, with_activations=True)
    assert "train.batch_size" in hopeless.remedy


def write_group(folder: Path, names: tuple[str, str, str], limit: str, taken: int, cached: int) -> None:
    folder.mkdir(parents=True)
    for name, text in zip(names, (limit, str(taken), f"anon 1\n{names[2]} {cached}\n"), strict=True):
        (folder / (name if "file" not in name else "memory.stat")).write_text(text)


def test_the_narrowest_limit_of_the_own_group_and_those_above_counts(tmp_path):
    names = ("memory.max", "memory.current", "inactive_file")
    write_group(tmp_path / "slurm" / "job_7", names, "4000", 1500, 500)
    write_group(tmp_path / "slurm" / "job_7" / "step_0", names, "max", 1000, 0)
    assert cgroup_room(tmp_path, "0::/slurm/job_7/step_0\n") == 3000
    assert cgroup_room(tmp_path, "0::/slurm\n") == NO_LIMIT
    assert cgroup_room(tmp_path, "") == NO_LIMIT


def test_the_first_version_of_groups_has_limits_too(tmp_path):
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    write_group(tmp_path / "memory", names, str(2**63 - 4096), 0, 0)
    write_group(tmp_path / "memory" / "docker" / "a", names, "4000", 1500, 0)
    own = "9:name=systemd:/\n4:cpuset,memory:/docker/a\n0::/\n"
    assert cgroup_room(tmp_path, own) == 2500
    assert cgroup_room(tmp_path, "4:memory:/seen/from/outside\n") >= NO_LIMIT
