package etcdapi

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strconv"

	"go.etcd.io/etcd/api/v3/version"

	"chainfire"
)

// peerMember is a member as etcd's peer port lists it.
type peerMember struct {
	ID         uint64   `json:"id"`
	PeerURLs   []string `json:"peerURLs"`
	Learner    bool     `json:"isLearner,omitempty"`
	Name       string   `json:"name,omitempty"`
	ClientURLs []string `json:"clientURLs,omitempty"`
}

// PeerPages are what etcd answers over HTTP at the port of members: /version, as at that
// of clients, and /members, the members that this one knows of. It needs no leader.
func PeerPages(member chainfire.Member, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/version", onlyGet(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, log, version.Versions{Server: etcdVersion, Cluster: etcdClusterVersion, Storage: etcdStorageVersion}, "")
	}))
	mux.HandleFunc("/members", onlyGet(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/members" {
			http.Error(w, "bad path", http.StatusBadRequest)
			return
		}
		c, err := member.Members(r.Context(), false)
		if err != nil {
			http.Error(w, errorText(err), http.StatusServiceUnavailable)
			return
		}
		list := make([]peerMember, 0, len(c.Members))
		for _, m := range c.Members {
			list = append(list, peerMember{m.ID, m.PeerURLs, m.Learner, m.Name, m.ClientURLs})
		}
		slices.SortFunc(list, func(a, b peerMember) int { return cmp.Compare(a.ID, b.ID) })
		w.Header().Set("X-Etcd-Cluster-Id", strconv.FormatUint(c.Header.ClusterID, 16))
		writeJSON(w, log, list, "\n")
	}))
	return mux
}

func writeJSON(w http.ResponseWriter, log *slog.Logger, v any, end string) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, log, "application/json", append(body, end...))
}
