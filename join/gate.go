package join

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/api"
	"chainfire/internal/sched"
)

// Record is a member or a reservation as the replicated state has it.
type Record struct {
	chainfire.MemberInfo
	Incarnation uint64
	Phase       chainfire.MemberPhase
	// ReservedIndex is the log index of its reservation.
	ReservedIndex uint64
	// SecretHash is that of the ticket, while it is a reservation.
	SecretHash []byte
	// Replaces is the member whose place it was promised; 0 is nobody's.
	Replaces uint64
}

// Reservation is what the gate asks the host to keep of a newcomer.
type Reservation struct {
	Name                 string
	PeerURLs, ClientURLs []string
	Incarnation          uint64
	// Replaces is the member whose place it takes; 0 is nobody's.
	Replaces uint64
	Ticket   Ticket
}

// ErrNameExists says that a live member has the newcomer's name.
var ErrNameExists = errors.New("member name already exists")

// ErrPlaceGone says that the member that a newcomer is to replace is gone, or is
// promised to another.
var ErrPlaceGone = errors.New("the place of the member to be replaced is gone")

// Host is what the gate needs of the member it stands at. Every method may be
// called from any goroutine. The changing ones work on the leader only.
type Host interface {
	ClusterID() uint64
	// FeatureLevel is that of the cluster, which every member knows.
	FeatureLevel() uint64
	// Identity is this member.
	Identity() (id, incarnation uint64)
	// Leader is the leader's id, 0 when none is known.
	Leader() uint64
	// Peer is a connection to another member's peer port.
	Peer(id uint64) (api.PeerClient, error)
	Records() []Record
	// Reserve commits a reservation and returns the id and its log index. It
	// returns chainfire.ErrPeerURLExists or ErrNameExists where it was overtaken
	// by another, ErrNoToken where the ticket's token is gone, ErrPlaceGone where the
	// member that it replaces cannot be any more.
	Reserve(ctx context.Context, r *Reservation) (id, index uint64, err error)
	// Active reports whether the leader hears a member.
	Active(id uint64) bool
	// Release gives a reservation up.
	Release(ctx context.Context, id uint64) error
	// AddLearner brings a reservation into the configuration.
	AddLearner(ctx context.Context, id uint64) error
	// RemoveLearner takes a learner out of the configuration.
	RemoveLearner(ctx context.Context, id uint64) error
	// FirstIndex is the first index of this member's log.
	FirstIndex() uint64
	// EntryTerm is the term of an entry at or after FirstIndex-1, and whether it is
	// committed. An index before that, or after the log, is an error.
	EntryTerm(index uint64) (term uint64, committed bool, err error)
	// Linearize waits until Records reflects everything that was committed
	// before the call.
	Linearize(ctx context.Context) error
	// Sources lists the members to seed from, best first.
	Sources() []uint64
	// Order puts the peer URLs of a member in the order in which they are to be tried.
	Order(id uint64, urls []string) []string
	// Progress is what the leader knows of a member.
	Progress(id uint64) (match, commit uint64, reason string)
	// Contact records a word of a newcomer, with the bytes of its seed.
	Contact(id uint64, seedDone, seedTotal uint64)
}

// GateOptions configure a Gate.
type GateOptions struct {
	Host    Host
	Version string
	// Door decides who comes in; nil lets everybody in.
	Door Door
	// Schemes are those of this cluster's peer URLs; a newcomer with another would be
	// reached by nobody.
	Schemes Schemes
	Logger  *slog.Logger
	// CallBackTimeout bounds the call back to one address. Default 3 s.
	CallBackTimeout time.Duration
	// Dial connects to peer ports; the default is Dial.
	Dial Dialer
	// Sched is where the waiting is done; the default is sched.Go.
	Sched sched.Scheduler
	// SilenceWait is how long the gate waits for a member that is to be replaced to
	// fall silent: more than the election timeout. Default 1 s.
	SilenceWait time.Duration
	// MaxReservations bounds the joins under way. Default 16.
	MaxReservations int
	// SealKey is what newcomers are given to seal secrets with, nil for nothing. Nil, the
	// function gives none.
	SealKey func() []byte
	// ClockTolerance is by how much the clock of a newcomer may differ from that of
	// the leader; 0 is no bound, where nothing ends by the clock.
	ClockTolerance time.Duration
}

