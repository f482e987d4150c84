package main

import (
	"context"
	"fmt"
	"strconv"
)

// Sizes of loads that no flag changes.
const (
	shortRange, longRange = 100, 10_000
	// longClients ask at once for what makes a server work long.
	longClients = 16
	// objectsPerClient are the keys that each client of the transactions has.
	objectsPerClient = 10
	largeValue       = 4 << 10
)

// rows are the lines of the table.
func rows() []row {
	var all []row
	for _, clients := range []int{1, 100, 1000} {
		all = append(all, putRows(clients)...)
	}
	return append(append(append(all, readRows()...), streamRows()...), lifeRows()...)
}

// putRows are those of puts by so many clients.
func putRows(clients int) []row {
	var all []row
	for _, size := range []int{0, largeValue} {
		for _, inOrder := range []bool{false, true} {
			r := row{
				name: fmt.Sprintf("put-%d", clients), title: "put, " + many(clients, "client"),
				shows: []figure{perSecond, p50, p99, cpuPerOp, logSyncs},
			}
			if size > 0 {
				r.name, r.title = r.name+"-4k", r.title+", 4 KiB"
			}
			if inOrder {
				r.name, r.title = r.name+"-seq", r.title+", keys in order"
			}
			if size == 0 && !inOrder {
				r = chiefPut(r, clients)
			}
			r.run = func(ctx context.Context, t *table, s *stand) (measured, error) {
				vals, prefix := newValues(t.valueSize), keyPrefix
				if size > 0 {
					vals, prefix = newValues(size), "large/"
				}
				step := putRandom(keys{prefix, t.keys}, vals)
				if inOrder {
					prefix = fmt.Sprintf("in-order/%06d/", t.turn())
					s.ordered = append(s.ordered, prefix)
					step = putInOrder(prefix, clients, vals)
				}
				return t.runCrew(ctx, s, newCrew(s.lanes, clients, step))
			}
			all = append(all, r)
		}
	}
	return all
}

// many is a number of things, in words.
func many(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	digits := strconv.Itoa(n)
	if len(digits) > 3 {
		digits = digits[:len(digits)-3] + "," + digits[len(digits)-3:]
	}
	return digits + " " + thing + "s"
}

// chiefPut adds the targets of puts.
func chiefPut(r row, clients int) row {
	r.chief = true
	switch clients {
	case 1:
		r.targets = []target{{figure: p50, limit: 0.60}, {figure: p50, limit: 1.6, members: 1, toFloor: true}}
		r.floor = (*table).measureFloor
	case 100:
		r.targets = []target{{figure: perSecond, limit: 2.0}}
	case 1000:
		r.targets = []target{{figure: perSecond, limit: 2.5}, {figure: cpuPerOp, limit: 0.40}}
	}
	return r
}

// of makes the run of a row whose clients do one step again and again.
func of(clients int, makeStep func(t *table) func(int) step) func(context.Context, *table, *stand) (measured, error) {
	return func(ctx context.Context, t *table, s *stand) (measured, error) {
		return t.runCrew(ctx, s, newCrew(s.lanes, clients, makeStep(t)))
	}
}

// readRows are those of reads, and of writes with reads between them.
func readRows() []row {
	shows := []figure{perSecond, p50, p99, cpuPerOp}
	return []row{
		{
			name: "disk-100", title: "disk, so many puts by 100 clients", scene: quiet, chief: true, chiefMembers: 1,
			shows: []figure{diskPerByte, logSyncs, storeSyncs}, targets: []target{{figure: diskPerOp, limit: 0.7}},
			run: func(ctx context.Context, t *table, s *stand) (measured, error) { return t.runToTheDisk(ctx, s) },
		},
		{
			name: "get-100", title: "get, linearizable, 100 clients", chief: true, shows: shows,
			targets: []target{{figure: perSecond, limit: 1.8, members: 3}, {figure: perSecond, limit: 1.5, members: 1}},
			run:     of(100, func(t *table) func(int) step { return getRandom(t.base(), false) }),
		},
		{
			name: "get-100-serializable", title: "get, serializable, 100 clients", shows: shows,
			run: of(100, func(t *table) func(int) step { return getRandom(t.base(), true) }),
		},
		{
			name: "range-100", title: "range of 100 keys, 100 clients", shows: shows,
			run: of(100, func(t *table) func(int) step { return rangeRandom(t.base(), shortRange) }),
		},
		{
			name: "range-10000", title: "range of 10,000 keys, 16 clients", chief: true, shows: shows,
			targets: []target{{figure: perSecond, limit: 1.5}, {figure: cpuPerOp, limit: 0.6}},
			run:     of(longClients, func(t *table) func(int) step { return rangeRandom(t.base(), longRange) }),
		},
		{
			name: "txn-100", title: "Kubernetes' transactions, 100 clients", chief: true, shows: shows,
			targets: []target{{figure: perSecond, limit: 2.0}},
			run: of(100, func(t *table) func(int) step {
				return updates(fmt.Sprintf("registry/%06d/", t.turn()), objectsPerClient, newValues(t.valueSize))
			}),
		},
		{
			name: "count", title: "first key and exact count, puts between, 16 clients", chief: true, shows: shows,
			targets: []target{{figure: perSecond, limit: 10}},
			run:     of(longClients, func(t *table) func(int) step { return countAndPut(t.base(), newValues(t.valueSize)) }),
		},
		{
			name: "mixed-100", title: "9 gets to 1 put, 100 clients", shows: shows,
			run: of(100, func(t *table) func(int) step { return mixed(t.base(), newValues(t.valueSize)) }),
		},
	}
}

