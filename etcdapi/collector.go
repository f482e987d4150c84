package etcdapi

import (
	"context"
	"log/slog"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// collector shows the member's status as metrics, under etcd's names where there
// is one. It asks the member at each scrape.
type collector struct {
	monitor *monitor
	log     *slog.Logger

	hasLeader, isLeader, isLearner, leaderChanges *prometheus.Desc
	committed, applied, revision                  *prometheus.Desc
	storeBytes, liveBytes, quotaBytes             *prometheus.Desc
	authRevision                                  *prometheus.Desc
	id, version, clusterVersion, build            *prometheus.Desc
}

func newCollector(m *monitor, log *slog.Logger) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &collector{
		monitor: m, log: log,
		hasLeader:      desc("etcd_server_has_leader", "Whether this member knows a leader."),
		isLeader:       desc("etcd_server_is_leader", "Whether this member is the leader."),
		isLearner:      desc("etcd_server_is_learner", "Whether this member is a learner."),
		leaderChanges:  desc("etcd_server_leader_changes_seen_total", "Changes of the leader that this member saw."),
		committed:      desc("etcd_server_proposals_committed_total", "Log index of the last commit that this member knows."),
		applied:        desc("etcd_server_proposals_applied_total", "Log index of the last entry in this member's store."),
		revision:       desc("etcd_debugging_mvcc_current_revision", "Current revision of the key space."),
		authRevision:   desc("etcd_debugging_auth_revision", "Revision of users, roles and permissions."),
		storeBytes:     desc("etcd_mvcc_db_total_size_in_bytes", "Size of the store on disk."),
		liveBytes:      desc("etcd_mvcc_db_total_size_in_use_in_bytes", "Estimate of what of the store is in use."),
		quotaBytes:     desc("etcd_server_quota_backend_bytes", "What the size of the store may come to; 0 is no bound."),
		id:             desc("etcd_server_id", "This member's id in hexadecimal, as a label.", "server_id"),
		version:        desc("etcd_server_version", "The etcd version whose API is offered, as a label.", "server_version"),
		clusterVersion: desc("etcd_cluster_version", "The etcd version that the cluster offers, as a label.", "cluster_version"),
		build:          desc("chainfire_build_info", "This product's own version, as a label.", "version"),
	}
}

// Describe lists the metrics.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.hasLeader, c.isLeader, c.isLearner, c.leaderChanges, c.committed, c.applied, c.revision,
		c.authRevision, c.storeBytes, c.liveBytes, c.quotaBytes, c.id, c.version, c.clusterVersion, c.build,
	} {
		ch <- d
	}
}

// Collect asks the member. A member that gives no status has no leader that it
// could tell of; what else is unknown is left out.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	st, err := c.monitor.status(context.Background())
	ch <- prometheus.MustNewConstMetric(c.leaderChanges, prometheus.CounterValue, float64(c.monitor.leaderChanges()))
	gauge(c.version, 1, etcdVersion)
	gauge(c.clusterVersion, 1, etcdClusterVersion)
	if err != nil {
		c.log.Warn("member has no status for its metrics", "err", err)
		gauge(c.hasLeader, 0)
		gauge(c.isLeader, 0)
		return
	}
	gauge(c.hasLeader, number(st.Leader != 0))
	gauge(c.isLeader, number(st.Leader != 0 && st.Leader == st.Header.MemberID))
	gauge(c.isLearner, number(st.Learner))
	gauge(c.committed, float64(st.CommitIndex))
	gauge(c.applied, float64(st.AppliedIndex))
	gauge(c.revision, float64(st.Header.Revision))
	gauge(c.authRevision, float64(st.AuthRevision))
	gauge(c.storeBytes, float64(st.StoreBytes))
	gauge(c.liveBytes, float64(st.LiveBytes))
	gauge(c.quotaBytes, float64(st.QuotaBytes))
	gauge(c.id, 1, strconv.FormatUint(st.Header.MemberID, 16))
	gauge(c.build, 1, st.Version)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
