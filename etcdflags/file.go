package etcdflags

import (
	"fmt"

	"sigs.k8s.io/yaml"
)

// file is a file of the configuration, as far as its fields are not those of Config. Times
// are numbers of nanoseconds in it, and fields that there are not are passed over, as by
// etcd.
type file struct {
	*Config
	ListenPeer      string  `json:"listen-peer-urls"`
	ListenClient    string  `json:"listen-client-urls"`
	ListenHTTP      string  `json:"listen-client-http-urls"`
	ListenMetrics   string  `json:"listen-metrics-urls"`
	AdvertisePeer   string  `json:"initial-advertise-peer-urls"`
	AdvertiseClient string  `json:"advertise-client-urls"`
	CORS            string  `json:"cors"`
	HostWhitelist   string  `json:"host-whitelist"`
	Features        string  `json:"feature-gates"`
	ClientTLS       fileTLS `json:"client-transport-security"`
	PeerTLS         fileTLS `json:"peer-transport-security"`
	Discovery       struct {
		Token  string `json:"token"`
		Client struct {
			Endpoints []string `json:"endpoints"`
		} `json:"client"`
	} `json:"discovery-config"`
}

type fileTLS struct {
	CertFile            string   `json:"cert-file"`
	KeyFile             string   `json:"key-file"`
	ClientCertFile      string   `json:"client-cert-file"`
	ClientKeyFile       string   `json:"client-key-file"`
	ClientCertAuth      bool     `json:"client-cert-auth"`
	TrustedCAFile       string   `json:"trusted-ca-file"`
	Auto                bool     `json:"auto-tls"`
	AllowedCNs          []string `json:"allowed-cn"`
	AllowedHostnames    []string `json:"allowed-hostname"`
	SkipSANVerification bool     `json:"skip-client-san-verification"`
}

func (t *fileTLS) tls() TLS {
	return TLS{
		CertFile: t.CertFile, KeyFile: t.KeyFile, TrustedCAFile: t.TrustedCAFile,
		ClientCertFile: t.ClientCertFile, ClientKeyFile: t.ClientKeyFile,
		ClientCertAuth: t.ClientCertAuth, Auto: t.Auto,
		AllowedCNs: t.AllowedCNs, AllowedHostnames: t.AllowedHostnames, SkipSANVerification: t.SkipSANVerification,
	}
}

// fromFile reads a configuration that is all in a file.
func fromFile(path string, read func(string) ([]byte, error)) (*Config, Action, []Note, error) {
	c := Defaults()
	b, err := read(path)
	if err != nil {
		return c, Serve, nil, fmt.Errorf("--config-file: %w", err)
	}
	if err := c.fill(b); err != nil {
		return c, Serve, nil, fmt.Errorf("--config-file %s: %w", path, err)
	}
	notes := []Note{{Text: "loaded server configuration, other configuration command line flags and environment variables will be ignored if provided", Flag: path}}
	return c, Serve, append(notes, c.ignored(nil)...), nil
}

func (c *Config) fill(b []byte) error {
	alone := c.InitialCluster
	f := file{Config: c}
	if err := yaml.Unmarshal(b, &f); err != nil {
		return err
	}
	for _, u := range []struct {
		name, text string
		to         *URLs
	}{
		{"listen-peer-urls", f.ListenPeer, &c.ListenPeer},
		{"listen-client-urls", f.ListenClient, &c.ListenClient},
		{"listen-client-http-urls", f.ListenHTTP, &c.ListenHTTP},
		{"listen-metrics-urls", f.ListenMetrics, &c.ListenMetrics},
		{"initial-advertise-peer-urls", f.AdvertisePeer, &c.AdvertisePeer},
		{"advertise-client-urls", f.AdvertiseClient, &c.AdvertiseClient},
	} {
		if u.text == "" {
			continue
		}
		var err error
		if *u.to, err = ParseURLs(u.text); err != nil {
			return fmt.Errorf("%s: %w", u.name, err)
		}
	}
	for _, v := range [][2]string{{"cors", f.CORS}, {"host-whitelist", f.HostWhitelist}, {"feature-gates", f.Features}} {
		if v[1] == "" {
			continue
		}
		if err := newFlagSet(c).Set(v[0], v[1]); err != nil {
			return fmt.Errorf("%s: %w", v[0], err)
		}
	}
	c.ClientTLS, c.PeerTLS = f.ClientTLS.tls(), f.PeerTLS.tls()
	c.Discovery.Endpoints, c.Discovery.Token = f.Discovery.Client.Endpoints, f.Discovery.Token
	if c.SelfSignedYears == 0 {
		c.SelfSignedYears = 1
	}
	if c.InitialClusterState == "" {
		c.InitialClusterState = StateNew
	}
	if (c.DiscoverySRV != "" || len(c.Discovery.Endpoints) > 0) && c.InitialCluster == alone {
		c.InitialCluster = ""
	}
	return c.check()
}
