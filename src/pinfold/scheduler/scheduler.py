"""`Scheduler`: every host in memory, as fresh as its settings say, and the answers to which hosts take a guest. It claims nothing."""

from __future__ import annotations

from collections.abc import Sequence

from pinfold.accounting.client import Placement
from pinfold.core.fit.capacity import FleetCapacity
from pinfold.core.fit.demand import prepare
from pinfold.core.request.model import Flavor
from pinfold.scheduler import decide
from pinfold.scheduler.capacity import CapacityReader
from pinfold.scheduler.common_shapes import CommonShapes
from pinfold.scheduler.index import Index
from pinfold.scheduler.model import DEFAULT_SETTINGS, HostSearch, Preview, SchedulerSettings
from pinfold.scheduler.occupancy import Occupancy, OccupancyReader
from pinfold.scheduler.placement_sets import PlacementSets
from pinfold.scheduler.refresh import Freshness
from pinfold.store.database import Database


class Scheduler:
    """Safe to share between threads; any number of processes may have one on the same database and Placement.

    `service.claims` uses its parts: the `index` of hosts, its `freshness`, the fleet's common `shapes`, and the `sets` of
    hosts that Placement knows.
    """

    def __init__(self, database: Database, placement: Placement, settings: SchedulerSettings = DEFAULT_SETTINGS) -> None:
        """Reads nothing yet."""
        self.settings = settings
        self.index = Index()
        self.freshness = Freshness(database, self.index, settings.refresh_seconds)
        self.sets = PlacementSets(placement, database, settings.traits_seconds)
        self.shapes = CommonShapes(database, self.index, settings)
        self._capacity = CapacityReader(self.index, self.sets)
        self._occupancy = OccupancyReader(self.index)

    def preview(self, wanted: HostSearch) -> Preview:
        """Every host that would take the guest, best first, and the reasons of the others. The guest need not be stored."""
        self.freshness.now()
        self.shapes.look()
        conditions = self.sets.conditions(wanted)
        return decide.preview(self.index, prepare(decide.untrait(wanted.request)), conditions, self.settings)

    def capacity(self, flavors: Sequence[Flavor]) -> FleetCapacity:
        """How many more guests of each flavor every host takes, and which free pCPUs none of them can use. Raises `Unavailable`."""
        self.freshness.look()
        return self._capacity.read(flavors)

    def occupancy(self) -> tuple[Occupancy, ...]:
        """What every host of the fleet holds at this moment, ordered by name. Raises `Unavailable`."""
        self.freshness.now()
        return self._occupancy.read()
