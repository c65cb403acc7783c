"""Remove 1/f noise from rates."""

from __future__ import annotations

from processors.flicker.cleaning import Cleaner
from processors.flicker.differences import Differences
from processors.flicker.options import FlickerOptions, demand_applicable
from processors.steps import NotApplicable, off, step
from schemas.products import Rate
from schemas.references import References


@off
@step(options=FlickerOptions, optional=("flat",), status="S_CLNFNS", repeatable=True)
def clean_flicker_noise_rate(rate: Rate, references: References, options: FlickerOptions) -> Rate:
    """Subtract from each rate the stripes that its background shows.

    What ``clean_flicker_noise`` does to the differences of groups, done once to what is fitted to them: much
    cheaper, and nearly the same where ramps are whole, because the fit is linear.

    Parameters
    ----------
    rate : Rate
        (nint, ny, nx) or (ny, nx), DN/s.
    references : References
        ``flat``, where it is asked for.
    options : FlickerOptions
        How.

    Returns
    -------
    Rate
        Errors and flags stay as they are.

    Raises
    ------
    NotApplicable
        If the exposure cannot be cleaned this way, or its groups were cleaned.
    Unprocessable
        If a keyword is missing, or the flat field has other pixels.
    """
    demand_applicable(rate.meta, options)
    if rate.meta.get("S_CLNFNS") == "COMPLETE":
        raise NotApplicable("its groups, or its rates, were cleaned before")
    shape = rate.data.shape[-2:]
    cleaner = Cleaner.of(rate.meta, shape, references, options)
    out = rate.edit("data")
    for image, dq in zip(out.data.reshape(-1, *shape), out.dq.reshape(-1, *shape), strict=True):
        usable = cleaner.background_mask(image, dq, rate.meta, references)
        if usable.any():
            cleaner.clean(Differences.of(image, usable, cleaner.flat))
    return out
