"""The types of configuration fields, each with its range."""

from typing import Annotated, Literal

from pydantic import Field

Count = Annotated[int, Field(ge=1, le=10**9)]
Size = Annotated[int, Field(ge=1, le=2**16)]  # of a part of a network; a larger one only runs out of memory
Whole = Annotated[int, Field(ge=0, le=2**62)]
Strength = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Precision = Literal["float32", "bfloat16"]
TimeFrequencies = Literal["auto", "dit", "diffusers"]
