package s3admin

import (
	"crypto/rand"
	"fmt"

	"chainfire/object"
)

// Credentials are an access key and its secret.
type Credentials struct{ ID, Secret string }

// Lengths of what is made here: 90 bits of an id, 238 of a secret.
const (
	idPrefix  = "CF"
	idLen     = 20
	secretLen = 40
)

// Bounds of what is given. Lengths are in bytes.
const (
	MinSecretLen = 8
	MaxSecretLen = 128
)

// secretChars can stand in a shell, in a URL and in the files of clients as they are.
const secretChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// NewCredentials makes credentials by chance.
func NewCredentials() Credentials {
	// The text has 26 characters of base 32.
	return Credentials{ID: idPrefix + rand.Text()[:idLen-len(idPrefix)], Secret: newSecret()}
}

func newSecret() string {
	const fair = 256 - 256%len(secretChars) // above it some characters would come more often
	out := make([]byte, 0, secretLen)
	b := make([]byte, 2*secretLen)
	for len(out) < secretLen {
		rand.Read(b) // it never fails
		for _, x := range b {
			if int(x) < fair && len(out) < secretLen {
				out = append(out, secretChars[int(x)%len(secretChars)])
			}
		}
	}
	return string(out)
}

// Check finds out whether credentials that were given can be those of an access key. The
// error does not repeat the secret.
func (c Credentials) Check() error {
	if err := object.CheckAccessKeyID(c.ID); err != nil {
		return err
	}
	if n := len(c.Secret); n < MinSecretLen || n > MaxSecretLen {
		return fmt.Errorf("the secret has %d bytes: give between %d and %d", n, MinSecretLen, MaxSecretLen)
	}
	for i := range len(c.Secret) {
		if x := c.Secret[i]; x <= ' ' || x >= 0x7f {
			return fmt.Errorf("byte %d of the secret is no printable character of ASCII, or a space, which clients' files do not take", i)
		}
	}
	return nil
}
