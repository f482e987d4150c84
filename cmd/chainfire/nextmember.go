package main

import (
	"cmp"
	"fmt"
	"net"
	"strconv"
	"strings"

	"chainfire/join"
	"chainfire/pki"
)

// nextMember finds the line that adds one more member, on this machine or elsewhere.
type nextMember struct {
	program      string
	client, peer string
	// join are the members to join at, if not peer; replace is the member whose
	// place the new one takes, if any.
	join, replace string
	// elsewhere says that the new one is on another machine, whose address the
	// person who copies the line fills in.
	elsewhere bool
	dataDir   string
	remote    bool
	// plain says that members speak without TLS.
	plain bool
	// peerFiles are the certificates of the operator, if members are known by those.
	peerFiles pki.Files
	// serveArgs are further flags of the new member.
	serveArgs []string
	// secure says that clients speak TLS to this member, clientArgs by which flags.
	secure     bool
	clientArgs []string
	// s3 is the address of S3 at this member and s3URL the same as a URL, empty where it
	// serves none; s3Key is the file of its first access key, if this member makes it.
	s3, s3URL, s3Key string
	// tokenFile holds a join token, if it is there.
	tokenFile string
	// free reports whether an address can be listened on, exists whether there
	// is a file or folder.
	free, exists func(string) bool
}

// maxMembersHere bounds the search for ports: nobody runs more on one machine.
const maxMembersHere = 50

// line is the command. Its ports are those of this member and a multiple of 100,
// as far as they are free now.
func (n *nextMember) line() string {
	args := []string{n.program, "serve", "--join", cmp.Or(n.join, n.peer)}
	if n.replace != "" {
		args = append(args, "--replace", join.ShellQuote(n.replace))
	}
	scheme := ""
	switch {
	case n.plain:
		scheme = join.SchemePlain + "://"
	case n.peerFiles.Given():
		// On this machine the same certificate is good.
		args = append(args, "--peer-cert-file", join.ShellQuote(n.peerFiles.Cert), "--peer-key-file", join.ShellQuote(n.peerFiles.Key),
			"--peer-trusted-ca-file", join.ShellQuote(n.peerFiles.Authorities))
	case n.tokenFile != "" && n.exists(n.tokenFile):
		args = append(args, "--token-file", join.ShellQuote(n.tokenFile))
	default:
		args = append(args, "--token", `"$(`+n.program+" token create"+n.endpoints()+`)"`)
	}
	args = append(args, n.serveArgs...)
	if n.elsewhere {
		args = append(args, "--listen-peer", scheme+"HOST:2380")
		n.remote = n.remote || n.plain
	}
	for i := 1; i <= maxMembersHere && !n.elsewhere; i++ {
		client, ok := addPort(n.client, 100*i)
		peer, okPeer := addPort(n.peer, 100*i)
		dir := fmt.Sprintf("%s-%d", strings.TrimRight(n.dataDir, "/"), i+1)
		if !ok || !okPeer {
			break
		}
		if n.exists(dir) || !n.free(client) || !n.free(peer) {
			continue
		}
		args = append(args, "--listen-client", client, "--listen-peer", scheme+peer)
		if n.s3 != "" {
			s3, ok := addPort(n.s3, 100*i)
			if !ok || !n.free(s3) {
				args = append(args, "--s3=off")
			} else {
				args = append(args, "--listen-s3", s3)
			}
		}
		args = append(args, "--data-dir", join.ShellQuote(dir))
		break
	}
	if n.remote {
		args = append(args, "--insecure-listen-remote")
	}
	return strings.Join(args, " ")
}

func addPort(addr string, more int) (string, bool) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", false
	}
	n, err := strconv.Atoi(port)
	if err != nil || n+more > 65535 {
		return "", false
	}
	return net.JoinHostPort(host, strconv.Itoa(n+more)), true
}

// endpoints are the flags that lead a command to this member.
func (n *nextMember) endpoints() string {
	switch {
	case n.secure:
		return " " + strings.Join(append([]string{"--endpoints", n.url()}, n.clientArgs...), " ")
	case n.client == defaultClientAddr:
		return ""
	}
	return " --endpoints " + n.client
}

// url is where clients connect to.
func (n *nextMember) url() string {
	if n.secure {
		return join.SchemeTLS + "://" + n.client
	}
	return n.client
}

// readyText is what a member says once it serves.
func readyText(cluster, member string, n nextMember) string {
	endpoints, s3 := n.endpoints(), ""
	if n.s3 != "" {
		s3 = "\n  S3 is served at     " + n.s3URL
		if n.s3Key != "" {
			s3 += "  (its first access key is in " + n.s3Key + ")"
		}
	}
	return fmt.Sprintf(`
member %s of cluster %s is ready
  clients connect to  %s  (etcd v3; also /health, /version and /metrics)%s
  members join at     %s
  data                %s

try it:
  %s put%s greeting hello
  %s status%s

add a member on this machine:
  %s

`, member, cluster, n.url(), s3, n.peer, n.dataDir, n.program, endpoints, n.program, endpoints, n.line())
}
