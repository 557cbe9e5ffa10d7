"""Shortest paths to many destinations by scipy: from networkx's dictionaries to arrays, and back.

Turning one into the other takes longer than the search, so that it is done by what runs in C:
iterators that call no Python, and numpy.
"""

from __future__ import annotations

from importlib.util import find_spec
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import networkx as nx

from topology.paths.costs import Costs
from topology.paths.routes import Sources

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: In place of what a way costs that does not exist: above the cost of any that does, and small
#: enough to be multiplied by any number of destinations.
NO_WAY = 1 << 40


def have_scipy() -> bool:
    """Is the extra `fast` installed?"""
    return find_spec("scipy") is not None


def costs_by_scipy(graph: nx.MultiGraph, sources: Sources) -> Costs:
    """The costs of ways over links of any positive weights, by scipy's `csgraph.dijkstra`.

    Each destination is a node that leads to its sources at the cost of their offsets and one,
    taken off again: scipy takes a zero for no link.

    Raises:
        ImportError: scipy is not installed.
    """
    switches = list(graph)
    if not sources:
        return {switch: {} for switch in switches}
    return _by_switch(switches, search(matrix(graph, sources), len(switches)))


def matrix(graph: nx.MultiGraph, sources: Sources) -> Any:
    """scipy's: a row for each switch, and after them one for each destination; in each row what
    the links cost, of parallel ones the cheapest."""
    import numpy as np
    from scipy.sparse import csr_array

    adjacency: dict[str, dict[str, dict[str, dict[str, int]]]] = dict(graph.adjacency())
    numbers = {switch: number for number, switch in enumerate(adjacency)}
    joined = [
        {numbers[switch]: offset + 1 for switch, offset in offsets.items()}
        for offsets in sources.values()
    ]
    rows = list(adjacency.values())
    links = list(chain.from_iterable(map(dict.values, rows)))
    weights = np.fromiter(
        map(itemgetter("weight"), chain.from_iterable(map(dict.values, links))), float
    )
    if len(weights) > len(links):
        parallel = np.fromiter(map(len, links), np.intp)
        weights = np.minimum.reduceat(weights, parallel.cumsum() - parallel)
    offsets = np.fromiter(chain.from_iterable(map(dict.values, joined)), float)
    heads = map(numbers.__getitem__, chain.from_iterable(rows))
    columns = np.fromiter(chain(heads, chain.from_iterable(joined)), np.int32)
    ends = np.cumsum([0, *map(len, rows), *map(len, joined)], dtype=np.int32)
    size = len(rows) + len(joined)
    return csr_array((np.concatenate((weights, offsets)), columns, ends), shape=(size, size))


def search(links: Any, switches: int) -> NDArray[np.float64]:
    """A row for each destination: what its ways cost from each of the switches; infinity: none.

    Args:
        links: the matrix of a graph with so many switches.
    """
    from scipy.sparse.csgraph import dijkstra

    found: NDArray[np.float64] = dijkstra(links, indices=range(switches, links.shape[0]))
    return found[:, :switches] - 1


def _by_switch(switches: list[str], costs: NDArray[np.float64]) -> Costs:
    """The same from an array with a row for each destination, in which infinity is no way.

    The destinations of a switch are sorted by cost, so that those that cost the same lie side by
    side and their bits can be joined.
    """
    import numpy as np

    many = len(costs)
    keys = np.where(np.isfinite(costs), costs, NO_WAY).astype(np.int64).T * many + np.arange(many)
    keys.sort(axis=1)
    cost, place = np.divmod(keys.ravel(), many)
    different = np.ones(len(cost), bool)
    np.not_equal(cost[1:], cost[:-1], out=different[1:])
    different[::many] = True
    (firsts,) = different.nonzero()
    bit = np.array([1 << place for place in range(many)], np.uint64 if many <= 64 else object)
    bits = np.bitwise_or.reduceat(bit[place], firsts).tolist()
    entries = cost[firsts].tolist()
    ends = np.searchsorted(firsts, np.arange(0, len(cost) + 1, many)).tolist()
    cuts = list(map(slice, ends, ends[1:]))
    parts = map(zip, map(entries.__getitem__, cuts), map(bits.__getitem__, cuts))
    found: Costs = dict(zip(switches, map(dict, parts), strict=True))
    if not np.isfinite(costs).all():
        for at in found.values():
            at.pop(NO_WAY, None)
    return found
