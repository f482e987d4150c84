package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/crypto/bcrypt"

	"chainfire/auth/token"
	"chainfire/node"
)

// maxTokenTTL bounds for how long a token is good that nobody uses, in seconds.
const maxTokenTTL = 365 * 24 * 3600

// authOptions say what users show of themselves, with etcd's flags.
type authOptions struct {
	token      string
	ttl        uint
	bcryptCost uint
	// jwt is nil for simple tokens, once the flags are parsed.
	jwt *token.JWT
}

func (o *authOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.token, "auth-token", "simple", "the tokens of users: simple, or jwt,sign-method=METHOD,priv-key=FILE,pub-key=FILE,ttl=TIME; the same at all members")
	f.UintVar(&o.ttl, "auth-token-ttl", uint(token.DefaultTTL/time.Second), "for how many seconds a simple token is good after its last use")
	f.UintVar(&o.bcryptCost, "bcrypt-cost", uint(bcrypt.DefaultCost), "how hard the hash of a password is to find, 4 to 31; each more takes twice the time")
}

// parse makes sense of them, and reads the keys.
func (o *authOptions) parse() (err error) {
	if o.jwt, err = token.Parse(o.token); err != nil {
		return fmt.Errorf("--auth-token: %w", err)
	}
	if o.ttl < 1 || o.ttl > maxTokenTTL {
		return fmt.Errorf("--auth-token-ttl %d: give between 1 and %d seconds", o.ttl, maxTokenTTL)
	}
	if o.bcryptCost < uint(bcrypt.MinCost) || o.bcryptCost > uint(bcrypt.MaxCost) {
		return fmt.Errorf("--bcrypt-cost %d: give between %d and %d", o.bcryptCost, bcrypt.MinCost, bcrypt.MaxCost)
	}
	return nil
}

// apply puts them into the options of a member.
func (o *authOptions) apply(to *node.Options) {
	to.AuthJWT, to.AuthTokenTTL, to.BcryptCost = o.jwt, time.Duration(o.ttl)*time.Second, int(o.bcryptCost)
}
