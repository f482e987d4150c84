package main

// figure is something that is measured in a turn, by its name in JSON.
type figure string

// The figures. Those per operation are of all servers together.
const (
	perSecond   figure = "per_second"
	p50         figure = "p50_ms"
	p99         figure = "p99_ms"
	p999        figure = "p999_ms"
	longest     figure = "max_ms"
	cpuPerOp    figure = "cpu_us_per_op"
	ownPerOp    figure = "generator_cpu_us_per_op"
	peakRSS     figure = "peak_rss_mib"
	residentMiB figure = "resident_mib"
	diskPerOp   figure = "disk_bytes_per_op"
	diskPerByte figure = "disk_bytes_per_user_byte"
	logSyncs    figure = "log_syncs_per_op"
	storeSyncs  figure = "store_syncs_per_op"
	took        figure = "seconds"
	syncMS      figure = "sync_ms"
	emptyMS     figure = "empty_round_trip_ms"
)

// figureName is what a figure is called in tables.
type figureName struct {
	figure figure
	name   string
}

var figureNames = []figureName{
	{perSecond, "per second"},
	{took, "seconds"},
	{p50, "p50 ms"},
	{p99, "p99 ms"},
	{p999, "p99.9 ms"},
	{longest, "max ms"},
	{cpuPerOp, "server CPU µs/op"},
	{ownPerOp, "generator CPU µs/op"},
	{residentMiB, "resident MiB"},
	{peakRSS, "peak resident MiB"},
	{diskPerOp, "disk bytes/op"},
	{diskPerByte, "disk bytes/user byte"},
	{logSyncs, "log syncs/op"},
	{storeSyncs, "store syncs/op"},
	{syncMS, "sync ms"},
	{emptyMS, "empty round trip ms"},
}

func (f figure) String() string {
	for _, n := range figureNames {
		if n.figure == f {
			return n.name
		}
	}
	return string(f)
}

// moreIsBetter tells the figures that should be high from those that should be low.
func (f figure) moreIsBetter() bool { return f == perSecond }

// measured are the figures of one turn.
type measured map[figure]float64
