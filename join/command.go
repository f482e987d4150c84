package join

import "strings"

// StartCommand is the command that starts a newcomer.
type StartCommand struct {
	Name string
	// Peer and Client are where it listens, HOST:PORT; Client may be empty.
	Peer, Client string
	// Join are peer addresses of members.
	Join []string
	// Plain says that members speak without TLS, Own that they have certificates of
	// their operator, whose files the person who starts it names.
	Plain, Own bool
	// Remote allows addresses that nothing protects.
	Remote bool
	// TokenFrom is the client address at which a token is to be made where one is
	// needed; empty is the default of the command.
	TokenFrom string
}

// Line is the command in one line for a shell.
func (c *StartCommand) Line() string {
	args := []string{"chainfire", "serve"}
	add := func(flag, value string) {
		if value != "" {
			args = append(args, flag, ShellQuote(value))
		}
	}
	peer := c.Peer
	if c.Plain {
		peer = SchemePlain + "://" + peer
	}
	add("--name", c.Name)
	add("--listen-client", c.Client)
	add("--listen-peer", peer)
	add("--join", strings.Join(c.Join, ","))
	switch {
	case c.Plain:
	case c.Own:
		args = append(args, "--peer-cert-file", "CERT", "--peer-key-file", "KEY", "--peer-trusted-ca-file", "CA")
	default:
		token := "chainfire token create --uses 1 --ttl 1h"
		if c.TokenFrom != "" {
			token += " --endpoints " + ShellQuote(c.TokenFrom)
		}
		args = append(args, "--token", `"$(`+token+`)"`)
	}
	if c.Remote {
		args = append(args, "--insecure-listen-remote")
	}
	return strings.Join(args, " ")
}

// ShellQuote makes one word of s for a shell.
func ShellQuote(s string) string {
	plain := strings.IndexFunc(s, func(r rune) bool {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return false
		}
		return !strings.ContainsRune("_-./:@%+,=", r)
	}) < 0
	if plain && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
