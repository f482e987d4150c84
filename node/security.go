package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"chainfire/api"
	"chainfire/internal/disk"
	"chainfire/internal/sched"
	"chainfire/join"
	"chainfire/machine"
	"chainfire/pki"
)

const (
	// pkiDir holds the member's credentials.
	pkiDir = "pki"
	// tokenFile holds the join token that the first member made.
	tokenFile = "join-token"
	// founderToken is the id of that token: entry 1 stands for the bootstrap.
	founderToken = firstIndex
)

// The first access key of S3: the file that holds it, and the mark of a member that owes it.
const (
	firstKeyFile = "s3-root-key"
	firstKeyMark = "s3-root-key-owed"
)

// FirstKeyFile is where the first access key of S3 lies in the data directory of the member
// that made it. FirstKeyMark is there until it is made; see Options.OweFirstKey.
func FirstKeyFile(dir string) string { return disk.OS().PathJoin(dir, firstKeyFile) }

// FirstKeyMark is the mark of a member that owes a new cluster its first access key.
func FirstKeyMark(dir string) string { return disk.OS().PathJoin(dir, firstKeyMark) }

// TokenFile is where the first member of a cluster in a data directory leaves the
// join token that it made.
func TokenFile(dir string) string { return disk.OS().PathJoin(dir, tokenFile) }

// loadCredentials reads what this member proves itself with, or makes what a
// newcomer begins with.
func (n *Node) loadCredentials(id identity, found bool) error {
	if n.opts.Plain {
		return nil
	}
	switch {
	case n.opts.PeerFiles.Given():
		return n.loadOwn()
	case n.opts.unproven():
		return n.loadUnproven()
	}
	var err error
	if !found {
		n.creds, err = pki.NewCredentials(n.sched.Now())
		if n.opts.Token != nil && err == nil {
			n.creds.ExpectCluster(*n.opts.Token)
		}
		return err
	}
	m := pki.Member{Cluster: id.Cluster, ID: id.Member}
	n.creds, n.authority, err = pki.Load(n.opts.FS, n.path(pkiDir), m)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has no certificate of this member: its cluster was made without TLS between members, so start it with http:// in --listen-peer; or with certificates of its operator, so give --peer-cert-file, --peer-key-file and --peer-trusted-ca-file; or restore the folder from a backup",
			n.path(pkiDir))
	}
	if err != nil {
		return fmt.Errorf("load the member's credentials: %w", err)
	}
	return n.renewCredentials()
}

// ownInterval is how often an operator's files are read again, beside the look at
// them in every handshake.
const ownInterval = 10 * time.Second

// loadOwn reads the certificates of the operator.
func (n *Node) loadOwn() (err error) {
	o := n.opts.ownOptions()
	o.Now = n.sched.Now
	n.own, err = pki.LoadOwn(o)
	if err != nil {
		return err
	}
	n.log.Info("members are known by certificates of their operator", "ca_file", n.opts.PeerFiles.Authorities,
		"ends", n.own.Ends().UTC().Format(time.RFC3339))
	n.tasks.Go(func() {
		ticks, stop := sched.Tick(n.sched, ownInterval)
		defer stop()
		for n.sched.Wait(n.stop, ticks) == 1 {
			n.own.Refresh()
		}
	})
	return nil
}

// autoTLSDir holds certificates that sign themselves.
const autoTLSDir = "auto-tls"

// loadUnproven makes a certificate that signs itself, or takes the one of before.
func (n *Node) loadUnproven() error {
	var hosts []string
	for _, u := range slices.Concat(n.opts.Peers.Listen, n.opts.Peers.Advertise) {
		if x, err := url.Parse(u); err == nil && !join.LocalScheme(x.Scheme) {
			hosts = append(hosts, x.Hostname())
		}
	}
	files, _, err := pki.SelfSignedPeer(n.opts.FS, n.path(autoTLSDir), hosts, n.opts.Peers.AutoTLSYears, n.sched.Now())
	if err == nil {
		n.unproven, err = pki.NewUnproven(n.opts.FS, files, n.opts.Peers.Limits)
	}
	if err != nil {
		return fmt.Errorf("a certificate for the peer port: %w", err)
	}
	n.log.Warn("where members speak TLS (https://) it is TLS that proves nothing: it keeps out who listens, and neither who stands between two members nor who reaches a peer port, "+
		"who is taken for a member; give --peer-cert-file, --peer-key-file and --peer-trusted-ca-file in a network that others reach", "file", files.Cert)
	return nil
}

