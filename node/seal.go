package node

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"chainfire/internal/disk"
	"chainfire/object"
	"chainfire/pki"
)

// The secrets of access keys must be had back to check a signature, so that the state holds
// them sealed, with a key that every member has and that is in no store, log or snapshot. It
// is, in this order: what Options.SealKeyFile holds; what the seal file of the data directory
// holds; or what follows from the key of the cluster's authority. Where there is no authority
// the first member of a cluster makes the file, and hands what is in it to those who join. A
// recovery, which makes another authority, leaves a file with what followed from the old one.

// sealFile holds the sealing key of a data directory.
const sealFile = "seal.key"

// ErrSealedElse says that a secret cannot be had back with this member's sealing key.
var ErrSealedElse = errors.New("the secret was sealed with another sealing key than that of this member, or for another access key, or is damaged")

// Lengths in bytes. A key that an operator gives may be longer than sealKeyLen, up to
// maxSealKey.
const (
	sealKeyLen  = 32
	maxSealKey  = 4 << 10
	sealMarkLen = 4
)

// What is derived of a sealing key, and of the authority's key.
const (
	sealPurpose     = "chainfire: sealing key of a cluster, 1"
	sealMarkPurpose = "chainfire: mark of a sealing key, 1"
	sealAccessKeys  = "chainfire: secrets of access keys, 1"
)

// sealedVersion begins what is sealed; the mark of the key, the nonce and the text that AES-256-GCM
// has made follow. The id of the access key is what is authenticated beside it.
const sealedVersion = 1

// sealer seals secrets. It does not change.
type sealer struct {
	// why there is no key, nil where there is one.
	why error
	// handed is what newcomers are given, nil where they come to it by themselves.
	handed []byte
	aead   cipher.AEAD
	mark   []byte
}

func newSealer(key []byte, handed bool) (*sealer, error) {
	mark, err := hkdf.Key(sha256.New, key, nil, sealMarkPurpose, sealMarkLen)
	if err != nil {
		return nil, fmt.Errorf("derive the mark of the sealing key: %w", err)
	}
	secret, err := hkdf.Key(sha256.New, key, nil, sealAccessKeys, 32)
	if err != nil {
		return nil, fmt.Errorf("derive a key of the sealing key: %w", err)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("a cipher of the sealing key: %w", err)
	}
	s := &sealer{mark: mark}
	if s.aead, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("a cipher of the sealing key: %w", err)
	}
	if handed {
		s.handed = key
	}
	return s, nil
}

func (s *sealer) seal(id, secret string) ([]byte, error) {
	if s.why != nil {
		return nil, s.why
	}
	out := append([]byte{sealedVersion}, s.mark...)
	nonce := make([]byte, s.aead.NonceSize())
	_, _ = rand.Read(nonce) // which never fails: it ends the program instead
	return s.aead.Seal(append(out, nonce...), nonce, []byte(secret), []byte(id)), nil
}

func (s *sealer) unseal(id string, sealed []byte) (string, error) {
	if s.why != nil {
		return "", s.why
	}
	head := 1 + sealMarkLen
	size := s.aead.NonceSize()
	if len(sealed) < head+size || sealed[0] != sealedVersion {
		return "", fmt.Errorf("access key %q: %w", id, ErrSealedElse)
	}
	if mark := sealed[1:head]; !bytes.Equal(mark, s.mark) {
		return "", fmt.Errorf("access key %q: %w: it has the mark %x, the member's key %x; give all members the same --seal-key-file, or make the access key anew",
			id, ErrSealedElse, mark, s.mark)
	}
	secret, err := s.aead.Open(nil, sealed[head:head+size], sealed[head+size:], []byte(id))
	if err != nil {
		return "", fmt.Errorf("access key %q: %w", id, ErrSealedElse)
	}
	return string(secret), nil
}

// openSealer finds the sealing key, or makes one where this member is the whole cluster.
// Only a file that the operator has named keeps the member from starting.
func (n *Node) openSealer() error {
	key, err := n.sealKey()
	if err == nil && key == nil && n.alone() {
		key, err = n.makeSealKey()
	}
	switch {
	case err != nil && n.opts.SealKeyFile != "":
		return err
	case err != nil:
		n.log.Error("secrets of access keys can be neither sealed nor had back", "err", err)
		n.sealer = &sealer{why: fmt.Errorf("%w: %w", object.ErrNoSealKey, err)}
		return nil
	case key == nil:
		n.sealer = &sealer{why: fmt.Errorf("%w: members that began a cluster together without an authority of their own have nothing that they made it of; "+
			"give all of them the same file of at least %d random bytes with --seal-key-file, or copy %s of a member that has one into the data directory", object.ErrNoSealKey, sealKeyLen, sealFile)}
		return nil
	}
	n.sealer, err = newSealer(key, n.sealHanded)
	return err
}

