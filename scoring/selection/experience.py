"""Cherry LLM's pre-experience rows: a few of middling difficulty from every cluster (arXiv 2308.12032). No torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hub_cards.errors import BadInputError


def pick_experience(
    vectors_ND: np.ndarray,
    ppl_N: np.ndarray,
    *,
    ids: Sequence[str],
    clusters: int = 100,
    per_cluster: int = 10,
    low: float = 25,
    high: float = 75,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Cluster the rows by K-means and take from each cluster rows that are neither easy nor hard.

    In a cluster the rows stand whose perplexity lies between its percentiles `low` and `high` (interpolated linearly,
    ends included), sorted by perplexity and then by id; `evenly_spaced` takes `per_cluster` of them.

    The result does not depend on the order of the rows, which are sorted by id before anything else, nor on the number
    of cores: K-means runs on one thread, because sums in another order may move a row to another cluster. It is
    scikit-learn's (k-means++ of one start, Lloyd's iterations) on float32; another version of it may cluster otherwise.

    Args:
        vectors_ND: one vector a row, clustered by Euclidean distance as it is; Cherry's are `prompt_embedding`.
        ppl_N: perplexity of each row; Cherry's are `ppl_prompt`.
        ids: what names each row, all different.
        clusters: how many; fewer come out where fewer rows are different.
        seed: of the K-means start.

    Returns:
        Whether each row was picked (bool), and the number of its cluster (int64; the numbers have no order). In the
        order of the rows given.

    Raises:
        BadInputError: there are fewer rows than clusters.
        ValueError: the lengths differ, an id repeats, or a number is NaN or infinite.
    """
    vectors_ND, ppl_N = np.asarray(vectors_ND), np.asarray(ppl_N, dtype=np.float64)
    if not len(ids) == len(vectors_ND) == len(ppl_N):
        raise ValueError(f"{len(ids)} ids, {len(vectors_ND)} vectors, {len(ppl_N)} perplexities")
    if len(set(ids)) < len(ids):
        raise ValueError(f"{len(ids)} rows, but {len(set(ids))} different ids")
    if len(ids) < clusters:
        raise BadInputError(f"{clusters} clusters cannot be made of {len(ids)} rows: ask for fewer clusters")
    if not np.isfinite(ppl_N).all():
        raise ValueError(f"the perplexity of {int((~np.isfinite(ppl_N)).sum())} rows is NaN or infinite")
    by_id = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
    cluster_N = np.empty(len(ids), dtype=np.int64)
    cluster_N[by_id] = _cluster(vectors_ND[by_id].astype(np.float32, copy=False), clusters, seed)
    picked_N = np.zeros(len(ids), dtype=bool)
    for cluster in range(clusters):
        members = by_id[cluster_N[by_id] == cluster]
        if len(members):
            picked_N[_middling(members, ppl_N[members], per_cluster, low, high)] = True
    return picked_N, cluster_N


def evenly_spaced(length: int, count: int) -> list[int]:
    """`count` positions of a list, both ends among them; all of them where there are no more.

    The k-th, from 0 on, is k * (length - 1) / (count - 1) rounded, halves up. A single one is the middle, the lower
    one of two.
    """
    if length <= count:
        return list(range(length))
    if count == 1:
        return [(length - 1) // 2]
    gaps = count - 1
    return [(2 * number * (length - 1) + gaps) // (2 * gaps) for number in range(count)]


def _cluster(vectors_ND: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """The cluster of every row; may change `vectors_ND`."""
    # Here, because scikit-learn takes a second to import and other strategies do not need it.
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    means = KMeans(clusters, init="k-means++", n_init=1, random_state=seed, algorithm="lloyd", copy_x=False)
    with threadpool_limits(1):
        return means.fit_predict(vectors_ND)


def _middling(members: np.ndarray, ppl: np.ndarray, count: int, low: float, high: float) -> np.ndarray:
    """Those of a cluster's rows that are picked; `members` come sorted by id."""
    least, most = np.percentile(ppl, [low, high])
    inside = (ppl >= least) & (ppl <= most)
    members, ppl = members[inside], ppl[inside]
    in_order = members[np.argsort(ppl, kind="stable")]
    return in_order[evenly_spaced(len(in_order), count)]
