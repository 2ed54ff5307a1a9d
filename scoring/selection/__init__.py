"""Selection strategies, one module each: score columns in, one decision a row out. None needs torch."""

from __future__ import annotations

from scoring.selection.base import Strategy
from scoring.selection.cherry import Cherry
from scoring.selection.facility_location import FacilityLocation
from scoring.selection.grape import Grape
from scoring.selection.iterit import IterIT
from scoring.selection.longest import Longest
from scoring.selection.pre_experience import PreExperience
from scoring.selection.random_rows import LengthMatchedRandom, RandomRows
from scoring.selection.recycled import Recycled
from scoring.selection.refusals import Refusals
from scoring.selection.selectit import SelectIT
from scoring.selection.selective import Selective
from scoring.selection.sifd import SIfd
from scoring.selection.superfilter import Superfilter

STRATEGIES: dict[str, type[Strategy]] = {
    # Which variant of each row.
    "selective": Selective,
    "recycled": Recycled,
    "grape": Grape,
    # Which rows.
    "cherry": Cherry,
    "superfilter": Superfilter,
    "selectit": SelectIT,
    "sifd": SIfd,
    "iterit": IterIT,
    "facility_location": FacilityLocation,
    "pre_experience": PreExperience,
    "refusals": Refusals,
    # What every selection is compared with.
    "random": RandomRows,
    "length_matched_random": LengthMatchedRandom,
    "longest": Longest,
}
