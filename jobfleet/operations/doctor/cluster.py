"""The check of the cluster's nodes."""

from __future__ import annotations

from jobfleet.operations.doctor.findings import Finding, Level, named
from jobfleet.operations.doctor.server import NOT_REPORTED
from jobfleet.operations.doctor.snapshot import Checkup
from jobfleet.operations.explain.reasons import counted


def cluster(seen: Checkup) -> Finding:
    """Whether all slots are served, all nodes are up, and each primary has a replica."""
    shards = seen.topology.shards
    if not shards:
        if seen.config.url.lower().startswith("cluster"):
            return Finding("cluster", Level.NOTE, NOT_REPORTED, "Allow this user the command CLUSTER SHARDS.")
        return Finding("cluster", Level.OK, "This is not a cluster.")
    if (missing := seen.topology.missing) or seen.away:
        text = f"No node serves {counted(missing, 'slot')}: calls for lanes there wait." if missing else ""
        down = {node.address for shard in shards for node in shard.nodes if node.health != "online"}
        if names := sorted(down | set(filter(None, seen.away))):
            text = f"{text} Down: {named(names)}.".lstrip()
        if lanes := [f"{lane.queue}.{lane.index}" for of_node in seen.away.values() for lane in of_node]:
            text = f"{text} {counted(len(lanes), 'lane')} not looked at: {named(lanes)}.".lstrip()
        return Finding("cluster", Level.FAULT, text, "Start the missing nodes, or assign the slots to others.")
    nodes = [node for shard in shards for node in shard.nodes]
    if away := [node.address for node in nodes if node.health != "online"]:
        text = f"{counted(len(away), 'node')} of {len(nodes)} not online: {', '.join(away)}."
        return Finding("cluster", Level.WARNING, text, "Look at their logs.")
    alone = [shard.primary.address for shard in shards if shard.primary and len(shard.nodes) == 1 and shard.slots]
    if alone:
        text = f"No replica of {', '.join(alone)}: if it dies, calls for its lanes wait until it is back."
        return Finding("cluster", Level.WARNING, text, "Add a replica.")
    return Finding("cluster", Level.OK, f"{counted(len(nodes), 'node')} online; all slots are served.")
