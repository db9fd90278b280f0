// Package secondary pulls zones from primaries elsewhere (RFC 1034 section 4.3.5).
//
// It owns the asking side of SOA questions, AXFR (RFC 5936) and IXFR (RFC 1995) with all
// that a hostile primary may try, the time table of refresh, retry and expire, and what comes
// of a transfer: changes that are proposed. The node that leads pulls; any other takes over
// from the state that is replicated.
//
// It must never know Raft, who else serves the zone, or how a query is answered.
package secondary
