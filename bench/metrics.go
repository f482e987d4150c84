package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The metrics that count syncs. Both systems have them: what etcd's backend commits,
// ChainFire's store flushes.
const (
	logSyncsMetric   = "etcd_disk_wal_fsync_duration_seconds_count"
	storeSyncsMetric = "etcd_disk_backend_commit_duration_seconds_count"
)

// syncs is how often the members of a cluster synced since they started.
type syncs struct{ log, store float64 }

func (c *cluster) syncs(ctx context.Context) (syncs, error) {
	var sum syncs
	for _, s := range c.seats {
		found, err := metricsOf(ctx, s.client, logSyncsMetric, storeSyncsMetric)
		if err != nil {
			return syncs{}, fmt.Errorf("metrics of member %s: %w", s.name, err)
		}
		sum.log += found[logSyncsMetric]
		sum.store += found[storeSyncsMetric]
	}
	return sum, nil
}

// metricsOf asks one member for metrics without labels.
func metricsOf(ctx context.Context, endpoint string, names ...string) (_ map[string]float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+endpoint+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", answer.Status)
	}
	return parseMetrics(answer.Body, names)
}

// parseMetrics finds metrics without labels in Prometheus' text format. It is an
// error if one is not there.
func parseMetrics(text io.Reader, names []string) (map[string]float64, error) {
	found := map[string]float64{}
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		for _, want := range names {
			if !ok || name != want {
				continue
			}
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", name, err)
			}
			found[name] = v
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	for _, want := range names {
		if _, ok := found[want]; !ok {
			return nil, fmt.Errorf("there is no metric %s", want)
		}
	}
	return found, nil
}
