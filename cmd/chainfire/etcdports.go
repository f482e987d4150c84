package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"

	"chainfire/etcdapi"
	"chainfire/etcdflags"
)

// What is served at a port.
const (
	trafficAll     = "grpc+http"
	trafficCalls   = "grpc"
	trafficPages   = "http"
	trafficMetrics = "metrics"
)

// etcdPort is one URL that the member listens at.
type etcdPort struct {
	net.Listener
	url     url.URL
	traffic string
}

// openPorts listens at every URL of a configuration that is for clients.
func openPorts(cfg *etcdflags.Config) (ports []*etcdPort, err error) {
	forClients := trafficAll
	if len(cfg.ListenHTTP) > 0 {
		forClients = trafficCalls
	}
	for _, l := range []struct {
		flag, traffic string
		urls          etcdflags.URLs
	}{
		{"--listen-client-urls", forClients, cfg.ListenClient},
		{"--listen-client-http-urls", trafficPages, cfg.ListenHTTP},
		{"--listen-metrics-urls", trafficMetrics, cfg.ListenMetrics},
	} {
		for _, u := range l.urls {
			p, err := openPort(u, l.traffic)
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

func openPort(u url.URL, traffic string) (*etcdPort, error) {
	network, addr := etcdflags.Address(u)
	if network == "unix" {
		if err := clearSocket(addr); err != nil {
			return nil, err
		}
	}
	lis, err := net.Listen(network, addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return &etcdPort{Listener: lis, url: u, traffic: traffic}, nil
}

// clearSocket removes the socket that a member left which did not end in good order, and
// nothing else that may have its name.
func clearSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look for a socket: %w", err)
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s is there and no socket: give another path", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the socket of before: %w", err)
	}
	return nil
}

// earlyPorts answer at the ports while the member joins.
func earlyPorts(ports []*etcdPort) []*earlyPort {
	var out []*earlyPort
	for _, p := range ports {
		if lis, ok := p.Listener.(*net.TCPListener); ok && p.traffic != trafficMetrics {
			out = append(out, newEarlyPort(lis))
		}
	}
	return out
}

func (p *etcdPort) serve(api *etcdapi.Server) error {
	switch p.traffic {
	case trafficCalls:
		return api.ServeCalls(p.Listener)
	case trafficPages:
		return api.ServePages(p.Listener)
	case trafficMetrics:
		return api.ServeMetrics(p.Listener)
	}
	return api.Serve(p.Listener)
}

// announce says that the port is served, in etcd's words.
func (p *etcdPort) announce(log *slog.Logger) {
	if p.traffic == trafficMetrics {
		log.Info("serving metrics", "address", p.url.String())
		return
	}
	log.Info("serving client traffic insecurely; this is strongly discouraged!", "traffic", p.traffic, "address", p.Addr().String())
}
