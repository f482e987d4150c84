package join

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire"
	"chainfire/api"
)

// Door decides who may come in, and gives newcomers what they prove themselves
// with from then on. Where members speak without TLS there is none, and every
// newcomer comes in that passes the other checks. Any goroutine.
type Door interface {
	// Check returns the id of the join token that a secret belongs to, and the hash
	// that the cluster keeps of it; or an error that says, without the secret, why
	// no newcomer is let in with it.
	Check(secret []byte) (token uint64, hash []byte, err error)
	// Matches reports whether a secret is the one of a hash.
	Matches(secret, hash []byte) bool
	// CallBack makes a connection at whose other side exactly this certificate must
	// be shown.
	CallBack(addr string, certificate []byte) (Conn, error)
	// Sign makes the certificate of a newcomer that has a place.
	Sign(request []byte, id uint64, peerURLs []string) (Pass, error)
}

// Pass is what a newcomer proves itself with, in PEM.
type Pass struct {
	Certificate, Authority, AuthorityKey []byte
}

// Ticket is what a reservation is made with.
type Ticket struct {
	// Token is the join token of which it takes a use; 0 takes none.
	Token uint64
	// SecretHash is kept with the reservation, so that the newcomer may ask again
	// when the token is used up.
	SecretHash []byte
	// ReadReplica says that the newcomer never votes.
	ReadReplica bool
	// SeedIndex is the last entry of the snapshot that the newcomer brings along,
	// if it is one to start from; else 0.
	SeedIndex uint64
}

// checkToken lets a newcomer in, or says why not. It tells a stranger nothing else.
func (g *Gate) checkToken(q *api.JoinRequest) (Ticket, error) {
	d := g.opts.Door
	if d == nil {
		return Ticket{}, nil
	}
	if len(q.GetTokenSecret()) == 0 {
		return Ticket{}, status.Error(codes.PermissionDenied,
			"the newcomer has no join token; make one with 'chainfire token create' at a member, and give it with --token or --token-file")
	}
	for _, r := range g.opts.Host.Records() {
		if r.Phase == chainfire.PhaseReserved && r.Incarnation == q.GetIncarnation() && d.Matches(q.GetTokenSecret(), r.SecretHash) {
			return Ticket{SecretHash: r.SecretHash}, nil
		}
	}
	token, hash, err := d.Check(q.GetTokenSecret())
	if err != nil {
		return Ticket{}, status.Errorf(codes.PermissionDenied, "%v; make a new one with 'chainfire token create' at a member", err)
	}
	return Ticket{Token: token, SecretHash: hash}, nil
}

// pass signs what a newcomer with a place goes on with.
func (g *Gate) pass(q *api.JoinRequest, id uint64, out *api.JoinResponse) error {
	if g.opts.Door == nil {
		return nil
	}
	p, err := g.opts.Door.Sign(q.GetCertificateRequest(), id, q.GetPeerUrls())
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "the newcomer's certificate was not signed: %v", err)
	}
	out.Certificate, out.AuthorityCertificate, out.AuthorityKey = p.Certificate, p.Authority, p.AuthorityKey
	return nil
}

// ErrNoToken says that a token was used up or revoked while a newcomer came in with
// it.
var ErrNoToken = errors.New("the join token was used up or revoked")
