package etcdapi

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"chainfire"
)

// countsCollector shows what the member counts, under etcd's names. It asks the member at
// each scrape.
type countsCollector struct {
	member interface {
		chainfire.Maintenance
		Header() chainfire.Header
	}
	slow *slowLog
	rows []countRow
	// Those with labels.
	promoteFailed                                *prometheus.Desc
	reads                                        *prometheus.Desc
	active, disconnected, known                  *prometheus.Desc
	sent, received, sendFailed, recvFailed, trip *prometheus.Desc
	goVersion                                    *prometheus.Desc
}

// countRow is one number or histogram without labels.
type countRow struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	// value is the number, times the histogram: one of them is set. scale is what the
	// bounds and the sum of the histogram are multiplied by.
	value func(*chainfire.Counts) float64
	times func(*chainfire.Counts) *chainfire.Histogram
	scale float64
}

func newCountsCollector(o *Options, slow *slowLog) *countsCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	c := &countsCollector{
		member: o.Member, slow: slow,
		promoteFailed: desc("etcd_server_learner_promote_failures", "Learners that could not be promoted, by the reason.", "Reason"),
		reads:         desc("etcd_server_range_duration_seconds", "Time that ranges took.", "success"),
		active:        desc("etcd_network_active_peers", "Whether there is a connection to a member.", "Local", "Remote"),
		disconnected:  desc("etcd_network_disconnected_peers_total", "Connections to a member that ended.", "Local", "Remote"),
		known:         desc("etcd_network_known_peers", "Members that this one knows of.", "Local", "Remote"),
		sent:          desc("etcd_network_peer_sent_bytes_total", "Bytes of messages sent to a member.", "To"),
		received:      desc("etcd_network_peer_received_bytes_total", "Bytes of messages received from a member.", "From"),
		sendFailed:    desc("etcd_network_peer_sent_failures_total", "Messages to a member that were dropped.", "To"),
		recvFailed:    desc("etcd_network_peer_received_failures_total", "Connections of a member that ended over what could not be understood.", "From"),
		trip:          desc("etcd_network_peer_round_trip_time_seconds", "Time that pings to a member took there and back.", "To"),
		goVersion:     desc("etcd_server_go_version", "The version of Go that the server was built with, as a label.", "server_go_version"),
	}
	c.rows = slices.Concat(c.serverRows(), storeRows(), bodyRows())
	return c
}

func counted(name, help string, value func(*chainfire.Counts) uint64) countRow {
	return countRow{
		desc: prometheus.NewDesc(name, help, nil, nil), kind: prometheus.CounterValue,
		value: func(n *chainfire.Counts) float64 { return float64(value(n)) },
	}
}

func gauged(name, help string, value func(*chainfire.Counts) float64) countRow {
	return countRow{desc: prometheus.NewDesc(name, help, nil, nil), kind: prometheus.GaugeValue, value: value}
}

func timed(name, help string, scale float64, times func(*chainfire.Counts) *chainfire.Histogram) countRow {
	return countRow{desc: prometheus.NewDesc(name, help, nil, nil), times: times, scale: scale}
}

func (c *countsCollector) serverRows() []countRow {
	return []countRow{
		gauged("etcd_server_proposals_pending", "Commands that wait to be applied.", func(n *chainfire.Counts) float64 { return float64(n.ProposalsPending) }),
		counted("etcd_server_proposals_failed_total", "Commands that were given up: out of time, or not taken.", func(n *chainfire.Counts) uint64 { return n.ProposalsFailed }),
		counted("etcd_server_slow_apply_total", "Rounds of applying, and reads, that took longer than they should.", func(n *chainfire.Counts) uint64 { return n.SlowApplies + c.slow.reads.Load() }),
		counted("etcd_server_heartbeat_send_failures_total", "Heartbeats that this member sent late while it led.", func(n *chainfire.Counts) uint64 { return n.HeartbeatsLate }),
		counted("etcd_server_slow_read_indexes_total", "Rounds for linearizable reads that took more than half a second.", func(n *chainfire.Counts) uint64 { return n.SlowReadIndexes }),
		counted("etcd_server_read_indexes_failed_total", "Rounds for linearizable reads that were given up.", func(n *chainfire.Counts) uint64 { return n.FailedReadIndexes }),
		counted("etcd_server_learner_promote_successes", "Learners that this member was asked to promote, and that were.", func(n *chainfire.Counts) uint64 { return n.Promoted }),
		gauged("etcd_server_snapshot_apply_in_progress_total", "Whether a snapshot becomes the state of this member.", func(n *chainfire.Counts) float64 { return number(n.Restoring) }),
		counted("etcd_debugging_lease_granted_total", "Leases that this member saw granted.", func(n *chainfire.Counts) uint64 { return n.Leases.Granted }),
		counted("etcd_debugging_lease_revoked_total", "Leases that this member saw revoked, expired ones among them.", func(n *chainfire.Counts) uint64 { return n.Leases.Revoked }),
		counted("etcd_debugging_lease_renewed_total", "Renewals that this member granted while it led.", func(n *chainfire.Counts) uint64 { return n.Leases.Renewed }),
		counted("etcd_debugging_server_lease_expired_total", "Leases that expired while this member led.", func(n *chainfire.Counts) uint64 { return n.Leases.Expired }),
	}
}