// Gate serves the calls by which a newcomer comes in, on every member; what
// only the leader can do is passed on to it.
type Gate struct {
	opts GateOptions
}

// NewGate makes a gate.
func NewGate(o GateOptions) *Gate {
	if o.CallBackTimeout == 0 {
		o.CallBackTimeout = 3 * time.Second
	}
	if o.SilenceWait == 0 {
		o.SilenceWait = time.Second
	}
	if o.MaxReservations == 0 {
		o.MaxReservations = 16
	}
	if o.Dial == nil {
		o.Dial = Dial
	}
	o.Sched = sched.Or(o.Sched)
	return &Gate{opts: o}
}

const forwardedKey = "chainfire-forwarded"

// leader returns a client for the leader, or nil when this member leads.
func (g *Gate) leader(ctx context.Context) (context.Context, api.PeerClient, error) {
	lead := g.opts.Host.Leader()
	self, _ := g.opts.Host.Identity()
	switch lead {
	case self:
		return ctx, nil, nil
	case 0:
		return ctx, nil, status.Error(codes.Unavailable, "the cluster has no leader at the moment; try again")
	}
	if md, ok := metadata.FromIncomingContext(ctx); ok && len(md.Get(forwardedKey)) > 0 {
		return ctx, nil, status.Error(codes.Unavailable, "the leader is changing; try again")
	}
	c, err := g.opts.Host.Peer(lead)
	if err != nil {
		return ctx, nil, status.Errorf(codes.Unavailable, "cannot reach the leader %d: %v", lead, err)
	}
	return metadata.AppendToOutgoingContext(ctx, forwardedKey, "1"), c, nil
}

// pass runs a call on the leader: here, or where it is.
func pass[Q, A any](ctx context.Context, g *Gate, q Q,
	here func(context.Context, Q) (A, error),
	there func(api.PeerClient, context.Context, Q, ...grpc.CallOption) (A, error),
) (A, error) {
	ctx, c, err := g.leader(ctx)
	if err != nil {
		var none A
		return none, err
	}
	if c != nil {
		return there(c, ctx, q)
	}
	// A leader that was just elected may not have applied the newcomer's own
	// reservation yet.
	if err := g.opts.Host.Linearize(ctx); err != nil {
		var none A
		return none, unavailable("confirm leadership", err)
	}
	return here(ctx, q)
}

// Join checks a newcomer and reserves its place.
func (g *Gate) Join(ctx context.Context, q *api.JoinRequest) (*api.JoinResponse, error) {
	return pass(ctx, g, q, g.join, api.PeerClient.Join)
}

func (g *Gate) join(ctx context.Context, q *api.JoinRequest) (*api.JoinResponse, error) {
	h := g.opts.Host
	ticket, err := g.checkToken(q)
	if err != nil {
		return nil, err
	}
	ticket.ReadReplica = q.GetReadReplica()
	if err := checkCluster(q, h.ClusterID()); err != nil {
		return nil, err
	}
	if q.GetIncarnation() == 0 {
		return nil, status.Error(codes.InvalidArgument, "the newcomer has no incarnation")
	}
	if err := g.checkVersion(q); err != nil {
		return nil, err
	}
	if err := g.checkLevel(q); err != nil {
		return nil, err
	}
	if err := g.checkClock(q); err != nil {
		return nil, err
	}
	if err := g.checkURLs(q.GetPeerUrls()); err != nil {
		return nil, err
	}
	old, err := g.replaced(ctx, q)
	if err != nil {
		return nil, err
	}
	if err := g.checkUnique(q, old.ID); err != nil {
		return nil, err
	}
	if ticket.SeedIndex, err = g.checkSeed(q.GetSeedIndex(), q.GetSeedTerm()); err != nil {
		return nil, err
	}
	if err := g.callBackAt(ctx, q); err != nil {
		return nil, err
	}
	id, index, err := h.Reserve(ctx, &Reservation{
		Name: q.GetName(), PeerURLs: q.GetPeerUrls(), ClientURLs: q.GetClientUrls(), Incarnation: q.GetIncarnation(),
		Replaces: old.ID, Ticket: ticket,
	})
	switch {
	case errors.Is(err, ErrPlaceGone):
		return nil, status.Errorf(codes.FailedPrecondition, "--replace: member %s: %v", old.Called(), err)
	case errors.Is(err, ErrNoToken):
		return nil, status.Errorf(codes.PermissionDenied, "%v; make a new one with 'chainfire token create' at a member", err)
	case errors.Is(err, chainfire.ErrPeerURLExists), errors.Is(err, ErrNameExists):
		return nil, status.Errorf(codes.AlreadyExists, "another newcomer came first: %v", err)
	case err != nil:
		return nil, unavailable("reserve a place", err)
	}
	h.Contact(id, 0, 0)
	return g.answer(q, id, index, old.ID, ticket)
}

