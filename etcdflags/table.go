package etcdflags

import (
	"flag"
	"slices"
)

// Treatment is what a flag comes to here.
type Treatment string

// The treatments. A flag that is refused may be given with its default.
const (
	Same      Treatment = "same"
	Different Treatment = "different"
	Ignored   Treatment = "ignored"
	Refused   Treatment = "refused"
	// Own is a flag of this program that etcd does not have.
	Own Treatment = "own"
)

// Flag is one flag of etcd 3.7.3, or one beside those.
type Flag struct {
	// Group is the heading that it stands under.
	Group string
	Name  string
	Does  Treatment
	// Help is what it is for; Note says how it differs, why it is ignored, or what to do
	// in its place. It is empty for those that are the same.
	Help, Note string

	binding
}

// Kind is the form of its value; empty is a flag without one.
func (f Flag) Kind() string { return f.kind }

// Default is its value unless another is given.
func (f Flag) Default() string { return f.valueIn(Defaults()) }

// valueIn is what a flag has in a configuration.
func (f Flag) valueIn(c *Config) string {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	f.add(fs, f.Name, c)
	return fs.Lookup(f.Name).Value.String()
}

// The groups.
const (
	groupMember     = "Member"
	groupClustering = "Clustering"
	groupSecurity   = "Security"
	groupAuth       = "Auth"
	groupWatching   = "Profiling and monitoring"
	groupLogging    = "Logging"
	groupTracing    = "Distributed tracing"
	groupFeatures   = "Features"
	groupUnsafe     = "Unsafe"
	groupS3         = "S3"
	groupGone       = "Taken, and nothing more"
)

// Flags lists every flag of etcd 3.7.3, and those for what etcd does not have, in groups.
func Flags() []Flag {
	return slices.Concat(
		member(), backend(), clustering(), discovery(), clientSecurity(), peerSecurity(), security(),
		auth(), watching(), logging(), tracing(), features(), unsafe(), objects(), gone(),
	)
}

// newFlagSet makes the flags, tied to a configuration.
func newFlagSet(c *Config) *flag.FlagSet {
	fs := flag.NewFlagSet("etcd", flag.ContinueOnError)
	for _, f := range Flags() {
		f.add(fs, f.Name, c)
	}
	return fs
}

// same, differs and ignored make rows of the table.
func same(group, name string, b binding, help string) Flag {
	return Flag{Group: group, Name: name, Does: Same, Help: help, binding: b}
}

func differs(group, name string, b binding, help, how string) Flag {
	return Flag{Group: group, Name: name, Does: Different, Help: help, Note: how, binding: b}
}

func ignored(group, name string, b binding, help, why string) Flag {
	return Flag{Group: group, Name: name, Does: Ignored, Help: help, Note: why, binding: b}
}

// objects are the flags of S3.
func objects() []Flag {
	own := func(name string, b binding, help string) Flag {
		return Flag{Group: groupS3, Name: name, Does: Own, Help: help, Note: "etcd has no such flag", binding: b}
	}
	return []Flag{
		own("listen-s3", text(func(c *Config) *string { return &c.ListenS3 }), "address for S3, HOST:PORT; without it there is no S3. It is with TLS where clients speak TLS"),
		own("s3-region", text(func(c *Config) *string { return &c.S3Region }), "region that requests of S3 are signed for"),
		own("s3-domain", list(func(c *Config) *[]string { return &c.S3Domains }), "domains below which the name of a bucket may stand"),
		own("s3-trust-forwarded", truth(func(c *Config) *bool { return &c.S3TrustForwarded }), "believe X-Forwarded-Host, X-Forwarded-For and X-Forwarded-Proto"),
		own("blob-store", text(func(c *Config) *string { return &c.BlobStore }), "another S3 store for bodies of objects of more than 64 KiB, s3://BUCKET[/PREFIX]?endpoint=https://HOST, the same at every member"),
		own("s3-background-rate", text(func(c *Config) *string { return &c.S3BackgroundRate }), "bytes a second at which this member repairs, compacts and scrubs bodies at most, each by itself, at least 64KiB"),
		own("seal-key-file", text(func(c *Config) *string { return &c.SealKeyFile }), "file with the key by which secrets of S3 are sealed, the same at every member"),
	}
}

// gone are names that etcd still takes without a use for them.
func gone() []Flag {
	var out []Flag
	for _, name := range []string{
		"cluster-active-size", "cluster-remove-delay", "cluster-sync-interval", "config", "force", "max-result-buffer",
		"max-retry-attempts", "peer-heartbeat-interval", "peer-election-timeout", "retry-interval", "snapshot", "v", "vv",
		"test.coverprofile", "test.outputdir",
	} {
		out = append(out, ignored(groupGone, name, nothing(), "of older versions of etcd", "etcd 3.7 ignores it, too"))
	}
	return out
}