// streamRows are those of watches and leases.
func streamRows() []row {
	var all []row
	for _, watches := range []int{1, 1000, 10_000} {
		r := row{
			name: fmt.Sprintf("watch-%d", watches), title: "events a second, and their delay, " + many(watches, "watcher"),
			shows: []figure{perSecond, p50, p99, cpuPerOp},
			run: func(ctx context.Context, t *table, s *stand) (measured, error) {
				return t.runFanout(ctx, s, watches)
			},
		}
		if watches == 1000 {
			r.chief = true
			r.targets = []target{{figure: perSecond, limit: 2.0}, {figure: p99, limit: 0.5}}
		}
		all = append(all, r)
	}
	shows := []figure{perSecond, p50, p99, cpuPerOp, peakRSS}
	return append(all,
		row{
			name: "lease-grant", title: "leases granted, 100 clients", shows: shows,
			run: func(ctx context.Context, t *table, s *stand) (measured, error) { return t.runGrants(ctx, s) },
		},
		row{
			name: "lease-keepalive", title: "leases kept alive, 100 clients", shows: shows,
			run: func(ctx context.Context, t *table, s *stand) (measured, error) { return t.runKeepAlives(ctx, s) },
		})
}

// lifeRows are those of what happens to a member in its life.
func lifeRows() []row {
	return []row{
		{
			name: "compaction", title: "puts through a compaction", scene: history, chief: true, chiefMembers: 1,
			shows: []figure{p50, p99, longest, took}, targets: []target{{figure: p999, limit: 0.3}},
			run: func(ctx context.Context, t *table, s *stand) (measured, error) { return t.runCompaction(ctx, s) },
		},
		{
			name: "big-memory", title: "memory of a member with very many keys", scene: big, chief: true, chiefMembers: 1,
			targets: []target{{figure: residentMiB, limit: 0.4}},
			run:     func(_ context.Context, _ *table, s *stand) (measured, error) { return s.resident() },
		},
		{
			name: "big-list", title: "list of very many keys, page by page", scene: big,
			shows: []figure{took, perSecond, cpuPerOp, peakRSS},
			run:   func(ctx context.Context, t *table, s *stand) (measured, error) { return t.runList(ctx, s) },
		},
		{
			name: "big-snapshot", title: "snapshot of very many keys", scene: big, shows: []figure{took, peakRSS},
			run: func(ctx context.Context, _ *table, s *stand) (measured, error) { return s.runSnapshot(ctx) },
		},
		{
			name: "big-count", title: "first of very many keys and exact count, puts between, 16 clients", scene: big,
			shows: []figure{perSecond, p50, p99, cpuPerOp}, targets: []target{{figure: perSecond, limit: 10}},
			run: of(longClients, func(t *table) func(int) step {
				return countAndPut(keys{keyPrefix, t.bigKeys}, newValues(t.valueSize))
			}),
		},
		{
			name: "big-restart", title: "kill -9 to the first read, very many keys", scene: big, chief: true, chiefMembers: 1,
			shows: []figure{residentMiB}, targets: []target{{figure: took, limit: 0.2}},
			run: func(ctx context.Context, t *table, s *stand) (measured, error) { return t.runRestart(ctx, s) },
		},
		{
			name: "big-join", title: "a third member joins and votes, very many keys", scene: bare, chief: true,
			members: []int{3}, targets: []target{{figure: took, limit: 0.5}},
			run: func(ctx context.Context, t *table, s *stand) (measured, error) { return t.runJoin(ctx, s) },
		},
	}
}
