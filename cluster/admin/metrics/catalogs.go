package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/eider-dns/eider/nameserver/catalog"
)

var (
	catalogsDesc       = desc("catalogs_followed", "Catalogs made elsewhere this node follows, as the one that leads; those of another are 0.")
	catalogsBrokenDesc = desc("catalogs_broken", "Of them those nothing is done for: broken, not secondary, members of another, or not pulled yet.")
	catalogMembersDesc = desc("catalog_members", "Zones the followed catalogs list.")
	catalogZonesDesc   = desc("catalog_zones", "Zones that are here because a followed catalog lists them.")
	catalogHeldDesc    = desc("catalog_removals_held", "Removals and resets of zones that wait to be confirmed.")
	catalogClashesDesc = desc("catalog_clashes", "Listed zones that are passed over, because zones of that name are here.")
	catalogDoneDesc    = desc("catalog_changes_total", "Zones the followed catalogs had made, reset or deleted; failed: tries that were not taken.", "kind")
	catalogDescs       = []*prometheus.Desc{catalogsDesc, catalogsBrokenDesc, catalogMembersDesc, catalogZonesDesc, catalogHeldDesc, catalogClashesDesc, catalogDoneDesc}
)

func (s sink) catalogs(t catalog.Stats) {
	s.gauge(catalogsDesc, float64(t.Catalogs))
	s.gauge(catalogsBrokenDesc, float64(t.Broken))
	s.gauge(catalogMembersDesc, float64(t.Members))
	s.gauge(catalogZonesDesc, float64(t.Zones))
	s.gauge(catalogHeldDesc, float64(t.Held))
	s.gauge(catalogClashesDesc, float64(t.Clashes))
	s.counter(catalogDoneDesc, float64(t.Created), "created")
	s.counter(catalogDoneDesc, float64(t.Reset), "reset")
	s.counter(catalogDoneDesc, float64(t.Removed), "removed")
	s.counter(catalogDoneDesc, float64(t.Failed), "failed")
}
