package etcdflags

import "time"

func watching() []Flag {
	g := groupWatching
	return []Flag{
		differs(g, "enable-pprof", truth(func(c *Config) *bool { return &c.Pprof }), "serve profiles of the process under `/debug/pprof/`", "`--log-level debug` does not turn it on; the command line is not served"),
		same(g, "metrics", text(func(c *Config) *string { return &c.Metrics }), "which metrics there are: `basic`, or `extensive` with how long calls take"),
		same(g, "listen-metrics-urls", urls(func(c *Config) *URLs { return &c.ListenMetrics }), "where metrics and health are served besides, and nothing else"),
	}
}

func logging() []Flag {
	g := groupLogging
	return []Flag{
		same(g, "logger", text(func(c *Config) *string { return &c.Logger }), "`zap`"),
		same(g, "log-outputs", set(func(c *Config) *[]string { return &c.LogOutputs }), "where the log goes: `default` (the error output), `stderr`, `stdout`, paths of files; or `systemd/journal` alone"),
		differs(g, "log-level", text(func(c *Config) *string { return &c.LogLevel }), "least level that is logged: debug, info, warn, error, panic or fatal", "panic and fatal log nothing"),
		same(g, "log-format", text(func(c *Config) *string { return &c.LogFormat }), "`json` or `console`"),
		same(g, "enable-log-rotation", truth(func(c *Config) *bool { return &c.LogRotation }), "begin the log file anew when it is large; needs one file in `--log-outputs`"),
		same(g, "log-rotation-config-json", text(func(c *Config) *string { return &c.LogRotationJSON }), "when that is, and what is kept"),
		differs(g, "warning-unary-request-duration", span(func(c *Config) *time.Duration { return &c.WarnUnary }), "from when on a slow request is logged; 0 is 300ms", "at most 20 lines at once and 5 a second; a text of more than 1 KiB is cut"),
		differs(g, "warning-apply-duration", span(func(c *Config) *time.Duration { return &c.WarnApply }), "from when on slow applying and slow reads are logged", "as above; commands that are applied together are timed together, and the largest is named"),
	}
}

func tracing() []Flag {
	g := groupTracing
	const why = "no traces are made"
	return []Flag{
		ignored(g, "enable-distributed-tracing", truth(func(c *Config) *bool { return &c.Tracing }), "send traces to a collector", why),
		ignored(g, "distributed-tracing-address", text(func(c *Config) *string { return &c.TracingAddress }), "of the collector", why),
		ignored(g, "distributed-tracing-service-name", text(func(c *Config) *string { return &c.TracingService }), "in the traces", why),
		ignored(g, "distributed-tracing-instance-id", text(func(c *Config) *string { return &c.TracingInstance }), "in the traces", why),
		ignored(g, "distributed-tracing-sampling-rate", integer(func(c *Config) *int { return &c.TracingRate }), "traces of a million requests", why),
	}
}

func features() []Flag {
	g := groupFeatures
	const never = "compaction does not hold up requests"
	return []Flag{
		same(g, "watch-progress-notify-interval", span(func(c *Config) *time.Duration { return &c.ProgressNotify }), "how often idle watches that asked for it are told how far they are; 0 is 10m"),
		differs(g, "feature-gates", gates(func(c *Config) *Gates { return &c.Features }), "gates of etcd's features, NAME=true,..", "CompactHashCheck and InitialCorruptCheck do what they do with etcd; the others are of the inside of etcd and have no effect"),
		differs(g, "corrupt-check-time", span(func(c *Config) *time.Duration { return &c.CorruptCheck }), "how often the leader compares what the members hold; 0 is never", "at least 1s; it waits 50 times as long as hashing took"),
		differs(g, "compact-hash-check-time", span(func(c *Config) *time.Duration { return &c.CompactHashCheck }), "with the gate CompactHashCheck, how soon after a compaction it does so", "at least 1s"),
		ignored(g, "compaction-batch-limit", integer(func(c *Config) *int { return &c.CompactionBatch }), "revisions that are deleted at once", never),
		ignored(g, "compaction-sleep-interval", span(func(c *Config) *time.Duration { return &c.CompactionSleep }), "the pause between two batches", never),
		ignored(g, "downgrade-check-time", span(func(c *Config) *time.Duration { return &c.DowngradeCheck }), "how often a downgrade is looked for", "there is no downgrade"),
		ignored(g, "bootstrap-defrag-threshold-megabytes", count(func(c *Config) *uint { return &c.DefragThresholdMB }), "defragment at the start if that frees so much", "the store gives space back by itself"),
		differs(g, "max-learners", integer(func(c *Config) *int { return &c.MaxLearners }), "learners that `member add` lets a cluster have", "a newcomer without a place of its own, which comes in as a learner, is not refused for it"),
	}
}

func unsafe() []Flag {
	g := groupUnsafe
	return []Flag{
		differs(g, "force-new-cluster", truth(func(c *Config) *bool { return &c.ForceNewCluster }), "make this member the only one of a new cluster, with what it holds",
			"the ids of the cluster and of the member are new, so that members of the old one are strangers; the folder of before is kept in it. One that is the only member already is started as it is. `chainfire recover` does the same with more care"),
		ignored(g, "unsafe-no-fsync", truth(func(c *Config) *bool { return &c.NoSync }), "do not wait for the disk", "what is acknowledged is on disk, always"),
	}
}
