"""How often ads were shown, clicked and clicked for long, by campaign (Table 8's gCTR)."""

from __future__ import annotations

from dataclasses import dataclass

from omnisearch.data.catalogue.feedback import events_of_searches
from omnisearch.data.catalogue.searches import reading_searches
from omnisearch.data.catalogue.shown_ads import shown_ads
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.evaluation.significance import wilson_interval

CLICKS = frozenset(("click", "long_click", "add_to_cart", "checkout"))


@dataclass
class CampaignReport:
    """One campaign's ads.

    Attributes:
        searches: on whose pages they were. shown: how often. clicked: of these, how many were
            clicked in any way; long_clicked: clicked and not come back from soon.
    """

    campaign: str
    searches: int = 0
    shown: int = 0
    clicked: int = 0
    long_clicked: int = 0

    @property
    def gctr(self) -> float | None:
        """The long clickthrough rate; None if nothing was shown."""
        return self.long_clicked / self.shown if self.shown else None

    def interval(self) -> tuple[float, float]:
        """The 95% interval of the rate, as if each showing were independent (Wilson)."""
        return wilson_interval(self.long_clicked, self.shown)


def report_ads(
    workspace: Workspace, since: int = 0, until: int | None = None
) -> list[CampaignReport]:
    """The campaigns whose ads were shown from `since` on and before `until` (seconds since 1970).

    An event counts if it names the search that showed the ad by its `request_id`, and once.

    Raises:
        InputError: nothing was logged yet. Corrupt: a log is damaged.
    """
    if not workspace.searches.exists():
        raise InputError(
            "No ads are logged yet.",
            where=str(workspace.searches),
            how="`omnisearch serve` logs those that it shows.",
        )
    events = events_of_searches(workspace) if workspace.feedback.exists() else {}
    found: dict[str, CampaignReport] = {}
    searches: dict[str, set[str]] = {}
    to = None if until is None else until * 1000
    with reading_searches(workspace.searches) as log:
        for ad in shown_ads(log, since * 1000, to):
            each = found.setdefault(ad.campaign, CampaignReport(ad.campaign))
            searches.setdefault(ad.campaign, set()).add(ad.request_id)
            acted = {
                action
                for action, entity, key in events.get(ad.request_id, ())
                if (entity, key) == (ad.entity, ad.item_id)
            }
            each.shown += 1
            each.clicked += bool(acted & CLICKS)
            each.long_clicked += "long_click" in acted
    for name, each in found.items():
        each.searches = len(searches[name])
    return sorted(found.values(), key=lambda each: (-each.shown, each.campaign))


def total(reports: list[CampaignReport]) -> CampaignReport:
    """All campaigns together; `searches` counts a search once for each campaign it showed."""
    whole = CampaignReport("all")
    for each in reports:
        whole.searches += each.searches
        whole.shown += each.shown
        whole.clicked += each.clicked
        whole.long_clicked += each.long_clicked
    return whole
