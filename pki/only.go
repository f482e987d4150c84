package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Only narrows down who is let in of those that an authority has signed. The zero
// value narrows nothing down.
type Only struct {
	// CRL is a file with what was revoked: one revocation list in DER, or any number of
	// them in PEM. Its certificates are told by their serial numbers alone, as etcd does.
	CRL string
	// CommonNames and Hosts are those of the certificates that are taken; a list that
	// is empty takes any.
	CommonNames, Hosts []string
}

// Given reports whether anything is narrowed down.
func (o *Only) Given() bool { return o.CRL != "" || len(o.CommonNames) > 0 || len(o.Hosts) > 0 }

// admits looks at the certificates that the other side of a connection showed.
func (o *Only) admits(s tls.ConnectionState, r *revoked) error {
	for _, cert := range s.PeerCertificates {
		if r.has(cert) {
			return fmt.Errorf("is not taken: the certificate with serial number %x (%s) was revoked", cert.SerialNumber, presented(cert))
		}
	}
	if len(s.PeerCertificates) == 0 {
		return nil // whether one is needed was decided before
	}
	leaf := s.PeerCertificates[0]
	if len(o.CommonNames) > 0 && !slices.Contains(o.CommonNames, leaf.Subject.CommonName) {
		return fmt.Errorf("is not taken: only those of %s are", strings.Join(o.CommonNames, ", "))
	}
	if len(o.Hosts) > 0 && !slices.ContainsFunc(o.Hosts, func(host string) bool { return leaf.VerifyHostname(host) == nil }) {
		return fmt.Errorf("is not taken: only those for %s are", strings.Join(o.Hosts, ", "))
	}
	return nil
}

// revoked is what revocation lists hold; nil is nothing.
type revoked struct {
	serials map[string]struct{}
	// next is when the first of the lists should have been replaced; zero is never.
	next time.Time
}

const blockCRL = "X509 CRL"

// revocations reads a list in DER, or lists in PEM.
func revocations(text string) (*revoked, error) {
	r := &revoked{serials: map[string]struct{}{}}
	rest := []byte(text)
	block, _ := pem.Decode(rest)
	if block == nil {
		err := r.add(rest)
		return r, err
	}
	for n := 1; ; n++ {
		if block, rest = pem.Decode(rest); block == nil {
			return r, nil
		}
		if block.Type != blockCRL {
			return nil, fmt.Errorf("it holds a %s; only revocation lists belong there", block.Type)
		}
		if err := r.add(block.Bytes); err != nil {
			return nil, fmt.Errorf("list %d: %w", n, err)
		}
	}
}

func (r *revoked) add(der []byte) error {
	if len(der) == 0 {
		return errors.New("it is empty: give a revocation list, in DER or PEM")
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return fmt.Errorf("it is no revocation list in DER or PEM: %w", err)
	}
	for _, e := range list.RevokedCertificateEntries {
		r.serials[string(e.SerialNumber.Bytes())] = struct{}{}
	}
	if !list.NextUpdate.IsZero() && (r.next.IsZero() || list.NextUpdate.Before(r.next)) {
		r.next = list.NextUpdate
	}
	return nil
}

func (r *revoked) has(cert *x509.Certificate) bool {
	if r == nil {
		return false
	}
	_, ok := r.serials[string(cert.SerialNumber.Bytes())]
	return ok
}

// warn tells of lists that should have been replaced; they are in force all the same.
func (r *revoked) warn(log *slog.Logger, now time.Time) {
	if r != nil && !r.next.IsZero() && now.After(r.next) {
		log.Warn("the revocation list is old: it should have been replaced; what it revokes stays so", "next_update", r.next.UTC().Format(time.RFC3339))
	}
}