// answer tells a newcomer all that it needs to come in.
func (g *Gate) answer(q *api.JoinRequest, id, index, replaces uint64, ticket Ticket) (*api.JoinResponse, error) {
	h := g.opts.Host
	out := &api.JoinResponse{ClusterId: h.ClusterID(), MemberId: id, ReservedIndex: index, Replaces: replaces}
	if ticket.SeedIndex != 0 {
		// The log may have been cut before the reservation held it.
		out.SeedAccepted = h.FirstIndex() <= ticket.SeedIndex+1
	}
	if err := g.pass(q, id, out); err != nil {
		return nil, err
	}
	if g.opts.SealKey != nil {
		out.SealKey = g.opts.SealKey()
	}
	out.ClockUnixMillis = g.opts.Sched.Now().UnixMilli()
	records := h.Records()
	for _, r := range records {
		if r.ID != id {
			out.Members = append(out.Members, r.member())
		}
	}
	for _, s := range h.Sources() {
		if i := slices.IndexFunc(records, func(r Record) bool { return r.ID == s }); i >= 0 {
			for _, u := range h.Order(s, records[i].PeerURLs) {
				out.Sources = append(out.Sources, &api.SnapshotSource{MemberId: s, PeerUrl: u})
			}
		}
	}
	return out, nil
}

// checkUnique names the member that a newcomer collides with; the one that it
// replaces does not count.
func (g *Gate) checkUnique(q *api.JoinRequest, replaced uint64) error {
	reserved := 0
	for _, r := range g.opts.Host.Records() {
		if r.Incarnation == q.GetIncarnation() {
			if r.Phase == chainfire.PhaseReserved || sameURLs(r.PeerURLs, q.GetPeerUrls()) {
				continue
			}
			return status.Errorf(codes.AlreadyExists,
				"this data directory is member %d (%s) already; start it without --join, or with an empty directory", r.ID, r.Name)
		}
		if r.Phase == chainfire.PhaseReserved {
			reserved++
		}
		if r.ID == replaced {
			continue
		}
		if r.Phase == chainfire.PhaseUnstarted && sameURLs(r.PeerURLs, q.GetPeerUrls()) {
			// The place was kept for this one, by name as well perhaps.
			if !r.Learner && q.GetReadReplica() {
				return status.Errorf(codes.FailedPrecondition,
					"member %d at %s was added by hand as a voter; start the newcomer without --read-replica, or remove that member first", r.ID, strings.Join(r.PeerURLs, ","))
			}
			continue
		}
		for _, u := range q.GetPeerUrls() {
			switch {
			case !slices.Contains(r.PeerURLs, u):
			case r.Phase == chainfire.PhaseUnstarted:
				return status.Errorf(codes.FailedPrecondition, "a place is kept for member %s, with the peer URLs %s, and the newcomer's are %s: start it with just those of its place",
					r.Called(), strings.Join(r.PeerURLs, ","), strings.Join(q.GetPeerUrls(), ","))
			default:
				return taken(&r, u, q)
			}
		}
		if q.GetName() != "" && r.Name == q.GetName() {
			return taken(&r, "", q)
		}
	}
	if reserved >= g.opts.MaxReservations {
		return status.Errorf(codes.ResourceExhausted, "%d joins are under way already; try again when they are done", reserved)
	}
	return nil
}

// find returns the record of a newcomer that proves who it is.
func (g *Gate) find(cluster, id, incarnation uint64) (Record, error) {
	h := g.opts.Host
	if cluster != h.ClusterID() {
		return Record{}, status.Errorf(codes.FailedPrecondition, "this is cluster %x, not cluster %x", h.ClusterID(), cluster)
	}
	for _, r := range h.Records() {
		if r.ID == id && r.Incarnation == incarnation {
			return r, nil
		}
	}
	return Record{}, status.Errorf(codes.NotFound, "member %d has no place in the cluster any more: the join was given up or the member removed; join again with an empty directory", id)
}

