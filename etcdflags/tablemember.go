package etcdflags

import "time"

func member() []Flag {
	g := groupMember
	return []Flag{
		same(g, "config-file", text(func(c *Config) *string { return &c.configFile }), "file in YAML; where it is given nothing else on the command line or in the environment counts"),
		same(g, "version", truth(func(c *Config) *bool { return &c.showVersion }), "print the version and end"),
		same(g, "name", text(func(c *Config) *string { return &c.Name }), "name of this member, unique in the cluster"),
		differs(g, "data-dir", text(func(c *Config) *string { return &c.DataDir }), "folder for what this member keeps; `NAME.etcd` where none is given",
			"what is in it is not etcd's: a folder that etcd has used is refused, and is to be restored into a new one"),
		ignored(g, "wal-dir", text(func(c *Config) *string { return &c.WALDir }), "folder for the log alone", "the log lies in the data folder, under `wal`"),
		ignored(g, "snapshot-count", count64(func(c *Config) *uint64 { return &c.SnapshotCount }), "after how many entries a snapshot is made", "the log is cut by its size in bytes, once the store holds what was in it"),
		ignored(g, "snapshot-catchup-entries", count64(func(c *Config) *uint64 { return &c.SnapshotCatchUp }), "entries that are kept for members that lag", "the log keeps 64 MiB for them, and up to 512 MiB while they are heard of"),
		ignored(g, "max-snapshots", count(func(c *Config) *uint { return &c.MaxSnapshots }), "files of snapshots that are kept", "none are kept: the store itself is the state"),
		ignored(g, "max-wals", count(func(c *Config) *uint { return &c.MaxWALs }), "files of the log that are kept", "the log is cut by its size in bytes"),
		differs(g, "heartbeat-interval", count(func(c *Config) *uint { return &c.Heartbeat }), "milliseconds between two words of the leader", "at least 10"),
		same(g, "election-timeout", count(func(c *Config) *uint { return &c.Election }), "milliseconds that a leader may be silent, at least five times the heartbeat, at most 50000"),
		ignored(g, "initial-election-tick-advance", truth(func(c *Config) *bool { return &c.TickAdvance }), "wait less for the first election", "a member that is alone does not wait for one"),
		differs(g, "listen-peer-urls", urls(func(c *Config) *URLs { return &c.ListenPeer }), "where other members connect", "`unix://` and `unixs://` are paths of sockets, of which etcd takes the host alone, and `unixs://` is with TLS"),
		same(g, "listen-client-urls", urls(func(c *Config) *URLs { return &c.ListenClient }), "where clients connect; with it `--advertise-client-urls` must be given"),
		same(g, "listen-client-http-urls", urls(func(c *Config) *URLs { return &c.ListenHTTP }), "where clients connect that speak HTTP; those above serve gRPC alone then"),
		differs(g, "grpc-keepalive-min-time", span(func(c *Config) *time.Duration { return &c.KeepaliveMinTime }), "least time between two pings of a client", "0 and less are one nanosecond"),
		same(g, "grpc-keepalive-interval", span(func(c *Config) *time.Duration { return &c.KeepaliveInterval }), "after how long without a word a client is pinged; 0 is never"),
		same(g, "grpc-keepalive-timeout", span(func(c *Config) *time.Duration { return &c.KeepaliveTimeout }), "how long a client may take to answer that; 0 is for ever"),
		same(g, "socket-reuse-port", truth(func(c *Config) *bool { return &c.Sockets.ReusePort }), "let several processes listen on a port"),
		same(g, "socket-reuse-address", truth(func(c *Config) *bool { return &c.Sockets.ReuseAddress }), "listen although connections of before are not over, as is always so on Linux"),
		same(g, "max-concurrent-streams", count32(func(c *Config) *uint32 { return &c.MaxStreams }), "calls that a client may have under way on one connection"),
		ignored(g, "raft-read-timeout", span(func(c *Config) *time.Duration { return &c.PeerReadTimeout }), "of connections between members", "connections between members are held alive by pings"),
		ignored(g, "raft-write-timeout", span(func(c *Config) *time.Duration { return &c.PeerWriteTimeout }), "of connections between members", "connections between members are held alive by pings"),
		same(g, "enable-grpc-gateway", truth(func(c *Config) *bool { return &c.Gateway }), "serve requests as JSON over HTTP under `/v3/`"),
		ignored(g, "memory-mlock", truth(func(c *Config) *bool { return &c.MemoryLock }), "keep the memory of the process from being paged out", "the store reads files and does not map them"),
	}
}

func backend() []Flag {
	g := groupMember
	return []Flag{
		same(g, "quota-backend-bytes", integer64(func(c *Config) *int64 { return &c.QuotaBytes }), "size of the store from which on it takes no more keys; 0 is 2 GiB, less than 0 no bound"),
		ignored(g, "backend-bbolt-freelist-type", text(func(c *Config) *string { return &c.FreelistType }), "of bbolt", "the store is another"),
		ignored(g, "backend-batch-interval", span(func(c *Config) *time.Duration { return &c.BatchInterval }), "of bbolt", "the store is another"),
		ignored(g, "backend-batch-limit", integer(func(c *Config) *int { return &c.BatchLimit }), "of bbolt", "the store is another"),
		differs(g, "max-txn-ops", count(func(c *Config) *uint { return &c.MaxTxnOps }), "comparisons, and operations of a branch, that a transaction may have", "from 1 to 16384"),
		differs(g, "max-request-bytes", count(func(c *Config) *uint { return &c.MaxRequestBytes }), "size of the largest write", "from 1 KiB to 16 MiB"),
	}
}

