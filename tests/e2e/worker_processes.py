"""The processes of a gateway's workers, as the system sees them."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.gateway_process import Gateway


def worker_pids(gateway: Gateway) -> dict[str, list[int]]:
    """Of its workers' process groups, by kind: `serve` is a leader (vLLM's API server), `EngineCore` and `Worker` its
    children, `nanny` who watches over it."""
    groups = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            parent, group = map(int, (folder / "stat").read_text().rpartition(")")[2].split()[1:3])
        except (FileNotFoundError, ProcessLookupError):
            continue
        groups.append((int(folder.name), parent, group, name))
    nannies = {pid for pid, parent, _, name in groups if parent == gateway.pid and "nanny.py" in name}
    leaders = {pid for pid, parent, _, _ in groups if parent in nannies}
    found: dict[str, list[int]] = {"all": [], "nanny": sorted(nannies)}
    for pid, _, group, name in groups:
        if group in leaders:
            found["all"].append(pid)
            kind = "serve" if pid == group else name.strip().rpartition("::")[2]
            found.setdefault(kind, []).append(pid)
    return found
