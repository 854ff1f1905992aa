"""The cells of a sweep in processes of their own: side by side, on Ray, as jobs; and what is refused before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.plugins import Plugins
from hydra.utils import instantiate

from siftune.runs.build import ConfigError
from siftune.runs.launchers import EXTRAS, explain_missing
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, check_command

OURS = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "hydra" / "launcher").glob("*.yaml"))
MINIATURE = [
    "selection=none,random",
    "model=tiny",
    "pool.size=200",
    "budget.amount=12",
    "finetune.epochs=1",
    "finetune.global_batch_size=4",
    "evaluate.limit=4",
    "tracking=disabled",
]


def check(*overrides: str) -> None:
    check_command("run", ["model=tiny", "selection=none,random", *overrides], True, None, lambda node: None)


@pytest.fixture
def composing() -> Iterator[None]:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        yield


@pytest.mark.usefixtures("composing")
@pytest.mark.parametrize("option", OURS)
def test_every_launcher_composes_with_keys_that_its_plugin_knows(option: str) -> None:
    pytest.importorskip("hydra_plugins", reason="needs siftune[joblib,ray,slurm]")
    Plugins.instance()
    launcher = compose("run", [f"hydra/launcher={option}"], return_hydra_config=True).hydra.launcher
    # The plugin's own schema stands below ours, and refuses keys that it does not have.
    assert type(instantiate(launcher)).__name__.endswith("Launcher")


def test_a_plugin_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for option, extra in EXTRAS.items():
        assert f"pip install 'siftune[{extra}]'" in str(explain_missing(option))
    assert explain_missing("paralel") is None
    with pytest.raises(ConfigError, match="Did you mean parallel"):
        check("hydra/launcher=paralel")


def test_slurm_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ConfigError, match=r"hydra/launcher=slurm: there is no SLURM .*hydra/launcher=parallel"):
        check("hydra/launcher=slurm")


def test_cells_on_other_machines_need_an_absolute_store() -> None:
    here = ["hydra/launcher=ray_cluster", "store=relative"]
    check(*here)
    with pytest.raises(ConfigError, match="store=relative must be an absolute path"):
        check(*here, "hydra.launcher.ray.init.address=auto")
    check(*here, "hydra.launcher.ray.init.address=auto", "store=/shared/store")


WITHOUT_PLUGINS = """
import sys
from hydra.core.plugins import Plugins
scan = Plugins._scan_all_plugins
# Hydra finds none but its own.
Plugins._scan_all_plugins = staticmethod(lambda modules: scan([m for m in modules if m.__name__ != "hydra_plugins"]))
from siftune.runs import main
sys.argv = ["siftune", "run", "-m", "selection=none,random", "hydra/launcher=" + sys.argv[1]]
main.main()
"""


@pytest.mark.parametrize(("option", "extra"), [("parallel", "joblib"), ("slurm", "slurm"), ("ray", "ray")])
def test_the_command_says_what_to_install(option: str, extra: str) -> None:
    command = [sys.executable, "-c", WITHOUT_PLUGINS, option]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert f"pip install 'siftune[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["parallel", "ray_cluster", "submitit_local"])
def test_cells_share_a_store_and_are_compared(tmp_path: Path, launcher: str) -> None:
    command = [sys.executable, "-m", "siftune.runs.main", "run", "-m", *MINIATURE, f"store={tmp_path}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, f"hydra/launcher={launcher}"], capture_output=True, text=True, timeout=400, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "written:" in done.stderr
    labels = {json.loads(path.read_text())["summary"]["label"] for path in tmp_path.glob("run/*/record.json")}
    assert labels == {"base", "random"}
    assert len(list(tmp_path.glob("model/*/record.json"))) == 1
    (table,) = tmp_path.glob("logs/*/*/report/report.md")
    assert all(label in table.read_text() for label in labels)
