"""Random splits that keep groups together, of images with any number of classes.

Whole groups are dealt to the parts, and a local search brings every part close to its share of
every class.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

_MISSING = 100.0  # cost of a class without an image in the first part; a tenth of it in the others
_MOVES = 2000  # of groups, at most
_PAIRED = 300  # groups up to which pairs are exchanged too
_FEW, _STARTS = 20, 10  # groups up to which the search also begins at so many random splits
_ALL = 3**8  # deals up to which all are tried


def deal(
    bearing: Bool[Tensor, "n classes"],
    groups: Sequence[object],
    shares: Sequence[float],
    generator: Generator,
) -> list[list[int]]:
    """Split the indices 0..n-1 into parts of whole groups.

    Minimises, over the parts p and the columns c (every class, and all images),

        sum_pc (held_pc - share_p)^2 / share_p  +  a high cost per class absent from a part,

    where held_pc is the fraction of the images of c in p. Large groups are dealt first; then groups
    are moved, and exchanged if there are few, as long as the cost falls. Of up to eight groups in
    three parts, all deals are tried. A part whose share is not zero may stay empty only where there
    are too few groups.

    Args:
        bearing: whether each image has each class.
        groups: the group of each image.
        shares: shares of the parts, in [0, 1], with the sum 1. A class of a single group goes to
            the first part.
        generator: random numbers, on the CPU.

    Returns:
        The parts; indices in ascending order.
    """
    names = list(dict.fromkeys(groups))
    number = {name: index for index, name in enumerate(names)}
    members = torch.tensor([number[group] for group in groups])  # (n,)
    columns = torch.cat((bearing, torch.ones(len(groups), 1, dtype=torch.bool)), dim=1).double()
    content = torch.zeros(len(names), columns.shape[1], dtype=torch.float64)
    content.index_add_(0, members, columns)
    content /= content.sum(dim=0).clamp(min=1)  # fraction of each column in each group
    open_parts = [part for part, share in enumerate(shares) if share > 0]
    target = torch.tensor([shares[part] for part in open_parts], dtype=torch.float64)
    places = _search(content, _Parts(target), generator)  # (groups,)
    parts: list[list[int]] = [[] for _ in shares]
    for index, place in enumerate(places[members].tolist()):
        parts[open_parts[place]].append(index)
    return parts


class _Parts:
    """What the parts ask for, and what rows of fractions cost in them.

    Args:
        shares: of the parts, above 0.
    """

    def __init__(self, shares: Float[Tensor, " parts"]) -> None:
        self.shares = shares
        self.missing = torch.full_like(shares, _MISSING / 10)
        self.missing[0] = _MISSING

    def cost(
        self, held: Float[Tensor, "*any columns"], part: Int[Tensor, "*some"] | slice = slice(None)
    ) -> Float[Tensor, "*any"]:
        """The cost of rows in parts; all parts one after the other if no parts are given."""
        shares, missing = self.shares[part][..., None], self.missing[part][..., None]
        return ((held - shares).square() / shares + missing * (held < 1e-9)).sum(dim=-1)


def _search(
    content: Float[Tensor, "groups columns"], parts: _Parts, generator: Generator
) -> Int[Tensor, " groups"]:
    """The part of each group: the best local minimum of the cost in `deal`, of few groups the best
    of all."""
    starts = [_greedy(content, parts, generator)]
    if len(content) <= _FEW:
        size = (_STARTS, len(content))
        starts += torch.randint(len(parts.shares), size, generator=generator).unbind()
    found = [_descend(content, places, parts) for places in starts]
    if len(parts.shares) ** len(content) <= _ALL:
        found.append(_best_deal(content, parts))
    return min(found, key=lambda each: round(each[0], 9))[1]


def _best_deal(
    content: Float[Tensor, "groups columns"], parts: _Parts
) -> tuple[float, Int[Tensor, " groups"]]:
    """The least cost of all deals, and the part of each group in one that has it."""
    each = torch.arange(len(parts.shares))
    deals = torch.cartesian_prod(*[each] * len(content)).view(-1, len(content))
    member = torch.nn.functional.one_hot(deals, len(each)).double()  # (deals, groups, parts)
    cost = parts.cost(member.transpose(1, 2) @ content).sum(dim=1)
    best = int(cost.argmin())
    return float(cost[best]), deals[best]


def _greedy(
    content: Float[Tensor, "groups columns"], parts: _Parts, generator: Generator
) -> Int[Tensor, " groups"]:
    """Large groups first, each to the part in which it costs least."""
    shuffled = torch.randperm(len(content), generator=generator)
    order = shuffled[content[shuffled].amax(dim=1).argsort(descending=True, stable=True)]
    places = torch.zeros(len(content), dtype=torch.int64)
    held = torch.zeros(len(parts.shares), content.shape[1], dtype=torch.float64)
    for group in order.tolist():
        places[group] = part = int((parts.cost(held + content[group]) - parts.cost(held)).argmin())
        held[part] += content[group]
    return places


def _descend(
    content: Float[Tensor, "groups columns"], start: Int[Tensor, " groups"], parts: _Parts
) -> tuple[float, Int[Tensor, " groups"]]:
    """Move or exchange groups as long as the cost falls; return the cost, and the part of each."""
    places = start.clone()
    held = torch.zeros(len(parts.shares), content.shape[1], dtype=torch.float64)
    held.index_add_(0, places, content)
    for _ in range(_MOVES):
        step = _best_move(content, places, held, parts)
        if not step and len(content) <= _PAIRED:
            step = _best_exchange(content, places, held, parts)
        for group, part in step:
            held[places[group]] -= content[group]
            held[part] += content[group]
            places[group] = part
        if not step:
            break
    return float(parts.cost(held).sum()), places


_Step = list[tuple[int, int]]  # groups, and the parts they go to


def _best_move(
    content: Float[Tensor, "groups columns"],
    places: Int[Tensor, " groups"],
    held: Float[Tensor, "parts columns"],
    parts: _Parts,
) -> _Step:
    """The move of a group to another part that lowers the cost most, if any does."""
    left = parts.cost(held[places] - content, places) - parts.cost(held[places], places)
    joined = parts.cost(held + content[:, None]) - parts.cost(held)  # (groups, parts)
    change = (left[:, None] + joined).scatter(1, places[:, None], 0.0)
    group, part = divmod(int(change.argmin()), len(held))
    return [(group, part)] if change[group, part] < -1e-9 else []


def _best_exchange(
    content: Float[Tensor, "groups columns"],
    places: Int[Tensor, " groups"],
    held: Float[Tensor, "parts columns"],
    parts: _Parts,
) -> _Step:
    """The exchange of two groups of different parts that lowers the cost most, if any does."""
    swapped = held[places][:, None] - content[:, None] + content[None]  # h instead of g
    at = places[:, None].expand(swapped.shape[:2])
    change = parts.cost(swapped, at) - parts.cost(held[places], places)[:, None]
    change = (change + change.T).masked_fill(places[:, None] == places, 0.0)
    one, other = divmod(int(change.argmin()), len(content))
    if change[one, other] >= -1e-9:
        return []
    return [(one, int(places[other])), (other, int(places[one]))]
