package main

import (
	"slices"
	"strings"
	"testing"
)

func TestEndpointsAreSettledByTheirSchemesAndTheFlags(t *testing.T) {
	for name, c := range map[string]struct {
		trust     trust
		endpoints string
		want      string
		wrong     string
	}{
		"plain":                 {trust{}, "a:1,http://b:2/", "a:1,b:2", ""},
		"over TLS":              {trust{}, "https://a:1/,https://b:2", "https://a:1,https://b:2", ""},
		"by the authority":      {trust{authorities: "ca"}, "a:1,https://b:2", "https://a:1,https://b:2", ""},
		"by the certificate":    {trust{cert: "c", key: "k"}, "a:1", "https://a:1", ""},
		"by looking away":       {trust{anyServer: true}, "a:1", "https://a:1", ""},
		"both":                  {trust{}, "a:1,https://b:2", "", "some are without TLS"},
		"http with a CA":        {trust{authorities: "ca"}, "http://a:1", "", "nothing is checked without TLS"},
		"half of a certificate": {trust{cert: "c"}, "https://a:1", "", "--cert and --key go together"},
		"half of a key":         {trust{key: "k"}, "https://a:1", "", "--cert and --key go together"},
		"no port":               {trust{}, "https://a", "", "or https://HOST:PORT"},
	} {
		got := strings.Split(c.endpoints, ",")
		err := c.trust.settle(got)
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: error %v, want it to say %q", name, err, c.wrong)
			}
			continue
		}
		if err != nil || !slices.Equal(got, strings.Split(c.want, ",")) || c.trust.secure != strings.Contains(c.want, "https") {
			t.Errorf("%s: %v, secure %v, %v, want %s", name, got, c.trust.secure, err, c.want)
		}
	}
}

func TestFlagsOfTLSComeFromTheEnvironmentToo(t *testing.T) {
	run := func(env map[string]string, args ...string) string {
		t.Helper()
		_, _, errOut := runCommand(t, env, nil, append([]string{"get", "a", "--endpoints", "127.0.0.1:1"}, args...)...)
		return errOut
	}
	for _, c := range []struct {
		env  map[string]string
		args []string
		want string
	}{
		{map[string]string{cacertVariable: "/nowhere/ca"}, nil, "--cacert: open /nowhere/ca"},
		{map[string]string{cacertVariable: "/nowhere/ca"}, []string{"--cacert", "/nowhere/else"}, "--cacert: open /nowhere/else"},
		{map[string]string{certVariable: "/nowhere/c", keyVariable: "/nowhere/k"}, nil, "--cert: open /nowhere/c"},
		{map[string]string{certVariable: "/nowhere/c"}, nil, "--cert and --key go together"},
		{map[string]string{anyServerVariable: "true"}, nil, "dial tcp 127.0.0.1:1"},
		{map[string]string{anyServerVariable: "perhaps"}, nil, anyServerVariable + `="perhaps": give true or false`},
	} {
		if got := run(c.env, c.args...); !strings.Contains(got, c.want) {
			t.Errorf("%v %v: %s, want it to say %q", c.env, c.args, got, c.want)
		}
	}
}
