"""Simulated sets made by the workers of a scheduler, which die meanwhile, and by several processes at once."""

import errno
import gc
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from noise_model.executors import cluster, local_processes
from simulate.dataset import verify_set
from simulate.recipe import SimulationRecipe
from tests.noise_model.cluster import Cluster, started_cluster
from tests.simulate.test_dataset import contents, small_set

RECIPE = "shape: [8, 4]\nbit_depths: [1, 4]\nwhite_detections: [0.1]\ncount_time: 2.0e-8\nsquared_share: 0.5\n"


def simulate(folder: Path, scenes: int, *options: str) -> subprocess.Popen[str]:
    """`spadsr simulate` of small scenes, in a process of its own."""
    recipe = folder.parent / "recipe.yaml"
    recipe.write_text(RECIPE)
    command = [sys.executable, "-m", "spadsr", "simulate", "-o", str(folder), "--recipe", str(recipe)]
    command += ["--scenes", str(scenes), *options]
    return subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_set_is_complete_and_the_same_though_a_worker_dies(tmp_path: Path) -> None:
    made = small_set(tmp_path / "set", scenes=60, per_shard=10)
    with started_cluster(workers=2) as machines, cluster(machines.address) as executor:
        steps = made.write(executor=executor)
        assert next(steps) == 0
        assert next(steps) == 10
        machines.workers[0].kill()  # amid its next shard
        assert list(steps)[-1] == 60
    list(small_set(tmp_path / "alone", scenes=60, per_shard=10).write())
    assert verify_set(made.folder) == []
    assert (made.folder / "scenes.sha256").read_bytes() == (tmp_path / "alone" / "scenes.sha256").read_bytes()


def test_without_its_scheduler_a_set_stops_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    with started_cluster(workers=1) as machines:
        process = simulate(folder, 400, "--scheduler", machines.address)
        said, seconds = lose_scheduler(machines, process, folder)
    assert process.returncode == 3, said
    assert seconds < 10
    assert "the scheduler is gone" in said
    assert "scenes are done; go on with --resume" in said
    assert [line for line in said.splitlines() if not line.startswith("scenes: ")] == [said.splitlines()[-1]]
    there = len(list(folder.glob("shard-*.h5")))
    assert 2 <= there < 16
    resumed = simulate(folder, 400, "--resume", "--workers", "1")
    _, said = resumed.communicate()
    assert resumed.returncode == 0, said
    assert verify_set(folder) == []


def test_a_disk_that_is_full_for_a_worker_stops_no_other_shard(tmp_path: Path) -> None:
    """What fits is made; the reason of the others is told; the same again with room makes them."""
    folder = tmp_path / "set"
    with started_cluster(workers=0, full=1 << 17) as machines:
        process = simulate(folder, 52, "--scheduler", machines.address)
        said = process.communicate()[1]
    assert process.returncode == 2, said
    last = said.splitlines()[-1]
    assert re.match(r"error: .*/shard-0000[01]\.h5: writing failed", last), said
    assert os.strerror(errno.EFBIG) in last
    assert "(and 1 more)" in last
    assert "Traceback" not in said
    assert sorted(path.name for path in folder.iterdir()) == ["set.yaml", "shard-00002.h5"]
    resumed = simulate(folder, 52, "--resume", "--workers", "1")
    assert (resumed.communicate(), resumed.returncode)[1] == 0
    assert verify_set(folder) == []


def resident() -> int:
    """Bytes of memory of this process, once nothing else is done in it."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory a process has")
def test_memory_of_a_worker_is_flat_over_fifty_shards(tmp_path: Path) -> None:
    """A scene as shipped takes 8 MB while it is made, and 3 MB of its shard: of fifty, a tenth at most may stay."""
    shape = {"shape": SimulationRecipe.load().shape}
    with local_processes(1) as executor:
        list(small_set(tmp_path / "first", scenes=8, per_shard=1, **shape).write(executor=executor))
        before = executor.submit(resident).result()
        list(small_set(tmp_path / "set", scenes=50, per_shard=1, **shape).write(executor=executor))
        after = executor.submit(resident).result()
    assert len(list((tmp_path / "set").glob("shard-*.h5"))) == 50
    assert after - before < 50 * 3e6 / 10


def lose_scheduler(machines: Cluster, process: "subprocess.Popen[str]", folder: Path) -> tuple[str, float]:
    """Kills the scheduler once two shards are there: what the process says then, and how long that takes."""
    while len(list(folder.glob("shard-*.h5"))) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    machines.scheduler.kill()
    began = time.monotonic()
    return process.communicate()[1], time.monotonic() - began


def test_parts_written_at_once_are_the_set(tmp_path: Path) -> None:
    together = [simulate(tmp_path / "set", 110, "--part", f"{part}/3", "--workers", "1") for part in (1, 2, 3)]
    assert [(process.communicate(), process.returncode)[1] for process in together] == [0, 0, 0]
    alone = simulate(tmp_path / "alone", 110, "--workers", "1")
    assert (alone.communicate(), alone.returncode)[1] == 0
    assert contents(tmp_path / "set") == contents(tmp_path / "alone")
