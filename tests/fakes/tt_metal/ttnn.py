"""The little of ttnn that Dragoman and the Generator use: a machine of chips, meshes of them, and waiting.

A chip works in the order of what it was given, beside the process; waiting for it holds the interpreter's lock, as it
does in ttnn: nothing in ttnn/cpp/ttnn-nanobind lets go of it.
"""

from __future__ import annotations

import ctypes
import os
import time
from dataclasses import dataclass, field
from enum import Enum
from types import SimpleNamespace

_LIBC = ctypes.PyDLL(None)  # calls hold the interpreter's lock
_SPIN_S = 0.0005
bfloat8_b = "bfloat8_b"


class FabricConfig(Enum):
    DISABLED = 0
    FABRIC_1D = 1
    FABRIC_1D_RING = 2
    FABRIC_2D_TORUS_XY = 3


class FabricReliabilityMode(Enum):
    STRICT_INIT = 0


class DispatchCoreConfig:
    pass


@dataclass(frozen=True)
class MeshShape:
    rows: int
    columns: int


@dataclass
class Chip:
    """busy_until: monotonic. idle_s: how long it waited for work, from the first launch on; gaps: each such time."""

    decode_s: float = 0.0
    prefill_s: float = 0.0  # of 128 tokens
    busy_until: float = 0.0
    busy_s: float = 0.0
    gaps: list[float] = field(default_factory=list)

    def work(self, seconds: float) -> float:
        """When it will be done."""
        now = time.monotonic()
        if self.busy_until:
            self.gaps.append(max(0.0, now - self.busy_until))
        self.busy_until = max(now, self.busy_until) + seconds
        self.busy_s += seconds
        return self.busy_until


class MeshDevice:
    def __init__(self, shape: MeshShape, trace_region_size: int) -> None:
        self.shape = shape
        self.trace_region_size = trace_region_size
        self.is_open = True
        self.submeshes: list[MeshDevice] = []
        self.chip = MACHINE.chip

    def get_num_devices(self) -> int:
        return self.shape.rows * self.shape.columns

    def get_submeshes(self) -> list[MeshDevice]:
        return self.submeshes

    def create_submeshes(self, shape: MeshShape) -> list[MeshDevice]:
        number = self.get_num_devices() // (shape.rows * shape.columns)
        self.submeshes = [MeshDevice(shape, self.trace_region_size) for _ in range(number)]
        return self.submeshes


@dataclass
class Machine:
    """fabric: as it was set last. calls: what was done to devices, in order."""

    num_chips: int
    chip: Chip
    fabric: FabricConfig = FabricConfig.DISABLED
    mesh: MeshDevice | None = None
    calls: list[str] = field(default_factory=list)


_pace = [float(seconds) for seconds in os.environ.get("FAKE_TT_PACE", "0,0").split(",")]
MACHINE = Machine(int(os.environ.get("FAKE_TT_CHIPS", "1")), Chip(*_pace))
cluster = SimpleNamespace(get_cluster_type=lambda: SimpleNamespace(name="N150" if MACHINE.num_chips == 1 else "T3K"))


def get_num_devices() -> int:
    return MACHINE.num_chips


def set_fabric_config(config: FabricConfig, mode: FabricReliabilityMode = FabricReliabilityMode.STRICT_INIT) -> None:
    if MACHINE.mesh is not None and MACHINE.mesh.is_open:
        raise RuntimeError("TT_FATAL: the fabric can't be configured while devices are open")
    MACHINE.fabric = config
    MACHINE.calls.append(f"fabric {config.name}")


def open_mesh_device(
    shape: MeshShape, *, dispatch_core_config: DispatchCoreConfig, trace_region_size: int = 0
) -> MeshDevice:
    if os.environ.get("FAKE_TT_FAULT") == "open":
        raise RuntimeError("TT_FATAL @ tt_cluster.cpp:1: false\ninfo:\nARC core failed to start")
    if MACHINE.mesh is not None and MACHINE.mesh.is_open:
        raise RuntimeError("TT_FATAL: the devices are open already")
    if shape.rows * shape.columns > 1 and MACHINE.fabric is FabricConfig.DISABLED:
        raise RuntimeError("TT_FATAL: the fabric must be configured before several devices are opened")
    MACHINE.mesh = MeshDevice(shape, trace_region_size)
    MACHINE.calls.append(f"open {shape.rows}x{shape.columns}")
    return MACHINE.mesh


def close_mesh_device(mesh: MeshDevice) -> None:
    if not mesh.is_open:
        raise RuntimeError("TT_FATAL: the mesh is closed already")
    if any(submesh.is_open for submesh in mesh.submeshes):
        raise RuntimeError("TT_FATAL: the submeshes must be closed first")
    mesh.is_open = False
    MACHINE.calls.append("close")


def wait_until(moment: float) -> None:
    """With the interpreter's lock held; looks again and again at the end, as ttnn does all the time."""
    remaining_s = moment - time.monotonic()
    if remaining_s > _SPIN_S:
        _LIBC.usleep(int((remaining_s - _SPIN_S) * 1e6))
    while time.monotonic() < moment:
        pass


def synchronize_device(mesh: MeshDevice) -> None:
    wait_until(mesh.chip.busy_until)


def event_synchronize(event: float) -> None:
    wait_until(event)