// sealKey is the key that there is, nil for none. It notes whether newcomers are to be given
// it.
func (n *Node) sealKey() ([]byte, error) {
	n.sealHanded = true
	if n.opts.SealKeyFile != "" {
		return readSealKey(n.opts.FS, n.opts.SealKeyFile)
	}
	key, err := readSealKey(n.opts.FS, n.path(sealFile))
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if n.authority == nil {
		return nil, nil
	}
	n.sealHanded = false
	return n.authority.Derive(sealPurpose, sealKeyLen)
}

// alone reports whether nobody else is, or is about to become, a member.
func (n *Node) alone() bool {
	members := n.machine.Members()
	return len(members) == 1 && members[0].ID == n.id && n.machine.Conf().IsVoter(n.id)
}

func (n *Node) makeSealKey() ([]byte, error) {
	key := n.opts.Bounds.SealKey
	if len(key) == 0 {
		key = make([]byte, sealKeyLen)
		_, _ = rand.Read(key) // which never fails: it ends the program instead
	}
	n.log.Info("a sealing key is made", "file", n.path(sealFile))
	return key, writeSealKey(n.opts.FS, n.path(sealFile), key)
}

// keepSealKey keeps the key that a newcomer was given, in place of any of before.
func (n *Node) keepSealKey(key []byte) error {
	if len(key) == 0 {
		return remove(n.opts.FS, n.path(sealFile))
	}
	if len(key) < sealKeyLen || len(key) > maxSealKey {
		return fmt.Errorf("the cluster gave a sealing key of %d bytes, not %d to %d", len(key), sealKeyLen, maxSealKey)
	}
	return writeSealKey(n.opts.FS, n.path(sealFile), key)
}

// sealTag begins a file that a member wrote: the key in base64 and the checksum of that
// follow, each after a space.
const sealTag = "chainfire-seal-key-1"

func writeSealKey(f disk.FS, path string, key []byte) error {
	text := base64.StdEncoding.EncodeToString(key)
	line := fmt.Sprintf("%s %s %08x\n", sealTag, text, castagnoli([]byte(text)))
	if err := disk.WriteFileAtomic(f, path, []byte(line)); err != nil {
		return fmt.Errorf("write the sealing key: %w", err)
	}
	return nil
}

// readSealKey reads a file that a member wrote, or that an operator made: then it is the
// bytes of the file, but for ends of lines at its end.
func readSealKey(f disk.FS, path string) ([]byte, error) {
	b, err := disk.ReadFile(f, path, 2*maxSealKey)
	if err != nil {
		return nil, fmt.Errorf("read the sealing key: %w", err)
	}
	b = bytes.TrimRight(b, "\r\n")
	if !bytes.HasPrefix(b, []byte(sealTag)) {
		if len(b) < sealKeyLen || len(b) > maxSealKey {
			return nil, fmt.Errorf("the sealing key in %s has %d bytes: give a file with %d to %d, as of 'openssl rand -base64 48'", path, len(b), sealKeyLen, maxSealKey)
		}
		return b, nil
	}
	damaged := fmt.Errorf("%s is damaged: copy the file of another member, or restore it from a backup", path)
	parts := strings.Split(string(b), " ")
	if len(parts) != 3 || fmt.Sprintf("%08x", castagnoli([]byte(parts[1]))) != parts[2] {
		return nil, damaged
	}
	key, err := base64.StdEncoding.DecodeString(parts[1])
	if err != nil || len(key) < sealKeyLen {
		return nil, damaged
	}
	return key, nil
}

// sealKeyOf is the sealing key of a stopped member, nil for none.
func (n *Node) sealKeyOf(m pki.Member) ([]byte, error) {
	if !n.opts.Plain {
		_, authority, err := pki.Load(n.opts.FS, n.path(pkiDir), m)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		n.authority = authority
	}
	return n.sealKey()
}
