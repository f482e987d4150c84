package etcdapi

import (
	"log/slog"
	"net/http"
	"runtime"
	"strconv"

	"chainfire"
)

// raftStatus is what etcd publishes of its consensus.
type raftStatus struct {
	ID      string `json:"id"`
	Term    uint64 `json:"term"`
	Commit  uint64 `json:"commit"`
	Lead    string `json:"lead"`
	State   string `json:"raftState"`
	Applied uint64 `json:"applied"`
}

// varsHandler serves /debug/vars as etcd does, but for the command line, which may hold a
// token, and what of consensus only its engine knows.
func varsHandler(member chainfire.Maintenance, log *slog.Logger) http.HandlerFunc {
	return onlyGet(func(w http.ResponseWriter, r *http.Request) {
		st, err := member.Status(r.Context())
		if err != nil {
			http.Error(w, errorText(err), http.StatusServiceUnavailable)
			return
		}
		state := "StateFollower"
		if st.Leader == st.Header.MemberID {
			state = "StateLeader"
		}
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		hex := func(id uint64) string { return strconv.FormatUint(id, 16) }
		writeJSON(w, log, map[string]any{
			"memstats": &mem,
			"raft.status": raftStatus{
				hex(st.Header.MemberID), st.Header.RaftTerm, st.CommitIndex, hex(st.Leader), state, st.AppliedIndex,
			},
		}, "\n")
	})
}
