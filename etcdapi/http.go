package etcdapi

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.etcd.io/etcd/api/v3/version"

	"chainfire/etcdapi/gateway"
)

// EtcdVersion is the version of etcd whose behavior is offered.
const EtcdVersion = "3.7.3"

// The versions of etcd whose behavior is offered. Clients choose by them what
// they use, so this product's own version is shown elsewhere.
const (
	etcdVersion        = EtcdVersion
	etcdClusterVersion = "3.7.0"
	etcdStorageVersion = "3.7.0"
)

const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// newHTTPServer serves what speaks HTTP/1 on the client port.
func newHTTPServer(o *Options, overJSON http.Handler) (*http.Server, error) {
	versions, err := json.Marshal(version.Versions{
		Server: etcdVersion, Cluster: etcdClusterVersion, Storage: etcdStorageVersion,
	})
	if err != nil {
		return nil, fmt.Errorf("encode versions: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/version", onlyGet(func(w http.ResponseWriter, _ *http.Request) {
		write(w, o.Logger, "application/json", versions)
	}))
	mux.Handle("/metrics", metricsHandler(o.Registry, o.Logger))
	mux.HandleFunc("/debug/vars", varsHandler(o.Member, o.Logger))
	h := &healthServer{member: o.Member, log: o.Logger, timeout: o.RequestTimeout, metrics: o.metrics}
	h.register(mux)
	if !o.NoGateway {
		mux.Handle(gateway.Path, overJSON)
	}
	if o.Profiles {
		profiles(mux)
	}
	return &http.Server{
		Handler: &access{
			hosts: set(o.HostWhitelist), origins: set(o.CORS), certificates: o.CertificateUsers, member: o.Member, log: o.Logger, next: mux,
		},
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}, nil
}

// profiles serves what package pprof offers, but for the command line, which may hold
// a join token.
func profiles(mux *http.ServeMux) {
	const at = "/debug/pprof/"
	mux.HandleFunc(at, pprof.Index)
	mux.HandleFunc(at+"profile", pprof.Profile)
	mux.HandleFunc(at+"symbol", pprof.Symbol)
	mux.HandleFunc(at+"trace", pprof.Trace)
}

// metricsHandler shows what can be gathered even if a part of it cannot.
func metricsHandler(reg *prometheus.Registry, log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ErrorHandling: promhttp.ContinueOnError,
	})
}

// onlyGet refuses other methods as etcd does.
func onlyGet(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
			return
		}
		next(w, r)
	}
}

func write(w http.ResponseWriter, log *slog.Logger, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if _, err := w.Write(body); err != nil {
		log.Debug("http client left before its answer", "err", err)
	}
}
