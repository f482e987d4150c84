package join

import "testing"

func TestWhatIsSpokenAtAnAddressOfAMember(t *testing.T) {
	for _, c := range []struct {
		schemes          Schemes
		url              string
		addr, scheme, at string
	}{
		{Schemes{}, "http://a:1", "a:1", "http", "a:1"},
		{Schemes{Usual: "https"}, "https://a:1", "a:1", "https", "a:1"},
		// Nobody talks a member out of TLS by an address.
		{Schemes{Usual: "https"}, "http://a:1", "a:1", "https", "a:1"},
		{Schemes{Usual: "https", Mixed: true}, "https://a:1", "a:1", "https", "a:1"},
		{Schemes{Usual: "https", Mixed: true}, "http://a:1", "http://a:1", "http", "a:1"},
		// However it is written.
		{Schemes{Usual: "http", Mixed: true}, "HTTPS://a:1/", "https://a:1", "https", "a:1"},
		{Schemes{Usual: "https", Mixed: true}, "HTTPS://a:1/", "a:1", "https", "a:1"},
		{Schemes{Usual: "http", Mixed: true}, "UnixS:///run/a%20b", "unixs:///run/a b", "unixs", "/run/a b"},
		{Schemes{Usual: "http", Mixed: true}, "unix:///run/x", "unix:///run/x", "unix", "/run/x"},
		{Schemes{Usual: "http", Mixed: true}, "unixs://x:1", "unixs://x:1", "unixs", "x:1"},
	} {
		addr, err := c.schemes.Address(c.url)
		if scheme, at := c.schemes.Split(addr); err != nil || addr != c.addr || scheme != c.scheme || at != c.at {
			t.Errorf("%+v, %s: %s, %s at %s, %v", c.schemes, c.url, addr, scheme, at, err)
		}
	}
	if scheme, at := (Schemes{Usual: "https"}).Split("http://a:1"); scheme != "https" || at != "a:1" {
		t.Errorf("an address that another member gave: %s at %s", scheme, at)
	}
	for _, bad := range []string{"", "a:1", "http://a", "http://a:1/x", "unix://", "ftp://a:1"} {
		if addr, err := (Schemes{Mixed: true}).Address(bad); err == nil {
			t.Errorf("%q: %s", bad, addr)
		}
	}
	if addr, err := (Schemes{Usual: "https", Mixed: true}).Target("http://a:1"); err != nil || addr != "http://a:1" {
		t.Errorf("a member that speaks otherwise: %s, %v", addr, err)
	}
}
