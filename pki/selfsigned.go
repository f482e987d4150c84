package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"time"

	"chainfire/internal/disk"
)

// selfSigned is a port for which a certificate is made that signs itself.
type selfSigned struct{ cert, key, port, flag string }

var (
	forClients = selfSigned{"client.crt", "client.key", "client port", "--auto-tls"}
	forMembers = selfSigned{"peer.crt", "peer.key", "peer port", "--peer-auto-tls"}
)

// MaxSelfSignedYears bounds how long a certificate of SelfSigned is good.
const MaxSelfSignedYears = 100

// SelfSigned is a certificate for the client port that signs itself, in a folder of
// its own: the one that is there, while it is good for the hosts, or a new one, good
// for so many years of 365 days. made reports which. Clients that are to check it need a copy of the
// certificate.
func SelfSigned(f disk.FS, dir string, hosts []string, years int, now time.Time) (files Files, made bool, err error) {
	return forClients.make(f, dir, hosts, years, now)
}

// SelfSignedPeer is SelfSigned for the peer port, with files of its own in the folder.
// Nobody checks it: see Unproven.
func SelfSignedPeer(f disk.FS, dir string, hosts []string, years int, now time.Time) (files Files, made bool, err error) {
	return forMembers.make(f, dir, hosts, years, now)
}

func (s selfSigned) make(f disk.FS, dir string, hosts []string, years int, now time.Time) (files Files, made bool, err error) {
	if years < 1 || years > MaxSelfSignedYears {
		return Files{}, false, fmt.Errorf("a certificate for %d years: give between 1 and %d", years, MaxSelfSignedYears)
	}
	files = Files{Cert: f.PathJoin(dir, s.cert), Key: f.PathJoin(dir, s.key)}
	good, err := s.stillGood(f, files, hosts, now)
	if err != nil || good {
		return files, false, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Files{}, false, fmt.Errorf("make a key: %w", err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return Files{}, false, err
	}
	serial, err := newSerial()
	if err != nil {
		return Files{}, false, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"ChainFire"}, CommonName: "ChainFire " + s.port},
		NotBefore: now.Add(-ClockTolerance), NotAfter: now.Add(time.Duration(years) * 365 * 24 * time.Hour),
		// Whoever checks it takes it for an authority; it signs nothing else.
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return Files{}, false, fmt.Errorf("make a certificate: %w", err)
	}
	if err := disk.MkdirAll(f, dir); err != nil {
		return Files{}, false, err
	}
	for _, x := range []struct {
		path string
		data []byte
	}{{files.Key, keyPEM}, {files.Cert, pem.EncodeToMemory(&pem.Block{Type: blockCert, Bytes: der})}} {
		if err := disk.WriteFileAtomic(f, x.path, x.data); err != nil {
			return Files{}, false, fmt.Errorf("save the certificate of the %s: %w", s.port, err)
		}
	}
	return files, true, nil
}

// stillGood reports whether there is a certificate that clients at all of the hosts
// would take for now. One that is damaged, or without its key, is not.
func (s selfSigned) stillGood(f disk.FS, files Files, hosts []string, now time.Time) (bool, error) {
	cert, err := disk.ReadFile(f, files.Cert, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	key, err := disk.ReadFile(f, files.Key, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	pair, err := keyPair(s.flag, files.Cert, string(cert), s.flag, files.Key, string(key))
	if err != nil {
		return false, nil
	}
	for _, h := range hosts {
		if pair.Leaf.VerifyHostname(h) != nil {
			return false, nil
		}
	}
	return inTime(pair.Leaf, now) == nil, nil
}
