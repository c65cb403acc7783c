"""The associator: which exposures go together, and when they are all there.

Examples
--------
>>> from streams.associator import Associator
>>> associator = Associator()
>>> associator.next_due() is None
True
"""

from streams.associator.companions import needs_companions
from streams.associator.drafts import Patience
from streams.associator.driver import Associator
from streams.associator.emissions import Emission, Refused, to_event
from streams.associator.files import from_file, wanted
from streams.associator.plans import Expectation, plan_from, program_of, route
from streams.associator.reducer import DEFAULT_PATIENCE, Message, Reduced, Tick, next_due, reduce
from streams.associator.rules import IMAGE3, RULES, Place, Role, Rule, dms_name, group_id, places
from streams.associator.state import State

__all__ = [
    "DEFAULT_PATIENCE", "IMAGE3", "RULES", "Associator", "Emission", "Expectation", "Message", "Patience",
    "Place", "Reduced", "Refused", "Role", "Rule", "State", "Tick", "dms_name", "from_file", "group_id",
    "needs_companions", "next_due", "places", "plan_from", "program_of", "reduce", "route", "to_event",
    "wanted",
]  # fmt: skip
