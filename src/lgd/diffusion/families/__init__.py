"""Families of generators by name: one file and one line each."""

from pathlib import Path

from lgd.errors import UserError
from lgd.storage.files import read_json

from ..prediction_type import FLOW as FLOW_PREDICTION
from .base import Conditions, Embeddings, Family, Request
from .dit import DIT
from .flow import FLOW, SCHEDULER
from .unet_class import UNET_CLASS
from .unet_text import UNET_TEXT, UNET_TEXT_XL

FAMILIES = {
    "dit": DIT,
    "flow": FLOW,
    "unet-class": UNET_CLASS,
    "unet-text": UNET_TEXT,
    "unet-text-xl": UNET_TEXT_XL,
}


def family_of(folder: Path) -> Family:
    """Return the family of a pipeline that diffusers saved. Errors: UserError naming the pipeline, and those known."""
    name = read_json(folder / "model_index.json").get("_class_name")
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json").get("_class_name")
    for family in FAMILIES.values():
        if name in family.pipelines and family.velocity == (scheduler == SCHEDULER):
            return family
    known = sorted({pipeline for family in FAMILIES.values() for pipeline in family.pipelines})
    with_scheduler = f" with {scheduler}" if name in known else ""
    raise UserError(f"{folder}: {name}{with_scheduler} is not a supported pipeline; supported: {', '.join(known)}")


def transformer_predicting(kind: object) -> Family:
    """Return the family of our own transformers, by the prediction type of their schedule."""
    return FLOW if kind == FLOW_PREDICTION else DIT
