"""vLLM's command line, environment and log; its life is tested on a fake of that name."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from backends.errors import BackendFailed
from backends.events import fold
from backends.private_socket import PrivateSocket
from backends.server import Keeping
from backends.upstream_backend import Behaviour, UpstreamBackend
from backends.vllm import VllmOptions, command, environment, phase_of, vllm_backend
from tests.backends.test_upstream_backend import FAKE, FIVE, KEEPING, ask


def test_the_command_line_says_ours_first_and_the_operator_s_last() -> None:
    options = VllmOptions("~/m", python=Path("/venv/bin/python"), window=512, args=("--dtype", "float32"))
    words = command(options, ["--uds", "/s"])
    assert words[:4] == ["/venv/bin/python", "-m", "vllm.entrypoints.cli.main", "serve"]
    assert words[4] == str(Path("~/m").expanduser())
    assert words[5:7] == ["--uds", "/s"]
    assert words[-4:] == ["--max-model-len", "512", "--dtype", "float32"]
    assert command(VllmOptions("x/y"), [])[:3] == ["vllm", "serve", "x/y"]


def test_what_is_said_of_its_batch_and_order_reaches_the_command_line() -> None:
    words = command(VllmOptions("x/y", behaviour=Behaviour(max_batch_size=32, priorities=True)), [])
    assert words[-4:] == ["--max-num-seqs", "32", "--scheduling-policy", "priority"]
    assert not {"--max-num-seqs", "--scheduling-policy"} & {*command(VllmOptions("x/y"), [])}


def test_the_key_goes_by_the_environment_and_nobody_is_told_of_us(tmp_path: Path) -> None:
    outer = {"PATH": "/bin"}
    options = VllmOptions(str(tmp_path), device="tt", keeping=Keeping(env={"MESH_DEVICE": "T3K", "DO_NOT_TRACK": "0"}))
    env = environment(options, "secret", outer)
    assert (env["VLLM_API_KEY"], env["MESH_DEVICE"], env["PATH"]) == ("secret", "T3K", "/bin")
    assert (env["VLLM_RPC_TIMEOUT"], env["VLLM_NO_USAGE_STATS"], env["DO_NOT_TRACK"]) == ("100000", "1", "0")
    assert env["HF_HUB_OFFLINE"] == "1"
    by_name = environment(VllmOptions("org/name"), "secret", outer)
    assert "HF_HUB_OFFLINE" not in by_name
    assert environment(VllmOptions("x", device="cpu"), "k", {})["VLLM_HOST_IP"] == "127.0.0.1"
    assert environment(VllmOptions("x", device="cuda"), "k", {})["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.parametrize(
    ("line", "phase"),
    [
        ("(APIServer pid=1) INFO 11-21 03:54:53 [model.py:733] Resolved architecture: LlamaForCausalLM",
         "preparing LlamaForCausalLM"),
        ("(EngineCore pid=2) INFO 11-21 03:55:05 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: "
         "compilation_config={}", "starting the engine"),
        ("Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:00<?, ?it/s]", "reading weights, 50%"),
        ("INFO:     Application startup complete.", "the server is up"),
        ("(APIServer pid=1) INFO 11-21 03:54:38 [api_utils.py:347] anything else", None),
    ],
)  # fmt: skip
def test_the_log_s_lines_tell_the_phase(line: str, phase: str | None) -> None:
    assert phase_of(line) == phase


@pytest.fixture
def short_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where sockets go: pytest's own folders are too long for them."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@pytest.fixture
def on_path(tmp_path: Path) -> Path:
    """A setup script that puts a `vllm` on the PATH."""
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(FAKE)} "$@"\n')
    program.chmod(0o755)
    setup = tmp_path / "setup.sh"
    setup.write_text(f"export PATH={program.parent}:$PATH\n")
    return setup


async def answer_of(backend: UpstreamBackend) -> str:
    await backend.start()
    try:
        completion = await fold(backend.generate(ask("five")), 1)
    finally:
        await backend.stop()
    return completion.ordered[0].text


@pytest.mark.parametrize("listens", ["unix", "loopback"])
async def test_it_is_started_found_and_let_go(
    on_path: Path, short_path: Path, listens: Literal["unix", "loopback"]
) -> None:
    keeping = Keeping(setup=on_path, start_timeout_s=KEEPING.start_timeout_s, grace_s=0.2)
    options = VllmOptions("m", listens=listens, keeping=keeping)
    assert await answer_of(vllm_backend(options)) == FIVE
    assert not os.listdir(short_path)


def test_only_we_can_reach_the_socket_and_dead_gateways_are_swept_behind(short_path: Path) -> None:
    living = PrivateSocket()
    assert stat.S_IMODE(living.path.parent.stat().st_mode) == 0o700
    dead = short_path / living.path.parent.name.replace(living.path.parent.name.split("-")[2], "999999999")
    dead.mkdir()
    PrivateSocket().remove()
    assert [folder.name for folder in short_path.iterdir()] == [living.path.parent.name]
    living.remove()
    assert not list(short_path.iterdir())


def test_a_path_that_no_socket_can_have_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(BackendFailed, match="set TMPDIR"):
        PrivateSocket()
    assert not list(long.iterdir())
