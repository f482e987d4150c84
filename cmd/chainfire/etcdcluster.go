package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"time"

	"chainfire/etcdflags"
	"chainfire/internal/disk"
	"chainfire/node"
)

// form decides from --initial-cluster and its state how an empty directory becomes a
// member: of a cluster of its own, of one that several begin, or of one that is there. A
// directory in use goes on as it is.
func (o *etcdOptions) form(cfg *etcdflags.Config, log *slog.Logger) error {
	d, err := lookAt(cfg.DataDir)
	if err != nil {
		return err
	}
	if d.Member != 0 {
		log.Info("server has already been initialized", "data-dir", cfg.DataDir, "member", d.Member, "cluster", clusterID(d.Cluster))
		return nil
	}
	own, others, err := cfg.Members(resolveHost)
	if err != nil {
		return err
	}
	// Written as in the list, which the others have, too.
	o.node.Peers.Advertise = own.PeerURLs.Strings()
	switch {
	case cfg.InitialClusterState == etcdflags.StateExisting && len(others) == 0:
		return errors.New("--initial-cluster-state existing: --initial-cluster names no other member; add those that are there, or begin a cluster with the state new")
	case cfg.InitialClusterState == etcdflags.StateExisting:
		for _, m := range others {
			o.node.Join = append(o.node.Join, m.PeerURLs.Strings()...)
		}
		return nil
	case len(others) == 0:
		return nil
	}
	o.together(cfg, append(others, own))
	return nil
}

// together lets the members of a list begin a cluster, each by itself.
func (o *etcdOptions) together(cfg *etcdflags.Config, all []etcdflags.Member) {
	c := &node.StaticCluster{Token: cfg.InitialClusterToken}
	for _, m := range all {
		c.Members = append(c.Members, node.StaticMember{Name: m.Name, PeerURLs: m.PeerURLs.Strings()})
	}
	o.node.Static = c
}

// lookAt is node.LookAt for a directory that may not be there.
func lookAt(dir string) (node.DataDir, error) {
	d, _, err := node.LookAt(disk.OS(), dir)
	if errors.Is(err, fs.ErrNotExist) {
		return node.DataDir{}, nil
	}
	return d, err
}

// resolveTime bounds the question for the address of a host.
const resolveTime = 5 * time.Second

func resolveHost(host string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), resolveTime)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return "", fmt.Errorf("look %s up: %w", host, err)
	}
	return addrs[0], nil
}

// forceNewCluster makes the member of a directory the only one of a new cluster. One that
// is that already is left as it is, so that the flag may stay where it is.
func forceNewCluster(ctx context.Context, cfg *etcdflags.Config, log *slog.Logger) (err error) {
	d, err := lookAt(cfg.DataDir)
	if err != nil || d.Member == 0 {
		return err
	}
	lock, err := disk.Lock(disk.OS(), cfg.DataDir)
	if err != nil {
		return fmt.Errorf("--force-new-cluster: %w", inUse(cfg.DataDir, err))
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if done, err := node.ResumeRecovery(disk.OS(), cfg.DataDir); err != nil || done != nil {
		return err
	}
	s, err := node.Survey(ctx, disk.OS(), cfg.DataDir)
	if err != nil {
		return fmt.Errorf("--force-new-cluster: %w", err)
	}
	if len(s.Conf.Voters) == 1 && s.Role() == node.RoleVoter && len(s.Conf.Learners) == 0 {
		log.Info("the member is the only one of its cluster already", "cluster", clusterID(s.Cluster))
		return nil
	}
	if err := s.Damage(); err != nil {
		return fmt.Errorf("--force-new-cluster: %w", err)
	}
	done, err := node.Recover(ctx, node.Recovery{
		Dir: cfg.DataDir, PeerURLs: cfg.AdvertisePeer.Strings(), AdvertiseClient: cfg.AdvertiseClient.Strings(), Logger: log,
	})
	if err != nil {
		return fmt.Errorf("--force-new-cluster: %w", err)
	}
	log.Warn("forced a new cluster of this member alone", "cluster", clusterID(done.Cluster), "was", clusterID(done.OldCluster),
		"revision", done.Revision, "kept", done.Kept)
	return nil
}
