package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/eider-dns/eider/nameserver"
	"github.com/eider-dns/eider/nameserver/notify"
	"github.com/eider-dns/eider/nameserver/transfer"
)

var (
	asidesDesc          = desc("dns_asides_total", "Signed queries, transfers and NOTIFYs over UDP by what became of them.", "event")
	transfersOpenDesc   = desc("transfers_open", "Zones being sent out now.")
	transfersDesc       = desc("transfers_total", "Questions for a transfer by what became of them: a whole zone, increments, the SOA alone, or not.", "outcome")
	transferOctetsDesc  = desc("transfer_octets_total", "Octets of transfers sent.")
	transferRecordsDesc = desc("transfer_records_total", "Records of transfers sent.")
	notifiesDesc        = desc("notifies_sent_total", "NOTIFY messages sent, those sent again among them.")
	notifyAnswersDesc   = desc("notify_outcomes_total", "NOTIFYs by what became of them: answered, refused, failed (no answer at all) or dropped (too many at once).", "outcome")
	notifyWaitingDesc   = desc("notifies_waiting", "NOTIFYs to be sent, or to be answered.")
	transferDescs       = []*prometheus.Desc{asidesDesc, transfersOpenDesc, transfersDesc, transferOctetsDesc, transferRecordsDesc, notifiesDesc, notifyAnswersDesc, notifyWaitingDesc}
)

func (s sink) asides(q *nameserver.Stats) {
	s.counter(asidesDesc, float64(q.Asides), "answered")
	s.counter(asidesDesc, float64(q.AsidesDropped), "dropped")
}

func (s sink) notifies(n notify.Stats) {
	s.counter(notifiesDesc, float64(n.Sent))
	for outcome, n := range map[string]uint64{"answered": n.Answered, "refused": n.Refused, "failed": n.Failed, "dropped": n.Dropped} {
		s.counter(notifyAnswersDesc, float64(n), outcome)
	}
	s.gauge(notifyWaitingDesc, float64(n.Waiting))
}

func (s sink) transfers(t transfer.Stats) {
	s.gauge(transfersOpenDesc, float64(t.Open))
	for outcome, n := range map[string]uint64{
		"axfr": t.AXFR, "ixfr": t.IXFR, "current": t.Current, "refused": t.Refused, "busy": t.Busy, "failed": t.Failed,
	} {
		s.counter(transfersDesc, float64(n), outcome)
	}
	s.counter(transferOctetsDesc, float64(t.Octets))
	s.counter(transferRecordsDesc, float64(t.Records))
}
