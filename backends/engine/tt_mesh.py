"""The chips of a Tenstorrent machine as one mesh: taken, divided, and given back whatever happens.

Order and arguments are those of vllm-tt-plugin (worker.py, open_mesh_device and close_mesh_device). ttnn is handed in.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

import structlog

from backends.engine import tt_failures
from backends.engine.tt_options import MOCK_CLUSTER, TtOptions
from backends.errors import BackendFailed

log = structlog.get_logger()


class Mesh:
    """ttnn: the module, which has no types."""

    _is_held: ClassVar[bool] = False  # by this process: a step that hangs never gives it back

    def __init__(self, ttnn: Any, options: TtOptions) -> None:
        """Raises BackendFailed when there is no such device or somebody else has it, and whatever ttnn does."""
        self._ttnn = ttnn
        self._device: Any = None
        self._has_fabric = False
        rows, columns = self._checked_shape(options)
        traced = {} if options.trace == "none" else {"trace_region_size": options.trace_region_size}
        try:
            if rows * columns > 1:  # before the device is opened
                ttnn.set_fabric_config(_fabric(ttnn), ttnn.FabricReliabilityMode.STRICT_INIT)
                self._has_fabric = True
            self._device = ttnn.open_mesh_device(
                ttnn.MeshShape(rows, columns), dispatch_core_config=ttnn.DispatchCoreConfig(), **traced
            )
            Mesh._is_held = True
        except BaseException:
            self.close()
            raise

    def _checked_shape(self, options: TtOptions) -> tuple[int, int]:
        """Somebody else's device isn't touched: the driver would wait for it without a word."""
        if Mesh._is_held:
            raise BackendFailed("this process holds the device already, for another model or in a step that hangs")
        if MOCK_CLUSTER not in os.environ and (others := tt_failures.holders()):
            held = ", ".join(f"pid {pid} ({command})" for pid, command in others.items())
            raise BackendFailed(f"the device is held by {held}")
        num_devices = self._ttnn.get_num_devices()
        if not num_devices:
            raise BackendFailed(tt_failures.NO_DEVICE)
        rows, columns = options.mesh_shape or (1, num_devices)
        if rows * columns > num_devices:
            named = f"mesh_device {options.mesh_device} has {rows * columns} chips"
            raise BackendFailed(f"{named}, and this machine has {num_devices}")
        return rows, columns

    @property
    def device(self) -> Any:
        """A MeshDevice of ttnn's."""
        return self._device

    @property
    def num_chips(self) -> int:
        return int(self._device.get_num_devices())

    def close(self) -> None:
        """Safe to call twice."""
        device, self._device = self._device, None
        if device is not None:
            for submesh in device.get_submeshes():
                self._ttnn.close_mesh_device(submesh)
            self._ttnn.close_mesh_device(device)
            Mesh._is_held = False
            log.info("the device is closed")
        if self._has_fabric:
            self._has_fabric = False
            self._ttnn.set_fabric_config(self._ttnn.FabricConfig.DISABLED)


def _fabric(ttnn: Any) -> Any:
    match ttnn.cluster.get_cluster_type().name:
        case "BLACKHOLE_GALAXY":
            return ttnn.FabricConfig.FABRIC_2D_TORUS_XY
        case "GALAXY":
            return ttnn.FabricConfig.FABRIC_1D_RING
        case _:
            return ttnn.FabricConfig.FABRIC_1D