func storeRows() []countRow {
	return []countRow{
		timed("etcd_disk_wal_fsync_duration_seconds", "How long the write-ahead log took to write and to sync what it wrote.", 1, func(n *chainfire.Counts) *chainfire.Histogram { return &n.LogSyncs }),
		timed("etcd_disk_backend_commit_duration_seconds", "How long the store took to write what it held in memory to disk, and to sync it.", 1, func(n *chainfire.Counts) *chainfire.Histogram { return &n.StoreFlushes }),
		counted("etcd_mvcc_put_total", "Puts that this member applied.", func(n *chainfire.Counts) uint64 { return n.Store.Puts }),
		counted("etcd_mvcc_delete_total", "Deletes that this member applied.", func(n *chainfire.Counts) uint64 { return n.Store.Deletes }),
		counted("etcd_mvcc_range_total", "Ranges that this member served or applied.", func(n *chainfire.Counts) uint64 { return n.Store.Ranges }),
		counted("etcd_mvcc_txn_total", "Transactions of more than one operation.", func(n *chainfire.Counts) uint64 { return n.Store.Txns }),
		gauged("etcd_debugging_mvcc_compact_revision", "Compacted revision of the key space.", func(n *chainfire.Counts) float64 { return float64(n.Store.CompactRevision) }),
		counted("etcd_debugging_mvcc_db_compaction_keys_total", "Versions that compaction deleted.", func(n *chainfire.Counts) uint64 { return n.Store.Dropped }),
		gauged("etcd_debugging_mvcc_db_compaction_last", "When a compaction was finished, in seconds since 1970.", func(n *chainfire.Counts) float64 { return float64(n.Store.LastCompaction) }),
		timed("etcd_debugging_mvcc_db_compaction_total_duration_milliseconds", "How long compactions took.", 1000, func(n *chainfire.Counts) *chainfire.Histogram { return &n.Store.Compactions }),
		gauged("etcd_debugging_mvcc_watch_stream_total", "Watch streams that are open.", func(n *chainfire.Counts) float64 { return float64(n.Store.WatchStreams) }),
		gauged("etcd_debugging_mvcc_watcher_total", "Watches that are open.", func(n *chainfire.Counts) float64 { return float64(n.Store.Watches) }),
	}
}

