package etcdflags

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// binding ties a flag to what it sets.
type binding struct {
	// kind is the form of the value, for people.
	kind string
	// add makes the flag, with what is set already as its default.
	add func(fs *flag.FlagSet, name string, c *Config)
}

func text(at func(*Config) *string) binding {
	return binding{"text", func(fs *flag.FlagSet, name string, c *Config) { fs.StringVar(at(c), name, *at(c), "") }}
}

func truth(at func(*Config) *bool) binding {
	return binding{"true or false", func(fs *flag.FlagSet, name string, c *Config) { fs.BoolVar(at(c), name, *at(c), "") }}
}

func count(at func(*Config) *uint) binding {
	return binding{"number", func(fs *flag.FlagSet, name string, c *Config) { fs.UintVar(at(c), name, *at(c), "") }}
}

func count64(at func(*Config) *uint64) binding {
	return binding{"number", func(fs *flag.FlagSet, name string, c *Config) { fs.Uint64Var(at(c), name, *at(c), "") }}
}

func integer(at func(*Config) *int) binding {
	return binding{"number", func(fs *flag.FlagSet, name string, c *Config) { fs.IntVar(at(c), name, *at(c), "") }}
}

func integer64(at func(*Config) *int64) binding {
	return binding{"number", func(fs *flag.FlagSet, name string, c *Config) { fs.Int64Var(at(c), name, *at(c), "") }}
}

func span(at func(*Config) *time.Duration) binding {
	return binding{"time", func(fs *flag.FlagSet, name string, c *Config) { fs.DurationVar(at(c), name, *at(c), "") }}
}

// value is a flag.Value of two functions.
type value struct {
	set func(string) error
	get func() string
	// alone says that the flag may stand without a value.
	alone bool
}

// Set implements flag.Value.
func (v *value) Set(s string) error { return v.set(s) }

// String implements flag.Value; package flag asks an empty one, too.
func (v *value) String() string {
	if v.get == nil {
		return ""
	}
	return v.get()
}

// IsBoolFlag tells package flag about flags without a value.
func (v *value) IsBoolFlag() bool { return v.alone }

func count32(at func(*Config) *uint32) binding {
	return binding{"number", func(fs *flag.FlagSet, name string, c *Config) {
		p := at(c)
		fs.Var(&value{
			set: func(s string) error {
				n, err := strconv.ParseUint(s, 0, 32)
				if err == nil {
					*p = uint32(n)
				}
				return err
			},
			get: func() string { return strconv.FormatUint(uint64(*p), 10) },
		}, name, "")
	}}
}

// urls is a list of addresses; none, given as such, leaves what it was.
func urls(at func(*Config) *URLs) binding {
	return binding{"URLs", func(fs *flag.FlagSet, name string, c *Config) {
		p := at(c)
		fs.Var(&value{
			set: func(s string) error {
				if s == "" {
					return nil
				}
				u, err := ParseURLs(s)
				if err == nil {
					*p = u
				}
				return err
			},
			get: p.String,
		}, name, "")
	}}
}

// origins is a list of addresses, or * for any.
func origins(at func(*Config) *URLs) binding {
	return binding{"URLs or *", func(fs *flag.FlagSet, name string, c *Config) {
		p := at(c)
		fs.Var(&value{set: func(s string) (err error) {
			*p, err = parseOrigins(s)
			return err
		}, get: func() string { return originText(*p) }}, name, "")
	}}
}

func parseOrigins(s string) (URLs, error) {
	if s == "*" {
		return URLs{any_}, nil
	}
	return ParseURLs(s)
}

func originText(u URLs) string {
	if len(u) == 1 && u[0] == any_ {
		return "*"
	}
	return u.String()
}

// Origins are those of --cors, of which * is any.
func (c *Config) Origins() []string { return strings.Split(originText(c.CORS), ",") }

// list is of texts in the order given, set of texts of which each counts once.
func list(at func(*Config) *[]string) binding {
	return texts(at, func(s []string) []string { return s })
}

func set(at func(*Config) *[]string) binding {
	return texts(at, func(s []string) []string {
		slices.Sort(s)
		return slices.Compact(s)
	})
}

func texts(at func(*Config) *[]string, order func([]string) []string) binding {
	return binding{"list", func(fs *flag.FlagSet, name string, c *Config) {
		p := at(c)
		fs.Var(&value{set: func(s string) error {
			*p = order(strings.Split(s, ","))
			return nil
		}, get: func() string { return strings.Join(*p, ",") }}, name, "")
	}}
}

// choice is one of some words.
func choice(at func(*Config) *string, words ...string) binding {
	return binding{strings.Join(words, ", "), func(fs *flag.FlagSet, name string, c *Config) {
		p := at(c)
		fs.Var(&value{set: func(s string) error {
			if !slices.Contains(words, s) {
				return fmt.Errorf("choose %s", strings.Join(words, " or "))
			}
			*p = s
			return nil
		}, get: func() string { return *p }}, name, "")
	}}
}

// choices is any number of some words.
func choices(at func(*Config) *[]string, words ...string) binding {
	return binding{"list", func(fs *flag.FlagSet, name string, c *Config) {
		p := at(c)
		fs.Var(&value{set: func(s string) error {
			for w := range strings.SplitSeq(s, ",") {
				if !slices.Contains(words, w) {
					return fmt.Errorf("%q is none of %s", w, strings.Join(words, ", "))
				}
				*p = append(*p, w)
			}
			return nil
		}, get: func() string { return strings.Join(*p, ",") }}, name, "")
	}}
}

// gates are pairs NAME=true with commas between.
func gates(at func(*Config) *Gates) binding {
	return binding{"NAME=true,..", func(fs *flag.FlagSet, name string, c *Config) {
		p := at(c)
		fs.Var(&value{set: p.set, get: p.String}, name, "")
	}}
}

func (g Gates) set(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		if part == "" {
			continue
		}
		name, on, given := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		if !given {
			return fmt.Errorf("%s: give %s=true or %s=false", name, name, name)
		}
		b, err := strconv.ParseBool(strings.TrimSpace(on))
		if err != nil {
			return fmt.Errorf("%s=%s: give true or false", name, on)
		}
		if _, known := knownGates[name]; !known {
			return fmt.Errorf("there is no feature gate %s; there are %s", name, strings.Join(KnownGates(), ", "))
		}
		g[name] = b
	}
	return nil
}

// String is the gates that were named.
func (g Gates) String() string {
	var out []string
	for _, name := range KnownGates() {
		if on, named := g[name]; named {
			out = append(out, fmt.Sprintf("%s=%t", name, on))
		}
	}
	return strings.Join(out, ",")
}

// nothing is a flag that is taken and means nothing any more.
func nothing() binding {
	return binding{"", func(fs *flag.FlagSet, name string, _ *Config) {
		fs.Var(&value{set: func(string) error { return nil }, alone: true}, name, "")
	}}
}
