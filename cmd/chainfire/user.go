package main

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"
)

// user is who asks, in a cluster with users, with etcdctl's flags.
type user struct {
	name, password string
	// getenv has what the flags leave out, and help does not show.
	getenv func(string) string
}

// The environment variables below the flags.
const (
	userVariable     = "CHAINFIRE_USER"
	passwordVariable = "CHAINFIRE_PASSWORD"
)

func (u *user) flags(f *pflag.FlagSet, getenv func(string) string) {
	u.getenv = getenv
	f.StringVar(&u.name, "user", "", "who asks, where the cluster has users: NAME[:PASSWORD]; also from "+userVariable)
	f.StringVar(&u.password, "password", "", "password of --user, which other users of this machine may see; better from "+passwordVariable)
}

// settle takes name and password apart.
func (u *user) settle() error {
	if u.name == "" && u.password == "" {
		u.name = u.getenv(userVariable)
	}
	if u.password == "" && !strings.Contains(u.name, ":") && u.name != "" {
		u.password = u.getenv(passwordVariable)
	}
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
