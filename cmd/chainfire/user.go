package main

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"
)

// user is who asks, in a cluster with users, with etcdctl's flags.
type user struct{ name, password string }

// The environment variables below the flags.
const (
	userVariable     = "CHAINFIRE_USER"
	passwordVariable = "CHAINFIRE_PASSWORD"
)

func (u *user) flags(f *pflag.FlagSet, getenv func(string) string) {
	f.StringVar(&u.name, "user", getenv(userVariable), "who asks, where the cluster has users: NAME[:PASSWORD]; also from "+userVariable)
	f.StringVar(&u.password, "password", getenv(passwordVariable), "password of --user, which other users of this machine may see; better from "+passwordVariable)
}

// settle takes name and password apart.
func (u *user) settle() error {
	name, password, both := strings.Cut(u.name, ":")
	switch {
	case both && u.password != "":
		return errors.New("the password is in --user and in --password: give it once")
	case both:
		u.name, u.password = name, password
	case u.name != "" && u.password == "":
		return errors.New("--user has no password: write NAME:PASSWORD, or set " + passwordVariable)
	}
	if u.name == "" && (both || u.password != "") {
		return errors.New("a password without a user: give --user NAME")
	}
	return nil
}
