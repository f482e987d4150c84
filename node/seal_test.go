package node

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"chainfire/internal/disk"
	"chainfire/pki"
)

func testSealer(t interface {
	Helper()
	Fatal(args ...any)
}, key []byte,
) *sealer {
	t.Helper()
	s, err := newSealer(key, true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhatIsSealedIsHadBackAsItWasOrNotAtAll(t *testing.T) {
	key := bytes.Repeat([]byte{7}, sealKeyLen)
	other := testSealer(t, bytes.Repeat([]byte{8}, sealKeyLen))
	rapid.Check(t, func(t *rapid.T) {
		id, secret := rapid.String().Draw(t, "id"), rapid.String().Draw(t, "secret")
		sealed, err := testSealer(t, key).seal(id, secret)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := testSealer(t, key).seal(id, secret); err != nil || bytes.Equal(sealed, again) {
			t.Fatalf("sealed twice it is the same, %v", err)
		}
		s := testSealer(t, key)
		if got, err := s.unseal(id, sealed); err != nil || got != secret {
			t.Fatalf("%q, %v, want %q", got, err, secret)
		}
		if _, err := s.unseal(id+"x", sealed); !errors.Is(err, ErrSealedElse) {
			t.Fatalf("for another id: %v", err)
		}
		if _, err := other.unseal(id, sealed); !errors.Is(err, ErrSealedElse) || !strings.Contains(err.Error(), "--seal-key-file") {
			t.Fatalf("with another key: %v", err)
		}
		cut := rapid.IntRange(0, len(sealed)-1).Draw(t, "cut")
		if _, err := s.unseal(id, sealed[:cut]); !errors.Is(err, ErrSealedElse) {
			t.Fatalf("cut to %d bytes: %v", cut, err)
		}
		flipped := slices.Clone(sealed)
		flipped[rapid.IntRange(0, len(sealed)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := s.unseal(id, flipped); !errors.Is(err, ErrSealedElse) {
			t.Fatalf("with a bit that is another: %v", err)
		}
	})
}

// TestSealedSecretsOfEarlierBuildsAreHadBack holds what was sealed once against what is had back: it is in states
// that later builds read.
func TestSealedSecretsOfEarlierBuildsAreHadBack(t *testing.T) {
	s := testSealer(t, bytes.Repeat([]byte{7}, sealKeyLen))
	sealed, err := hex.DecodeString("01fd38562623a5a14a14e0990a5c25fc8eb12b8afea84deb219d344c35574f4ddc3f909cd94a6b")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.unseal("AK", sealed); err != nil || got != "secret" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestASealingKeyIsReadAsItWasWrittenOrNotAtAll(t *testing.T) {
	f := disk.NewFaultFS()
	key := bytes.Repeat([]byte{1, 0, 0xff, 10}, 8)
	if err := writeSealKey(f, "seal.key", key); err != nil {
		t.Fatal(err)
	}
	if got, err := readSealKey(f, "seal.key"); err != nil || !bytes.Equal(got, key) {
		t.Fatalf("%x, %v", got, err)
	}
	whole, err := disk.ReadFile(f, "seal.key", 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(sealTag); i < len(whole)-1; i++ {
		damaged := slices.Clone(whole)
		damaged[i] ^= 4
		if err := disk.WriteFileAtomic(f, "seal.key", damaged); err != nil {
			t.Fatal(err)
		}
		if got, err := readSealKey(f, "seal.key"); err == nil {
			t.Errorf("with byte %d another it is %x", i, got)
		}
	}
	for text, want := range map[string]string{
		strings.Repeat("k", 32):              strings.Repeat("k", 32),
		strings.Repeat("k", 32) + "\n":       strings.Repeat("k", 32),
		strings.Repeat("k", 4096) + "\r\n":   strings.Repeat("k", 4096),
		strings.Repeat("k", 31) + "\n":       "",
		strings.Repeat("k", 4097):            "",
		"":                                   "",
		sealTag:                              "",
		sealTag + " AAAA 00000000":           "",
		strings.Repeat("\x00\xff", 32) + "1": strings.Repeat("\x00\xff", 32) + "1",
	} {
		if err := disk.WriteFileAtomic(f, "given", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := readSealKey(f, "given"); string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%.40q is the key %x, %v", text, got, err)
		}
	}
}

// TestARecoveryKeepsTheSealingKey recovers a survivor whose sealing key followed from an
// authority that is no more then, and once more.
func TestARecoveryKeepsTheSealingKey(t *testing.T) {
	f := survivor(t)
	key := func() []byte {
		t.Helper()
		id, _, err := loadIdentity(f, survivorDir)
		if err != nil {
			t.Fatal(err)
		}
		n := recovery(f).directory(survivorDir, false)
		key, err := n.sealKeyOf(pki.Member{Cluster: id.Cluster, ID: id.Member})
		if err != nil || len(key) != sealKeyLen {
			t.Fatalf("a key of %d bytes, %v", len(key), err)
		}
		return key
	}
	before := key()
	for range 2 {
		if _, err := Recover(t.Context(), recovery(f)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(key(), before) {
			t.Error("the sealing key is another")
		}
	}
}
