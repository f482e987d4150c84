package etcdapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"chainfire"
)

// healthServer answers the probes of load balancers and kubelets.
type healthServer struct {
	member  chainfire.Member
	log     *slog.Logger
	timeout time.Duration
	metrics *serverMetrics
}

// report is the body of /health.
type report struct {
	Health string `json:"health"`
	Reason string `json:"reason"`
}

// check is one named condition of /livez or /readyz.
type check struct {
	name string
	run  func(context.Context) error
}

func (s *healthServer) register(mux *http.ServeMux) {
	mux.HandleFunc("/health", onlyGet(s.serveHealth))
	local := check{"serializable_read", func(ctx context.Context) error { return s.read(ctx, true) }}
	agreed := check{"linearizable_read", func(ctx context.Context) error { return s.read(ctx, false) }}
	voter := check{"non_learner", s.isVoter}
	sound := check{"data_corruption", s.isSound}
	s.registerChecks(mux, "/livez", []check{local})
	s.registerChecks(mux, "/readyz", []check{sound, local, agreed, voter})
}

// read reads the smallest key there is: as with etcd also at a learner, which refuses its
// clients such a read unless it is serializable, but is not the less healthy for that.
func (s *healthServer) read(ctx context.Context, serializable bool) error {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var err error
	if !serializable {
		_, err = s.member.Members(bounded, true)
	}
	if err == nil {
		_, err = s.member.Range(bounded, &chainfire.RangeRequest{Key: []byte{0}, Limit: 1, KeysOnly: true, Serializable: true})
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = chainfire.ErrTimeout
	}
	// Where there are users, whoever asks is none of them: that is found out once the
	// read could be done.
	if err != nil && !errors.Is(err, chainfire.ErrUserEmpty) {
		return errors.New(errorText(err))
	}
	return nil
}

func (s *healthServer) isVoter(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	st, err := s.member.Status(ctx)
	if err != nil {
		return errors.New(errorText(err))
	}
	if st.Learner && !st.ReadReplica {
		return errors.New("not supported for learner")
	}
	return nil
}

// isSound fails while the alarm for it is raised, and where the member, which stops when
// it finds damage, no longer answers for its state.
func (s *healthServer) isSound(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if _, err := s.member.Status(ctx); err != nil {
		return errors.New(errorText(err))
	}
	for _, a := range s.member.Alarms() {
		if a.Type == chainfire.AlarmCorrupt {
			return fmt.Errorf("alarm activated: %s", a.Type)
		}
	}
	return nil
}

// serveHealth tells whether the member serves requests; with serializable=true,
// whether it serves those that need no other member.
func (s *healthServer) serveHealth(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	h := s.examine(r.Context(), q.Get("serializable") == "true", q["exclude"])
	s.metrics.health(h.Health == "true")
	body, err := json.Marshal(h)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if h.Health != "true" {
		s.log.Warn("member is not healthy", "reason", h.Reason)
		http.Error(w, string(body), http.StatusServiceUnavailable)
		return
	}
	// The type is etcd's, which sends the text as it is.
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if _, err := w.Write(body); err != nil {
		s.log.Debug("http client left before its answer", "err", err)
	}
}

func (s *healthServer) examine(ctx context.Context, serializable bool, excluded []string) report {
	for _, a := range s.member.Alarms() {
		if !slices.Contains(excluded, a.Type.String()) {
			return report{Health: "false", Reason: "ALARM " + a.Type.String()}
		}
	}
	if !serializable && s.member.Health(ctx, false) != nil {
		return report{Health: "false", Reason: "RAFT NO LEADER"}
	}
	if err := s.read(ctx, serializable); err != nil {
		return report{Health: "false", Reason: "RANGE ERROR:" + err.Error()}
	}
	return report{Health: "true"}
}

// registerChecks serves all checks under path and each below it.
func (s *healthServer) registerChecks(mux *http.ServeMux, path string, checks []check) {
	mux.HandleFunc(path, onlyGet(func(w http.ResponseWriter, r *http.Request) {
		excluded := r.URL.Query()["exclude"]
		s.serveChecks(w, r, path, slices.DeleteFunc(slices.Clone(checks), func(c check) bool {
			return slices.Contains(excluded, c.name)
		}))
	}))
	for _, c := range checks {
		mux.HandleFunc(path+"/"+c.name, onlyGet(func(w http.ResponseWriter, r *http.Request) {
			s.serveChecks(w, r, path, []check{c})
		}))
	}
}

func (s *healthServer) serveChecks(w http.ResponseWriter, r *http.Request, path string, checks []check) {
	kind := strings.TrimPrefix(path, "/")
	var lines strings.Builder
	failed := false
	for _, c := range checks {
		err := c.run(r.Context())
		s.metrics.check(kind, c.name, err)
		if err != nil {
			failed = true
			fmt.Fprintf(&lines, "[-]%s failed: %v\n", c.name, err)
		} else {
			fmt.Fprintf(&lines, "[+]%s ok\n", c.name)
		}
	}
	if failed {
		s.log.Warn("health check failed", "path", r.URL.Path, "result", lines.String())
		http.Error(w, lines.String(), http.StatusServiceUnavailable)
		return
	}
	text := "ok\n"
	if r.URL.Query().Has("verbose") {
		text = lines.String() + text
	}
	write(w, s.log, "text/plain; charset=utf-8", []byte(text))
}
