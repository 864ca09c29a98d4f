"""The stand-in's lists of its indexes."""

from collections.abc import Collection, Mapping

from workers.demo.faults import Reply, bad_param, compact, result


def every(indexes: Collection[str], query: Mapping[str, str]) -> Reply:
    extended = query.get("extended", "false")
    if extended not in {"true", "false"}:
        return bad_param("extended")
    if extended == "false":
        return result(compact(list(indexes)))
    flags = {"future_combo_creation_enabled": False, "option_combo_creation_enabled": False}
    return result(compact([{"name": name, **flags} for name in indexes]))


def supported(indexes: Collection[str], query: Mapping[str, str]) -> Reply:
    """Like the real one a different set: few dollar indexes, and no fixings."""
    derivative = ["btc_usd", "eth_usd"]
    spot = [name for name in indexes if "-" not in name and not name.endswith("_usd")]
    kinds = {"all": [*spot, *derivative], "spot": spot, "derivative": derivative}
    kind = query.get("type", "all")
    return result(compact(kinds[kind])) if kind in kinds else bad_param("type")
