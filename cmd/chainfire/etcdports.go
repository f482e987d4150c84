package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"

	"chainfire/etcdapi"
	"chainfire/etcdflags"
	"chainfire/internal/socket"
	"chainfire/pki"
)

// traffic is what is served at a port, in etcd's words.
var traffic = map[etcdapi.Part]string{
	etcdapi.All: "grpc+http", etcdapi.Calls: "grpc", etcdapi.Pages: "http",
}

// etcdPort is one address that the member listens at, where clients speak TLS, or do
// without, or either.
type etcdPort struct {
	net.Listener
	// url is the first that was given for it.
	url           url.URL
	part          etcdapi.Part
	plain, secure bool
}

// openPorts listens at every URL of a configuration that is for clients. An address with
// and without TLS is one port.
func openPorts(cfg *etcdflags.Config) (ports []*etcdPort, err error) {
	forClients := etcdapi.All
	if len(cfg.ListenHTTP) > 0 {
		forClients = etcdapi.Calls
	}
	defer func() {
		if err == nil {
			return
		}
		for _, p := range ports {
			err = errors.Join(err, p.Close())
		}
	}()
	at := map[string]*etcdPort{}
	for _, l := range []struct {
		flag string
		part etcdapi.Part
		urls etcdflags.URLs
	}{
		{"--listen-client-urls", forClients, cfg.ListenClient},
		{"--listen-client-http-urls", etcdapi.Pages, cfg.ListenHTTP},
		{"--listen-metrics-urls", etcdapi.Metrics, cfg.ListenMetrics},
	} {
		for _, u := range l.urls {
			network, addr := etcdflags.Address(u)
			p := at[network+" "+addr]
			switch {
			case p == nil:
				lis, err := socket.Listen(network, addr, socket.Options(cfg.Sockets))
				if err != nil {
					return ports, fmt.Errorf("%s %s: %w", l.flag, u.String(), err)
				}
				p = &etcdPort{Listener: lis, url: u, part: l.part}
				at[network+" "+addr] = p
				ports = append(ports, p)
			case p.part != l.part:
				return ports, fmt.Errorf("%s %s: another flag has that address (%s); give each its own", l.flag, u.String(), p.url.String())
			}
			if etcdflags.Secure(u) {
				p.secure = true
			} else {
				p.plain = true
			}
		}
	}
	return ports, nil
}

// earlyPorts answer at the ports while the member joins.
func earlyPorts(ports []*etcdPort, secure *pki.Port) []*earlyPort {
	var out []*earlyPort
	for _, p := range ports {
		lis, ok := p.Listener.(lendable)
		if !ok || p.part == etcdapi.Metrics {
			continue
		}
		e := &earlyPort{lis: lis, plain: p.plain}
		if p.secure {
			e.tls = secure.ServerTLS()
		}
		out = append(out, e)
	}
	return out
}

func (p *etcdPort) serve(api *etcdapi.Server) error {
	how := etcdapi.Either
	switch {
	case !p.secure:
		how = etcdapi.WithoutTLS
	case !p.plain:
		how = etcdapi.WithTLS
	}
	return api.ServePart(p.Listener, p.part, how)
}

// announce says that the port is served, in etcd's words.
func (p *etcdPort) announce(log *slog.Logger) {
	if p.part == etcdapi.Metrics {
		log.Info("serving metrics", "address", p.url.String())
		return
	}
	if p.plain {
		log.Info("serving client traffic insecurely; this is strongly discouraged!", "traffic", traffic[p.part], "address", p.Addr().String())
	}
	if p.secure {
		log.Info("serving client traffic securely", "traffic", traffic[p.part], "address", p.Addr().String())
	}
}
