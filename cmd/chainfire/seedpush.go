package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire/api"
	"chainfire/join"
)

func newSeedPush(a *app) *cobra.Command {
	var within time.Duration
	cmd := &cobra.Command{
		Use:   "push ID|NAME|HOST:PORT",
		Short: "Let a newcomer that is being seeded take its seed from this member",
		Long: `Let a newcomer that is being seeded take its seed from the first of --endpoints that
answers, whatever source it has: one that is slow, or far away, or about to be stopped.
The newcomer is named by its id or name, or by its peer address, as 'chainfire status'
shows them. What it has already stays where the two snapshots are alike.

The command ends when the newcomer has the whole seed and has checked it. Interrupted,
or cut off, it changes nothing any more: the newcomer goes on with that source, and with
another if that one fails.

With -w json: {"member_id":"..","from":"..","cluster_id":"..","index":N,"term":N,"files":N,"bytes":N}`,
		Args: needArgs(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if within <= 0 {
				return fmt.Errorf("--within %v: give a time above 0, as 1h", within)
			}
			p := seedPush{target: args[0]}
			if err := a.findNewcomer(cmd.Context(), &p); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), within)
			defer cancel()
			if err := a.pushSeed(ctx, &p); err != nil {
				return fmt.Errorf("seed %s from %s: %w", p.target, p.from, err)
			}
			return a.printPushed(&p)
		},
	}
	cmd.Flags().DurationVar(&within, "within", time.Hour, "how long to follow it")
	return cmd
}

// seedPush is one push.
type seedPush struct {
	target string
	// id or addr is the target, from is the endpoint of the member that is the source.
	id         uint64
	addr, from string
	// meta is what the cluster said of the snapshot.
	meta *api.SnapshotMeta
}

// findNewcomer finds out who is meant, and which member is to be the source.
func (a *app) findNewcomer(ctx context.Context, p *seedPush) error {
	var from snapshotSave
	if err := a.locate(ctx, &from); err != nil {
		return err
	}
	p.from = from.endpoint
	if strings.Contains(p.target, ":") {
		p.addr = p.target
		return nil
	}
	s, err := a.clusterStatus(ctx)
	if err != nil {
		return err
	}
	var members []*api.Member
	for i := range s.Members {
		members = append(members, &api.Member{Id: s.Members[i].ID, Name: s.Members[i].Name})
	}
	p.id, err = findMember(etcdMembers(members), p.target)
	return err
}

func (a *app) pushSeed(ctx context.Context, p *seedPush) (err error) {
	conn, err := a.dialOwn(p.from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	stream, err := api.NewClusterClient(conn).TransferSnapshot(ctx, &api.TransferSnapshotRequest{TargetNodeId: p.id, TargetAddr: p.addr})
	if err != nil {
		return err
	}
	bar, err := newProgress(progressAuto, a.errOut)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bar.Close()) }()
	for {
		m, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return errors.New("the member ended the call without a word; see with 'chainfire status' where the newcomer stands")
		case status.Code(err) == codes.Unimplemented:
			return errors.New("that member is of an older version, which cannot be asked for it: update it, or ask another")
		case err != nil:
			return errors.New(join.Reason(err))
		case m.GetDone():
			return nil
		case m.GetMeta() != nil:
			p.meta = m.GetMeta()
		case m.GetProgress() != nil:
			bar.show(progressEvent{
				Step: string(join.StepSeed), Text: p.target + " from " + p.from,
				Done: int64(m.GetProgress().GetBytesDone()), Total: int64(m.GetProgress().GetBytesTotal()),
			})
		}
	}
}

func (a *app) printPushed(p *seedPush) error {
	if a.format == formatJSON {
		return a.printJSON(struct {
			Member  string `json:"member_id,omitempty"`
			From    string `json:"from"`
			Cluster string `json:"cluster_id"`
			Index   uint64 `json:"index"`
			Term    uint64 `json:"term"`
			Files   int    `json:"files"`
			Bytes   uint64 `json:"bytes"`
		}{
			idText(p.id), p.from, clusterID(p.meta.GetClusterId()), p.meta.GetIndex(), p.meta.GetTerm(), len(p.meta.GetFiles()),
			p.meta.GetTotalBytes(),
		})
	}
	return a.printf("%s has its seed from %s: %s, log index %d of term %d, checked\n",
		p.target, p.from, bytesText(int64(p.meta.GetTotalBytes())), p.meta.GetIndex(), p.meta.GetTerm())
}

// idText is a member's id, or nothing where it is not known.
func idText(id uint64) string {
	if id == 0 {
		return ""
	}
	return memberID(id)
}