// adoptPass makes the credentials those of a member, durably.
func (n *Node) adoptPass(m pki.Member, p join.Pass) error {
	if err := n.creds.Adopt(m, p.Certificate, p.Authority, n.sched.Now()); err != nil {
		return err
	}
	authority, err := pki.ParseAuthority(m.Cluster, p.Authority, p.AuthorityKey)
	if err != nil {
		return err
	}
	n.authority = authority
	return n.saveCredentials()
}

func (n *Node) saveCredentials() error {
	if err := disk.MkdirAll(n.opts.FS, n.path(pkiDir)); err != nil {
		return err
	}
	return n.creds.Save(n.opts.FS, n.path(pkiDir), n.authority)
}

// foundAuthority makes the authority of a new cluster, its first member's
// credentials, and the first join token.
func (n *Node) foundAuthority(id identity, peerURLs []string) ([]machine.TokenRecord, error) {
	if n.creds == nil {
		return nil, nil
	}
	authority, err := pki.NewAuthority(id.Cluster, n.sched.Now())
	if err != nil {
		return nil, err
	}
	key, err := authority.KeyPEM()
	if err != nil {
		return nil, err
	}
	m := n.memberOf(id.Cluster, id.Member, peerURLs)
	request, err := n.creds.Request()
	if err != nil {
		return nil, err
	}
	cert, err := authority.Sign(request, m, n.sched.Now())
	if err != nil {
		return nil, err
	}
	if err := n.adoptPass(m, join.Pass{Certificate: cert, Authority: authority.CertPEM(), AuthorityKey: key}); err != nil {
		return nil, err
	}
	token, err := pki.NewToken(authority.CertPEM())
	if err != nil {
		return nil, err
	}
	if err := disk.WriteFileAtomic(n.opts.FS, n.path(tokenFile), []byte(token.Text()+"\n")); err != nil {
		return nil, fmt.Errorf("write the join token: %w", err)
	}
	hash := token.SecretHash()
	return []machine.TokenRecord{{ID: founderToken, SecretHash: hash[:]}}, nil
}

func (n *Node) memberOf(cluster, id uint64, peerURLs []string) pki.Member {
	m := pki.Member{Cluster: cluster, ID: id}
	for _, u := range peerURLs {
		if x, err := url.Parse(u); err == nil && x.Hostname() != "" {
			m.Hosts = append(m.Hosts, x.Hostname())
		}
	}
	return m
}

// renewCredentials gives the member a new certificate when it is time. Members
// hold the authority, so that each does so by itself.
func (n *Node) renewCredentials() error {
	if n.creds == nil || n.authority == nil || !n.creds.Renew(n.sched.Now()) {
		return nil
	}
	request, err := n.creds.Request()
	if err != nil {
		return err
	}
	m := n.creds.Member()
	cert, err := n.authority.Sign(request, m, n.sched.Now())
	if err == nil {
		err = n.creds.Adopt(m, cert, n.authority.CertPEM(), n.sched.Now())
	}
	if err == nil {
		err = n.saveCredentials()
	}
	if err != nil {
		return fmt.Errorf("renew the member's certificate: %w", err)
	}
	n.log.Info("certificate renewed", "ends", n.creds.Expiry().UTC().Format(time.RFC3339))
	return nil
}

// door is the node as the gate's door (join.Door).
type door struct{ n *Node }

var _ join.Door = door{}

var errTokenUnknown = errors.New("the join token is not known here: it is of another cluster, or was revoked or used up")

// Check implements join.Door.
func (d door) Check(secret []byte) (token uint64, hash []byte, err error) {
	err = errTokenUnknown
	for _, t := range d.n.machine.Tokens() {
		if !pki.Matches(secret, t.SecretHash) {
			continue
		}
		token, hash, err = t.ID, t.SecretHash, nil
		if end := time.Unix(t.Expires, 0); t.Expires != 0 && d.n.sched.Now().After(end) {
			err = fmt.Errorf("the join token ended at %s", end.UTC().Format(time.RFC3339))
		}
	}
	return token, hash, err
}

// Matches implements join.Door.
func (d door) Matches(secret, hash []byte) bool { return pki.Matches(secret, hash) }

// CallBack implements join.Door.
func (d door) CallBack(addr string, certificate []byte) (join.Conn, error) {
	cfg, err := pki.CallBackTLS(certificate)
	if err != nil {
		return nil, err
	}
	return join.DialWith(addr, credentials.NewTLS(cfg))
}

