package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/eider-dns/eider/nameserver/secondary"
)

var (
	secondaryZonesDesc     = desc("secondary_zones", "Secondary zones this node pulls; those of a node that does not lead are 0.")
	secondaryExpiredDesc   = desc("secondary_zones_expired", "Secondary zones that are not answered from: their primaries were last heard too long ago, or never.")
	secondaryRefreshesDesc = desc("secondary_refreshes_total", "Questions whether a primary has something newer by outcome.", "outcome")
	secondaryTransfersDesc = desc("secondary_transfers_total", "Zones transferred in, whole or by differences; fallback: differences that did not fit.", "by")
	secondaryNotifiesDesc  = desc("secondary_notifies_total", "NOTIFYs received by what became of them.", "outcome")
	secondaryPullsDesc     = desc("secondary_pulls", "Secondary zones that are being pulled.")
	secondaryMemoryDesc    = desc("secondary_memory_bytes", "What zones take while they are pulled (limits.pull_memory).")
	secondaryCrowdedDesc   = desc("secondary_crowded_total", "Transfers in that held most of that memory and ended to make room for others.")
	secondaryDescs         = []*prometheus.Desc{secondaryPullsDesc, secondaryMemoryDesc, secondaryCrowdedDesc, secondaryZonesDesc, secondaryExpiredDesc, secondaryRefreshesDesc, secondaryTransfersDesc, secondaryNotifiesDesc}
)

func (s sink) secondaries(t secondary.Stats) {
	s.gauge(secondaryZonesDesc, float64(t.Zones))
	s.gauge(secondaryExpiredDesc, float64(t.Expired))
	s.gauge(secondaryPullsDesc, float64(t.Pulling))
	s.gauge(secondaryMemoryDesc, float64(t.Memory))
	s.counter(secondaryCrowdedDesc, float64(t.Crowded))
	s.counter(secondaryRefreshesDesc, float64(t.Current), "current")
	s.counter(secondaryRefreshesDesc, float64(t.Failed), "failed")
	s.counter(secondaryTransfersDesc, float64(t.AXFR), "axfr")
	s.counter(secondaryTransfersDesc, float64(t.IXFR), "ixfr")
	s.counter(secondaryTransfersDesc, float64(t.Fallback), "fallback")
	s.counter(secondaryNotifiesDesc, float64(t.Notifies), "taken")
	s.counter(secondaryNotifiesDesc, float64(t.Refused), "refused")
}
