package pki

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"chainfire/internal/disk"
)

// The files of a member's credentials. The two keys are secrets: whoever runs the
// member sees to it that new files are its own alone (mode 0600).
const (
	authorityCertFile = "ca.crt"
	authorityKeyFile  = "ca.key"
	memberCertFile    = "member.crt"
	memberKeyFile     = "member.key"
	maxFile           = 64 << 10
	// maxAuthorities and maxCRL are for what an operator collects.
	maxAuthorities = 1 << 20
	maxCRL         = 4 << 20
)

// Save writes the credentials of a member that has joined, and the authority if
// the member holds it, into a folder that is there. Each file is replaced whole,
// the keys before the certificates that need them.
func (c *Credentials) Save(f disk.FS, dir string, a *Authority) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.leaf == nil {
		return errors.New("save credentials: the member has no certificate yet")
	}
	key, err := encodeKey(c.key)
	if err != nil {
		return err
	}
	type file struct {
		name string
		data []byte
	}
	files := []file{{memberKeyFile, key}}
	if a != nil {
		key, err := a.KeyPEM()
		if err != nil {
			return err
		}
		files = append(files, file{authorityKeyFile, key})
	}
	files = append(files,
		file{authorityCertFile, pem.EncodeToMemory(&pem.Block{Type: blockCert, Bytes: c.authority.Raw})},
		file{memberCertFile, pem.EncodeToMemory(&pem.Block{Type: blockCert, Bytes: c.leaf.Raw})})
	for _, x := range files {
		if err := disk.WriteFileAtomic(f, f.PathJoin(dir, x.name), x.data); err != nil {
			return fmt.Errorf("save credentials: %w", err)
		}
	}
	return nil
}

// Load reads what Save wrote. The authority is nil where only its certificate is
// there. Without a member's certificate it returns fs.ErrNotExist. A certificate
// that has ended is loaded all the same: the member asks for a new one.
func Load(f disk.FS, dir string, m Member) (*Credentials, *Authority, error) {
	read := func(name string) ([]byte, error) { return disk.ReadFile(f, f.PathJoin(dir, name), maxFile) }
	certPEM, err := read(memberCertFile)
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err := read(memberKeyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("the member's key: %w", err)
	}
	authorityPEM, err := read(authorityCertFile)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate of the cluster's authority: %w", err)
	}
	c := &Credentials{}
	if c.key, err = parseKey(keyPEM); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f.PathJoin(dir, memberKeyFile), err)
	}
	leaf, err := parseCert(certPEM)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f.PathJoin(dir, memberCertFile), err)
	}
	// As of the moment it was signed: what has ended since is renewed.
	if err := c.Adopt(m, certPEM, authorityPEM, leaf.NotBefore.Add(time.Second)); err != nil {
		return nil, nil, fmt.Errorf("credentials in %s: %w", dir, err)
	}
	authorityKey, err := read(authorityKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	a, err := ParseAuthority(m.Cluster, authorityPEM, authorityKey)
	if err != nil {
		return nil, nil, fmt.Errorf("credentials in %s: %w", dir, err)
	}
	return c, a, nil
}
