"""Every option of a model reaches its backend: one that is changed changes what the backend is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backends.engine.backend import EngineBackend
from backends.upstream_backend import UpstreamBackend
from gateway.building import build_backend, engine_options, server_options, ttnn_options, vllm_options
from gateway.config import EngineModel, Model, ServerModel, TtnnModel, VllmModel
from gateway.document import ConfigError

OTHER: dict[str, Any] = {
    "folder": "/m", "window": 64, "max_batch_size": 3, "block_size": 8, "num_blocks": 9, "step_tokens": 7,
    "max_waiting": 5, "completion_slots": 2, "priorities": False,
    "step_deadline_s": 4.0, "resume": True, "retries": 3, "env": {"A": "b"},
    "setup": "/s.sh", "start_timeout_s": 4.0, "grace_s": 4.0, "hang_s": 4.0, "health_s": 4.0, "max_deaths": 4,
    "log_lines": 4,
    "python": "/p", "device": "tt", "args": ("--x",), "listens": "loopback", "urls": ("http://a",), "port": 4242,
    "model": "other", "speaks": "ollama", "key": "k", "health": "/h", "probe_s": 4.0, "connect_s": 4.0,
    "first_byte_s": 4.0, "idle_s": 4.0, "hf_model": "/n", "mesh_device": "T3K", "tt_metal_home": "/t",
    "max_seq_len": 512, "precision": "accuracy", "trace": "none", "trace_region_size": 1, "sampling": "host",
    "data_parallel": 2, "restart": True, "max_hangs": 4, "pass_key": True,
}  # fmt: skip
ENGINE = EngineModel(backend="engine")
TTNN = TtnnModel(backend="ttnn", hf_model="/m")
VLLM = VllmModel(backend="vllm", model="m")
SERVER = ServerModel(backend="server", command=("run",))
CASES: list[tuple[Model, Callable[[Any], object], str]] = [
    (model, options, name)
    for model, options in (
        (ENGINE, engine_options),
        (TTNN, ttnn_options),
        (VLLM, vllm_options),
        (SERVER, server_options),
    )
    for name in type(model).model_fields
    if name not in {*Model.model_fields, "backend"}
]


@pytest.mark.parametrize(("model", "options", "name"), CASES, ids=lambda case: case if isinstance(case, str) else "")
def test_an_option_reaches_the_backend(model: Model, options: Callable[[Any], object], name: str) -> None:
    other = ("other",) if name == "command" else OTHER[name]
    assert getattr(model, name) != other
    assert options(model.model_copy(update={name: other})) != options(model)


def test_the_kind_decides_the_backend() -> None:
    assert isinstance(build_backend(ENGINE), EngineBackend)
    assert isinstance(build_backend(TTNN), EngineBackend)
    assert isinstance(build_backend(VLLM), UpstreamBackend)
    assert isinstance(build_backend(SERVER), UpstreamBackend)


def test_a_card_is_set_up_by_what_the_lessons_export(tmp_path: Path) -> None:
    snapshot = tmp_path / "hub/models--meta--Tiny/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    environment = {
        "HF_MODEL": "meta/Tiny", "HF_HOME": str(tmp_path), "MESH_DEVICE": "N300", "TT_METAL_HOME": "/opt/tt-metal"
    }  # fmt: skip
    card, engine = ttnn_options(TtnnModel(backend="ttnn"), environment)
    assert (card.model, card.mesh_shape, card.tt_metal_home) == ("meta/Tiny", (1, 2), Path("/opt/tt-metal"))
    assert card.environment == {name: environment[name] for name in ("HF_MODEL", "MESH_DEVICE", "TT_METAL_HOME")}
    assert engine.folder == snapshot
    assert engine.num_blocks == 32_768 // 64
    with pytest.raises(ConfigError, match="HF_MODEL"):
        ttnn_options(TtnnModel(backend="ttnn"), {})


def test_a_mesh_may_be_given_by_its_shape() -> None:
    card, _ = ttnn_options(TtnnModel(backend="ttnn", hf_model="/m", mesh_device="(2, 4)"), {})
    assert card.mesh_shape == (2, 4)
