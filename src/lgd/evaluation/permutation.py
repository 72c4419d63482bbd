"""Find out whether the labels of a set are those of the real images in another order."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lgd.data.class_names import canonical
from lgd.storage.files import safe_name

SHOWN = 5
"""classes that a message names"""


@dataclass(frozen=True)
class Permutation:
    """Labels that fit real images better than the classes' own."""

    fits: tuple[int, ...]
    """for each class, the class that its real images are taken for"""
    accuracy: float
    """in percent, after the labels were put right"""


def permutation_of(truth: Tensor, predicted: Tensor, classes: int) -> Permutation | None:
    """Return the permutation of the classes that a confusion matrix is close to, or None where labels are right.

    truth, predicted: int64 (N,), of real images. The permutation is the assignment of most agreements on every other
    image (Kuhn-Munkres). It holds if it explains twice as many of the remaining images of the classes it moves as their
    own labels do, and the difference is above three standard errors.
    """
    counts = (truth * classes + predicted)[::2].bincount(minlength=classes**2).view(classes, classes).double()
    _, columns = linear_sum_assignment(counts + torch.eye(classes) / 2, maximize=True)  # in a tie, as it is
    fits = torch.from_numpy(columns)
    moved = (fits != torch.arange(classes))[truth[1::2]]
    own = int((predicted == truth)[1::2][moved].sum())
    other = int((predicted == fits[truth])[1::2][moved].sum())
    if other < 2 * own or other - own <= 3 * sqrt(own + other):
        return None
    return Permutation(tuple(fits.tolist()), 100 * (predicted == fits[truth]).double().mean().item())


def agreed(found: Sequence[Mapping[str, Any] | None]) -> Permutation | None:
    """Return the permutation that more than half of the classifiers of a set found, with the mean of its accuracies."""
    given = [tuple(one["fits"]) for one in found if one]
    if not given:
        return None
    fits, count = Counter(given).most_common(1)[0]
    if 2 * count <= len(found):
        return None
    return Permutation(fits, fmean(one["accuracy"] for one in found if one and tuple(one["fits"]) == fits))


def described(permutation: Permutation, names: Sequence[str], class_order: Sequence[str], accuracy: float) -> str:
    """Return a sentence about permuted labels.

    names: of the classes as they are counted here. class_order: as the set's numbers were read. accuracy: in percent,
    with the labels as they are.
    """
    moved = [(names[k], names[other]) for k, other in enumerate(permutation.fits) if k != other]
    shown = ", ".join(f"{real!r} for {taken!r}" for real, taken in moved[:SHOWN])
    more = f" and {len(moved) - SHOWN} more" * (len(moved) > SHOWN)
    order = order_of(permutation, names, class_order)
    return (
        f"the labels of the set are permuted: classifiers trained on it take real images of {shown}{more}; put right,"
        f" they reach {permutation.accuracy:.1f} %, not {accuracy:.1f} %{order}"
    )


def order_of(permutation: Permutation, names: Sequence[str], class_order: Sequence[str]) -> str:
    """Return a sentence on how the set counts the classes, where that is common, else an empty string."""
    orders = {
        "in the order of their names": canonical(names),
        "in the order of dataset.classes or of the source": tuple(class_order),
        "in the order of their percent-encoded names": tuple(sorted(names, key=safe_name)),
        "in the order of their names without regard to case": tuple(sorted(names, key=str.casefold)),
        "backwards": tuple(reversed(class_order)),
    }
    for read in (tuple(class_order), canonical(names)):
        for told, order in orders.items():
            if all(names[other] == read[order.index(names[k])] for k, other in enumerate(permutation.fits)):
                return f". The set counts its classes {told}"
    return ""