func clustering() []Flag {
	g := groupClustering
	return []Flag{
		same(g, "initial-advertise-peer-urls", urls(func(c *Config) *URLs { return &c.AdvertisePeer }), "where the other members reach this one, at any of them"),
		differs(g, "initial-cluster", text(func(c *Config) *string { return &c.InitialCluster }), "members that begin the cluster, NAME=URL,..; one that has several URLs is there once for each", "at most 9"),
		differs(g, "initial-cluster-state", choice(func(c *Config) *string { return &c.InitialClusterState }, StateNew, StateExisting), "whether the cluster is there already; a folder in use ignores it",
			"`existing` asks the others of `--initial-cluster` for a place; one that `member add` keeps is taken by the peer URL, and without one the newcomer comes in as a learner"),
		same(g, "initial-cluster-token", text(func(c *Config) *string { return &c.InitialClusterToken }), "sets clusters apart that begin with the same members"),
		same(g, "advertise-client-urls", urls(func(c *Config) *URLs { return &c.AdvertiseClient }), "where clients reach this member"),
		ignored(g, "strict-reconfig-check", truth(func(c *Config) *bool { return &c.StrictReconfig }), "refuse changes that would cost the majority", "it is always so"),
		ignored(g, "pre-vote", truth(func(c *Config) *bool { return &c.PreVote }), "ask before an election whether it can be won", "it is always so"),
		differs(g, "auto-compaction-retention", text(func(c *Config) *string { return &c.CompactionRetention }), "how much history is kept: hours, a time as 30m, or revisions; 0 is all of it", "from 1 s to 10 years; looks ten times as often"),
		same(g, "auto-compaction-mode", text(func(c *Config) *string { return &c.CompactionMode }), "what that counts: `periodic` or `revision`"),
		ignored(g, "v2-deprecation", choices(func(c *Config) *[]string { return &c.V2Deprecation }, "write-only", "write-only-skip-check", "write-only-drop-data", "gone"), "of the store of etcd's version 2", "etcd 3.7 ignores it, too"),
	}
}

func discovery() []Flag {
	g := groupClustering
	const instead = "name the members with `--initial-cluster`, or let each newcomer come in with `--initial-cluster-state existing`"
	refused := func(name string, b binding, help string) Flag {
		return Flag{Group: g, Name: name, Does: Refused, Help: help, Note: instead, binding: b}
	}
	const alone = "nothing is discovered"
	of := "of discovery"
	at := func(f func(*Discovery) *string) binding {
		return text(func(c *Config) *string { return f(&c.Discovery) })
	}
	spans := func(f func(*Discovery) *time.Duration) binding {
		return span(func(c *Config) *time.Duration { return f(&c.Discovery) })
	}
	return []Flag{
		refused("discovery-endpoints", set(func(c *Config) *[]string { return &c.Discovery.Endpoints }), "where members find each other"),
		refused("discovery-token", at(func(d *Discovery) *string { return &d.Token }), "what they find each other by"),
		refused("discovery-srv", text(func(c *Config) *string { return &c.DiscoverySRV }), "domain of DNS in whose SRV records they find each other"),
		refused("discovery-srv-name", text(func(c *Config) *string { return &c.DiscoverySRVName }), "suffix of the names of those"),
		same(g, "discovery-fallback", choice(func(c *Config) *string { return &c.fallback }, "exit", "proxy"), "what becomes of a member that finds nobody; `proxy` is refused"),
		ignored(g, "discovery-dial-timeout", spans(func(d *Discovery) *time.Duration { return &d.DialTimeout }), of, alone),
		ignored(g, "discovery-request-timeout", spans(func(d *Discovery) *time.Duration { return &d.RequestTimeout }), of, alone),
		ignored(g, "discovery-keepalive-time", spans(func(d *Discovery) *time.Duration { return &d.KeepaliveTime }), of, alone),
		ignored(g, "discovery-keepalive-timeout", spans(func(d *Discovery) *time.Duration { return &d.KeepaliveTimeout }), of, alone),
		ignored(g, "discovery-insecure-transport", truth(func(c *Config) *bool { return &c.Discovery.InsecureTransport }), of, alone),
		ignored(g, "discovery-insecure-skip-tls-verify", truth(func(c *Config) *bool { return &c.Discovery.InsecureSkipVerify }), of, alone),
		ignored(g, "discovery-cert", at(func(d *Discovery) *string { return &d.Cert }), of, alone),
		ignored(g, "discovery-key", at(func(d *Discovery) *string { return &d.Key }), of, alone),
		ignored(g, "discovery-cacert", at(func(d *Discovery) *string { return &d.CACert }), of, alone),
		ignored(g, "discovery-user", at(func(d *Discovery) *string { return &d.User }), of, alone),
		ignored(g, "discovery-password", at(func(d *Discovery) *string { return &d.Password }), of, alone),
	}
}
