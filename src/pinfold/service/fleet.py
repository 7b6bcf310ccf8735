"""`Fleet`: everything that the service does, by noun, on one database and one Placement."""

from __future__ import annotations

from dataclasses import dataclass

from pinfold.accounting.client import Placement
from pinfold.scheduler.model import DEFAULT_SETTINGS, SchedulerSettings
from pinfold.scheduler.scheduler import Scheduler
from pinfold.service.aggregates import Aggregates
from pinfold.service.claims.adopt import Adopter
from pinfold.service.claims.amend import Amender
from pinfold.service.claims.claim import Claimer
from pinfold.service.claims.follow import Follower
from pinfold.service.claims.rebook import Rebooker
from pinfold.service.claims.release import Releaser
from pinfold.service.claims.repin import Repinner
from pinfold.service.claims.replace import Replacer
from pinfold.service.claims.together import Together
from pinfold.service.flavors import Flavors
from pinfold.service.guests.consoles import Consoles
from pinfold.service.guests.edits import Edits
from pinfold.service.guests.events import Events
from pinfold.service.guests.interfaces import Interfaces
from pinfold.service.guests.lifecycle import Lifecycle
from pinfold.service.guests.questions import Questions
from pinfold.service.guests.repairs import Repairs
from pinfold.service.guests.reports import Reports
from pinfold.service.healing import Healer
from pinfold.service.hosts import Hosts
from pinfold.service.image_variants import ImageVariants
from pinfold.service.key_pairs import KeyPairs
from pinfold.service.networks import Networks
from pinfold.service.presence import Presence
from pinfold.service.providers import Providers
from pinfold.service.quotas import Quotas
from pinfold.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The use cases. Safe to share between threads; any number of processes may have one on the same database and Placement."""

    scheduler: Scheduler
    claimer: Claimer
    together: Together
    releaser: Releaser
    rebooker: Rebooker
    replacer: Replacer
    follower: Follower
    repinner: Repinner
    adopter: Adopter
    providers: Providers
    hosts: Hosts
    flavors: Flavors
    aggregates: Aggregates
    key_pairs: KeyPairs
    image_variants: ImageVariants
    networks: Networks
    interfaces: Interfaces
    quotas: Quotas
    guests: Lifecycle
    edits: Edits
    events: Events
    questions: Questions
    consoles: Consoles
    reports: Reports
    repairs: Repairs
    healer: Healer
    presence: Presence


def assemble(database: Database, placement: Placement, settings: SchedulerSettings = DEFAULT_SETTINGS) -> Fleet:
    """The fleet of that database. Nothing is read yet; `healer.start` does."""
    scheduler = Scheduler(database, placement, settings)
    claimer = Claimer(database, placement, scheduler)
    releaser = Releaser(database, placement, scheduler)
    providers = Providers(database, placement, scheduler)
    amender = Amender(database, placement, scheduler)
    replacer = Replacer(database, amender)
    follower = Follower(database, amender, providers)
    repinner = Repinner(database, scheduler, amender, providers)
    edits = Edits(database)
    together = Together(database, placement, scheduler, claimer)
    guests = Lifecycle(database, claimer, together, replacer, providers, edits)
    presence = Presence(database)
    interfaces = Interfaces(database, amender)
    return Fleet(
        scheduler=scheduler,
        claimer=claimer,
        together=together,
        releaser=releaser,
        rebooker=Rebooker(database, placement, scheduler),
        replacer=replacer,
        follower=follower,
        repinner=repinner,
        adopter=Adopter(database, placement, scheduler, providers),
        providers=providers,
        hosts=Hosts(database, placement, scheduler.index, follower=follower, releaser=releaser, lifecycle=guests, presence=presence),
        flavors=Flavors(database),
        aggregates=Aggregates(database, providers),
        key_pairs=KeyPairs(database),
        image_variants=ImageVariants(database),
        networks=Networks(database),
        interfaces=interfaces,
        quotas=Quotas(database),
        guests=guests,
        edits=edits,
        events=Events(database),
        questions=Questions(database),
        consoles=Consoles(database),
        reports=Reports(database, releaser, guests, repinner, providers, interfaces),
        repairs=Repairs(database),
        healer=Healer(
            database,
            placement,
            scheduler,
            providers=providers,
            releaser=releaser,
            follower=follower,
            repinner=repinner,
            lifecycle=guests,
            interfaces=interfaces,
        ),
        presence=presence,
    )