// Learn adds a seeded newcomer as a learner.
func (g *Gate) Learn(ctx context.Context, q *api.LearnRequest) (*api.LearnResponse, error) {
	return pass(ctx, g, q, g.learn, api.PeerClient.Learn)
}

func (g *Gate) learn(ctx context.Context, q *api.LearnRequest) (*api.LearnResponse, error) {
	h := g.opts.Host
	r, err := g.find(q.GetClusterId(), q.GetMemberId(), q.GetIncarnation())
	if err != nil {
		return nil, err
	}
	if r.Phase == chainfire.PhaseReserved {
		if first := h.FirstIndex(); q.GetSnapshotIndex()+1 < first {
			return nil, status.Errorf(codes.OutOfRange, "the log begins at index %d, after the snapshot at %d; seed again", first, q.GetSnapshotIndex())
		}
		h.Contact(r.ID, 0, 0)
		if err := h.AddLearner(ctx, r.ID); err != nil {
			return nil, unavailable("add the learner", err)
		}
	}
	out := &api.LearnResponse{Phase: string(chainfire.PhaseLearner)}
	for _, m := range h.Records() {
		if m.ID == r.ID && m.Phase == chainfire.PhaseVoter {
			out.Phase = string(chainfire.PhaseVoter)
		}
		out.Members = append(out.Members, m.member())
	}
	return out, nil
}

// JoinStatus tells a newcomer where it stands.
func (g *Gate) JoinStatus(ctx context.Context, q *api.JoinStatusRequest) (*api.JoinStatusResponse, error) {
	return pass(ctx, g, q, g.joinStatus, api.PeerClient.JoinStatus)
}

func (g *Gate) joinStatus(_ context.Context, q *api.JoinStatusRequest) (*api.JoinStatusResponse, error) {
	h := g.opts.Host
	r, err := g.find(q.GetClusterId(), q.GetMemberId(), q.GetIncarnation())
	if err != nil {
		return nil, err
	}
	h.Contact(r.ID, q.GetSeedBytesDone(), q.GetSeedBytesTotal())
	out := &api.JoinStatusResponse{Phase: string(r.Phase)}
	out.MatchIndex, out.CommitIndex, out.Reason = h.Progress(r.ID)
	for _, m := range h.Records() {
		if m.Phase == chainfire.PhaseVoter {
			out.Voters = append(out.Voters, m.ID)
		}
		out.Members = append(out.Members, m.member())
	}
	return out, nil
}

// Abandon takes everything of a join out again.
func (g *Gate) Abandon(ctx context.Context, q *api.AbandonRequest) (*api.AbandonResponse, error) {
	return pass(ctx, g, q, g.abandon, api.PeerClient.Abandon)
}

func (g *Gate) abandon(ctx context.Context, q *api.AbandonRequest) (*api.AbandonResponse, error) {
	r, err := g.find(q.GetClusterId(), q.GetMemberId(), q.GetIncarnation())
	if status.Code(err) == codes.NotFound {
		return &api.AbandonResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	g.opts.Logger.Info("join abandoned", "member", r.ID, "name", r.Name, "reason", q.GetReason())
	switch r.Phase {
	case chainfire.PhaseReserved:
		err = g.opts.Host.Release(ctx, r.ID)
	case chainfire.PhaseLearner:
		err = g.opts.Host.RemoveLearner(ctx, r.ID)
	default:
		return nil, status.Errorf(codes.FailedPrecondition, "member %d is a voter; use 'chainfire member remove'", r.ID)
	}
	if err != nil {
		return nil, unavailable("take the newcomer out", err)
	}
	return &api.AbandonResponse{}, nil
}

func (r Record) member() *api.Member {
	return &api.Member{
		Id: r.ID, Name: r.Name, PeerUrls: r.PeerURLs, ClientUrls: r.ClientURLs,
		Learner: r.Phase != chainfire.PhaseVoter, Incarnation: r.Incarnation, ReadReplica: r.ReadReplica,
	}
}

// unavailable keeps a status as it is and turns anything else into one that a
// newcomer tries again on.
func unavailable(doing string, err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Errorf(codes.Unavailable, "%s: %v", doing, err)
}
