"""The rates of a device, for operations that are counted instead of timed."""

from __future__ import annotations

from pathlib import Path

from lgd.errors import reading
from lgd.execution.hardware import resolve_device
from lgd.storage.files import read_json

from .bench import matmul_peaks
from .plan import Rates


def rates_of(measured: Path | None, tflops: float, share: float, device: str) -> Rates:
    """Return rates from a result of `lgd bench`, from a peak in TFLOP/s, or from matrix products timed here.

    share: of the peak that is reached; a result of `lgd bench` has that of its denoiser instead. Errors: UserError.
    """
    if tflops:
        return Rates(tflops * 1e12 * share / 4, tflops * 1e12 * share)
    if measured is not None:
        values = read_json(measured)
        with reading(measured):
            peaks, share = values["matmul"], float(values["denoiser"]["share_of_peak"])
            return Rates(float(peaks["float32"]) * share, float(peaks["bfloat16"]) * share)
    peaks = matmul_peaks(1024, resolve_device(device), 3)
    return Rates(peaks["float32"] * share, peaks["bfloat16"] * share)
