package join

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire/api"
	"chainfire/internal/sched"
)

// callBackAt calls the newcomer back at all of its addresses. One at which nothing answers
// is no harm where it is found at another; one at which somebody else does is.
func (g *Gate) callBackAt(ctx context.Context, q *api.JoinRequest) error {
	var silent error
	found := false
	for _, u := range q.GetPeerUrls() {
		err := g.callBack(ctx, u, q)
		switch {
		case err == nil:
			found = true
		case !errors.Is(err, errNoAnswer):
			return err
		default:
			silent = cmp.Or(silent, err)
		}
	}
	if found {
		return nil
	}
	return silent
}

// errNoAnswer marks that nothing answers at an address.
var errNoAnswer = errors.New("no answer")

// noAnswer is a status that is errNoAnswer.
type noAnswer struct{ error }

func (e noAnswer) GRPCStatus() *status.Status { return status.Convert(e.error) }
func (e noAnswer) Unwrap() error              { return errNoAnswer }

// callBack dials the newcomer and must find that very incarnation there.
func (g *Gate) callBack(ctx context.Context, peerURL string, q *api.JoinRequest) error {
	addr, err := g.opts.Schemes.Address(peerURL)
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "peer URL: %v", err)
	}
	id, _ := g.opts.Host.Identity()
	where := fmt.Sprintf("the leader (member %d) called the newcomer back at %s", id, peerURL)
	ctx, cancel := sched.WithTimeout(ctx, g.opts.Sched, g.opts.CallBackTimeout, nil)
	defer cancel()
	var conn Conn
	if d := g.opts.Door; d != nil {
		conn, err = d.CallBack(addr, q.GetCertificate())
	} else {
		conn, err = g.opts.Dial(addr)
	}
	if err != nil {
		return status.Errorf(codes.FailedPrecondition, "%s: %v", where, err)
	}
	defer func() { _ = conn.Close() }() // the answer is in; nothing is lost with the connection
	asked := g.opts.Sched.Now()
	who, err := api.NewPeerClient(conn).Identify(ctx, &api.IdentifyRequest{})
	switch {
	case err != nil && strings.Contains(err.Error(), "failed to verify certificate"):
		return status.Errorf(codes.FailedPrecondition,
			"%s and found another process there, with another certificate; give the newcomer an address of its own", where)
	case err != nil && misfit(err.Error()) != "":
		return status.Errorf(codes.FailedPrecondition, "%s and could not speak to it: %s", where, misfit(err.Error()))
	case err != nil:
		return noAnswer{status.Errorf(codes.FailedPrecondition,
			"%s and got no answer: %s; give the newcomer an address that the other members can reach (--advertise-peer) and open its peer port",
			where, Reason(err))}
	case who.GetIncarnation() != q.GetIncarnation():
		return status.Errorf(codes.FailedPrecondition,
			"%s and found another process there (member %d of cluster %x); give the newcomer an address of its own",
			where, who.GetMemberId(), who.GetClusterId())
	}
	g.compareClocks(asked, who.GetClockUnixMillis(), peerURL)
	return nil
}
