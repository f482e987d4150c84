package main

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/spf13/pflag"

	"chainfire/bodies"
	"chainfire/join"
)

// defaultS3Addr is where S3 is served unless another address is given.
const defaultS3Addr = "127.0.0.1:9000"

// defaultS3Region is the region that clients take when they are told none.
const defaultS3Region = "us-east-1"

// minBackgroundRate is the least rate of the work on bodies in the background.
const minBackgroundRate = 64 << 10

// s3Options are how a member serves S3, with the flags of serve.
type s3Options struct {
	on             bool
	listen         givenText
	region         string
	domains        []string
	trustForwarded bool
	sealKeyFile    string
	blobStore      string
	// background is the rate of repair, compaction and scrubs, each, in bytes a second.
	background size
}

func (o *s3Options) flags(f *pflag.FlagSet) {
	o.on, o.listen.value = true, defaultS3Addr
	f.Var((*onOff)(&o.on), "s3", "serve S3, and keep its bodies: on or off")
	f.Lookup("s3").NoOptDefVal = "on"
	f.Var(&o.listen, "listen-s3", "address for S3, HOST:PORT; it speaks TLS there with --cert-file, and asks clients for no certificate. Where the default is taken the member goes on without")
	f.StringVar(&o.region, "s3-region", defaultS3Region, "the region that requests of S3 are signed for")
	f.StringSliceVar(&o.domains, "s3-domain", nil, "domain below which the name of a bucket may stand, as in BUCKET.s3.example.org; may be given again (default: buckets are in paths alone)")
	f.BoolVar(&o.trustForwarded, "s3-trust-forwarded", false, "believe X-Forwarded-Host, X-Forwarded-For and X-Forwarded-Proto, for a member that only a proxy reaches, which sets or removes each of them")
	f.StringVar(&o.sealKeyFile, "seal-key-file", "", "file with the key by which secrets of S3 are sealed, the same at every member (default: one that the members share)")
	f.StringVar(&o.blobStore, "blob-store", "", "another S3 store for the bodies of objects of more than 64 KiB, the same at every member, as s3://BUCKET[/PREFIX]?endpoint=https://HOST (default: the members' disks)")
	o.background = bodies.DefaultBytesPerSecond
	f.Var(&o.background, "s3-background-rate", "bytes a second at which this member repairs, compacts and scrubs bodies at most, each by itself")
}

// onOff is a flag that is on or off.
type onOff bool

// String implements pflag.Value.
func (o *onOff) String() string {
	if *o {
		return "on"
	}
	return "off"
}

// Type implements pflag.Value.
func (o *onOff) Type() string { return "on|off" }

// Set implements pflag.Value.
func (o *onOff) Set(v string) error {
	switch v {
	case "on", "true":
		*o = true
	case "off", "false":
		*o = false
	default:
		return errors.New("give on or off")
	}
	return nil
}

// givenText is a text as a flag, which knows whether it was given.
type givenText struct {
	value string
	given bool
}

// String implements pflag.Value.
func (t *givenText) String() string { return t.value }

// Type implements pflag.Value.
func (t *givenText) Type() string { return "string" }

// Set implements pflag.Value.
func (t *givenText) Set(v string) error {
	t.value, t.given = v, true
	return nil
}

var (
	s3Region = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	s3Domain = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// check looks at the flags by themselves. remote says that addresses may be reached from
// other machines though nothing protects what is said there, secure that TLS does.
func (o *s3Options) check(secure, remote bool) error {
	if !o.on {
		for _, f := range []string{
			ifSet("--listen-s3", o.listen.given), ifSet("--s3-domain", len(o.domains) > 0), ifSet("--s3-trust-forwarded", o.trustForwarded),
			ifSet("--blob-store", o.blobStore != ""), ifSet("--s3-background-rate", o.background != bodies.DefaultBytesPerSecond),
		} {
			if f != "" {
				return fmt.Errorf("--s3=off and %s: without S3 there is no use for it; leave one of the two away", f)
			}
		}
		return nil
	}
	host, _, err := net.SplitHostPort(o.listen.value)
	if err != nil {
		return fmt.Errorf("--listen-s3 %q: give HOST:PORT, as %s", o.listen.value, defaultS3Addr)
	}
	if !secure && !remote && !isLoopback(host) {
		return fmt.Errorf("--listen-s3 %s can be reached from other machines, and without TLS whoever is on the way reads all that is stored and fetched: "+
			"listen on 127.0.0.1, or speak TLS with --cert-file and --key-file, or, in a network that you trust, add --insecure-listen-remote", o.listen.value)
	}
	if !s3Region.MatchString(o.region) {
		return fmt.Errorf("--s3-region %q: give lower-case letters, digits and hyphens, as %s", o.region, defaultS3Region)
	}
	if o.background < minBackgroundRate {
		return fmt.Errorf("--s3-background-rate %s: give at least %d bytes a second, so that what is lost is mended some time", o.background.String(), minBackgroundRate)
	}
	for i, d := range o.domains {
		d = strings.ToLower(strings.TrimSuffix(d, "."))
		if len(d) > 253 || !s3Domain.MatchString(d) {
			return fmt.Errorf("--s3-domain %q: give the name of a domain without scheme and port, as s3.example.org", o.domains[i])
		}
		o.domains[i] = d
	}
	return nil
}

// differs refuses an address that another port of the member has.
func (o *s3Options) differs(flag, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if !o.on || o.listen.value != addr || err != nil || port == "0" {
		return nil
	}
	return fmt.Errorf("--listen-s3 and %s are both %s: give them different ports", flag, addr)
}

// args are the flags by which another member does the same, but for the address.
func (o *s3Options) args() []string {
	if !o.on {
		return []string{"--s3=off"}
	}
	var out []string
	if o.region != defaultS3Region {
		out = append(out, "--s3-region", o.region)
	}
	if len(o.domains) > 0 {
		out = append(out, "--s3-domain", strings.Join(o.domains, ","))
	}
	if o.trustForwarded {
		out = append(out, "--s3-trust-forwarded")
	}
	if o.sealKeyFile != "" {
		out = append(out, "--seal-key-file", join.ShellQuote(o.sealKeyFile))
	}
	if o.blobStore != "" {
		out = append(out, "--blob-store", join.ShellQuote(o.blobStore))
	}
	return out
}