func bodyRows() []countRow {
	gauge := func(name, help string, value func(*chainfire.BodyCounts) int64) countRow {
		return gauged(name, help, func(n *chainfire.Counts) float64 { return float64(value(&n.Bodies)) })
	}
	count := func(name, help string, value func(*chainfire.BodyCounts) uint64) countRow {
		return counted(name, help, func(n *chainfire.Counts) uint64 { return value(&n.Bodies) })
	}
	return []countRow{
		gauge("chainfire_body_extents", "Extents of object bodies on this member.", func(b *chainfire.BodyCounts) int64 { return b.Extents }),
		gauge("chainfire_body_live_bytes", "Bytes of the extents on this member.", func(b *chainfire.BodyCounts) int64 { return b.LiveBytes }),
		gauge("chainfire_body_file_bytes", "Bytes of the files that the extents are in.", func(b *chainfire.BodyCounts) int64 { return b.FileBytes }),
		gauge("chainfire_body_damaged", "Damage that was found and is not healed.", func(b *chainfire.BodyCounts) int64 { return b.Damaged }),
		gauge("chainfire_body_missing_extents", "Extents that this member should have, and that no other could give at the last look.", func(b *chainfire.BodyCounts) int64 { return b.MissingExtents }),
		gauge("chainfire_body_yield_bytes_per_second", "How fast object bodies may be written, so that writes of keys do not wait; 0 is as fast as can be.", func(b *chainfire.BodyCounts) int64 { return b.BytesPerSecond }),
		count("chainfire_body_corrupt_total", "Extents that were found damaged on this member.", func(b *chainfire.BodyCounts) uint64 { return b.Corrupt }),
		count("chainfire_body_repaired_total", "Extents that were fetched from other members.", func(b *chainfire.BodyCounts) uint64 { return b.Repaired }),
		count("chainfire_body_repaired_bytes_total", "Bytes of the extents that were fetched from other members.", func(b *chainfire.BodyCounts) uint64 { return b.RepairedBytes }),
		count("chainfire_body_collected_total", "Extents that were let go.", func(b *chainfire.BodyCounts) uint64 { return b.Collected }),
		count("chainfire_body_remote_reads_total", "Reads of extents that another member served.", func(b *chainfire.BodyCounts) uint64 { return b.RemoteReads }),
		count("chainfire_body_failed_reads_total", "Reads of extents that no member could serve.", func(b *chainfire.BodyCounts) uint64 { return b.FailedReads }),
		count("chainfire_body_scrubbed_bytes_total", "Bytes that scrubs read and checked.", func(b *chainfire.BodyCounts) uint64 { return b.ScrubbedBytes }),
	}
}

// Describe lists the metrics.
func (c *countsCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, r := range c.rows {
		ch <- r.desc
	}
	for _, d := range []*prometheus.Desc{
		c.promoteFailed, c.reads, c.active, c.disconnected, c.known, c.sent, c.received, c.sendFailed, c.recvFailed, c.trip, c.goVersion,
	} {
		ch <- d
	}
}

// Collect asks the member.
func (c *countsCollector) Collect(ch chan<- prometheus.Metric) {
	n := c.member.Counts()
	for _, r := range c.rows {
		if r.value != nil {
			ch <- prometheus.MustNewConstMetric(r.desc, r.kind, r.value(&n))
			continue
		}
		ch <- shownTimes(r.desc, r.times(&n), r.scale)
	}
	ch <- shownTimes(c.reads, &n.Store.Read, 1, strconv.FormatBool(true))
	ch <- shownTimes(c.reads, &n.Store.ReadFailed, 1, strconv.FormatBool(false))
	for reason, k := range n.PromotionsFailed {
		ch <- prometheus.MustNewConstMetric(c.promoteFailed, prometheus.CounterValue, float64(k), reason)
	}
	ch <- prometheus.MustNewConstMetric(c.goVersion, prometheus.GaugeValue, 1, runtime.Version())
	c.collectPeers(ch, n.Peers)
}

func (c *countsCollector) collectPeers(ch chan<- prometheus.Metric, peers []chainfire.PeerCounts) {
	self := fmt.Sprintf("%x", c.member.Header().MemberID)
	ch <- prometheus.MustNewConstMetric(c.known, prometheus.GaugeValue, 1, self, self)
	for i := range peers {
		p := &peers[i]
		id := fmt.Sprintf("%x", p.ID)
		ch <- prometheus.MustNewConstMetric(c.known, prometheus.GaugeValue, 1, self, id)
		ch <- prometheus.MustNewConstMetric(c.active, prometheus.GaugeValue, number(p.Connected), self, id)
		ch <- prometheus.MustNewConstMetric(c.disconnected, prometheus.CounterValue, float64(p.Disconnects), self, id)
		for d, v := range map[*prometheus.Desc]uint64{
			c.sent: p.SentBytes, c.received: p.ReceivedBytes, c.sendFailed: p.SendFailures, c.recvFailed: p.ReceiveFailures,
		} {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), id)
		}
		ch <- shownTimes(c.trip, &p.RoundTrips, 1, id)
	}
}

// shownTimes is a histogram in the unit that a second has scale of.
func shownTimes(d *prometheus.Desc, h *chainfire.Histogram, scale float64, labels ...string) prometheus.Metric {
	counts := h.Counts
	if scale != 1 {
		counts = make(map[float64]uint64, len(h.Counts))
		for bound, n := range h.Counts {
			counts[bound*scale] = n
		}
	}
	return prometheus.MustNewConstHistogram(d, h.Count, h.Sum*scale, counts, labels...)
}