// Sign implements join.Door.
func (d door) Sign(request []byte, id uint64, peerURLs []string) (join.Pass, error) {
	a := d.n.authority
	if a == nil {
		return join.Pass{}, errors.New("this member does not hold the key of the cluster's authority")
	}
	cert, err := a.Sign(request, d.n.memberOf(d.n.cluster, id, peerURLs), d.n.sched.Now())
	if err != nil {
		return join.Pass{}, err
	}
	key, err := a.KeyPEM()
	return join.Pass{Certificate: cert, Authority: a.CertPEM(), AuthorityKey: key}, err
}

var errPlain = status.Error(codes.FailedPrecondition, "the members of this cluster speak without TLS (http:// peer URLs); newcomers need no token")

var errUnproven = status.Error(codes.FailedPrecondition, "the members of this cluster speak TLS that proves nothing (--peer-auto-tls); newcomers need no token")

var errOwn = status.Error(codes.FailedPrecondition, "the members of this cluster know each other by certificates of their operator; newcomers need one (--peer-cert-file) and no token")

// maxTokenTTL bounds a token's life; what is to last longer has no end.
const maxTokenTTL = 10 * 365 * 24 * time.Hour

// CreateToken implements api.ClusterServer.
func (s clusterService) CreateToken(ctx context.Context, q *api.CreateTokenRequest) (*api.CreateTokenResponse, error) {
	if _, err := s.n.service.gate(); err != nil {
		return nil, err
	}
	switch {
	case s.n.own != nil:
		return nil, errOwn
	case s.n.unproven != nil:
		return nil, errUnproven
	case s.n.authority == nil:
		return nil, errPlain
	}
	ttl := time.Duration(q.GetTtlSeconds()) * time.Second
	if q.GetTtlSeconds() < 0 || q.GetTtlSeconds() > int64(maxTokenTTL/time.Second) {
		return nil, status.Errorf(codes.InvalidArgument, "a token lives between 1 second and %d days, or with 0 without an end", maxTokenTTL/(24*time.Hour))
	}
	token, err := pki.NewToken(s.n.authority.CertPEM())
	if err != nil {
		return nil, err
	}
	hash := token.SecretHash()
	c := &machine.CreateToken{SecretHash: hash[:], Uses: q.GetUses()}
	if ttl > 0 {
		c.Expires = s.n.sched.Now().Add(ttl).Unix()
	}
	r, err := s.n.do(ctx, &machine.Command{CreateToken: c})
	if errors.Is(err, machine.ErrTooManyTokens) {
		return nil, status.Errorf(codes.ResourceExhausted, "%v; revoke some with 'chainfire token revoke'", err)
	}
	if err != nil {
		return nil, err
	}
	return &api.CreateTokenResponse{
		Text: token.Text(), Token: &api.Token{Id: r.TokenID, Expires: c.Expires, Uses: c.Uses},
	}, nil
}

// ListTokens implements api.ClusterServer.
func (s clusterService) ListTokens(ctx context.Context, _ *api.ListTokensRequest) (*api.ListTokensResponse, error) {
	if _, err := s.n.service.gate(); err != nil {
		return nil, err
	}
	if err := s.n.linearize(ctx); err != nil {
		return nil, err
	}
	out := &api.ListTokensResponse{}
	for _, t := range s.n.machine.Tokens() {
		if t.Expires == 0 || s.n.sched.Now().Before(time.Unix(t.Expires, 0)) {
			out.Tokens = append(out.Tokens, &api.Token{Id: t.ID, Expires: t.Expires, Uses: t.Uses})
		}
	}
	return out, nil
}

// RevokeToken implements api.ClusterServer.
func (s clusterService) RevokeToken(ctx context.Context, q *api.RevokeTokenRequest) (*api.RevokeTokenResponse, error) {
	if _, err := s.n.service.gate(); err != nil {
		return nil, err
	}
	_, err := s.n.do(ctx, &machine.Command{RevokeToken: &machine.RevokeToken{ID: q.GetId()}})
	if errors.Is(err, machine.ErrNoToken) {
		return nil, status.Errorf(codes.NotFound, "there is no join token %d; see 'chainfire token list'", q.GetId())
	}
	if err != nil {
		return nil, err
	}
	return &api.RevokeTokenResponse{}, nil
}
