"""The sizes of units: by the cost model and never timed. Bits do not depend on them."""

from collections.abc import Callable

import numpy as np

from popjax.engine.backends.renewable_executor import Traits
from popjax.engine.plan import member_bytes, work_of
from popjax.engine.roster import Roster
from popjax.space.space import take
from popjax.store.cohort import Cohort

SHARES = 32  # units of a cohort at least, if it has members for them
UNKNOWN = 64  # members of a unit of unknown cost
PARTS = 20  # units into which the epochs of such members are cut
STATE_BYTES = 2**25  # most bytes of state sent with a unit
MINUTES, DAY = 600.0, 86400.0  # seconds that a unit may take, and one of unknown cost


class Sizes:
    """The sizes of a population's units.

    Args:
        roster: of the population.
        traits: `() -> Traits` of the executor.
    """

    def __init__(self, roster: Roster, traits: Callable[[], Traits]) -> None:
        self.roster = roster
        self.traits = traits
        self._seconds: dict[int, float | None] = {}

    def members(self, cohort: Cohort) -> int:
        """The number of a cohort's members in a unit, a multiple of the lanes."""
        lanes, seconds, traits = self.roster.lanes(cohort.bucket), self.seconds(cohort.bucket), self.traits()
        epochs = max(1, self.roster.config.epochs - cohort.epoch)
        wanted = UNKNOWN if seconds is None else traits.seconds / (seconds * epochs)
        fitting = STATE_BYTES // max(1, member_bytes(self.roster.buckets[cohort.bucket]))
        share = -(-len(cohort.members) // (SHARES if traits.keeps else 1))
        most = int(min(wanted, fitting, share))
        return max(1, most // lanes.count) * lanes.count

    def epochs(self, cohort: Cohort) -> int:
        """The most epochs that a unit trains these members."""
        seconds, traits = self.seconds(cohort.bucket), self.traits()
        if seconds is None:
            return max(1, self.roster.config.epochs // (PARTS if traits.keeps else 1))
        return max(1, int(min(traits.seconds / (seconds * len(cohort.members)), self.roster.config.epochs)))

    def patience(self, cohort: Cohort) -> float:
        """The seconds that a unit may take before it is sent again."""
        known = self.traits().patience
        if known is not None:
            return known
        return DAY if self.seconds(cohort.bucket) is None else MINUTES

    def seconds(self, bucket: int) -> float | None:
        """Seconds of one member's epoch on one core or accelerator, the mean over a bucket; None if not known."""
        if bucket not in self._seconds:
            roster = self.roster
            cost, member = work_of(roster.traced.tracer, roster.plan.lanes), roster.buckets[bucket]
            self._seconds[bucket] = None
            if cost.known:
                points = take(roster.points, np.flatnonzero(roster.bucket == bucket))
                widths = {name: member.scales[name].high for name in cost.widths}
                members = len(next(iter(points.values()))) * cost.epochs
                seconds = cost.padded(points, widths, shared=frozenset(member.static))[1]
                self._seconds[bucket] = cost.machine.cores * seconds / members
        return self._seconds[bucket]
