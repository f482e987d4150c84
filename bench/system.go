package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// seat is where one member of a cluster runs.
type seat struct {
	name, dir string
	// client, peer and s3 are its addresses as host:port.
	client, peer, s3 string
}

// system is a product that is measured: how its members are started.
type system struct {
	name   string
	binary string
	// env is what its members find in their environment besides what this process has.
	env []string
	// versionArgs print the version, in the first line.
	versionArgs []string
	// args are the arguments that start member i of a cluster.
	args func(seats []seat, i int) []string
	// grow makes member i, whose seat is taken, a voter of a running cluster; nil
	// is that it only needs to be started.
	grow func(ctx context.Context, c *cluster, i int) error
	// serves asks the member of a seat whether it is one of n that serve; nil is by the
	// protocol of etcd.
	serves func(ctx context.Context, s seat, n int) error
	// joins says that the first member must serve before others can start.
	joins bool
}

// with is the system with more arguments for every member.
func (s system) with(more ...string) system {
	args := s.args
	s.args = func(seats []seat, i int) []string { return append(args(seats, i), more...) }
	return s
}

// newEtcd is etcd with its defaults, but for the quota: a million keys and what
// was written over them do not fit into the 2 GiB it allows.
func newEtcd(binary string) system {
	return system{
		name:        "etcd",
		binary:      binary,
		versionArgs: []string{"--version"},
		grow:        growEtcd,
		args: func(seats []seat, i int) []string {
			var initial []string
			for _, s := range seats {
				initial = append(initial, s.name+"=http://"+s.peer)
			}
			s := seats[i]
			return []string{
				"--name", s.name,
				"--data-dir", s.dir,
				"--listen-client-urls", "http://" + s.client,
				"--advertise-client-urls", "http://" + s.client,
				"--listen-peer-urls", "http://" + s.peer,
				"--initial-advertise-peer-urls", "http://" + s.peer,
				"--initial-cluster", strings.Join(initial, ","),
				"--initial-cluster-state", "new",
				"--quota-backend-bytes", fmt.Sprint(int64(8) << 30),
				"--log-level", "error",
			}
		},
	}
}

// newChainFire is ChainFire with its defaults, but for TLS between members and S3, which
// etcd is not asked for either: one member, which the others join.
func newChainFire(binary string) system {
	return chainFire(binary, func(seat) string { return "--s3=off" })
}

func chainFire(binary string, s3 func(seat) string) system {
	return system{
		name:        "chainfire",
		binary:      binary,
		versionArgs: []string{"version"},
		joins:       true,
		args: func(seats []seat, i int) []string {
			s := seats[i]
			args := []string{
				"serve",
				"--name", s.name,
				"--data-dir", s.dir,
				"--listen-client", s.client,
				"--listen-peer", "http://" + s.peer,
				s3(s),
			}
			if i > 0 {
				args = append(args, "--join", seats[0].peer)
			}
			return args
		},
	}
}

// version asks the binary for its version.
func (s system) version(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, s.binary, s.versionArgs...).Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", s.binary, err)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return first, nil
}
