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

// etcdPort is one URL that the member listens at.
type etcdPort struct {
	net.Listener
	url  url.URL
	part etcdapi.Part
}

// openPorts listens at every URL of a configuration that is for clients.
func openPorts(cfg *etcdflags.Config) (ports []*etcdPort, err error) {
	forClients := etcdapi.All
	if len(cfg.ListenHTTP) > 0 {
		forClients = etcdapi.Calls
	}
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
			p, err := openPort(u, l.part, socket.Options(cfg.Sockets))
			if err != nil {
				err = fmt.Errorf("%s %s: %w", l.flag, u.String(), err)
				for _, p := range ports {
					err = errors.Join(err, p.Close())
				}
				return nil, err
			}
			ports = append(ports, p)
		}
	}
	return ports, nil
}

func openPort(u url.URL, part etcdapi.Part, o socket.Options) (*etcdPort, error) {
	network, addr := etcdflags.Address(u)
	lis, err := socket.Listen(network, addr, o)
	if err != nil {
		return nil, err
	}
	return &etcdPort{Listener: lis, url: u, part: part}, nil
}

// earlyPorts answer at the ports while the member joins.
func earlyPorts(ports []*etcdPort, secure *pki.Port) []*earlyPort {
	var out []*earlyPort
	for _, p := range ports {
		if lis, ok := p.Listener.(*net.TCPListener); ok && p.part != etcdapi.Metrics {
			if !etcdflags.Secure(p.url) {
				out = append(out, newEarlyPort(lis, nil))
				continue
			}
			out = append(out, newEarlyPort(lis, secure))
		}
	}
	return out
}

func (p *etcdPort) serve(api *etcdapi.Server) error {
	return api.ServePart(p.Listener, p.part, !etcdflags.Secure(p.url))
}

// announce says that the port is served, in etcd's words.
func (p *etcdPort) announce(log *slog.Logger) {
	if p.part == etcdapi.Metrics {
		log.Info("serving metrics", "address", p.url.String())
		return
	}
	how := "serving client traffic insecurely; this is strongly discouraged!"
	if etcdflags.Secure(p.url) {
		how = "serving client traffic securely"
	}
	log.Info(how, "traffic", traffic[p.part], "address", p.Addr().String())
}
