"""How much work a unit is: by the cost model, never by a stopwatch. It changes no bit."""

from collections.abc import Callable

import numpy as np

from popjax.engine.backends.door import Traits
from popjax.engine.plan import member_bytes, work_of
from popjax.engine.roster import Roster
from popjax.space.space import take
from popjax.store.cohort import Cohort

SHARES = 32  # units at least, where there are members for them
UNKNOWN = 64  # members of a unit whose cost nobody knows
PARTS = 20  # into which their epochs are cut
STATE_BYTES = 2**25  # that travel with a unit
MINUTES, DAY = 600.0, 86400.0  # that a unit may take, and one whose cost nobody knows


class Sizes:
    """The sizes of a population's units.

    Args:
        roster: who the members are.
        traits: gives what the executor says of itself.
    """

    def __init__(self, roster: Roster, traits: Callable[[], Traits]) -> None:
        self.roster = roster
        self.traits = traits
        self._seconds: dict[int, float | None] = {}

    def members(self, cohort: Cohort) -> int:
        """How many members of a cohort a unit has: full lanes, if there are that many."""
        lanes, seconds, traits = self.roster.lanes(cohort.bucket), self.seconds(cohort.bucket), self.traits()
        epochs = max(1, self.roster.config.epochs - cohort.epoch)
        wanted = UNKNOWN if seconds is None else traits.seconds / (seconds * epochs)
        fitting = STATE_BYTES // max(1, member_bytes(self.roster.buckets[cohort.bucket]))
        share = -(-len(cohort.members) // (SHARES if traits.keeps else 1))
        most = int(min(wanted, fitting, share))
        return max(1, most // lanes.count) * lanes.count

    def epochs(self, cohort: Cohort) -> int:
        """How many epochs a unit trains these members at the most."""
        seconds, traits = self.seconds(cohort.bucket), self.traits()
        if seconds is None:
            return max(1, self.roster.config.epochs // (PARTS if traits.keeps else 1))
        return max(1, int(traits.seconds / (seconds * len(cohort.members))))

    def patience(self, cohort: Cohort) -> float:
        """How many seconds a unit may take."""
        known = self.traits().patience
        if known is not None:
            return known
        return DAY if self.seconds(cohort.bucket) is None else MINUTES

    def seconds(self, bucket: int) -> float | None:
        """What an epoch of a member of a bucket takes on one core, or on one accelerator; None where nobody knows."""
        if bucket not in self._seconds:
            roster = self.roster
            cost, member = work_of(roster.tracer, roster.plan.lanes), roster.buckets[bucket]
            self._seconds[bucket] = None
            if cost.known:
                points = take(roster.points, np.flatnonzero(roster.bucket == bucket))
                widths = {name: member.scales[name].high for name in cost.widths}
                members = len(next(iter(points.values()))) * cost.epochs
                cores = 2 if cost.machine.lanes == 1 else 1  # of which the cost model speaks
                seconds = cost.padded(points, widths, shared=frozenset(member.static))[1]
                self._seconds[bucket] = cores * seconds / members
        return self._seconds[bucket]
